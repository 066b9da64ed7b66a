"""What the command line says so that a person can go on."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from studio_client.api import connect

from tests.fixtures.processes import wait_until
from tests.sdk.command_line import Shell

STUBBORN = (
    "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('on', flush=True)\ntime.sleep(600)\n"
)


@pytest.fixture
def stubborn(studio: Shell, folder: Path) -> str:
    """A run that takes as long to be stopped as it is given."""
    (folder / "stubborn.py").write_text(STUBBORN)
    run_id = str(studio("studio run submit-script --async stubborn.py").json["run_id"])
    wait_until(lambda: studio(f"studio run logs -r {run_id}").out == "on\n")
    return run_id


def test_a_run_without_a_target_is_found_where_it_is_shown(studio: Shell, train: Path) -> None:
    submitted = studio("studio run submit-script -e here --async train.py").json["run_id"]
    elsewhere = studio("studio run submit-script -e here --target gpu-compute --async train.py").json[
        "run_id"
    ]
    connect().start_run("default", "here", "by-hand")
    connect().start_run("default", "here", "below", parent="by-hand")
    shown = studio("studio run list -e here --query '[].[run_id, target]'").json
    assert shown == [["by-hand", "local"], [elsewhere, "gpu-compute"], [submitted, "local"]]
    line = "studio run list -e here --query '[].run_id' --compute-target-name"
    assert studio(f"{line} local").json == ["by-hand", submitted]
    assert studio(f"{line} gpu-compute").json == [elsewhere]
    assert studio(f"{line} local --parent-run-id by-hand").json == ["below"]
    for run_id in ("below", "by-hand"):
        assert studio(f"studio run complete -r {run_id}").code == 0


def test_what_is_not_there_leads_to_what_is(studio: Shell, train: Path) -> None:
    studio("studio run submit-script -e 0-there --async train.py")  # among the first ten names
    for line in ("run list -e nix", "run watch -e nix", "experiment show -e nix"):
        message = studio(f"studio {line}").refused()
        assert "There is no experiment nix in workspace default. There are: " in message
        assert "0-there" in message.partition("There are: ")[2]
    assert "studio run list --all-experiments" in studio("studio run show -r nix").refused()


def test_a_wait_for_the_end_is_said_and_can_be_left(studio: Shell, stubborn: str) -> None:
    with studio.start(f"studio run cancel -r {stubborn}") as process:
        assert process.stderr is not None
        assert process.stderr.readline() == f"Waiting up to 12 s for run {stubborn} to stop ...\n"
        process.send_signal(signal.SIGINT)
        out, rest = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert f"The cancel goes on. To see how it stands: studio run show -r {stubborn}" in rest


def test_minimal_tables_show_the_values_of_tags(studio: Shell, train: Path) -> None:
    run_id = studio("studio run submit-script -e minimal --async train.py").json["run_id"]
    assert studio(f"studio run update -r {run_id} --add-tag quality=good --add-tag key").code == 0
    assert "key, quality=good" in studio("studio run list -e minimal --minimal -o table").out
