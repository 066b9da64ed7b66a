"""The command line in real shells: what TAB completes, and outputs that cannot be written."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.sdk.command_line import Shell
from tests.sdk.live import Signed

INTERACTIVE = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}
THERE = [name for name in INTERACTIVE if shutil.which(name)]


class Terminal:
    """A shell that somebody types into."""

    def __init__(self, words: list[str], env: dict[str, str]) -> None:
        self._file, end = pty.openpty()
        self._process = subprocess.Popen(
            words, env=env, stdin=end, stdout=end, stderr=end, start_new_session=True, close_fds=True
        )
        os.close(end)

    def type(self, text: str) -> None:
        os.write(self._file, text.encode())

    def wait_for(self, text: str, *, timeout_s: float = 30) -> None:
        """Read until this is shown."""
        shown, end = "", time.monotonic() + timeout_s
        while text not in shown:
            ready, _, _ = select.select([self._file], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"{text!r} was not shown: {shown!r}"
            shown += os.read(self._file, 4096).decode(errors="replace")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._file)


@pytest.fixture
def terminal(shell: Shell) -> Iterator[Callable[[str], Terminal]]:
    """Opens shells by their names."""
    opened: list[Terminal] = []

    def open_one(name: str) -> Terminal:
        one = Terminal(INTERACTIVE[name], {**shell.whole_env, "TERM": "dumb", "PS1": "> "})
        opened.append(one)
        return one

    yield open_one
    for one in opened:
        one.close()


@pytest.mark.parametrize("program", ["studio", "az"])
@pytest.mark.parametrize("name", THERE)
def test_tab_completes_the_names_of_files(
    terminal: Callable[[str], Terminal], project: Path, name: str, program: str
) -> None:
    (project / "trained_on_all.py").touch()
    (project / "folder_of_code").mkdir()
    shell = terminal(name)
    shell.type(f'eval "$({program} completion {name})" && echo re""ady\n')
    shell.wait_for("ready")
    for typed, completed in (
        ("trai", "trained_on_all.py"),
        ("--async trai", "trained_on_all.py"),
        ("a.py --data trai", "trained_on_all.py"),
        ("--source-directory fol", "folder_of_code"),
        ("-t trai", "trained_on_all.py"),
    ):
        shell.type(f"{program} run submit-script {typed}\t")
        shell.wait_for(completed)
        shell.type("\x15")  # the line is taken away
    for typed, completed in (
        ("submit-pipeline -y trai", "trained_on_all.py"),
        ("download-logs -d fol", "folder_of_code"),
    ):
        shell.type(f"{program} run {typed}\t")
        shell.wait_for(completed)
        shell.type("\x15")  # the line is taken away


def test_standard_output_that_is_closed_is_said_before_anything_is_done(
    studio: Shell, project: Path, signed_in: Signed
) -> None:
    (project / "train.py").touch()
    for line in ("studio version", "studio --help", "studio run submit-script -w default -e closed train.py"):
        refused = studio(f"{line} >&-").refused()
        assert refused.startswith("ERROR: Standard output is closed, so nothing was done.")
        assert refused.count("\n") == 1
    names = studio("studio experiment list -w default --query [].name").json
    assert "closed" not in names


@pytest.mark.parametrize("line", ["studio version", "studio --help", "studio completion bash", "az login -h"])
def test_standard_output_that_is_full_is_one_line(studio: Shell, line: str) -> None:
    refused = studio(f"{line} > /dev/full").refused()
    assert refused == "ERROR: The result cannot be written: No space left on device.\n"
