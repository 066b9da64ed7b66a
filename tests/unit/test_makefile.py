"""Starting from a fresh copy with `make run`, and from one that has lost something since."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def make_run(folder: Path) -> list[str]:
    """What `make run` says, to whoever was not started by another `make`."""
    env = {
        name: text for name, text in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    }
    done = subprocess.run(["make", "run"], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_virtual_environment_that_lost_its_interpreter_is_filled_anew(tmp_path: Path) -> None:
    """As one does when the system's Python is replaced by a newer one."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements.txt").touch()
    (tmp_path / "manage.py").write_text("print('up')\n")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to("python-that-is-gone")
    (tmp_path / ".venv" / "installed").touch()
    made, *said = make_run(tmp_path)
    assert made.startswith("studio: making .venv with Python 3.")
    assert said == ["studio: installing requirements.txt", "up"]
    assert make_run(tmp_path) == ["up"]
