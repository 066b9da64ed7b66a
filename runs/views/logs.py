"""The Logs tab of a run: the page, the lines that come and go, the search, the raw bytes."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe

from runs.downloads import UNTRUSTED
from runs.log_gaps import note_in_file
from runs.models import Run
from runs.services import logs
from runs.services.log_pages import (
    Log,
    LogPage,
    page_after,
    page_around,
    page_at_end,
    page_before,
    page_of_news,
)
from runs.services.log_search import search_log
from runs.views.log_frame import (
    CHILDREN_SHOWN,
    Emptiness,
    FoundLines,
    LogChoice,
    files_version_now,
    found_lines,
    log_choice,
    log_list,
    number_in,
    own_and_child_files,
    peek,
    state_of,
    term_in,
    why_empty,
)
from runs.views.parts import wants_part
from runs.views.run_frame import find_run, run_frame, run_url


@require_safe
def run_logs(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """The tab, opened at the log's end, around `?line=` or `?at=` (an offset), or at the first line found.

    Seven queries, whatever the log's size: session, run, children, shell, files, lines, their first number;
    one more to list the children, and up to four for why there are no lines.
    """
    run = find_run(request, name, number)
    if "open" in request.GET:
        return _open_chosen(request, run)
    frame = run_frame(run, request, tab="logs")
    files, children = own_and_child_files(run, frame["n_children"])
    choice = log_choice(request, run, files)
    size = sum(f.size for f in files if (f.name, f.attempt) == (choice.name, choice.attempt))
    log = Log(run, choice.name, choice.attempt, size, complete=run.is_terminal)
    found, page, empty = _to_show(request, log, choice)
    context = {
        "found": found,
        **frame,
        **_lines_context(request, run, choice, page),
        "log_list": log_list(run, choice, files, children),
        "n_hidden_children": max(0, frame["n_children"] - CHILDREN_SHOWN),
        "empty": empty,
    }
    if wants_part(request, "log-empty"):
        return render(request, "run/_log_empty.html", context)
    return render(request, "run/run_logs.html", context, status=404 if empty and empty.is_unknown else 200)


def _to_show(
    request: HttpRequest, log: Log, choice: LogChoice
) -> tuple[FoundLines | None, LogPage, Emptiness | None]:
    """What a search without script found, the lines, and why there are none."""
    if not log.size:
        return None, LogPage(), why_empty(log.run, choice)
    found = found_lines(request, log, choice.url(log.run))
    return found, _page_asked_for(request, log, found), None


@require_safe
def run_log_files(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """The list of files; 204 while no file of the run has grown since `?seen=` (2 queries)."""
    if request.GET.get("seen") == files_version_now(request, name, number):
        return HttpResponse(status=204)
    run = find_run(request, name, number)
    n_children = run.children.count()
    files, children = own_and_child_files(run, n_children)
    choice = log_choice(request, run, files)
    context = {
        "run": run,
        "is_live": not run.is_terminal,
        "choice": choice,
        "files_url": choice.url(run, "run-log-files"),
        "log_list": log_list(run, choice, files, children),
        "n_hidden_children": max(0, n_children - CHILDREN_SHOWN),
    }
    return render(request, "run/_log_files.html", context)


@require_safe
def run_log_lines(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """Lines for an open page: what came `after` an offset, `before` one, `from` one on, or around `at`.

    A poll (`after`, with `seen` bytes and `state`) that finds nothing new is answered 204: two queries,
    session and run.
    """
    found = peek(request, name, number)
    if found is None:
        raise Http404(f"There is no run {number} in the experiment {name}.")
    run, log = found
    if number_in(request, "seen") == log.size and request.GET.get("state") == state_of(run):
        return HttpResponse(status=204)
    choice = LogChoice(log.attempt, log.name, log.attempt == run.attempt)
    page = _page_asked_for(request, log)
    return render(request, "run/_log_lines.html", {"run": run, **_lines_context(request, run, choice, page)})


@require_safe
def run_log_search(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """The next lines that have the term `?q=`, from an `offset` (on the line `number`) on, as JSON.

    `next` is where to go on, or null when the whole log was searched; `end` is where to go on when it has
    grown: at its last line, if that may still change; `partial` says that a part on the way is lost.
    """
    found = peek(request, name, number)
    if found is None:
        raise Http404(f"There is no run {number} in the experiment {name}.")
    offset, line = number_in(request, "offset") or 0, number_in(request, "line") or 1
    result = search_log(found[1], term_in(request), offset=offset, number=line)
    return JsonResponse(
        {
            "hits": [[hit.number, hit.offset, hit.matches] for hit in result.hits],
            "next": None if result.is_done else [result.offset, result.number],
            "end": [result.offset - result.open_bytes, result.number],
            "partial": result.is_partial,
        }
    )


@require_safe
def run_log_raw(request: HttpRequest, name: str, number: int) -> HttpResponse | StreamingHttpResponse:
    """Every byte of the log as a download, and notes on lost ones; memory does not grow with it."""
    found = peek(request, name, number)
    if found is None or not found[1].size:
        raise Http404("There is no such log.")
    run, log = found
    portions = logs.iter_log(run, log.name, log.attempt, end=log.size, lost=note_in_file)
    response = StreamingHttpResponse(portions, content_type="text/plain; charset=utf-8", headers=UNTRUSTED)
    filename = f"{run.experiment.name}-{run.number}-{log.name.replace('/', '-')}"
    response["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=filename)
    response["Content-Length"] = str(log.size)
    return response


def _open_chosen(request: HttpRequest, run: Run) -> HttpResponse:
    """What the select of narrow windows chose: `run_id:name`, of this run or of a child."""
    run_id, _, file = request.GET["open"].rpartition(":")
    chosen = run
    if run_id != run.run_id and "\0" not in run_id:
        chosen = run.children.filter(run_id=run_id).select_related("experiment").first() or run
    attempt = number_in(request, "attempt") if chosen == run else None
    return redirect(LogChoice(attempt or run.attempt, file, attempt is None).url(chosen))


def _page_asked_for(request: HttpRequest, log: Log, found: FoundLines | None = None) -> LogPage:
    """The lines that the query string asks for, or the last ones."""
    find = term_in(request)
    if (after := number_in(request, "after")) is not None:
        if "count" in request.GET:
            return LogPage(after, after, log.size)
        return page_of_news(log, after, number_in(request, "number") or 1, find)
    if (before := number_in(request, "before")) is not None:
        return page_before(log, before, find)
    if (start := number_in(request, "from")) is not None:
        return page_after(log, start, find=find)
    if line := number_in(request, "line"):
        return page_around(log, log.offset_of(line), find)
    if (at := number_in(request, "at")) is not None:
        return page_around(log, at, find)
    if found and found.first_offset is not None:
        return page_around(log, found.first_offset, find)
    return page_at_end(log, find)


def _lines_context(request: HttpRequest, run: Run, choice: LogChoice, page: LogPage) -> dict[str, Any]:
    """Context of `run/_log_lines.html`: the lines, and what the page has to know to go on."""
    counted = "count" in request.GET or page.has_later
    total = logs.line_count(run, choice.attempt, choice.name) if counted else 0
    return {
        "page": page,
        "choice": choice,
        "term": term_in(request),
        "state": state_of(run),
        "chosen_line": number_in(request, "line"),
        "total_lines": total or page.last_number,
        "page_url": run_url(run, "run-logs"),
        "log_url": choice.url(run),
        "lines_url": choice.fixed_url(run, "run-log-lines"),
        "search_url": choice.fixed_url(run, "run-log-search"),
        "raw_url": choice.fixed_url(run, "run-log-raw"),
        "files_url": choice.url(run, "run-log-files"),
    }
