"""What stands around the lines on the Logs tab: which log it is, the files beside it, why it is empty."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlencode

from django.db.models import Case, F, IntegerField, OuterRef, QuerySet, Subquery, Sum, Value, When
from django.http import HttpRequest
from django.utils import timezone

from runs.folding import clean
from runs.models import LogChunk, Run
from runs.services import logs
from runs.services.compute import why_waiting
from runs.services.log_pages import Log
from runs.services.log_search import search_log
from runs.services.logs import STD_LOG, LogFile
from runs.status import ACTIVE, ON_NODE, TERMINAL, ErrorClass, Kind, Status
from runs.views.run_frame import at_address, run_url

LAUNCH_LOG = "system_logs/launch.log"
CHILDREN_SHOWN = 30
#: Lines that a search without script names at once.
FOUND_SHOWN = 100
_FOLDERS = ["user_logs", "logs", "", "system_logs"]
_GROWS_WITHIN = timedelta(seconds=15)


@dataclass(frozen=True)
class FileEntry:
    """One file in the list."""

    file: LogFile
    url: str
    is_current: bool = False
    is_live: bool = False


@dataclass(frozen=True)
class FileGroup:
    """The files of one folder."""

    folder: str
    files: list[FileEntry]


@dataclass(frozen=True)
class ChildLogs:
    """A child run, with the logs of its current attempt."""

    run: Run
    url: str
    files: list[FileEntry]


@dataclass(frozen=True)
class LogChoice:
    """Which log a request is about: of which attempt, by which name."""

    attempt: int
    name: str
    is_current_attempt: bool

    def url(self, run: Run, view: str = "run-logs") -> str:
        """The address of a page or part about this log, of whatever attempt is current if this one is."""
        return log_url(run, view, self.name, None if self.is_current_attempt else self.attempt)

    def fixed_url(self, run: Run, view: str) -> str:
        """The same for a part that stays with this attempt; before the first, it goes on with that."""
        return log_url(run, view, self.name, self.attempt or None)


@dataclass(frozen=True)
class LogList:
    """The list at the left: the run's own files, its attempts, and its children's files."""

    groups: list[FileGroup]
    attempts: list[int]
    children: list[ChildLogs] = field(default_factory=list)
    seen: str = ""


@dataclass(frozen=True)
class Emptiness:
    """Why there are no lines; `is_unknown` when nobody ever wrote a log of this name."""

    title: str
    text: str = ""
    is_unknown: bool = False


@dataclass(frozen=True)
class FoundLines:
    """What a search without script found: numbers of lines, and where it goes on ("" at the end).

    `is_partial` says that a part of the log is lost.
    """

    numbers: list[int]
    first_offset: int | None
    more_url: str = ""
    is_partial: bool = False


def log_url(run: Run, view: str, name: str, attempt: int | None = None) -> str:
    """An address about one log; without `attempt` it stays with the current one."""
    query = {"file": name} | ({"attempt": attempt} if attempt is not None else {})
    return f"{run_url(run, view)}?{urlencode(query, safe='/')}"


def number_in(request: HttpRequest, key: str) -> int | None:
    """A whole number from the query string; None for nothing or nonsense."""
    text = request.GET.get(key, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None


def term_in(request: HttpRequest) -> str:
    """What is searched for."""
    return request.GET.get("q", "").replace("\0", "")


def found_lines(request: HttpRequest, log: Log, url: str) -> FoundLines | None:
    """The next lines with the term `?q=`, where `?find=` asks for them; up to a second over a large log."""
    term = term_in(request)
    if not term or "find" not in request.GET:
        return None
    offset, line = number_in(request, "offset") or 0, number_in(request, "number") or 1
    result = search_log(log, term, offset=offset, number=line)
    hits, rest = result.hits[:FOUND_SHOWN], result.hits[FOUND_SHOWN:]
    goes_on = (rest[0].offset, rest[0].number) if rest else (result.offset, result.number)
    more = urlencode({"q": term, "find": 1, "offset": goes_on[0], "number": goes_on[1]})
    return FoundLines(
        numbers=[hit.number for hit in hits],
        first_offset=hits[0].offset if hits else None,
        more_url=f"{url}&{more}" if rest or not result.is_done else "",
        is_partial=result.is_partial,
    )


def log_choice(request: HttpRequest, run: Run, files: list[LogFile]) -> LogChoice:
    """The log that was asked for, or else the one that tells most."""
    attempt = number_in(request, "attempt")
    attempt = run.attempt if attempt is None else attempt
    name = request.GET.get("file", "")
    if not name or "\0" in name:
        name = _first_to_read(run, [file.name for file in files if file.attempt == attempt])
    return LogChoice(attempt, name, attempt == run.attempt)


def peek(request: HttpRequest, name: str, number: int) -> tuple[Run, Log] | None:
    """The run and the log of a request from an open page, in one query; None if there is no such run."""
    if "\0" in name:
        return None
    file = request.GET.get("file", STD_LOG).replace("\0", "")
    attempt = number_in(request, "attempt")
    found = _with_log_size(file, attempt).filter(at_address(request, name, number))
    run = found.select_related("experiment").first()
    if run is None:
        return None
    shown = run.attempt if attempt is None else attempt
    return run, Log(run, file, shown, run.log_size or 0, complete=run.is_terminal)  # type: ignore[attr-defined]


def _with_log_size(file: str, attempt: int | None) -> QuerySet[Run]:
    chunks = LogChunk.objects.filter(
        run=OuterRef("pk"), attempt=OuterRef("attempt") if attempt is None else attempt, name=file
    ).order_by("-offset")
    size = Subquery(chunks.annotate(end=F("offset") + F("size")).values("end")[:1])
    return Run.objects.annotate(log_size=size).only("status", "attempt", "number", "experiment__name")


def state_of(run: Run) -> str:
    """What an open page has to hear of besides new bytes: another attempt, and the end."""
    return f"{run.attempt}:{run.status if run.is_terminal else ''}"


def _first_to_read(run: Run, names: list[str]) -> str:
    """A failure to launch is told by its own log, everything else by what the script prints."""
    if run.error_class == ErrorClass.LAUNCH and LAUNCH_LOG in names:
        return LAUNCH_LOG
    will_print = run.kind in (Kind.SCRIPT, Kind.STEP) and not run.is_terminal
    if STD_LOG in names or not names or will_print:
        return STD_LOG
    own = [name for name in names if not name.startswith("system_logs/")]
    return (own or names)[0]


def log_list(run: Run, choice: LogChoice, files: list[LogFile], children: list[ChildLogs]) -> LogList:
    """The list at the left; no query."""
    shown = [file for file in files if file.attempt == choice.attempt]
    attempts = sorted({file.attempt for file in files} | {choice.attempt, run.attempt} - {0}, reverse=True)
    return LogList(
        groups=_groups(run, shown, choice),
        attempts=attempts,
        children=children,
        seen=files_version(files),
    )


def files_version(files: list[LogFile]) -> str:
    """One number that grows whenever one of the files does."""
    return str(sum(file.size for file in files))


def files_version_now(request: HttpRequest, name: str, number: int) -> str:
    """The same of the run at this address, in one query; "0" also without such a run."""
    chunks = LogChunk.objects.filter(at_address(request, name, number, of="run__"))
    return str(chunks.aggregate(bytes=Sum("size"))["bytes"] or 0)


def own_and_child_files(run: Run, n_children: int) -> tuple[list[LogFile], list[ChildLogs]]:
    """The logs of a run and of its children, those that failed first; one query, or two with children."""
    children = list(_children_to_list(run)) if n_children else []
    files = logs.log_files_of([run.pk, *(child.pk for child in children)])
    listed = []
    for child in children:
        current = [file for file in files[child.pk] if file.attempt == child.attempt]
        name = _first_to_read(child, [file.name for file in current])
        entries = [entry for group in _groups(child, current) for entry in group.files]
        listed.append(ChildLogs(child, log_url(child, "run-logs", name), entries))
    return files[run.pk], listed


def _children_to_list(run: Run) -> QuerySet[Run]:
    order = Case(
        When(status=Status.FAILED, then=Value(0)),
        When(status__in=sorted(ACTIVE), then=Value(1)),
        default=Value(2),
        output_field=IntegerField(),
    )
    children = run.children.select_related("experiment").defer("search_text", "error_traceback")
    return children.order_by(order, "number")[:CHILDREN_SHOWN]


def _groups(run: Run, files: list[LogFile], choice: LogChoice | None = None) -> list[FileGroup]:
    """The files by folder: what the script printed first, what Studio noted last."""
    by_folder: dict[str, list[FileEntry]] = {}
    grows_since = timezone.now() - _GROWS_WITHIN
    for file in sorted(files, key=lambda file: file.name != STD_LOG):
        live = run.status in ON_NODE and file.attempt == run.attempt and file.updated > grows_since
        attempt = None if file.attempt == run.attempt else file.attempt
        entry = FileEntry(
            file=file,
            url=log_url(run, "run-logs", file.name, attempt),
            is_current=choice is not None and choice.name == file.name,
            is_live=live,
        )
        by_folder.setdefault(file.folder, []).append(entry)
    folders = sorted(by_folder, key=lambda name: (_FOLDERS.index(name) if name in _FOLDERS else 1, name))
    return [FileGroup(folder, by_folder[folder]) for folder in folders]


def why_empty(run: Run, choice: LogChoice) -> Emptiness:
    """Why the log has no line; no query but for runs that wait."""
    if choice.name not in (STD_LOG, LAUNCH_LOG) or not 0 <= choice.attempt <= run.attempt:
        so_far = "" if run.is_terminal else " so far"
        text = f"Attempt {choice.attempt} has no log “{clean(choice.name[:120])}”{so_far}."
        return Emptiness("There is no such log", text, is_unknown=True)
    if not choice.is_current_attempt or choice.name != STD_LOG:
        return Emptiness("Nothing in this log", f"{choice.name} of attempt {choice.attempt} has no line.")
    if run.kind == Kind.PIPELINE:
        return Emptiness("A pipeline run prints nothing itself", "Its steps have the logs.")
    if run.kind == Kind.INTERACTIVE:
        return Emptiness("No log", "An interactive run keeps what its script logs, not what it prints.")
    if run.status == Status.NOT_STARTED:
        return Emptiness("No log yet: the step waits", _waits_for(run))
    if run.status == Status.QUEUED:
        waiting = why_waiting(run)
        return Emptiness("No log yet: the run is queued", waiting.reason if waiting else "")
    if run.status in TERMINAL:
        return _left_nothing(run)
    if run.started_at is None:
        return Emptiness("No log yet: the run is being prepared", "Its source is unpacked, then it starts.")
    return Emptiness("Nothing printed yet", "Lines appear here as the script prints them.")


def _waits_for(run: Run) -> str:
    names = [edge.waits_for.name for edge in run.dependencies.select_related("waits_for")]
    return (
        f"It starts when {' and '.join(names)} {'has' if len(names) == 1 else 'have'} Completed."
        if names
        else ""
    )


def _left_nothing(run: Run) -> Emptiness:
    if run.status == Status.COMPLETED:
        return Emptiness("No log", "The script printed nothing.")
    if run.started_at is None and run.status == Status.CANCELED:
        return Emptiness("No log", "The run was canceled before it started.")
    return Emptiness("No log", run.error_message or "The run ended before it printed anything.")
