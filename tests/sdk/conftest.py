"""The SDK as users have it: on the path, signed in to nothing, with a configuration folder of its own."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

pytest_plugins = ["tests.sdk.live", "tests.sdk.command_line", "tests.sdk.spooling"]

SDK = [str(Path(__file__).parents[2] / "sdk" / part) for part in ("client", "azureml")]
sys.path[:0] = SDK


@pytest.fixture(autouse=True, scope="session")
def _interrupts() -> None:
    pass_interrupts_on()


def pass_interrupts_on() -> None:
    """Let children that are started from now on be interrupted, also where this process must not be.

    That is so in the background of a script. An ignored signal stays ignored in a new program, a handler does
    not stay.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: None)


@pytest.fixture(autouse=True, scope="session")
def _no_sweeps() -> None:
    """This process sends nothing that others have left, every half a minute, in the midst of a test."""
    from studio_client.spool import pump

    pump._next_sweep = time.monotonic() + 1e6


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for credentials and spools; no variable of Studio's or Azure's is set."""
    for name in [name for name in os.environ if name.startswith(("AZUREML_", "STUDIO_"))]:
        if name not in ("STUDIO_DATABASE_URL", "STUDIO_BROKER_URL", "STUDIO_DATA", "STUDIO_TESTS_FOLDER"):
            monkeypatch.delenv(name)
    folder = tmp_path / "config"
    monkeypatch.setenv("STUDIO_CONFIG_DIR", str(folder))
    return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the working folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder
