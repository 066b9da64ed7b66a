"""Bytes of a run, written to files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from studio_client.api import Api


@contextmanager
def written_whole(place: str) -> Iterator[IO[bytes]]:
    """A file that has its name only once the block has ended well."""
    place = os.path.abspath(place)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    part = os.path.join(os.path.dirname(place), f".{os.urandom(16).hex()}.part")
    try:
        with open(part, "x+b") as target:
            yield target
        os.replace(part, place)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(part)
        raise


def log_bytes(api: Api, run_id: str, name: str) -> Iterator[bytes]:
    """A log as it is now, piece by piece."""
    offset = 0
    while True:
        piece = api.read_log(run_id, name, offset=offset)
        if piece.data:
            yield piece.data
        offset += len(piece.data)
        if not piece.data or offset >= piece.size:
            return
