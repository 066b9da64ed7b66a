"""Metrics on their way: kept in a local file first, then sent in the background, each exactly once.

    sender = MetricSender(api, run_id)
    sender.log("loss", "scalar", {"": [0.5]})       # returns at once
    sender.flush(timeout=300)                       # waits until all is with the server
    sender.close()

A sender is a *writer* with an id of its own. It appends each entry as a line of JSON to a file; a line
`{"cut": n}` says that the lines before it are batch n. The server stores a batch of a writer once, however
often it comes, so whatever is interrupted is sent again as it was. A file whose process is gone is sent by
`send_left_behind`.
"""

from __future__ import annotations

import array
import atexit
import base64
import contextlib
import gzip
import json
import logging
import os
import sys
import threading
import time
import uuid
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from studio_client import config
from studio_client.api import Api
from studio_client.errors import Conflict, Refused, StudioClientError

EVERY_S = 1.0
BATCH_ENTRIES = 5_000
EXIT_PATIENCE_S = 60.0
logger = logging.getLogger("studio_client.spool")

try:
    import fcntl
except ImportError:  # Windows: files are told apart by the process id in their names
    fcntl = None  # type: ignore[assignment]


def spool_folder() -> Path:
    """Where entries wait; `STUDIO_SPOOL_DIR` names another place."""
    return Path(os.environ.get("STUDIO_SPOOL_DIR") or config.config_folder() / "spool")


class MetricSender:
    """Takes the metrics of one run. Safe to use from several threads;
    a fork writes under an id of its own.
    """

    def __init__(self, api: Api, run_id: str) -> None:
        self._api, self._run_id = api, run_id
        self._lock = threading.RLock()
        self._sending = threading.RLock()
        self._spool: _Spool | None = None
        self.trouble: StudioClientError | None = None  # why the last attempt to send failed
        _senders.add(self)

    def log(
        self,
        name: str,
        kind: str,
        columns: Mapping[str, Sequence[Any]],
        step: int | None = None,
        description: str = "",
    ) -> None:
        """Keep one entry: equally long columns of None, bool, int, float or text.

        Never waits for the server.
        """
        entry = [name, kind, description, dict(columns), step, time.time()]
        with self._lock:
            if self._spool is None:
                self._spool = _Spool(self._api.url, self._run_id)
            self._spool.append(entry)
        _pump.wake()

    def flush(self, timeout: float = 300.0) -> bool:
        """Wait until all that was logged is with the server;
        False if that took too long or it was refused.
        """
        until = time.monotonic() + timeout
        while self.waiting():
            left = until - time.monotonic()
            try:
                self.send(patience_s=max(0.0, left))
            except StudioClientError as error:
                if left <= 0 or isinstance(error, Refused):
                    return False
                time.sleep(min(1.0, max(0.05, left)))
        return self.trouble is None

    def close(self, timeout: float = 300.0) -> None:
        """Flush, and leave the file only if something could not be sent."""
        sent = self.flush(timeout)
        with self._lock:
            if self._spool is not None:
                self._spool.close(delete=sent)
                self._spool = None
        _senders.discard(self)

    def waiting(self) -> int:
        """How many entries are not with the server yet."""
        return 0 if self._spool is None else self._spool.waiting

    def send(self, *, patience_s: float = 0.0) -> None:
        """Send what waits, batch by batch. Raises what `Api` raises; what was not sent still waits."""
        with self._sending:
            while self._spool is not None and self._spool.waiting:
                with self._lock:
                    seq, entries = self._spool.next_batch()
                try:
                    _send_batch(self._api, self._run_id, self._spool.writer, seq, entries, patience_s)
                except StudioClientError as error:
                    self.trouble = error
                    if not _is_final(error):
                        raise
                    logger.warning("metrics of run %s are refused: %s", self._run_id, error.message)
                else:
                    self.trouble = None
                with self._lock:
                    self._spool.sent(seq)

    def forget_parent(self) -> None:
        """In the child of a fork: what waits is the parent's to send."""
        self._lock, self._sending, self._spool = threading.RLock(), threading.RLock(), None


def sender_for(api: Api, run_id: str) -> MetricSender:
    """The sender of this run in this process, one for all who log to it, so that order is kept."""
    with _registry_lock:
        found = _registry.get((api.url, run_id))
        if found is None:
            found = _registry[api.url, run_id] = MetricSender(api, run_id)
        return found


def send_left_behind(api: Api) -> int:
    """Send what processes that are gone have left for this server; how many entries that were."""
    total = 0
    for file in sorted(spool_folder().glob("*.jsonl")):
        with _taken(file) as lines:
            if lines is None or lines.header.get("url") != api.url:
                continue
            for seq, entries in lines.batches():
                _send_batch(api, lines.header["run_id"], lines.header["writer"], seq, entries, 10.0)
                total += len(entries)
            file.unlink()
    return total


class _Spool:
    """The file of one writer, and what of it waits in memory."""

    def __init__(self, url: str, run_id: str) -> None:
        self.writer = str(uuid.uuid4())
        folder = spool_folder()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = folder / f"{os.getpid()}-{self.writer}.jsonl"
        self._file: IO[bytes] = open(self.path, "ab", buffering=0)  # noqa: SIM115 (lives as long as the writer)
        if fcntl is not None:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._line({"writer": self.writer, "run_id": run_id, "url": url})
        self._entries: list[list[Any]] = []
        self._batch: tuple[int, list[list[Any]]] | None = None
        self._seq = 0

    @property
    def waiting(self) -> int:
        return len(self._entries) + (len(self._batch[1]) if self._batch else 0)

    def append(self, entry: list[Any]) -> None:
        self._line(entry)
        self._entries.append(entry)

    def next_batch(self) -> tuple[int, list[list[Any]]]:
        """The batch to send now: the one that was tried last, else a new one.

        Its bounds are in the file first.
        """
        if self._batch is None:
            self._seq += 1
            self._batch = (self._seq, self._entries[:BATCH_ENTRIES])
            del self._entries[:BATCH_ENTRIES]
            self._line({"cut": self._seq, "entries": len(self._batch[1])})
        return self._batch

    def sent(self, seq: int) -> None:
        self._line({"sent": seq})
        self._batch = None

    def close(self, *, delete: bool) -> None:
        self._file.close()
        if delete:
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()

    def _line(self, content: Any) -> None:
        self._file.write(json.dumps(content).encode() + b"\n")


class _Lines:
    """A spool file as another process left it."""

    def __init__(self, data: bytes) -> None:
        whole = data[: data.rfind(b"\n") + 1].splitlines()  # a last line without its end was never taken
        self.header: dict[str, Any] = json.loads(whole[0]) if whole else {}
        self._lines = [json.loads(line) for line in whole[1:]]

    def batches(self) -> Iterator[tuple[int, list[list[Any]]]]:
        """The batches that the server may lack, with the numbers that they have or would have had."""
        entries: list[list[Any]] = []
        cut: list[tuple[int, list[list[Any]]]] = []
        sent = 0
        for line in self._lines:
            if isinstance(line, list):
                entries.append(line)
            elif "cut" in line:
                cut.append((line["cut"], entries[: line["entries"]]))
                del entries[: line["entries"]]
            else:
                sent = line["sent"]
        seq = cut[-1][0] if cut else 0
        while entries:
            seq += 1
            cut.append((seq, entries[:BATCH_ENTRIES]))
            del entries[:BATCH_ENTRIES]
        yield from (batch for batch in cut if batch[0] > sent)


@contextlib.contextmanager
def _taken(file: Path) -> Iterator[_Lines | None]:
    """The lines of a file that no living process writes; None if one does."""
    try:
        handle = open(file, "r+b")  # noqa: SIM115 (closed below)
    except FileNotFoundError:
        yield None
        return
    with handle:
        if not _is_left_behind(handle, file):
            yield None
            return
        yield _Lines(handle.read())


def _is_left_behind(handle: IO[bytes], file: Path) -> bool:
    if fcntl is None:
        return file.name.split("-")[0] != str(os.getpid())
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_final(error: StudioClientError) -> bool:
    """Whether the server will never take the batch, however often it comes."""
    return isinstance(error, Conflict) and error.code in ("run_finished", "stale_attempt")


def _send_batch(
    api: Api, run_id: str, writer: str, seq: int, entries: list[list[Any]], patience_s: float
) -> None:
    content = {"writer": writer, "seq": seq, "series": list(_series(entries))}
    body = gzip.compress(json.dumps(content, allow_nan=False).encode(), compresslevel=1)
    api.send_metrics(run_id, body, patience_s=patience_s)


def _series(entries: list[list[Any]]) -> Iterator[dict[str, Any]]:
    """Entries of one name, kind and shape that follow each other become one series;
    order within a name is kept.
    """
    open_series: dict[str, dict[str, Any]] = {}
    for name, kind, description, columns, step, at in entries:
        for rows in _alike(columns):
            shape = (
                kind,
                description,
                step is None,
                tuple((column, _type(v[0])) for column, v in rows.items() if v),
            )
            current = open_series.get(name)
            if current is None or current["shape"] != shape:
                if current is not None:
                    yield _encoded(current)
                current = {
                    "name": name,
                    "shape": shape,
                    "columns": {c: [] for c in rows},
                    "steps": [],
                    "times": [],
                }
                open_series[name] = current
            for column, values in rows.items():
                current["columns"][column].extend(values)
            count = len(next(iter(rows.values()), []))
            current["steps"].extend([step] * count)
            current["times"].extend([at] * count)
    yield from map(_encoded, open_series.values())


def _alike(columns: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, list[Any]]]:
    """Stretches of rows in which each column has values of one type."""
    count = min((len(values) for values in columns.values()), default=0)
    start = 0
    types: tuple[str, ...] = ()
    for row in range(count):
        here = tuple(_type(values[row]) for values in columns.values())
        if row > start and here != types:
            yield {column: list(values[start:row]) for column, values in columns.items()}
            start = row
        types = here
    yield {column: list(values[start:count]) for column, values in columns.items()}


def _type(value: Any) -> str:
    if type(value) is float:
        return "f8"
    return "i8" if type(value) is int else "json"


def _encoded(series: dict[str, Any]) -> dict[str, Any]:
    kind, description, no_steps, _ = series["shape"]
    columns = [
        {"name": name, "type": _type(values[0]) if values else "json", "data": _data(values)}
        for name, values in series["columns"].items()
    ]
    steps = None if no_steps else _base64(array.array("q", series["steps"]))
    return {
        "name": series["name"],
        "kind": kind,
        "description": description,
        "columns": columns,
        "steps": steps,
        "times": _base64(array.array("d", series["times"])),
    }


def _data(values: list[Any]) -> Any:
    kind = _type(values[0]) if values else "json"
    if kind == "json":
        return values
    return _base64(array.array("d" if kind == "f8" else "q", values))


def _base64(numbers: array.array[Any]) -> str:
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()


class _Pump:
    """The thread that sends for all senders of this process."""

    def __init__(self) -> None:
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def wake(self) -> None:
        if self._wanted.is_set():
            return
        self._wanted.set()
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._pump, name="studio-metrics", daemon=True)
                self._thread.start()

    def _pump(self) -> None:
        pause = EVERY_S
        while True:
            self._wanted.wait()
            time.sleep(pause)
            self._wanted.clear()
            pause = EVERY_S
            for sender in list(_senders):
                try:
                    sender.send()
                except StudioClientError as error:
                    logger.debug("metrics wait: %s", error.message)
                    pause = min(30.0, pause * 2)
                    self._wanted.set()


_senders: weakref.WeakSet[MetricSender] = weakref.WeakSet()
_registry: dict[tuple[str, str], MetricSender] = {}
_registry_lock = threading.Lock()
_pump = _Pump()


def _flush_at_exit() -> None:
    until = time.monotonic() + EXIT_PATIENCE_S
    for sender in list(_senders):
        if sender.waiting() and not sender.flush(max(0.0, until - time.monotonic())):
            sys.stderr.write(
                f"studio: {sender.waiting()} metric entries could not be sent. They are kept in "
                f"{spool_folder()}; "
                "`studio sync` sends them.\n"
            )
        sender.close(0)


def _after_fork() -> None:
    global _pump, _registry_lock
    _pump, _registry_lock = _Pump(), threading.Lock()
    for sender in list(_senders):
        sender.forget_parent()


atexit.register(_flush_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
