"""Deleting what a script has left, however deep it is and whatever rights it has."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: Path) -> None:
    """Delete a folder of ours with everything in it, also folders without rights. Raises OSError.

    No link is followed. One folder is open at a time and each is named from the one above it, because a
    script can nest more of them than Python can call, a process can open and a path can name.
    """
    _take_rights(str(path))
    here = os.open(path, _FOLDER)
    try:
        to_do = [_remove_files(here)]  # of each folder from the first to this one, the folders that are left
        while to_do[-1] or len(to_do) > 1:
            if to_do[-1]:
                name = to_do[-1][-1]
                _take_rights(name, here)
                there = os.open(name, _FOLDER, dir_fd=here)
                os.close(here)
                here = there
                to_do.append(_remove_files(here))
            else:
                to_do.pop()
                above = os.open("..", _FOLDER, dir_fd=here)
                os.close(here)
                here = above
                os.rmdir(to_do[-1].pop(), dir_fd=here)
    finally:
        os.close(here)
    os.rmdir(path)


def empty_but(path: Path, kept: Collection[str]) -> None:
    """Delete what is in a folder of ours but for these names. No link is followed; some of it may stay."""
    with suppress(OSError):
        here = os.open(path, _FOLDER)
        try:
            names = set(os.listdir(here)).difference(kept)
        finally:
            os.close(here)
        for name in names:
            with suppress(OSError):
                if (path / name).is_dir() and not (path / name).is_symlink():
                    remove_tree(path / name)
                else:
                    (path / name).unlink()


def _take_rights(name: str, folder: int | None = None) -> None:
    mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    if stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
        os.chmod(name, stat.S_IRWXU, dir_fd=folder)


def _remove_files(folder: int) -> list[str]:
    """Delete everything in it but folders, whose names are returned."""
    folders = []
    with os.scandir(folder) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            else:
                os.unlink(entry.name, dir_fd=folder)
    return folders
