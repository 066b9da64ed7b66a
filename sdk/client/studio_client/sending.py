"""Sending the next batch of a spool, and saying what came of it."""

from __future__ import annotations

import contextlib
import sys

from studio_client.api import Api
from studio_client.errors import Conflict, InvalidInput, TooBig
from studio_client.spool_folder import Spool

#: How long the server may take for one batch.
ANSWER_S = 60.0


def send_next(api: Api, spool: Spool, *, timeout_s: float = ANSWER_S, patience_s: float = 0.0) -> bool:
    """Send the next batch of a spool; False if nothing waits.

    Raises StudioClientError or OSError, and the batch still waits then. Entries that the server can never
    take are given up, with a line on standard error.
    """
    batch = spool.next_batch()
    if batch is None:
        return False
    try:
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


def say(text: str) -> None:
    """A line on standard error; a stream that is closed takes none."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"studio: {text}\n")
