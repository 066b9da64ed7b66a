"""What a `with` block prints, copied into the run's log while it goes."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

from studio_client.api import LOG_PIECE_BYTES, Api
from studio_client.errors import Conflict, StudioClientError, is_away

EVERY_S = 1.0
#: What is kept back while the server is away; more than this is dropped, and said in the log.
KEPT_BYTES = 64 << 20
logger = logging.getLogger("studio_client.capture")


class OutputCapture:
    """Copies stdout and stderr of this process to a log of a run, from `start` to `stop`.

    They can be nested. What a fork prints goes where it would go anyway, and not into the log.
    """

    def __init__(self, api: Api, run_id: str, name: str) -> None:
        self._api, self._run_id, self._name = api, run_id, name
        self._waiting = bytearray()
        self._dropped = 0
        self._offset = 0
        self._pid = os.getpid()
        self._lock = threading.RLock()  # a signal handler may print while something is printed
        self._sending = threading.Lock()
        self._stopped = threading.Event()
        self._streams: list[tuple[str, Any, Any]] = []
        self._thread = threading.Thread(target=self._send_on, name="studio-capture", daemon=True)

    def start(self) -> None:
        """From now on what is printed goes to the log, too."""
        for name in ("stdout", "stderr"):
            before = getattr(sys, name)
            copy = _Copy(before, self._take)
            self._streams.append((name, before, copy))
            setattr(sys, name, copy)
        self._thread.start()

    def stop(
        self, timeout_s: float = 10.0, before_wait: Callable[[StudioClientError], None] | None = None
    ) -> None:
        """Give the streams back as they were, and send what is left.

        A server that is away is waited for, and `before_wait` is told of it first.
        """
        until = time.monotonic() + timeout_s
        for name, before, copy in self._streams:
            if getattr(sys, name) is copy:
                setattr(sys, name, before)
        self._stopped.set()
        self._thread.join(timeout_s)
        error = self._send(patience_s=0)
        left = until - time.monotonic()
        if error is not None and is_away(error) and left > 0:
            if before_wait is not None:
                before_wait(error)
            self._send(patience_s=left)

    def _take(self, text: str) -> None:
        if os.getpid() != self._pid:  # the lock may be held by a thread that a fork does not have
            return
        data = text.encode("utf-8", "replace")
        with self._lock:
            if len(self._waiting) + len(data) > KEPT_BYTES:
                self._dropped += len(data)
            else:
                self._waiting += data

    def _send_on(self) -> None:
        while not self._stopped.wait(EVERY_S):
            self._send(patience_s=0)

    def _send(self, *, patience_s: float) -> StudioClientError | None:
        """Send what waits; why some of it still does."""
        until = time.monotonic() + patience_s
        with self._sending:
            while True:
                with self._lock:
                    data = bytes(self._waiting[:LOG_PIECE_BYTES])
                if not data:
                    return None
                error = self._trouble(data, max(0.0, until - time.monotonic()))
                if error is not None:
                    return error
                with self._lock:
                    del self._waiting[: len(data)]
                    if self._dropped and not self._waiting:
                        self._waiting += f"\n[{self._dropped} bytes were dropped: no server]\n".encode()
                        self._dropped = 0

    def _trouble(self, data: bytes, patience_s: float) -> StudioClientError | None:
        """Send a piece; why it still waits."""
        try:
            self._api.append_log(self._run_id, self._name, self._offset, data, patience_s=patience_s)
        except Conflict as error:
            return None if self._settle(error, data) else error
        except StudioClientError as error:
            logger.debug("the output of run %s waits: %s", self._run_id, error.message)
            return error
        self._offset += len(data)
        return None

    def _settle(self, error: Conflict, data: bytes) -> bool:
        """The log ends elsewhere: somebody else writes it too, or an answer was lost after the bytes were
        taken.
        """
        expected = error.expected
        if not isinstance(expected, int) or expected == self._offset:
            logger.debug("the output of run %s is refused: %s", self._run_id, error.message)
            return True
        taken = expected == self._offset + len(data)
        self._offset = expected
        return taken


class _Copy:
    """A stream that passes everything on and hands a copy of what is written to somebody else."""

    def __init__(self, stream: TextIO, take: Any) -> None:
        self._stream = stream
        self._take = take

    def write(self, text: str) -> int:
        written = self._stream.write(text)
        self._take(text)
        return written

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
