"""Sending the next batch of a spool, its images first, and saying what came of it."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from typing import IO, Any, cast

from studio_client.api import Api
from studio_client.errors import (
    Conflict,
    InvalidInput,
    NotAllowed,
    NotFound,
    NotSignedIn,
    Refused,
    StudioClientError,
    TooBig,
    is_away,
)
from studio_client.image_entries import paths_of
from studio_client.spool_folder import Spool

#: How long the server may take for one batch.
ANSWER_S = 60.0
TOO_LONG = "the server takes too long."


class _Until:
    """A file that is read for so long only. Reading it later raises StudioClientError."""

    def __init__(self, file: IO[bytes], until: float) -> None:
        self._file, self._until = file, until
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if time.monotonic() > self._until:
            raise StudioClientError(TOO_LONG)
        return self._file.read(size)


def send_next(
    api: Api,
    spool: Spool,
    *,
    timeout_s: float = ANSWER_S,
    patience_s: float = 0.0,
    image_until: float = math.inf,
) -> bool:
    """Send the next image or batch of a spool; False if nothing waits.

    An image that is not through by `image_until` is sent from its start another time. Raises
    StudioClientError or OSError, and it still waits then. Entries that the server can never take are given
    up, with a line on standard error, and so is an entry whose image it can never take.
    """
    batch = spool.next_batch()
    if batch is None:
        return False
    try:
        for name, waiting in batch.images.items():
            if not spool.images.settle(waiting):
                patient = api.patient(patience_s)
                came_of_it = _store_image(patient, spool, name, waiting, timeout_s, image_until)
                spool.images.note(name, came_of_it)
                return True
        body = batch.body(spool.writer, spool.seq)
        api.send_metrics(spool.run_id, body, patience_s=patience_s, timeout_s=timeout_s)
    except (InvalidInput, TooBig) as error:
        if not spool.shorten():
            names = ", ".join(repr(series["name"]) for series in batch.series)
            say(f"run {spool.run_id}: the server does not take an entry of {names}: {error.message}")
            spool.skip()
    except Conflict as error:
        if error.code != "out_of_order":
            raise
        spool.change_writer()
    else:
        spool.confirm()
    return True


def _store_image(
    api: Api, spool: Spool, name: str, waiting: dict[str, Any], timeout_s: float, until: float
) -> str | InvalidInput:
    """The path that an image has among the files of its run now, or why it can never be there.

    Tried again it gets the same path, since the server takes the same content twice. Raises as `send_next`.
    """
    why = f"no path like {waiting['path']} is free."
    for path in paths_of(waiting):
        try:
            with spool.images.open(name, spool.folder) as file:
                source = file if until == math.inf else cast("IO[bytes]", _Until(file, until))
                api.put_artifact(spool.run_id, path, source, timeout_s=timeout_s)
            return path
        except FileNotFoundError:
            why = "the image that waited on disk is gone."
            break
        except Refused as error:
            if isinstance(error, Conflict) and error.field == "path":
                continue
            if not _is_of_the_image(error):
                raise
            why = error.message
            break
    return InvalidInput(why, status=422)


def _is_of_the_image(error: Refused) -> bool:
    """Whether this image can never be taken, while everything else of its run can."""
    if isinstance(error, NotFound):
        return error.code == "unknown_address"  # as no address holds some letters
    waits = isinstance(error, (NotSignedIn, NotAllowed, Conflict)) or error.status == 408 or is_away(error)
    return 400 <= error.status < 500 and not waits


def say(text: str) -> None:
    """A line on standard error; a stream that is closed takes none."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"studio: {text}\n")
