"""Waiting for a run to end, and following its log meanwhile."""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable, Iterator
from typing import TextIO

from studio_client.api import LONGEST_WAIT_S, Api
from studio_client.errors import StudioClientError, is_away
from studio_client.records import QUEUED, TERMINAL, LogRecord, RunRecord

STD_LOG = "user_logs/std_log.txt"
AWAY_PAUSE_S = 2.0
_PAUSE_S = 0.5


def wait_until_ended(api: Api, run_id: str, *, timeout_s: float | None = None) -> RunRecord:
    """The run once it has ended, or as it is when the time is up. A server that is away is waited for."""
    end = None if timeout_s is None else time.monotonic() + timeout_s
    since = ""
    while True:
        asked_at = time.monotonic()
        left = LONGEST_WAIT_S if end is None else max(0.0, end - asked_at)
        try:
            record = api.wait(run_id, since=since, timeout_s=min(left, LONGEST_WAIT_S))
        except StudioClientError as error:
            if not is_away(error) or (end is not None and time.monotonic() >= end):
                raise
            time.sleep(AWAY_PAUSE_S)
            continue
        if record["status"] in TERMINAL or (end is not None and time.monotonic() >= end):
            return record
        if record["version"] == since and time.monotonic() - asked_at < _PAUSE_S:
            time.sleep(_PAUSE_S)  # the server holds no more questions back at the moment
        since = record["version"]


def choose_log(logs: list[LogRecord]) -> str | None:
    """The log that people want to see: the script's own, else the highest one by name."""
    names = sorted(log["name"] for log in logs)
    for log in (STD_LOG, *(name for name in reversed(names) if name.endswith("70_driver_log.txt"))):
        if log in names:
            return log
    ranked = [name for name in names if name.endswith("_0.txt")]
    found = ranked or names
    return found[-1] if found else None


def follow(
    api: Api, run_id: str, name: str | None = None, *, tell: Callable[[str], None]
) -> Iterator[tuple[str, str]]:
    """(name of the log, new text) as it comes, until the run has ended and all was given; of the log that
    people want to see, or of that name.

    An attempt that is made again begins its log anew; its text then comes with the name again, as `name
    (attempt n)`. Why a run that has not begun is queued is handed to `tell`, whenever that changes.
    """
    name = _first_log(api, run_id, name, tell)
    if name is None:
        return
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    offset, attempt, shown = 0, 0, name
    while True:
        try:
            piece = api.read_log(run_id, name, offset=offset, wait_s=LONGEST_WAIT_S)
        except StudioClientError as error:
            if not is_away(error):
                raise
            time.sleep(AWAY_PAUSE_S)
            continue
        if attempt and piece.attempt > attempt:
            offset, shown = 0, f"{name} (attempt {piece.attempt})"
            decoder.reset()
            attempt = piece.attempt
            continue
        attempt = piece.attempt or attempt
        offset += len(piece.data)
        text = decoder.decode(piece.data)
        if text:
            yield shown, text
        if not piece.data and offset >= piece.size and piece.run_status in TERMINAL:
            break
    rest = decoder.decode(b"", final=True)
    if rest:
        yield shown, rest


def print_log(api: Api, record: RunRecord, out: TextIO) -> None:
    """Write whose log it is and the log as it comes, until the run has ended; whole lines."""
    _head(record, out)
    out.write("\n")
    out.flush()
    shown, end = "", "\n"
    for name, text in follow(api, record["run_id"], tell=lambda line: print(line, file=out, flush=True)):
        if name != shown:
            shown = name
            title = f"Streaming {name}"
            out.write(f"{_line_end(end)}{title}\n{'=' * len(title)}\n\n")
        out.write(text)
        out.flush()
        end = text[-1]
    out.write(_line_end(end))
    out.flush()


def _line_end(end: str) -> str:
    """What ends a line that ended so; a script need not end its last one."""
    return "" if end == "\n" else "\n"


def print_summary(record: RunRecord, out: TextIO) -> None:
    """Write what stands below a log that has ended."""
    out.write("\nExecution Summary\n=================\n")
    _head(record, out)
    out.write("\n")
    out.flush()


def _head(record: RunRecord, out: TextIO) -> None:
    out.write(f"RunId: {record['run_id']}\nWeb View: {record['url']}\n")


def _first_log(api: Api, run_id: str, name: str | None, tell: Callable[[str], None]) -> str | None:
    """The log to follow, once there is one, or once the run is queued no more if it has a name.

    None if the run ends without any.
    """
    since, told = "", ""
    while True:
        try:
            record = api.wait(run_id, since=since, timeout_s=1 if since else 0)
            if name and record["status"] != QUEUED:
                return name
            found = choose_log(api.logs(run_id))
        except StudioClientError as error:
            if not is_away(error):
                raise
            time.sleep(AWAY_PAUSE_S)
            continue
        if found == (name or STD_LOG) or (found and record["status"] in TERMINAL):
            return found
        if record["status"] in TERMINAL:
            return None
        reason = record["status_reason"] or ""
        if since and record["status"] == QUEUED and reason not in ("", told):  # unless it starts at once
            tell(f"{QUEUED}: {reason}")
            told = reason
        if record["version"] == since:
            time.sleep(0.1)
        since = record["version"]
