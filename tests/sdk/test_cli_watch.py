"""Which runs `studio run watch` and `run list` show, and in which form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.sdk.command_line import Shell
from tests.sdk.screen import Screen, lines_of


@pytest.fixture
def two(studio: Shell, train: Path) -> tuple[str, str]:
    """A run in the experiment of the attached folder, and one in `elsewhere`."""
    here = studio("studio run submit-script train.py").json["run_id"]
    there = studio("studio run submit-script -e elsewhere train.py").json["run_id"]
    return str(here), str(there)


def test_an_attached_folder_says_of_which_experiment(studio: Shell, two: tuple[str, str]) -> None:
    here, there = two
    ended = studio("studio run watch --until-done --last 1")
    assert (ended.code, ended.err) == (0, "")
    assert here in ended.out
    assert there not in ended.out
    of_all = studio("studio run watch --until-done --all-experiments --last 2").out
    assert here in of_all
    assert there in of_all
    listed = studio("studio run list --all-experiments --last 2 --query '[].run_id'").json
    assert listed == [there, here]
    assert studio("studio run list --query '[].run_id'").json[0] == here
    for command in ("list", "watch"):
        refused = studio(f"studio run {command} -e cli --all-experiments").refused(2)
        assert "--all-experiments and -e" in refused


def test_an_experiment_without_runs_yet_is_told(studio: Shell, two: tuple[str, str]) -> None:
    assert studio("studio folder attach -w default -e none-so-far").code == 0
    done = studio("studio run watch --until-done")
    assert (done.code, done.out) == (0, "")
    assert done.err == "Experiment none-so-far of the attached folder has no runs yet.\n"
    assert "typo" in studio("studio run watch -e typo --until-done").refused()


def test_runs_of_several_experiments_name_theirs(studio: Shell, two: tuple[str, str]) -> None:
    _, there = two
    everything = "--all-experiments --last 2"
    head, _, first, second = studio(f"studio run list {everything} -o table").out.splitlines()
    assert head.split()[:2] == ["Experiment", "Number"]
    assert (first.split()[0], second.split()[0]) == ("elsewhere", "cli")
    assert "Experiment" not in studio("studio run list -o table").out
    wide = lines_of(Screen(studio, f"studio run watch {everything} --until-done", 120).rest())
    assert wide[0].split()[:2] == ["Experiment", "Number"]
    narrow = lines_of(Screen(studio, f"studio run watch {everything} --until-done", 50).rest())
    assert narrow[0].split()[:2] == ["Number", "Status"]
    assert narrow[2].endswith(there)


def test_changes_are_lines_for_programs(studio: Shell, two: tuple[str, str]) -> None:
    here, there = two
    line = "studio run watch --until-done --all-experiments --last 2"
    runs = [json.loads(text) for text in studio(f"{line} -o json").out.splitlines()]
    assert [one["run_id"] for one in runs] == [here, there]
    assert runs[0]["tags"] == {}
    ids = "--query '[].run_id'"
    assert studio(f"{line} {ids}").out == f'"{here}"\n"{there}"\n'
    assert studio(f"{line} {ids} -o tsv").out == f"{here}\n{there}\n"
    done = studio(f"{line} [?status==Failed]")
    assert (done.code, done.out) == (0, "")
    assert done.err.count("WARNING") == 1
    nothing = studio(f"{line} -o none")
    assert (nothing.code, nothing.out, nothing.err) == (0, "", "")
    for wrong in ("-o yaml", f"-o table {ids}"):
        assert "line by line" in studio(f"{line} {wrong}").refused(2)
    studio.env = {"STUDIO_OUTPUT": "yaml"}
    assert studio(line).out.count("Completed") == 2
    assert studio(f"{line} {ids}").out == f'"{here}"\n"{there}"\n'


def test_a_log_is_printed_as_it_is(studio: Shell, two: tuple[str, str]) -> None:
    for wrong in ("-o json", "-o none", "-f -o table", "--query status"):
        assert "A log is printed as it is" in studio(f"studio run logs -r {two[0]} {wrong}").refused(2)
    studio.env = {"STUDIO_OUTPUT": "table"}
    assert studio(f"studio run logs -r {two[0]}").out == "args []\n"
