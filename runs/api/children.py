"""The child runs of a run."""

from __future__ import annotations

from typing import Annotated, Any

from ninja import Router, Status
from pydantic import BaseModel, Field

from runs.api.access import ApiRequest, may_read_run, may_write_run
from runs.api.errors import REFUSALS
from runs.api.listing import LabelFilters, runs_out, with_labels
from runs.api.paging import Asked, Page, page_by
from runs.api.parameters import Query
from runs.api.run_shape import RunOut, new_run_out
from runs.api.runs import NewRunIn
from runs.api.schemas import In, Text
from runs.errors import InvalidInput
from runs.lifecycle import subtree
from runs.models import Run
from runs.services.interactive import MOST_CHILDREN, create_children
from runs.services.new_runs import NewRun
from runs.services.waiting import look_below
from runs.status import Kind

router = Router(by_alias=True)

#: The tag by which children of a counted batch are told apart, as Azure ML calls it.
CHILD_NUMBER = "azureml.batch_child_number"


class ChildFilters(LabelFilters):
    """Which children are listed."""

    recursive: bool = Field(False, description="Whether their children are, too.")
    kind: list[Kind] = Field(default_factory=list, description="One of these.")


class ChildrenIn(In):
    """New child runs: each described, or just so many."""

    children: list[NewRunIn] = Field(
        default_factory=list, max_length=MOST_CHILDREN, description="One entry for each new run."
    )
    count: int | None = Field(
        None,
        ge=0,
        le=MOST_CHILDREN,
        description="How many without a description of their own, instead of `children`.",
    )
    start: bool = Field(
        False, description="Whether they are Running from now on, with heartbeats to be sent."
    )
    batch_id: Text = Field("", max_length=200, description="The same request again gives what it made.")


class ChildrenOut(BaseModel):
    """The new child runs, in the order in which they were asked for."""

    items: list[RunOut] = Field(description="The runs.")


@router.get("/runs/{run_id}/children", auth=may_read_run(), response={200: Page[RunOut], **REFUSALS})
def child_list(
    request: ApiRequest, run_id: str, filters: Annotated[ChildFilters, Query()], paging: Asked
) -> dict[str, Any]:
    """The children of a run, newest first; with `recursive` all that descends from it.

    To a run that asks with its own token after its children, or those of what descends from it, the same
    happens as when it asks for one of them.
    """
    run, asker = request.run, request.auth.run
    if asker is not None and request.auth.may_write(run):
        look_below(asker)
    runs = Run.objects.filter(pk__in=subtree(run.pk)[1:] if filters.recursive and run.parent_id else [])
    if not filters.recursive:
        runs = Run.objects.filter(parent=run)
    elif run.parent_id is None:
        runs = Run.objects.filter(root=run)
    if filters.kind:
        runs = runs.filter(kind__in=filters.kind)
    found, onward = page_by(with_labels(runs, filters).only("pk"), "pk", paging, descending=True)
    return {"items": runs_out([one.pk for one in found]), "next_cursor": onward}


@router.post(
    "/runs/{run_id}/children",
    auth=may_write_run(makes_runs=True),
    response={201: ChildrenOut, **REFUSALS},
)
def child_create(request: ApiRequest, run_id: str, body: ChildrenIn) -> Status[dict[str, Any]]:
    """Make interactive child runs, all or none; the same `batch_id` again makes and starts no others.

    With other content it is refused (409).
    """
    if body.count is not None and body.children:
        raise InvalidInput("There are children and a count too.", field="count", hint="Give one of both.")
    digest = body.digest()
    news = [child.new_run(digest) for child in body.children]
    news = news or [
        NewRun(tags={CHILD_NUMBER: str(at)}, request_digest=digest) for at in range(body.count or 0)
    ]
    by, batch_id = request.auth.user, body.batch_id
    runs, made = create_children(request.run, news, by=by, batch_id=batch_id, start=body.start)
    if not made:
        return Status(201, {"items": runs_out([run.pk for run in runs])})
    pairs = zip(runs, news, strict=True)
    return Status(201, {"items": [new_run_out(run, new, request.run) for run, new in pairs]})
