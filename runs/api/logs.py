"""The logs of a run: read by byte offset, waited for, and added to by interactive runs."""

from __future__ import annotations

from typing import Annotated, Any

from django.http import HttpResponse
from ninja import Router
from pydantic import BaseModel, Field

from runs.api.access import ApiRequest, may_read_run, may_write_run
from runs.api.bodies import gives_bytes, takes_bytes
from runs.api.errors import REFUSALS
from runs.api.long_polls import wait_until
from runs.api.parameters import Query
from runs.api.schemas import Moment, Text
from runs.downloads import BYTES, UNTRUSTED
from runs.services.log_following import ADDED_BYTES, LogState, add_to_log, log_state
from runs.services.logs import READ_BYTES, log_files_of, read_log
from runs.services.waiting import stop_waiting, wait_for_child
from runs.status import TERMINAL

router = Router()

WAIT_S = 20
_LAST_OFFSET = 2**62

Attempt = Annotated[int, Field(ge=0, le=2**31 - 1)]
Offset = Annotated[int, Field(ge=0, le=_LAST_OFFSET)]


class LogOut(BaseModel):
    """A log file of one attempt."""

    name: str = Field(description="Its path, such as `user_logs/std_log.txt`.")
    size: int = Field(description="In bytes.")
    attempt: int = Field(description="Whose it is, from 1; 0 for an interactive run.")
    updated_at: Moment = Field(description="When it last grew.")


class LogList(BaseModel):
    """All logs of a run."""

    items: list[LogOut] = Field(description="The logs, by attempt and name.")


class LogsAsked(BaseModel):
    """Which logs are wanted: of one attempt, or of all."""

    attempt: Attempt | None = Field(None, description="All attempts if it is left out.")


class LogPart(BaseModel):
    """Which bytes of which attempt's log are wanted."""

    offset: Offset = Field(0, description="The place of the first byte that is wanted, from 0.")
    length: int = Field(2**20, ge=1, le=READ_BYTES, description="At most so many bytes are answered.")
    attempt: Attempt | None = Field(None, description="The current attempt if it is left out.")
    wait: float = Field(0, ge=0, le=WAIT_S, description="So many seconds at most for a byte past `offset`.")


class LogEnd(BaseModel):
    """Where a log ends now."""

    size: int = Field(description="In bytes; the `offset` of what is added next.")


@router.get("/runs/{run_id}/logs", auth=may_read_run(), response={200: LogList, **REFUSALS})
def log_list(request: ApiRequest, run_id: str, asked: Annotated[LogsAsked, Query()]) -> dict[str, Any]:
    """The logs of every attempt, or of one, by attempt and name."""
    files = log_files_of([request.run.pk])[request.run.pk]
    shown = [file for file in files if asked.attempt in (None, file.attempt)]
    return {
        "items": [
            {"name": one.name, "size": one.size, "attempt": one.attempt, "updated_at": one.updated}
            for one in shown
        ]
    }


@router.get(
    "/runs/{run_id}/logs/{path:path}",
    auth=may_read_run(),
    response=REFUSALS,
    openapi_extra=gives_bytes(),
)
def log_read(request: ApiRequest, run_id: str, path: Text, part: Annotated[LogPart, Query()]) -> HttpResponse:
    """Bytes of a log from an offset on; with `wait`, as soon as there is one, or no more can come.

    The header `Studio-Log-Size` says where the log ends now, `Studio-Log-Attempt` whose log it is, and
    `Studio-Run-Status` how the run stands: of a run that has ended, the log is whole. A run that waits with
    its own token for the log of one that descends from it gives its slot back, as if it waited for its end.
    """
    run = request.run
    waiter = request.auth.parent_of(run) if part.wait > 0 else None
    is_old = part.attempt is not None and part.attempt < run.attempt
    if waiter is not None and not run.is_terminal and not is_old:
        log_state(run, path, part.attempt)  # who asks for a log that is not there does not wait for it
        wait_for_child(waiter, run)

    def is_news(state: LogState) -> bool:
        return state.size > part.offset or not state.may_grow

    state = wait_until(is_news, lambda: log_state(run, path, part.attempt), timeout_s=part.wait)
    if waiter is not None and state.run_status in TERMINAL:
        stop_waiting(waiter)
    end = min(part.offset + part.length, state.size)
    data = read_log(run, path, part.offset, end, state.attempt) if end > part.offset else b""
    facts = {
        "Studio-Log-Size": str(state.size),
        "Studio-Log-Attempt": str(state.attempt),
        "Studio-Run-Status": state.run_status.value,
    }
    return HttpResponse(data, content_type=BYTES, headers=UNTRUSTED | facts)


@router.post(
    "/runs/{run_id}/logs/{path:path}",
    auth=may_write_run(),
    response={200: LogEnd, **REFUSALS},
    openapi_extra=takes_bytes(),
)
def log_append(
    request: ApiRequest,
    run_id: str,
    path: Text,
    offset: Annotated[Offset, Query(description="In bytes, where the log ends and these begin.")],
) -> dict[str, int]:
    """Add bytes (a mebibyte at most) at the end of an interactive run's log, which `offset` has to be.

    Sent again, they are not added again. Any other offset is refused with the right one as `expected`.
    """
    data = request.read(ADDED_BYTES + 1)
    return {"size": add_to_log(request.run, path, offset, data)}
