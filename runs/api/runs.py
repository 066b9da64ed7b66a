"""Runs: looked at one by one."""

from __future__ import annotations

from typing import Any

from ninja import Router

from runs.api.access import ApiRequest, may_read_run
from runs.api.errors import REFUSALS
from runs.api.run_shape import RunOut, run_out
from runs.services.compute import why_waiting

router = Router(by_alias=True)


@router.get("/runs/{run_id}", auth=may_read_run(), response={200: RunOut, **REFUSALS})
def run_detail(request: ApiRequest, run_id: str) -> dict[str, Any]:
    """One run. Of a queued one, `status_reason` says why it waits."""
    waiting = why_waiting(request.run)
    return run_out(request.run, status_reason=waiting.reason if waiting else None)
