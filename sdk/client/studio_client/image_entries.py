"""What the entry of an image that waits says: its file, and the paths it may have among those of its run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

#: So many letters of the name that an image waits under tell it from others in its path.
MARK_LETTERS = 8


def waiting_image(path: str, spare: str, file: str) -> dict[str, Any]:
    """What an entry says of an image that waits in `file`: `spare` begins its path if another has `path`."""
    return {"path": path, "spare": spare, "file": file}


def is_waiting(value: Any) -> bool:
    """Whether this is what an entry says of an image that waits."""
    return isinstance(value, dict) and all(
        isinstance(value.get(key), str) for key in ("path", "spare", "file")
    )


def paths_of(waiting: dict[str, Any]) -> Iterator[str]:
    """The paths to try, one after the other; the same ones whenever it is tried again."""
    path, spare = waiting["path"], waiting["spare"]
    ending = os.path.splitext(path)[1]
    yield path
    if f"{spare}{ending}" != path:
        yield f"{spare}{ending}"
    yield f"{spare}_{waiting['file'][:MARK_LETTERS]}{ending}"  # nobody else's, so no more need be tried
