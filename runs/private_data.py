"""Keeping others on this machine out of what Studio keeps: sessions, sources, logs and files."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

from django.conf import settings


def make_private() -> None:
    """Let nobody else read what is in the data folder, whoever made the folder itself. Raises OSError."""
    for name in ("storage", "work", "broker"):
        folder = settings.DATA_DIR / name
        folder.mkdir(mode=0o700, exist_ok=True)
        with suppress(PermissionError):  # somebody else's, who has let us write there
            folder.chmod(0o700)
    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        _make_file_private(Path(database["NAME"]))


def check_writable(*folders: Path) -> None:
    """Make those that are missing, and write into each. Raises OSError, with the folder as its file."""
    for folder in folders:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with TemporaryFile(dir=folder) as file:  # the right to write is of no use on a full disk
                file.write(b"\n")
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(folder)) from None


def _make_file_private(file: Path) -> None:
    """SQLite gives the files beside it the same rights."""
    os.close(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600))
    for one in (file, *(file.with_name(file.name + end) for end in ("-wal", "-shm"))):
        with suppress(FileNotFoundError, PermissionError):
            one.chmod(0o600)
