"""Logs for programs: how far one has come, and what a process that Studio did not start adds to it."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.db.models import F, OuterRef, Subquery

from runs.errors import Conflict, InvalidInput, InvalidName, InvalidSnapshot, NotFound, TooBig
from runs.models import LogChunk, Run
from runs.services import archives
from runs.services.logs import INLINE_BYTES, STD_LOG, append_log
from runs.status import TERMINAL, Kind, Status

#: The most that one call adds.
ADDED_BYTES = INLINE_BYTES
#: What only Studio itself writes.
OWN_FOLDER = "system_logs/"


@dataclass(frozen=True)
class LogState:
    """How far the log of one attempt has come, and whether more may come."""

    attempt: int
    size: int
    run_status: Status
    run_attempt: int

    @property
    def may_grow(self) -> bool:
        """Whether somebody may still write it."""
        return self.run_status not in TERMINAL and self.attempt >= self.run_attempt


def log_state(run: Run, name: str, attempt: int | None = None) -> LogState:
    """The state of a log now, of the current attempt if none is said. One query.

    A log without a byte has size 0 while it may still come, and the log that scripts print to always may have
    been left empty; any other name, and an attempt that has not begun, is NotFound.
    """
    chunks = LogChunk.objects.filter(
        run=OuterRef("pk"), attempt=OuterRef("attempt") if attempt is None else attempt, name=name
    ).order_by("-offset")
    size = Subquery(chunks.annotate(end=F("offset") + F("size")).values("end")[:1])
    row = Run.objects.filter(pk=run.pk).annotate(log_size=size).values_list("status", "attempt", "log_size")
    status, current, stored = row.get()
    if attempt is not None and attempt > current:
        raise NotFound(
            f"The run has no attempt {attempt}.", field="attempt", hint=f"The newest is {current}."
        )
    state = LogState(current if attempt is None else attempt, stored or 0, Status(status), current)
    if not state.size and not state.may_grow and name != STD_LOG:
        raise NotFound(f"The run has no log {archives.shown(name)}.", field="path")
    return state


def add_to_log(run: Run, name: str, offset: int, data: bytes) -> int:
    """Append what an interactive run logs, at the end of the log; where it ends now.

    Bytes that are there already may be sent again. Raises OffsetMismatch for any other offset than the end,
    Conflict for runs whose log their node writes, InvalidName, TooBig for more than ADDED_BYTES, and
    InvalidInput past the size of a log.
    """
    if run.kind != Kind.INTERACTIVE:
        raise Conflict(
            "The node writes the log of a submitted run.",
            hint="What its script prints, and the text files that it writes to logs/, are there already.",
        )
    _check_name(name)
    if len(data) > ADDED_BYTES:
        raise TooBig(f"At most {ADDED_BYTES:,} bytes can be added at once.", field="body")
    if offset + len(data) > settings.LOG_CAP_BYTES:
        raise InvalidInput(
            f"A log may have {archives.limit_text(settings.LOG_CAP_BYTES)}.",
            field="offset",
            hint="Whoever runs this server can raise STUDIO_LOG_CAP_BYTES.",
        )
    if offset == 0:
        _check_count(run, name)
    return append_log(run, run.attempt, name, offset, data, compare=True)


def _check_name(name: str) -> None:
    try:
        clean = archives.check_name(name)
    except InvalidSnapshot as error:
        raise InvalidName(error.message, field="path") from None
    if clean != name or name.startswith(OWN_FOLDER):
        raise InvalidName(
            f"A log cannot be called {archives.shown(name)}.",
            field="path",
            hint="Call it logs/…, such as logs/user_log.txt.",
        )


def _check_count(run: Run, name: str) -> None:
    others = LogChunk.objects.filter(run=run, offset=0).exclude(name=name)
    if others.count() >= settings.OUTPUTS_MAX_FILES:
        raise InvalidInput(f"A run may have {settings.OUTPUTS_MAX_FILES:,} logs.", field="path")
