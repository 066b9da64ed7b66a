"""The program `studio`, also under the name `az`, in a real shell."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.live import Signed

_PROGRAM = """#!{python}
import sys
sys.path.insert(0, {client!r})
from studio_client.cli.entry import main
main()
"""


_TRAIN = """import sys
print("args", sys.argv[1:])
if sys.argv[1:2] == ["bad"]:
    raise ValueError("no luck")
"""


class Done:
    """How a line ended."""

    def __init__(self, process: subprocess.CompletedProcess[str]) -> None:
        self.code = process.returncode
        self.out = process.stdout
        self.err = process.stderr

    @property
    def json(self) -> Any:
        """Standard output, which has to be JSON and nothing else."""
        assert self.code == 0, self.err
        return json.loads(self.out)

    def refused(self, code: int = 1) -> str:
        """The message of a line that had to fail so, with nothing on standard output."""
        assert (self.code, self.out) == (code, ""), (self.code, self.out, self.err)
        assert self.err.count("ERROR: ") == 1, self.err
        assert "Traceback" not in self.err
        return self.err


class Shell:
    """bash with `studio` and `az` on its PATH."""

    def __init__(self, programs: Path) -> None:
        programs.mkdir()
        for name in ("studio", "az"):
            program = programs / name
            client = str(Path(__file__).parents[2] / "sdk" / "client")
            program.write_text(_PROGRAM.format(python=sys.executable, client=client))
            program.chmod(0o755)
        self.programs = programs
        self.env: dict[str, str] = {}

    @property
    def whole_env(self) -> dict[str, str]:
        """The environment of its lines."""
        path = f"{self.programs}:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "COLUMNS": "200", "TERM": "xterm", **self.env}

    def __call__(self, line: str, *, stdin: str = "") -> Done:
        """Run a line as a person types it."""
        command = ["bash", "-c", line]
        done = subprocess.run(
            command, env=self.whole_env, input=stdin, capture_output=True, text=True, timeout=120
        )
        return Done(done)

    def words(self, *words: str) -> Done:
        """Run a command that is given word by word."""
        return self(shlex.join(words))

    def start(self, line: str) -> subprocess.Popen[str]:
        """Start a line, to look at it while it runs."""
        return subprocess.Popen(
            ["bash", "-c", f"exec {line}"],
            env=self.whole_env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def shell(tmp_path: Path, project: Path) -> Shell:
    """A shell in an empty folder, signed in to nothing."""
    return Shell(tmp_path / "bin")


@pytest.fixture
def studio(shell: Shell, signed_in: Signed) -> Shell:
    """A shell whose environment names a Studio and a token, in a folder that is attached to nothing."""
    return shell


@pytest.fixture
def folder(studio: Shell, project: Path) -> Path:
    """A folder that was attached by the command line."""
    done = studio("studio folder attach -w default -e cli")
    assert done.code == 0, done.err
    return project


@pytest.fixture
def train(folder: Path) -> Path:
    """A script in an attached folder that prints its arguments and ends as its first one says."""
    script = folder / "train.py"
    script.write_text(_TRAIN)
    return script
