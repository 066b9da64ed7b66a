"""Whoever follows a run that is queued is told why, also where no node serves its target."""

from __future__ import annotations

import io
import sys
import threading
from pathlib import Path

import pytest
from azureml.core import Experiment, ScriptRunConfig, Workspace
from studio_client.api import connect
from studio_client.errors import Conflict

from tests.fixtures.processes import wait_until
from tests.sdk.command_line import Shell
from tests.sdk.live import Signed

REASON = "Queued: No node serves unserved.\n"


@pytest.fixture(autouse=True)
def _unserved(signed_in: Signed) -> None:
    """A compute target that has no node."""
    try:
        connect().transport.send(
            "POST", "/workspaces/default/compute-targets", json_body={"name": "unserved"}
        )
    except Conflict:
        return  # another test has made it


def test_the_command_line_says_it_once_on_stderr(studio: Shell, train: Path) -> None:
    with studio.start("studio run submit-script -e queued --target unserved train.py") as process:
        assert process.stderr is not None
        while (line := process.stderr.readline()) != REASON:
            assert process.poll() is None, line
        run_id = studio("studio run list -e queued --last 1 --query [].run_id -o tsv").out.strip()
        with (
            studio.start(f"studio run logs -r {run_id} -f") as plain,
            studio.start(f"studio run logs -r {run_id} -f --name logs/own.txt") as named,
        ):
            for one in (plain, named):
                assert one.stderr is not None
                assert one.stderr.readline() == REASON
            assert studio(f"studio run cancel -r {run_id}").code == 0
            assert plain.communicate(timeout=30) == ("", "")
            assert "logs/own.txt" in named.communicate(timeout=30)[1]
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, "")
    assert "Queued" not in err
    assert f"Run {run_id} was canceled." in err


def test_wait_for_completion_shows_it(attached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (attached / "train.py").write_text("")
    config = ScriptRunConfig(".", "train.py")
    config.run_config.target = "unserved"
    run = Experiment(Workspace.from_config(), "queued-from-python").submit(config)
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stdout", shown)
    waiting = threading.Thread(target=run.wait_for_completion, args=(True,))
    waiting.start()
    try:
        wait_until(lambda: REASON in shown.getvalue())
    finally:
        run.cancel()
        waiting.join(30)
    assert shown.getvalue().count("Queued") == 1
    assert "Execution Summary" in shown.getvalue()
