"""Logs: bytes appended exactly once while a run writes them, kept in pieces, read from any place.

What is written last lies in database rows; each mebibyte of it is rolled up into a piece in the storage.
A piece is stored before its row is written, and rows are replaced in one transaction, so whatever is killed
at whatever moment, a reader finds every byte that was taken, once.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import IntegrityError, transaction
from django.db.models import BinaryField, Case, F, Max, QuerySet, Sum, Value, When
from django.db.models.functions import Now
from django.utils import timezone

from runs.errors import Conflict, InvalidInput, InvalidName, NotFound, OffsetMismatch, StaleAttempt
from runs.log_gaps import lines_beside, note_on_page
from runs.models import LogChunk, Run

#: The log that the script's own output goes to.
STD_LOG = "user_logs/std_log.txt"
#: The longest stretch that one call takes, and the longest piece.
PIECE_BYTES = 8 << 20
#: So much of a log lies in database rows before it is rolled up; more than this at once is stored directly.
INLINE_BYTES = 1 << 20
#: The most that one call gives back; whoever wants more iterates.
READ_BYTES = 8 << 20
#: A row shorter than this takes what comes next, so that a log that trickles does not become a row per word.
ROW_BYTES = 4 << 10

#: Makes what stands in the place of a part that is lost, from its size and its newlines; as long as the part.
Note = Callable[[int, int], bytes]

_TRIES = 8
_WINDOW_BYTES = 1 << 20
_ORPHAN_AGE = timedelta(hours=1)


@dataclass(frozen=True)
class LogFile:
    """One log file of one attempt: its name, its size in bytes, its newlines, and when it last grew."""

    attempt: int
    name: str
    size: int
    lines: int
    updated: datetime

    @property
    def folder(self) -> str:
        """The part of the name before the last slash."""
        return self.name.rpartition("/")[0]

    @property
    def title(self) -> str:
        """The part of the name after the last slash."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True)
class _End:
    """Where a log ends, and its last row; `data` only of a row that may still grow."""

    pk: int = 0
    size: int = 0
    row_size: int = 0
    newlines: int = 0
    row_newlines: int = 0
    data: bytes | None = None


def append_log(
    run: Run | int, attempt: int, name: str, offset: int, data: bytes, *, compare: bool = False
) -> int:
    """Append bytes that begin at this offset of the log, and say where it ends now.

    Those that are there already are skipped; with `compare`, for writers that may not know of each other,
    they have to be the same. Three queries at most, and a roll-up once per mebibyte. Raises OffsetMismatch
    when bytes before `offset` are missing, or differ, StaleAttempt when the run is at another attempt,
    NotFound without such a run.
    """
    run_pk = run if isinstance(run, int) else run.pk
    _check(name, offset, data)
    log = _chunks(run_pk, attempt, name)
    for _ in range(_TRIES):
        end = _end_for_append(run_pk, attempt, name)
        overlap = data[: end.size - offset] if offset <= end.size else b""
        differs = compare and overlap and overlap != _read(log, offset, offset + len(overlap))
        if offset > end.size or differs:
            raise OffsetMismatch(f"The log ends at {end.size:,}, not at {offset:,}.", expected=end.size)
        fresh = data[end.size - offset :]
        if not fresh:
            return end.size
        if _write(run_pk, attempt, name, end, fresh):
            if end.size // INLINE_BYTES != (end.size + len(fresh)) // INLINE_BYTES:
                _store_rows(log)
            return end.size + len(fresh)
    raise Conflict(f"Too many writers append to {name} at once.")


def log_size(run: Run | int, attempt: int | None, name: str) -> int:
    """How many bytes a log has; 0 for one that does not exist. One query."""
    chunks = _of(run, name, attempt)
    return chunks.order_by("-offset").values_list(F("offset") + F("size"), flat=True).first() or 0


def line_count(run: Run, attempt: int | None, name: str) -> int:
    """How many lines a log has, with the one at its end if that has no newline yet. Two queries."""
    chunk = _of(run, name, attempt).order_by("-offset").defer("data").first()
    if chunk is None:
        return 0
    end = chunk.offset + chunk.size
    return chunk.line + chunk.newlines + (_read(_of(run, name, attempt), end - 1, end, note_on_page) != b"\n")


def log_files_of(run_pks: Iterable[int]) -> dict[int, list[LogFile]]:
    """The logs of these runs, of every attempt, by attempt and name; [] for a run without. One query."""
    files: dict[int, list[LogFile]] = {pk: [] for pk in run_pks}
    rows = (
        LogChunk.objects.filter(run__in=list(files))
        .values("run", "attempt", "name")
        .annotate(bytes=Sum("size"), lines=Sum("newlines"), updated=Max("created_at"))
        .order_by("attempt", "name")
    )
    for pk, *facts in rows.values_list("run_id", "attempt", "name", "bytes", "lines", "updated"):
        files[pk].append(LogFile(*facts))
    return files


def has_log(run: Run) -> bool:
    """Whether any attempt of the run has a log. One query."""
    return LogChunk.objects.filter(run=run).exists()


def read_log(
    run: Run, name: str, start: int, end: int, attempt: int | None = None, *, lost: Note | None = None
) -> bytes:
    """The bytes from `start` to before `end`, fewer at the end of the log, at most READ_BYTES. One query.

    `lost` notes stand in the place of parts that the storage has lost; without them reading ends before such
    a part, and NotFound is raised at one.
    """
    return _read(_of(run, name, attempt), start, end, lost)


def _read(chunks: QuerySet[LogChunk], start: int, end: int, lost: Note | None = None) -> bytes:
    start = max(0, start)
    end = min(end, start + READ_BYTES)
    chunks = chunks.filter(offset__gt=start - PIECE_BYTES, offset__lt=end)
    chunks = chunks.alias(ends=F("offset") + F("size")).filter(ends__gt=start).order_by("offset")
    parts: list[bytes] = []
    for chunk in chunks:
        try:
            parts.append(_part(chunk, start, end, lost))
        except NotFound:
            if parts:
                break
            raise
    return b"".join(parts)


def tail(run: Run, name: str, size: int, attempt: int | None = None) -> tuple[int, bytes]:
    """The last bytes of a log, as a page shows them, and the offset at which they begin. Two queries."""
    end = log_size(run, attempt, name)
    start = max(0, end - size)
    return start, read_log(run, name, start, end, attempt, lost=note_on_page)


def iter_log(
    run: Run, name: str, attempt: int | None = None, *, end: int | None = None, lost: Note | None = None
) -> Iterator[bytes]:
    """The log up to `end`, or as it is now, in portions of bounded memory. A query per mebibyte."""
    end = log_size(run, attempt, name) if end is None else end
    at = 0
    while at < end:
        portion = read_log(run, name, at, min(end, at + _WINDOW_BYTES), attempt, lost=lost)
        if not portion:
            return
        yield portion
        at += len(portion)


def line_at(run: Run, name: str, offset: int, attempt: int | None = None) -> int:
    """The number, from 1, of the line that the byte at this offset is on. One query, one piece at most."""
    chunk = _of(run, name, attempt).filter(offset__lte=max(0, offset)).order_by("-offset").first()
    if chunk is None:
        return 1
    if offset >= chunk.offset + chunk.size:
        return chunk.line + chunk.newlines + 1
    return chunk.line + _part(chunk, chunk.offset, offset, note_on_page).count(b"\n") + 1


def offset_of_line(run: Run, name: str, number: int, attempt: int | None = None) -> int:
    """Where the line of this number, from 1, begins; the size of the log when it has fewer lines.

    Reads one piece at most.
    """
    if number <= 1:
        return 0
    chunks = _of(run, name, attempt)
    chunk = chunks.filter(line__lt=number - 1).order_by("-offset").defer("data").first()
    if chunk is None:
        return 0
    end = chunk.offset + chunk.size
    missing = number - 1 - chunk.line
    if missing > chunk.newlines:
        return end
    data, at = read_log(run, name, chunk.offset, end, attempt, lost=note_on_page), -1
    if lines_beside(data):  # one note stands for all lines that begin in the part, but the last
        return end if missing == chunk.newlines else chunk.offset + data.find(b"\n") + 1
    for _ in range(missing):
        at = data.find(b"\n", at + 1)
    return chunk.offset + at + 1


def roll_up(run: Run, attempt: int | None = None) -> None:
    """Put what still lies in database rows into stored pieces, and drop pieces that nothing refers to.

    To be called when an attempt has ended; `attempt` None means every attempt. Can be repeated.
    """
    chunks = LogChunk.objects.filter(run=run)
    if attempt is not None:
        chunks = chunks.filter(attempt=attempt)
    logs = chunks.filter(storage_name="").values_list("attempt", "name").distinct().order_by()
    for one_attempt, name in list(logs):
        _store_rows(_chunks(run.pk, one_attempt, name))
    _drop_orphans(run.pk, chunks)


def _check(name: str, offset: int, data: bytes) -> None:
    if not name or len(name) > 255 or not name.isprintable():
        raise InvalidName("A log's name has 1 to 255 printable letters.", field="name")
    if offset < 0:
        raise InvalidInput("An offset cannot be negative.", field="offset")
    if len(data) > PIECE_BYTES:
        raise InvalidInput(f"At most {PIECE_BYTES:,} bytes can be appended at once.", field="data")


def _chunks(run_pk: int, attempt: int, name: str) -> QuerySet[LogChunk]:
    return LogChunk.objects.filter(run_id=run_pk, attempt=attempt, name=name)


def _of(run: Run | int, name: str, attempt: int | None) -> QuerySet[LogChunk]:
    if isinstance(run, int):
        return _chunks(run, attempt or 0, name)
    return _chunks(run.pk, run.attempt if attempt is None else attempt, name)


def _end_for_append(run_pk: int, attempt: int, name: str) -> _End:
    """Where the log ends. One query, or two for a log that is empty. Raises StaleAttempt and NotFound."""
    data = Case(
        When(size__lt=ROW_BYTES, then=F("data")), default=Value(None), output_field=BinaryField(null=True)
    )
    row = (
        _chunks(run_pk, attempt, name)
        .order_by("-offset")
        .values_list("pk", "offset", "size", "line", "newlines", data, "run__attempt")
        .first()
    )
    if row is None:
        current = Run.objects.filter(pk=run_pk).values_list("attempt", flat=True).first()
        if current is None:
            raise NotFound("There is no such run.")
        end = _End()
    else:
        pk, offset, size, line, newlines, inline, current = row
        inline = None if inline is None else bytes(inline)
        end = _End(pk, offset + size, size, line + newlines, newlines, inline)
    if current != attempt:
        raise StaleAttempt(
            f"The run is at attempt {current}, so attempt {attempt} can no longer write its log."
        )
    return end


def _write(run_pk: int, attempt: int, name: str, end: _End, fresh: bytes) -> bool:
    """Write what is new at the end; whether no other writer was there first."""
    newlines = fresh.count(b"\n")
    if end.data is not None and len(end.data) + len(fresh) <= ROW_BYTES:
        grown = LogChunk.objects.filter(pk=end.pk, size=end.row_size, storage_name="")
        return bool(
            grown.update(
                data=end.data + fresh,
                size=end.row_size + len(fresh),
                newlines=end.row_newlines + newlines,
                created_at=Now(),
            )
        )
    chunk = LogChunk(
        run_id=run_pk,
        attempt=attempt,
        name=name,
        offset=end.size,
        size=len(fresh),
        line=end.newlines,
        newlines=newlines,
    )
    if len(fresh) >= INLINE_BYTES:
        chunk.storage_name = _store(run_pk, attempt, end.size, fresh)
    else:
        chunk.data = fresh
    try:
        with transaction.atomic():
            chunk.save(force_insert=True)
    except IntegrityError:
        _discard(chunk.storage_name)
        return False
    return True


def _store(run_pk: int, attempt: int, offset: int, data: bytes) -> str:
    path = f"logs/{run_pk}/{attempt}/{offset:015d}-{secrets.token_hex(8)}"
    return default_storage.save(path, ContentFile(data))


def _discard(storage_name: str) -> None:
    if storage_name:
        default_storage.delete(storage_name)


def _drop_orphans(run_pk: int, chunks: QuerySet[LogChunk]) -> None:
    """Delete old pieces without a row, left by a process that was killed before it wrote the row."""
    for attempt in list(chunks.order_by("attempt").values_list("attempt", flat=True).distinct()):
        folder = f"logs/{run_pk}/{attempt}"
        try:
            stored = {f"{folder}/{name}" for name in default_storage.listdir(folder)[1]}
        except FileNotFoundError:
            continue
        known = set(chunks.filter(attempt=attempt).values_list("storage_name", flat=True))
        for name in sorted(stored - known):
            if _is_old(name):
                default_storage.delete(name)


def _is_old(storage_name: str) -> bool:
    """Whether no writer can be about to write this piece's row any more."""
    try:
        return timezone.now() - default_storage.get_modified_time(storage_name) > _ORPHAN_AGE
    except FileNotFoundError:
        return False  # its writer gave it up meanwhile


def _store_rows(chunks: QuerySet[LogChunk]) -> None:
    """Roll up all rows of one log that carry their bytes themselves."""
    rows = list(chunks.filter(storage_name="").order_by("offset").defer("data"))
    group: list[LogChunk] = []
    for row in rows:
        fits = not group or (
            row.offset == group[-1].offset + group[-1].size
            and row.offset + row.size - group[0].offset <= PIECE_BYTES
        )
        if not fits:
            _store_group(chunks, group)
            group = []
        group.append(row)
    if group:
        _store_group(chunks, group)


def _store_group(chunks: QuerySet[LogChunk], group: list[LogChunk]) -> None:
    """Replace rows that follow one another by one stored piece, unless somebody changed them meanwhile."""
    first, end = group[0], group[-1].offset + group[-1].size
    chunks = chunks.filter(offset__gte=first.offset, offset__lt=end, storage_name="").order_by("offset")
    data = b"".join(bytes(part or b"") for part in chunks.values_list("data", flat=True))
    if len(data) != end - first.offset:
        return
    piece = LogChunk(
        run_id=first.run_id,
        attempt=first.attempt,
        name=first.name,
        offset=first.offset,
        size=len(data),
        line=first.line,
        newlines=sum(row.newlines for row in group),
        storage_name=_store(first.run_id, first.attempt, first.offset, data),
    )
    with transaction.atomic():
        now = list(chunks.select_for_update().values_list("pk", "size"))
        unchanged = now == [(row.pk, row.size) for row in group]
        if unchanged:
            chunks.delete()
            piece.save(force_insert=True)
    if not unchanged:
        _discard(piece.storage_name)


def _part(chunk: LogChunk, start: int, end: int, lost: Note | None = None) -> bytes:
    """What a piece has of the stretch from `start` to before `end`.

    Where its file is gone or too short, that of the note that `lost` makes; without one, raises NotFound.
    """
    first = max(0, start - chunk.offset)
    last = min(chunk.size, end - chunk.offset)
    if chunk.data is not None:
        return bytes(chunk.data)[first:last]
    try:
        with default_storage.open(chunk.storage_name, "rb") as file:
            if file.size < chunk.size:
                raise FileNotFoundError(chunk.storage_name)
            file.seek(first)
            return file.read(last - first)
    except FileNotFoundError:
        if lost is not None:
            return lost(chunk.size, chunk.newlines)[first:last]
        behind = chunk.offset + chunk.size
        raise NotFound(
            f"Bytes {chunk.offset:,} to {behind - 1:,} of {chunk.name} are missing in the storage.",
            hint=f"Read on at offset {behind}.",
        ) from None
