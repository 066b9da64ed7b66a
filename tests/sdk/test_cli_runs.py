"""Runs from the command line: found, shown, labelled, ended, with their logs."""

from __future__ import annotations

import json
import os
import pty
import signal
import time
from pathlib import Path

import pytest

from tests.fixtures.processes import wait_until
from tests.sdk.command_line import Shell
from tests.sdk.live import Signed, studio_command

SLOW = "import time\nfor n in range(1000):\n    print('line', n, flush=True)\n    time.sleep(0.1)\n"


@pytest.fixture
def experiment(request: pytest.FixtureRequest) -> str:
    """An experiment named after the test."""
    return request.node.name.split("[")[0].replace("_", "-")[:100]


@pytest.fixture
def run_id(studio: Shell, train: Path, experiment: str) -> str:
    """A run that is Completed."""
    return str(studio(f"studio run submit-script -e {experiment} train.py --rate 0.1").json["run_id"])


@pytest.fixture
def slow(studio: Shell, folder: Path, experiment: str) -> str:
    """A run that goes on until it is ended."""
    (folder / "slow.py").write_text(SLOW)
    run = studio(f"studio run submit-script -e {experiment} --async slow.py").json["run_id"]
    wait_until(lambda: studio(f"studio run show -r {run} --query status -o tsv").out == "Running\n")
    return str(run)


def test_a_run_is_shown_under_the_names_of_az(studio: Shell, run_id: str, experiment: str) -> None:
    run = studio(f"studio run show -r {run_id}").json
    assert run["_experiment_name"] == experiment
    assert (run["run_number"], run["status"], run["run_type"]) == (1, "Completed", "azureml.scriptrun")
    assert run["root_run_id"] == run["run_id"] == run_id
    assert run["data_container_id"] == f"dcid.{run_id}"
    assert run["created_by"]["user_name"] == "admin"
    assert run["start_time_utc"] < run["end_time_utc"]
    assert run["tags"] == {}
    assert set(run["properties"]) == {"ContentSnapshotId"}
    assert run["run_definition"]["arguments"] == ["--rate", "0.1"]
    assert None not in run.values()
    assert not {"token", "token_expiry_time_utc", "parent_run_id", "error"} & set(run)
    assert run["url"].endswith(f"/experiments/{experiment}/runs/1/?workspace=default")


def test_lists_have_the_newest_ten_of_an_experiment(studio: Shell, train: Path, experiment: str) -> None:
    assert studio(f"studio run list -e {experiment}").refused().count(experiment) == 1
    submit = f"studio run submit-script -e {experiment} --async train.py"
    ids = [studio(submit).json["run_id"] for _ in range(3)]
    studio(f"studio run update -r {ids[0]} --add-tag quality=good --add-tag key")
    studio(f"studio run update -r {ids[1]} --add-tag quality=bad --add-tag empty=")

    def found(rest: str) -> list[int]:
        line = f"studio run list -e {experiment} {rest} --query [].run_id"
        return [ids.index(one) for one in studio(line).json]

    assert found("") == [2, 1, 0]
    assert found("--last 2") == [2, 1]
    assert found("--tags quality") == [1, 0]
    assert found("--tags quality=good --tags key") == [0]
    assert found("--tags quality=good --tags empty") == []
    assert found("--tags empty=") == [1]
    assert found("--compute-target-name gpu-compute") == []
    assert found("--compute-target-name local") == [2, 1, 0]
    for run in ids:
        wait_until(lambda run=run: studio(f"studio run show -r {run} --query status").json == "Completed")
    assert found("--status completed") == [2, 1, 0]
    assert found("--status Failed") == found("--status Canceled") == found("--status Provisioning") == []
    minimal = studio(f"studio run list -e {experiment} --minimal --last 1").json
    assert set(minimal[0]) == {"RunId", "RunType", "Status", "StartTime", "EndTime", "Target", "Tags"}
    head, _, *rows = studio(f"studio run list -e {experiment} -o table").out.splitlines()
    assert head.split()[:3] == ["Number", "Name", "Status"]
    assert [row.split()[0] for row in rows] == ["3", "2", "1"]
    assert "key, quality=good" in rows[2]
    assert "\x1b" not in "".join(rows)
    for wrong in ("--last x", "--last 0", "--status Nope", "--pipeline-run-id x"):
        studio(f"studio run list -e {experiment} {wrong}").refused(2)


def test_an_experiment_is_made_by_submitting_alone(studio: Shell, train: Path, run_id: str) -> None:
    for line in ("list -e typo", f"show -r {run_id} -e typo", f"cancel -r {run_id} -e typo"):
        assert "typo" in studio(f"studio run {line}").refused()
    listed = studio("studio experiment list").json
    assert "typo" not in [one["name"] for one in listed]
    assert set(listed[0]) == {"archivedTime", "createdUtc", "description", "experimentId", "name", "tags"}
    empty = studio("studio folder attach -w default -e not-yet && studio run list --query 'length(@)'")
    assert empty.out.endswith("}\n0\n")


def test_the_run_has_to_be_where_it_is_said_to_be(studio: Shell, run_id: str, signed_in: Signed) -> None:
    code = (
        "from studio.accounts.models import *; "
        "w, _ = Workspace.objects.get_or_create(name='second', resource_group='g2'); "
        "Membership.objects.get_or_create(workspace=w, user=User.objects.get(username='admin'), role='owner')"
    )
    studio_command(signed_in.studio, "shell", "-c", code)
    assert studio(f"studio run show -r {run_id}").code == 0
    assert studio(f"studio run show -r {run_id} -w default").code == 0
    assert "not in second" in studio(f"az ml run cancel -r {run_id} -w second").refused()
    assert studio("studio workspace show -w second --query name").json == "second"
    assert "g2" in studio("studio workspace show -w second -g other").refused()
    assert studio("studio workspace show -w second -g G2 --query resourceGroup -o tsv").out == "G2\n"
    assert studio("studio run list -w second -e nothing").refused()
    names = studio("studio workspace list --query [].workspaceName").json
    assert {"default", "second"} <= set(names)
    assert studio("studio workspace list -g g2 --query [].workspaceName").json == ["second"]


def test_labels_are_changed(studio: Shell, run_id: str, tmp_path: Path) -> None:
    line = f"studio run update -r {run_id}"
    tagged = studio(f"{line} --add-tag quality='great run' --add-tag 'worth another look' --add-tag a=b=c")
    assert tagged.json["tags"] == {"quality": "great run", "worth another look": None, "a": "b=c"}
    changed = studio(
        f"{line} --add-tag quality=poor --remove-tag a --display-name Best --description 'So good'"
    ).json
    assert changed["tags"] == {"quality": "poor", "worth another look": None}
    assert (changed["display_name"], changed["description"]) == ("Best", "So good")
    assert studio(f"{line} --add-property author=ana -t out.json").json["properties"]["author"] == "ana"
    assert json.loads(Path("out.json").read_text())["properties"]["author"] == "ana"
    assert "exists already" in studio(f"{line} --add-tag x -t out.json").refused()
    assert "author" in studio(f"{line} --add-property author=ben").refused()
    assert "x" not in studio(f"studio run show -r {run_id} --query tags").json
    for wrong in ("", "--add-tag =x", "--add-property key"):
        studio(f"{line} {wrong}").refused(2)
    assert "nothing" in studio("studio run update -r nothing --add-tag x").refused()


def test_a_finished_run_cannot_be_ended_otherwise(studio: Shell, run_id: str) -> None:
    assert "Completed already" in studio(f"studio run cancel -r {run_id}").refused()
    said = studio(f"studio run fail -r {run_id}").refused()
    assert f"Run {run_id} has ended as Completed already. Nothing was changed." in said
    assert studio(f"studio run complete -r {run_id}").json["status"] == "Completed"
    for act in ("show", "cancel", "fail", "complete", "logs", "monitor-logs", "download-logs -d x"):
        assert "nothing" in studio(f"studio run {act} -r nothing").refused()


@pytest.mark.parametrize(
    ("line", "status"),
    [("complete", "Completed"), ("fail -m 'It diverged' --error-code Diverged", "Failed")],
)
def test_a_run_is_ended_from_outside(studio: Shell, slow: str, line: str, status: str) -> None:
    run = studio(f"studio run {line} -r {slow}").json
    assert run["status"] == status
    if status == "Failed":
        assert run["error"]["error"]["message"].startswith("It diverged")
        assert run["error"]["error"]["code"] == "Diverged"


def test_a_run_id_that_names_nothing_is_refused(studio: Shell, run_id: str, slow: str) -> None:
    for option in ("--parent-run-id", "--pipeline-run-id"):
        assert "There is no run nosuch" in studio(f"studio run list {option} nosuch").refused()
        assert f"The run id after {option} is empty" in studio(f"studio run list {option} ''").refused(2)
        assert studio(f"studio run list {option} {run_id}").json == []
    assert "not in typo" in studio(f"studio run list --parent-run-id {run_id} -e typo").refused()
    for act in ("show", "cancel", "logs", "update --add-tag x"):
        assert "The run id after -r is empty" in studio(f"studio run {act} -r ''").refused(2)


def test_the_statuses_are_named_as_they_are_written(studio: Shell) -> None:
    refused = studio("studio run list -w default -e x --status Bogus").refused(2)
    assert "'NotStarted', 'Queued'" in refused
    assert "[NotStarted|Queued|" in studio("studio run list --help").out


def test_a_compute_target_that_is_not_there_is_told(studio: Shell, run_id: str) -> None:
    line = "studio run list -w default -e {} --compute-target-name {}"
    experiment = studio(f"studio run show -r {run_id}").json["_experiment_name"]
    none = studio(line.format(experiment, "nix"))
    assert none.json == []
    assert "has no compute target 'nix'. There are: " in none.err
    assert studio(line.format(experiment, "gpu-compute")).err == ""


def test_a_run_is_canceled_once(studio: Shell, slow: str) -> None:
    done = studio(f"studio run cancel -r {slow}")
    assert (done.code, done.out) == (0, "Experiment run canceled successfully.\n")
    again = f"Run {slow} has ended as Canceled already. Nothing was changed."
    assert again in studio(f"studio run cancel -r {slow}").refused()


def test_logs_are_printed_followed_and_written(studio: Shell, run_id: str, slow: str, project: Path) -> None:
    assert studio(f"studio run logs -r {run_id}").out == "args ['--rate', '0.1']\n"
    assert "There are: " in studio(f"studio run logs -r {run_id} --name nope.txt").refused()
    written = studio(f"studio run download-logs -r {run_id} -d logs")
    assert (written.code, written.out) == (0, "")
    log = project / "logs" / "user_logs" / "std_log.txt"
    assert str(log) in written.err
    assert log.read_text() == "args ['--rate', '0.1']\n"
    assert "is a file" in studio(f"studio run download-logs -r {run_id} -d train.py").refused()

    follow, monitor = f"studio run logs -r {slow} -f", f"studio run monitor-logs -r {slow}"
    with studio.start(follow) as following, studio.start(monitor) as monitoring:
        assert following.stdout is not None
        assert [following.stdout.readline() for _ in range(3)] == ["line 0\n", "line 1\n", "line 2\n"]
        assert studio(f"studio run cancel -r {slow}").code == 0
        following.communicate(timeout=20)
        out, err = monitoring.communicate(timeout=20)
    assert following.returncode == 0
    assert json.loads(out)["status"] == "Canceled"
    assert "Streaming user_logs/std_log.txt\n" in err
    assert "line 2\n" in err


@pytest.mark.parametrize("command", ["watch -e {}-2 --interval 0.2", "logs -f -r {}"])
def test_a_reader_that_goes_away_is_noticed_before_the_next_line(
    studio: Shell, folder: Path, experiment: str, command: str
) -> None:
    (folder / "waits.py").write_text("import time\nprint('begun', flush=True)\ntime.sleep(600)\n")
    waiting = studio(f"studio run submit-script -e {experiment}-2 --async waits.py").json["run_id"]
    wait_until(lambda: studio(f"studio run show -r {waiting} --query status -o tsv").out == "Running\n")
    words = command.format(experiment if command.startswith("watch") else waiting)
    done = studio(f"set -o pipefail; timeout 60 studio run {words} | head -1")
    studio(f"studio run cancel -r {waiting}")
    assert (done.code, done.err) == (0, "")
    assert len(done.out.splitlines()) == 1


def test_a_reader_that_goes_away_is_no_failure(studio: Shell, run_id: str) -> None:
    done = studio(f"set -o pipefail; studio run show -r {run_id} | head -1")
    assert (done.code, done.out, done.err) == (0, "{\n", "")


def test_watch_writes_a_line_for_each_change(studio: Shell, slow: str, experiment: str) -> None:
    with studio.start(f"studio run watch -e {experiment} --until-done --interval 0.2") as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline().split()[1:3] == ["1", "Running"]
        studio(f"studio run cancel -r {slow}")
        out, err = watching.communicate(timeout=20)
    assert out.splitlines()[-1].split()[1:3] == ["1", "Canceled"]
    assert err == ""


def test_watch_draws_a_live_table_on_a_terminal(studio: Shell, run_id: str, experiment: str) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(
            "studio", ["studio", "run", "watch", "-e", experiment, "--interval", "0.2"], studio.whole_env
        )
    shown = b""
    end = time.monotonic() + 20
    while shown.count(b"Completed") < 3 and time.monotonic() < end:
        shown += os.read(terminal, 4000)
    os.kill(pid, signal.SIGINT)
    try:
        while chunk := os.read(terminal, 4000):
            shown += chunk
    except OSError:
        pass  # the program has ended, and its terminal with it
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    assert b"\x1b[32mCompleted" in shown
    assert b"\x1b[3F\x1b[J" in shown
    assert shown.rstrip().endswith(b"\x1b[?25h")


def test_targets_are_listed(studio: Shell, folder: Path) -> None:
    targets, served = studio("az ml computetarget list").json, {"local", "gpu-compute"}
    assert served <= {one["name"] for one in targets}
    assert {one["provisioningState"] for one in targets} == {"Succeeded"}
    assert "nodes" not in targets[0]
    for line in ("az ml computetarget list -v", "studio compute list"):
        assert {one["name"] for one in studio(line).json if len(one["nodes"]) == 1} == served
    assert studio("studio compute show -n gpu-compute").json["nodes"][0]["alive"] is True
    missing = studio("az ml computetarget show -n nope").refused()
    assert "ComputeTargetNotFound" in missing
    assert "gpu-compute" in missing
    assert "page Compute" in studio("az ml computetarget create amlcompute -n x --max-nodes 4").refused()
    assert studio("studio workspace create -w default --exist-ok -l here --query name").json == "default"
    assert studio("studio workspace create -w default").refused()
