"""What happens to a run: it starts, gives signs of life, and ends as Completed, Failed or Canceled."""

from __future__ import annotations

from typing import Any

from ninja import Router, Status
from pydantic import BaseModel, Field

from runs.api.access import ApiRequest, find_run, find_writable, may_write_run, may_write_runs
from runs.api.errors import REFUSALS
from runs.api.run_shape import RunOut, run_out
from runs.api.schemas import In, Text
from runs.services.cancel import cancel_run
from runs.services.ending import Failure, complete_run, fail_run, report_failure
from runs.services.interactive import MOST_BEATS, beat, beat_all, start_run

router = Router(by_alias=True)


class FailureIn(In):
    """Why a run failed."""

    code: Text = Field("", description="A word for programs; cut after 100 characters.")
    message: Text = Field("", description="The reason as people read it.")
    traceback: Text = Field("", description="Of the exception, as it is printed.")
    exception_type: Text = Field("", description="Put before the message, as `ValueError: …`.")

    def failure(self) -> Failure:
        """The same for the services."""
        named = f"{self.exception_type}: {self.message}" if self.exception_type else self.message
        return Failure(self.code, named, self.traceback)


class CancelOut(BaseModel):
    """What a cancel did."""

    changed: int = Field(description="How many runs ended or were asked to stop, with those below it.")
    run: RunOut = Field(description="The run as it is now.")


class BeatsIn(In):
    """Runs that are alive."""

    run_ids: list[Text] = Field(
        max_length=MOST_BEATS, description="Their ids; the caller has to be allowed to write to all."
    )


class BeatsOut(BaseModel):
    """Those of the runs that need no more signs of life, in the order in which they were named."""

    ended: list[str] = Field(description="The ids of those that have ended.")
    unknown: list[str] = Field(description="Those that are the id of no run.")


def is_own(request: ApiRequest) -> bool:
    """Whether a script speaks of its own run, with that run's token: how its process ends decides."""
    return request.auth.run is not None and request.auth.run.pk == request.run.pk


@router.post("/runs/{run_id}/start", auth=may_write_run(), response={200: RunOut, **REFUSALS})
def run_start(request: ApiRequest, run_id: str) -> dict[str, Any]:
    """An interactive run that was NotStarted is Running from now on, and wants a heartbeat."""
    start_run(request.run, by=request.auth.user)
    return run_out(find_run(run_id))


@router.post("/runs/{run_id}/heartbeat", auth=may_write_run(), response={204: None, **REFUSALS})
def run_heartbeat(request: ApiRequest, run_id: str) -> Status[None]:
    """A sign of life of an interactive run; without any it becomes NotResponding, and later Failed."""
    beat(request.run)
    return Status(204, None)


@router.post("/heartbeats", auth=may_write_runs(), response={200: BeatsOut, **REFUSALS})
def run_heartbeats(request: ApiRequest, body: BeatsIn) -> dict[str, Any]:
    """Signs of life of many interactive runs; none if one of them is not the caller's to write to."""
    runs = {run.run_id: run for run in find_writable(request.auth, body.run_ids)}
    ended = beat_all(runs.values())
    return {
        "ended": [run_id for run_id in body.run_ids if run_id in runs and runs[run_id].pk in ended],
        "unknown": [run_id for run_id in body.run_ids if run_id not in runs],
    }


@router.post("/runs/{run_id}/complete", auth=may_write_run(), response={200: RunOut, **REFUSALS})
def run_complete(request: ApiRequest, run_id: str) -> dict[str, Any]:
    """End it as Completed; what a node runs of it is stopped. With the run's own token nothing happens."""
    if not is_own(request):
        complete_run(request.run, by=request.auth.user)
    return run_out(find_run(run_id))


@router.post("/runs/{run_id}/fail", auth=may_write_run(), response={200: RunOut, **REFUSALS})
def run_fail(request: ApiRequest, run_id: str, body: FailureIn) -> dict[str, Any]:
    """End it as Failed; what a node runs of it is stopped. With the run's own token the reason is kept."""
    if is_own(request):
        report_failure(request.run, body.failure())
    else:
        fail_run(request.run, body.failure(), by=request.auth.user)
    return run_out(find_run(run_id))


@router.post("/runs/{run_id}/cancel", auth=may_write_run(), response={200: CancelOut, **REFUSALS})
def run_cancel(request: ApiRequest, run_id: str) -> dict[str, Any]:
    """Cancel it and all that descends from it. `changed` is 0 if it has ended or was asked before."""
    report = cancel_run(request.run, by=request.auth.user)
    return {"changed": report.changed, "run": run_out(find_run(run_id))}
