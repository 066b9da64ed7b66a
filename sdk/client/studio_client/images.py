"""Images that wait, each in a file beside the entries of its spool:

    <spool>/.<id>.image          while it is copied; nobody looks there
    <spool>/<id>/<image>.image   from before its entry is added until that is with the server

Its entry names the file (see `image_entries`). Where there is no room on disk, images wait in memory, as
entries do.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import uuid
from pathlib import Path
from typing import IO, Any

from studio_client.errors import InvalidInput

SUFFIX = ".image"
#: What may wait of one spool on disk and, where that is full, in memory; entries have as much for themselves.
DISK_BYTES, MEMORY_BYTES = 1 << 30, 64 << 20


class Image:
    """A copy of an image, which waits for its entry."""

    __slots__ = ("_content", "_file", "name", "size", "trouble")

    def __init__(self, folder: Path, source: IO[bytes]) -> None:
        """Copy it into this folder. Where that fails, `trouble` says why. Raises OSError of the source."""
        self.name = f"{uuid.uuid4()}{SUFFIX}"
        self.size = source.seek(0, os.SEEK_END)
        self.trouble: OSError | None = None
        self._content = b""
        self._file: Path | None = folder / f".{self.name}"
        source.seek(0)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(self._file, "xb", opener=_privately) as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
        except OSError as error:
            self.trouble = error
            self.discard()
            source.seek(0)
            self._content = source.read(MEMORY_BYTES + 1)

    def move(self, folder: Path) -> bool:
        """Move it into the folder of a spool; whether it is there."""
        if self._file is None:
            return False
        try:
            self._file.rename(folder / self.name)
        except OSError as error:
            self.trouble = error
            return False
        self._file = None
        return True

    def read(self) -> bytes:
        """All of it."""
        return self._content if self._file is None else self._file.read_bytes()

    def discard(self) -> None:
        """Delete the copy, unless it was moved."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.unlink()
            self._file = None


class Images:
    """Those of one spool. Keeping and sending each need a lock of the caller's."""

    def __init__(self) -> None:
        self._in_memory: dict[str, bytes] = {}
        self._on_disk: dict[str, int] = {}
        self._came_of: dict[str, str | InvalidInput] = {}

    @property
    def are_on_disk(self) -> bool:
        """Whether none waits in memory."""
        return not self._in_memory

    def keep(self, image: Image, folder: Path | None) -> bool:
        """Keep it in this folder, or in memory; False if there is no room left anywhere."""
        room = DISK_BYTES - sum(list(self._on_disk.values()))
        if folder is not None and image.size <= room and image.move(folder):
            self._on_disk[image.name] = image.size
            return True
        try:
            held = sum(map(len, list(self._in_memory.values())))
            if held + image.size > MEMORY_BYTES:
                return False
            self._in_memory[image.name] = image.read()
        except OSError as error:
            image.trouble = error
            return False
        finally:
            image.discard()
        return True

    def open(self, name: str, folder: Path | None) -> IO[bytes]:
        """Raises OSError; FileNotFoundError if there is no such image."""
        content = self._in_memory.get(name)
        if content is not None:
            return io.BytesIO(content)
        if folder is None or not _is_name(name):
            raise FileNotFoundError(name)
        return (folder / name).open("rb")

    def note(self, name: str, came_of_it: str | InvalidInput) -> None:
        """Remember, until it is dropped, which path it has got, or that it was refused."""
        self._came_of[name] = came_of_it

    def settle(self, waiting: dict[str, Any]) -> bool:
        """Make of what an entry says of its image what the server is told; False if it is not stored yet.

        Raises InvalidInput if it was refused.
        """
        found = self._came_of.get(waiting.get("file", ""))
        if isinstance(found, InvalidInput):
            raise found
        if found is not None:
            waiting.clear()
            waiting["path"] = found
        return "file" not in waiting

    def drop(self, name: str, folder: Path | None) -> None:
        """Its entry is with the server, or will never be."""
        self._in_memory.pop(name, None)
        self._on_disk.pop(name, None)
        self._came_of.pop(name, None)
        if folder is not None and _is_name(name):
            with contextlib.suppress(OSError):
                (folder / name).unlink()

    def delete_all(self, folder: Path | None) -> None:
        """Also those whose process was killed before it could add their entry."""
        self.forget()
        for path in [] if folder is None else list(folder.glob(f"*{SUFFIX}")):
            with contextlib.suppress(OSError):
                path.unlink()

    def forget(self) -> None:
        """They are another process's."""
        self.__init__()  # type: ignore[misc]


def _is_name(name: str) -> bool:
    """Whether it is that of an image in the folder of a spool, and leads nowhere else."""
    return name.endswith(SUFFIX) and "/" not in name and "\0" not in name and os.path.basename(name) == name


def _privately(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_CLOEXEC", 0), 0o600)
