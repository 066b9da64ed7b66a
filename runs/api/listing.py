"""Lists of runs: what may be asked of them, and how that becomes one page."""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, OuterRef, QuerySet
from pydantic import BaseModel, Field

from runs.api.paging import Paging, bad_cursor
from runs.api.run_shape import run_out
from runs.api.schemas import Text
from runs.errors import InvalidInput
from runs.filters import RunFilter
from runs.folding import fold_label
from runs.models import Property, Run, Tag
from runs.search.cursors import ORDER_PATTERN, ORDERS, parse_order, read_cursor
from runs.search.nodes import Query
from runs.search.parser import parse
from runs.search.query import Search
from runs.status import Kind, Status
from studio.accounts.models import User, Workspace


class LabelFilters(BaseModel):
    """Which labels and statuses the runs have that are listed; all that is given has to hold."""

    status: list[Status] = Field(default_factory=list, description="One of these.")
    tag: list[Text] = Field(default_factory=list, description="A key, or key=value.")
    tag_null: list[Text] = Field(default_factory=list, description="The key of a tag without a value.")
    property: list[Text] = Field(default_factory=list, description="A key, or key=value.")


#: The filters that are those of the panel beside the list on the page, and mean what they mean there.
_OF_THE_PANEL = {
    "submitter",
    "created_after",
    "created_before",
    "duration_min",
    "duration_max",
    "archived",
}


class RunFilters(LabelFilters):
    """Which runs are listed."""

    q: Text = Field("", description="A search as people write it into the search bar.")
    experiment: Text | None = Field(None, description="The whole name of their experiment.")
    parent: Text | None = Field(None, description="The run_id of their parent.")
    root: Text | None = Field(None, description="The run_id of the topmost run that they descend from.")
    target: Text | None = Field(None, description="The whole name of their compute target.")
    kind: list[Kind] = Field(default_factory=list, description="One of these.")
    include_children: bool | None = Field(
        None,
        description="Whether runs with a parent are listed; left out, they are with `q` or with `kind=step`.",
    )
    submitter: list[Text] = Field(default_factory=list, description="One of these; @me is who asks.")
    created_after: Text = Field("", description="A time as `created:>=` of a search takes it.")
    created_before: Text = Field("", description="A time as `created:<=` of a search takes it.")
    duration_min: Text = Field("", description="A duration as `duration:>=` of a search takes it.")
    duration_max: Text = Field("", description="A duration as `duration:<=` of a search takes it.")
    archived: bool = Field(False, description="Whether archived runs are listed, and no others.")
    order: Text = Field(
        "-created",
        description=f"{', '.join(ORDERS)}, metric:last:<name>; - turns it round.",
        json_schema_extra={"pattern": f"^{ORDER_PATTERN}$"},
    )


def list_runs(
    runs: QuerySet[Run], filters: RunFilters, paging: Paging, *, workspace: Workspace, person: User
) -> dict[str, Any]:
    """A page of these runs. Five queries or six, more for names in a search.

    Raises SearchError, InvalidInput.
    """
    order = parse_order(filters.order)
    if order is None:
        raise InvalidInput(
            f"Runs cannot be sorted by {filters.order[:40]}.",
            field="order",
            hint=f"By {', '.join(ORDERS)} or metric:last:<name> (or min, max), each also with a - before it.",
        )
    if paging.cursor and read_cursor(paging.cursor, order) is None:
        raise bad_cursor()
    runs = with_labels(_narrowed(runs, filters), filters).only("pk")
    search = Search(runs, _query(filters, workspace), person=person)
    page = search.page(after=paging.cursor, size=paging.limit, order=filters.order)
    return {"items": runs_out([run.pk for run in page.rows]), "next_cursor": page.next_cursor or None}


def runs_out(pks: list[int]) -> list[dict[str, Any]]:
    """The answers for these runs, in this order. Three queries."""
    rows = {run.pk: run for run in Run.objects.for_api().filter(pk__in=pks)}
    return [run_out(rows[pk]) for pk in pks if pk in rows]


def _query(filters: RunFilters, workspace: Workspace) -> Query:
    """What the search and the fields of the panel ask for together."""
    query = parse(filters.q)
    fields = filters.model_dump(include=_OF_THE_PANEL, exclude_defaults=True)
    if not fields:
        return query
    asked = RunFilter({**fields, "q": filters.q}, workspace=workspace)
    for field, faults in asked.errors.items():
        raise InvalidInput(" ".join(faults), field=field)
    return asked.query


def _narrowed(runs: QuerySet[Run], filters: RunFilters) -> QuerySet[Run]:
    if filters.parent is not None:
        runs = runs.filter(parent__run_id=filters.parent)
    if filters.root is not None:
        runs = runs.filter(root__run_id=filters.root)
    with_children = filters.include_children
    if with_children is None:  # as the search bar does
        with_children = bool(filters.q.strip()) or Kind.STEP in filters.kind
    if filters.parent is None and filters.root is None and not with_children:
        runs = runs.filter(parent=None)
    if filters.target is not None:
        runs = runs.filter(target__name=filters.target)
    if filters.kind:
        runs = runs.filter(kind__in=filters.kind)
    return runs


def with_labels(runs: QuerySet[Run], filters: LabelFilters) -> QuerySet[Run]:
    """Those that have one of the statuses, and every tag and property that is asked for."""
    if filters.status:
        runs = runs.filter(status__in=filters.status)
    for text in filters.tag:
        runs = runs.filter(_has(Tag.objects.all(), text))
    for key in filters.tag_null:
        runs = runs.filter(Exists(Tag.objects.filter(run=OuterRef("pk"), key=key, value=None)))
    for text in filters.property:
        runs = runs.filter(_has(Property.objects.all(), text))
    return runs


def _has(labels: QuerySet[Any], text: str) -> Exists:
    """A label of exactly this key, and if there is a = of exactly this value."""
    key, equals, value = text.partition("=")
    labels = labels.filter(run=OuterRef("pk"), key=key)
    if equals:
        labels = labels.filter(folded=fold_label(key, value), value=value)
    return Exists(labels)
