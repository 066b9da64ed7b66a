"""Bodies of any size that arrive as a stream: taken into a temporary file, counted and hashed on the way."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Protocol, cast

from runs.errors import InvalidInput, StudioError

_CHUNK_BYTES = 256 * 1024
#: Up to this size nothing is written to a disk.
_SPOOL_BYTES = 1024 * 1024


class Readable(Protocol):
    """What a body has to offer."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""


@dataclass(frozen=True)
class Received:
    """A body that has come to its end: the file, at its start, its size, and its sha256 in hex."""

    file: IO[bytes]
    size_bytes: int
    sha256: str


@contextmanager
def received(
    stream: Readable, *, most_bytes: int, too_big: Callable[[], StudioError], announced: int | None = None
) -> Iterator[Received]:
    """The whole of a stream; memory stays flat and the file is gone afterwards.

    Raises what `too_big` makes once more than `most_bytes` have come, and InvalidInput when fewer come than
    were announced: a body that was cut off must not pass for a whole one.
    """
    size, sha256 = 0, hashlib.sha256()
    with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as file:
        while chunk := stream.read(_CHUNK_BYTES):
            size += len(chunk)
            if size > most_bytes:
                raise too_big()
            sha256.update(chunk)
            file.write(chunk)
        if announced is not None and size != announced:
            raise InvalidInput(
                f"Only {size:,} of {announced:,} bytes came.", field="body", hint="Send it again."
            )
        file.seek(0)
        yield Received(cast(IO[bytes], file), size, sha256.hexdigest())
