"""The trail of a run: every change of its status."""

from __future__ import annotations

from typing import Any

from ninja import Router
from pydantic import BaseModel, Field

from runs.api.access import ApiRequest, may_read_run
from runs.api.errors import REFUSALS
from runs.api.paging import Asked, Page, page_by
from runs.api.schemas import Moment
from runs.models import RunEvent

router = Router(by_alias=True)


class EventOut(BaseModel):
    """A change of status."""

    seq: int = Field(description="1, 2, 3 and so on for each run.")
    at: Moment = Field(description="When the status changed.")
    from_status: str = Field(serialization_alias="from", description="The status before.")
    to_status: str = Field(serialization_alias="to", description="The status after.")
    by: str | None = Field(description="The username of who asked for it; null where no person did.")
    attempt: int = Field(description="Of the run at that moment; 0 before the first.")
    why: str = Field(description='A few words; "" for none.')


def _event_out(event: RunEvent) -> dict[str, Any]:
    names = ("seq", "at", "from_status", "to_status", "attempt", "why")
    return {name: getattr(event, name) for name in names} | {"by": event.by.username if event.by else None}


@router.get("/runs/{run_id}/events", auth=may_read_run(), response={200: Page[EventOut], **REFUSALS})
def event_list(request: ApiRequest, run_id: str, paging: Asked) -> dict[str, Any]:
    """The changes of a run's status, oldest first: when, by whom and why. They never change."""
    found, onward = page_by(request.run.events.select_related("by"), "seq", paging)
    return {"items": [_event_out(event) for event in found], "next_cursor": onward}
