"""The sender of one run's metrics: it keeps them on disk, and hands them to the server batch by batch."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, Optional, Union

from studio_client import config
from studio_client.api import Api
from studio_client.errors import Conflict, NotAllowed, NotFound, NotSignedIn, StudioClientError
from studio_client.image_entries import waiting_image
from studio_client.images import Image
from studio_client.left_behind import send_before, send_left_behind
from studio_client.locks import taken
from studio_client.segments import NO_STEP, Label, as_json, clean_name
from studio_client.sending import ANSWER_S, TOO_LONG, say, send_next
from studio_client.spool_folder import Spool, spool_folder

FLUSH_S = 300.0
#: How long the end of a process waits for the server where its node hands in what is left.
HANDED_IN_PATIENCE_S = 2.0
#: Values of one entry; what is logged with more is kept as several.
ENTRY_VALUES = 50_000
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 30.0
_INT_END = 2**63
#: What is logged, its value, its step, when, and the image that it names.
Entry = tuple[Label, Union[float, bytes], int, float, Optional[Image]]
logger = logging.getLogger("studio_client.spool")


class _Interrupted(StudioClientError):
    """A signal handler wants to send while it interrupts sending."""


class MetricSender:
    """Takes the metrics of one run. Safe to use from several threads, in signal handlers and after a fork,
    when the child is a writer of its own.

    What a handler logs while it interrupts `add` or `log` is kept when that one goes on, or when the handler
    flushes: then in a spool of its own, sent after what was logged before. A handler that interrupts sending
    cannot send, and its flush says so.
    """

    def __init__(self, api: Api, run_id: str, wake: Callable[[bool], None]) -> None:
        """`wake` is called when there is something to send; with True when that is much."""
        self.api, self.run_id, self._wake = api, run_id, wake
        self._retry_at, self._pause_s = 0.0, 0.0
        self._left_alone_until = 0.0
        self.root_run_id = ""  # as far as it is known
        self.forget_parent()

    def may_be_below(self, other: MetricSender) -> bool:
        """Whether its run may descend from the run of the other one."""
        roots = self.root_run_id, other.root_run_id
        return self.api.url == other.api.url and ("" in roots or len({*roots}) == 1)

    def forget_parent(self) -> None:
        """Begin as a new writer: in the child of a fork what waits is the parent's to send."""
        self._lock, self._sending = threading.RLock(), threading.RLock()
        spool: Spool | None = getattr(self, "_spool", None)
        if spool is not None:
            spool.forget()
        self._spool: Spool | None = None
        self._writer, self._seq = str(uuid.uuid4()), 0
        self._is_first = True  # nothing is sent yet, so what others have left comes before it
        self._warned: set[str] = set()
        self._told: list[Any] = []  # what waited when that was said last
        self._is_busy = self._is_sending = False  # under their locks, so true only for who interrupts it
        self._late: list[Entry] = []
        aside: MetricSender | None = getattr(self, "_aside", None)
        if aside is not None:
            aside.forget_parent()
        self._aside: MetricSender | None = None

    def add(self, name: str, value: Any, step: int | None = None, description: str = "") -> None:
        """Keep one value of a scalar: a float or an int quickest, else what JSON can hold."""
        kind = type(value)
        if kind is float or (kind is int and -_INT_END <= value < _INT_END):
            at_step = NO_STEP if step is None else _storable(step)
            self._keep(((name, "scalar", description), value, at_step, time.time(), None))
        else:
            self.log(name, "scalar", {"": [value]}, step, description)

    def log(
        self,
        name: str,
        kind: str,
        columns: Mapping[str, Sequence[Any]],
        step: int | None = None,
        description: str = "",
    ) -> None:
        """Keep one entry: equally long columns of what JSON can hold, or of numbers of numeric libraries."""
        at_step = NO_STEP if step is None else _storable(step)
        rows = max(1, ENTRY_VALUES // max(1, len(columns)))
        length = max((len(values) for values in columns.values()), default=0)
        for start in range(0, max(1, length), rows):
            part = {self._stored_as(c) if c else c: list(v[start : start + rows]) for c, v in columns.items()}
            text = as_json(part, default=_plain)
            self._keep(((name, kind, description), text, at_step, time.time(), None))

    def log_image(self, name: str, source: IO[bytes], path: str, spare: str, description: str = "") -> None:
        """Keep one entry and a copy of the image that it names, which becomes the run's file `path`.

        If another one has that path, it gets one that begins with `spare`. Raises OSError of the source.
        """
        image = Image(spool_folder(), source)
        text = as_json({"": [waiting_image(path, spare, image.name)]})
        self._keep(((name, "image", description), text, NO_STEP, time.time(), image))

    def _stored_as(self, name: str) -> str:
        kept = clean_name(name)
        if kept != name:
            self._warn_once(
                f"a metric or column {name!r} is stored as {kept!r}: no name holds all its letters"
            )
        return kept

    def _keep(self, entry: Entry) -> None:
        name = entry[0][0]
        if "\0" in name or not name.isascii():
            self._stored_as(name)
        with self._lock:
            self._late.append(entry)
            try:
                self._settle()
            finally:
                if self._late:  # of a handler that has raised
                    self._settle()

    def _settle(self) -> None:
        """Add what is late, unless this interrupts who is at the spool: that one will."""
        while self._late and not self._is_busy:
            try:
                self._is_busy = True
                while (entry := self._next_late()) is not None:
                    self._add(entry)
            finally:
                self._is_busy = False

    def _next_late(self) -> Entry | None:
        try:
            return self._late.pop(0)
        except IndexError:
            return None

    def _add(self, entry: Entry) -> None:
        spool = self._spool or self._opened()
        label, value, step, at, image = entry
        if image is not None and not spool.add_image(image):
            self._say_it_is_lost(label[0], image)
            return
        kept = spool.add(label, value, step, at)
        if image is not None and not kept:
            spool.images.drop(image.name, spool.folder)
        if not kept or image is not None or spool.has_grown or spool.sent == spool.added - 1:
            self._note(spool, kept)

    def added(self) -> int:
        """How many entries the spool has taken since it was made."""
        spool, aside = self._spool, self._aside
        return (0 if spool is None else spool.added) + (0 if aside is None else aside.added())

    def waiting(self) -> int:
        """How many entries are not with the server yet."""
        spool, aside = self._spool, self._aside
        own = len(self._late) + (0 if spool is None else max(0, spool.waiting))
        return own + (0 if aside is None else aside.waiting())

    def flush(self, timeout: float = FLUSH_S) -> bool:
        """Wait until all is with the server that was logged before, also by processes that are gone.

        False, and a line on standard error that says what to do, if that takes longer or is refused.
        """
        until = time.monotonic() + min(timeout, 1e6)
        trouble = self._send_all(until)
        if trouble is not None:
            self._say_what_waits(trouble)
            return False
        self.tidy()
        return self._send_what_was_left(until)

    def flush_until(self, until: float) -> bool:
        """As `flush`, as one of many: once the time is up the server is not asked again for each of them."""
        left_s = until - time.monotonic()
        if left_s > 0:
            return self.flush(left_s)
        waits = self.waiting() > 0
        if waits:
            self._say_what_waits(StudioClientError(TOO_LONG))
        return not waits

    def flush_at_the_end(self, patience_s: float = FLUSH_S, begin: float | None = None) -> bool:
        """As `flush`, when a script logs no more: what its node hands in is waited for a moment only.

        `begin` is when the waiting began, of which this is a part.
        """
        now = time.monotonic()
        most_s = min(patience_s, HANDED_IN_PATIENCE_S) if self._is_handed_in() else patience_s
        return self.flush_until((now if begin is None else begin) + most_s)

    def _is_handed_in(self) -> bool:
        """Whether the node of this submitted run stores what its script leaves (`studio_client.hand_in`)."""
        spool, aside = self._spool, self._aside
        is_kept = (spool is None or spool.is_on_disk) and (aside is None or aside._is_handed_in())
        return node_hands_in(self.api) and is_kept

    def _send_what_was_left(self, until: float) -> bool:
        """Send what processes that are gone have left of this run, such as workers that were killed."""
        try:
            left = send_left_behind(self.api, run_id=self.run_id, until=until, patience_s=math.inf)
            problem = next((one.problem for one in left if one.problem), "")
        except (StudioClientError, OSError) as error:
            problem = str(error)
        if problem:
            where = _where_they_wait(node_hands_in(self.api))
            self._warn_once(f"metrics that a process has left are not sent yet: {problem} {where}")
        return not problem

    def _send_all(self, until: float) -> StudioClientError | None:
        """Send all that was logged before; what hindered it, if anything did."""
        self._make_late_sendable()
        trouble, aside = self._send_own(until), self._aside
        if trouble is None and aside is not None:
            return aside._send_all(until)
        return trouble

    def _make_late_sendable(self) -> None:
        """If this interrupts who is at the spool, another spool takes what would wait for that one."""
        if not self._late:
            return
        with taken(self._lock, 0.0) as has_it:
            if not has_it:
                return
            self._settle()
            while (entry := self._next_late()) is not None:
                if self._aside is None:
                    self._aside = MetricSender(self.api, self.run_id, self._wake)
                self._aside._keep(entry)

    def _send_own(self, until: float) -> StudioClientError | None:
        spool = self._spool
        goal = 0 if spool is None else spool.added
        pause_s = _SHORTEST_PAUSE_S
        while spool is not None and spool is self._spool and spool.sent < goal:
            time.sleep(max(0.0, min(self._left_alone_until, until) - time.monotonic()))
            trouble = self._send_until(spool, goal, until, image_until=until)
            left = until - time.monotonic()
            if trouble is not None and (left <= 0 or _is_final(trouble)):
                return trouble
            if trouble is not None:
                time.sleep(min(pause_s, left))
                pause_s = min(2 * pause_s, 5.0)
        return None

    def send_in_background(self) -> bool:
        """Send what waits unless it is too early to try again; whether nothing waits any more."""
        if self._send_own_in_background() and self._aside is not None:
            self._aside.send_in_background()
        return not self.waiting()

    def _send_own_in_background(self) -> bool:
        """Whether all is sent that was logged before."""
        spool = self._spool
        if spool is None or not spool.waiting:
            return True
        now = time.monotonic()
        if now < max(self._retry_at, self._left_alone_until):
            return False
        trouble = self._send_until(spool, spool.added, now + ANSWER_S)
        if trouble is None:
            self._retry_at, self._pause_s = 0.0, 0.0
            return True
        logger.debug("metrics of run %s wait: %s", self.run_id, trouble.message)
        if _is_final(trouble):
            self._warn_once(f"its metrics are refused: {trouble}")
        self._pause_s = min(_LONGEST_PAUSE_S, max(1.0, 2 * self._pause_s))
        self._retry_at = time.monotonic() + self._pause_s
        return False

    def tidy(self) -> None:
        """Delete the spool if nothing waits in it; the next entry makes a new one of the same writer."""
        if self._aside is not None:
            self._aside.tidy()
        with taken(self._sending, 1.0) as has_it:
            if not has_it or self._is_sending:
                return
            # a handler that has interrupted an `add` has that lock, and may wait for the other one
            with taken(self._lock, 1.0) as may_delete:
                if may_delete:
                    self._delete_if_sent()

    def _delete_if_sent(self) -> None:
        if self._is_busy:
            return
        try:
            self._is_busy = True
            spool = self._spool
            if spool is not None and not spool.waiting:
                self._writer, self._seq = spool.writer, spool.seq
                self._spool = None
                spool.delete()
        finally:
            self._is_busy = False
            self._settle()

    def _opened(self) -> Spool:
        by = self.api.written_by
        self._spool = Spool.create(self.api.url, self.run_id, self._writer, self._seq, by=by)
        return self._spool

    def _note(self, spool: Spool, kept: bool) -> None:
        """Say once what went wrong, and have it sent."""
        if spool.trouble is not None:
            why, spool.trouble = spool.trouble.strerror or str(spool.trouble), None
            self._warn_once(f"its metrics wait in memory, because they cannot be kept on disk: {why}")
        if not kept:
            self._warn_once("more metrics wait than there is room for, so new ones are lost")
        is_much, spool.has_grown = spool.has_grown, False
        self._wake(is_much)

    def _say_it_is_lost(self, name: str, image: Image) -> None:
        why = "" if image.trouble is None else f": {image.trouble.strerror or image.trouble}"
        say(f"run {self.run_id}: the image {name!r} is lost, because there is no room for it{why}.")

    def _send_until(
        self, spool: Spool, goal: int, until: float, *, image_until: float = math.inf
    ) -> StudioClientError | None:
        """Send batches until `goal` entries are sent; what hindered it, if anything did."""
        with taken(self._sending, max(0.0, until - time.monotonic())) as has_it:
            if not has_it:
                return StudioClientError(TOO_LONG)
            if self._is_sending:
                return _Interrupted("a signal has interrupted their sending.")
            try:
                self._send_batches(spool, goal, until, image_until)
            except StudioClientError as error:
                self._left_alone_until = time.monotonic() + error.retry_after_s
                return error
            except OSError as error:
                return StudioClientError(f"they cannot be read now: {error.strerror or error}.")
            finally:
                if spool.lost is not None:
                    self._warn_once(f"metrics that waited on disk are gone: {spool.lost.strerror}")
        return None

    def _send_batches(self, spool: Spool, goal: int, until: float, image_until: float) -> None:
        try:
            self._is_sending = True
            self.api.learn_who_writes(timeout_s=min(ANSWER_S, max(1.0, until - time.monotonic())))
            spool.sign(self.api.written_by)
            if self._is_first:
                send_before(self.api, self.run_id, until)
                self._is_first = False
            while spool is self._spool and spool.sent < goal:
                left = until - time.monotonic()
                if left < 0 and spool.has_image_next:
                    raise StudioClientError(TOO_LONG)
                answer_s = min(ANSWER_S, max(1.0, left))
                if not send_next(self.api, spool, timeout_s=answer_s, image_until=image_until):
                    break
        finally:
            self._is_sending = False

    def _say_what_waits(self, trouble: StudioClientError) -> None:
        waiting = self._what_waits()
        if waiting == self._told:
            return
        self._told = waiting
        if isinstance(trouble, _Interrupted):
            where = "They are sent when the signal's handler has returned."
        else:
            where = _where_they_wait(self._is_handed_in())
        why = str(trouble) if isinstance(trouble, NotSignedIn) else trouble.message
        say(f"{self.waiting():,} metrics of run {self.run_id} are not sent yet: {why} {where}")

    def _what_waits(self) -> list[Any]:
        """Equal as long as the same entries wait."""
        spool, aside = self._spool, self._aside
        own = None if spool is None else (spool.writer, spool.seq, spool.added)
        return [own, None if aside is None else aside._what_waits()]

    def _warn_once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            say(f"run {self.run_id}: {text}")


def node_hands_in(api: Api) -> bool:
    """Whether the node of the submitted run whose token this is stores what is in the folder of spools."""
    is_own = config.in_run() and api.written_by == f"run:{os.environ['AZUREML_RUN_ID']}"
    return is_own and bool(os.environ.get("STUDIO_SPOOL_DIR"))


def _where_they_wait(is_handed_in: bool) -> str:
    if is_handed_in:
        return "The node of the run stores them when the script has ended."
    folder = spool_folder()
    return f"They are kept in {folder}; your next process that uses Studio sends them, or `studio sync`."


def _is_final(trouble: StudioClientError) -> bool:
    """Whether it is no use to wait: the server has said no, or what would send goes on only afterwards."""
    return isinstance(trouble, (NotSignedIn, NotAllowed, NotFound, Conflict, _Interrupted))


def _storable(step: int) -> int:
    """The step, if it has 64 bits at most; an entry is worth more than its step."""
    return step if NO_STEP < step < _INT_END else NO_STEP


def _plain(value: Any) -> Any:
    """What JSON cannot hold: numbers of numeric libraries as numbers, else its text."""
    item = getattr(value, "item", None)
    if callable(item):
        try:
            found = item()
            return float(found) if type(found) is type(value) else found
        except (TypeError, ValueError, RuntimeError):
            return str(value)
    return str(value)
