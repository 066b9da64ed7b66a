"""A list of runs as its address asks for it: which runs, in which order, which of them unfolded.

Everything comes from the query string, so that a list is a link:

    q the search · show a chip of the experiment page · order · after the cursor · open the unfolded parents
    columns of the filter panel (`RunFilter`), which become part of `q`
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from django.db.models import Count, Q, QuerySet, Window
from django.db.models.functions import RowNumber
from django.http import QueryDict

from runs.filters import RunFilter, split_query
from runs.folding import fold
from runs.lists.figures import CHIPS
from runs.models import Experiment, Run
from runs.search.nodes import And, Condition, Labelled, Node, OneOf, Query, Text
from runs.search.query import Page, Search
from runs.status import Kind, Status
from studio.accounts.models import User, Workspace

PAGE = 50
#: Children that one unfolded parent shows; the rest is on its own page.
UNFOLDED = 100
MOST_OPEN = 50
_PANEL = tuple(name for name in RunFilter.base_filters if name != "q")
_KEPT = ("show", "order", "after", "open", "panel", "curve", "over", "sum")
_STAYING = ("show", "order", "panel", "curve", "over", "sum")


@dataclass
class Row:
    """One line of the table. `depth` counts the parents above it that are shown too."""

    run: Run
    key: str
    depth: int = 0
    children: int = 0
    failed_children: int = 0
    is_open: bool = False
    unseen: int = 0  # on a line of its own: how many children of `run` are beyond UNFOLDED
    parent: Run | None = None  # where the list does not show it above
    toggled: str = ""  # what `open` is after a click on the fold
    guides: range = field(default=range(0))

    @property
    def can(self) -> str:
        """What may be done with it, as words for the toolbar."""
        words = {"cancel": self.run.may_cancel, "tag": self.run.archived_at is None,
                 "archive": self.run.is_terminal and self.run.archived_at is None,
                 "unarchive": self.run.archived_at is not None}  # fmt: skip
        return " ".join(word for word, can in words.items() if can)


@dataclass(frozen=True)
class BadQuery:
    """Why a search cannot be read, and at which letter (from 1)."""

    message: str
    position: int


class RunList:
    """One list of runs: of an experiment, of the workspace, or its pipelines."""

    def __init__(
        self,
        workspace: Workspace,
        person: User,
        data: QueryDict,
        *,
        place: str,
        experiment: Experiment | None = None,
    ) -> None:
        self.workspace = workspace
        self.person = person
        self.place = place
        self.experiment = experiment
        self.filter = RunFilter(data, workspace=workspace, person=person)
        self.state = self._state(data)
        self.scope = Run.objects.in_workspace(workspace)
        if experiment is not None:
            self.scope = Run.objects.filter(experiment=experiment)

    # What was asked -------------------------------------------------------------------------------

    def _state(self, data: QueryDict) -> QueryDict:
        """The query string in its one spelling: panel and bar as `q`, nothing empty, nothing unknown."""
        state = QueryDict(mutable=True)
        merges = self.is_valid and self.has_panel(data)
        text = str(self.filter.query) if merges else data.get("q", "")
        for key, value in (("q", text.strip()), *((key, data.get(key, "")) for key in _KEPT)):
            if value:
                state[key] = value
        if not self.is_valid:
            for key in _PANEL:
                if any(data.getlist(key)):
                    state.setlist(key, data.getlist(key))
        return state

    @staticmethod
    def has_panel(data: QueryDict) -> bool:
        """Whether fields of the panel were sent."""
        return any(any(data.getlist(key)) for key in _PANEL)

    @property
    def text(self) -> str:
        """What stands in the search bar."""
        return self.state.get("q", "")

    @property
    def chip(self) -> str:
        """The chip that is lit; "" for All."""
        show = self.state.get("show", "")
        return show if show in CHIPS or show == "archived" else ""

    @property
    def kept(self) -> list[tuple[str, str]]:
        """What a new search leaves as it is."""
        return [(key, str(value)) for key, value in self.state.items() if key in _STAYING]

    @property
    def order(self) -> str:
        """What it is sorted by; newest first unless told otherwise."""
        return self.state.get("order", "-created")

    @cached_property
    def bad(self) -> BadQuery | None:
        """Why the search bar cannot be read, or None."""
        for error in self.filter.form.errors.as_data().get("q", []):
            message = " ".join(error.messages)
            return BadQuery(message, int((error.params or {}).get("position", 1)))
        return None

    @cached_property
    def refused(self) -> list[tuple[str, str]]:
        """Label and message of each field of the panel that cannot be read."""
        form = self.filter.form
        return [
            (form[name].label, message)
            for name, messages in form.errors.items()
            if name != "q"
            for message in messages
        ]

    @property
    def is_valid(self) -> bool:
        """Whether bar and panel can be read."""
        return bool(self.filter.is_valid())

    @cached_property
    def query(self) -> Query:
        """All conditions: of bar and panel, of the chip, and of the place."""
        asked = self.filter.query.root
        parts: list[Node] = [*(asked.nodes if isinstance(asked, And) else [asked])]
        parts = [*self._own_conditions(), *parts]
        return Query(parts[0] if len(parts) == 1 else And(tuple(parts)))

    def _own_conditions(self) -> Iterable[Condition]:
        if self.place == "pipelines":
            yield OneOf("kind", (Kind.PIPELINE.value,))
        if self.chip == "archived":
            yield OneOf("is", ("archived",))
        elif self.chip == "active":
            yield OneOf("is", ("active",))
        elif self.chip:
            yield OneOf("status", tuple(status.value for status in CHIPS[self.chip]))

    @property
    def is_filtered(self) -> bool:
        """Whether it shows what a search found, flat, instead of all with children under their parents."""
        return bool(self.filter.query) or bool(self.chip)

    @property
    def panel(self) -> tuple[dict[str, Any], Query]:
        """What the filter panel shows of the search, and the rest."""
        return split_query(self.filter.query)

    # What is found --------------------------------------------------------------------------------

    @cached_property
    def search(self) -> Search:
        """The search for pages and counts; without one, only runs that have no parent are listed."""
        runs = self.scope.for_table()
        if not self.is_filtered and self.place != "pipelines":
            runs = runs.roots()
        return Search(runs, self.query, person=self.person)

    def matching(self) -> QuerySet[Run]:
        """All runs that match, children too: what is done to "all" is done to these."""
        if not self.is_valid:
            return self.scope.none()
        return Search(self.scope, self.query, person=self.person).matching()

    def in_order(self) -> QuerySet[Run]:
        """All runs that match, children too, in the order of the list."""
        return Search(self.scope, self.query, person=self.person).ordered(self.order)

    def page(self, size: int = PAGE) -> Page:
        """The page of runs; empty when the search cannot be read."""
        if not self.is_valid:
            return Page([])
        return self.search.page(after=self.state.get("after"), size=size, order=self.order)

    def count(self) -> tuple[int, bool]:
        """How many it lists, and whether there may be more. Ask after the page."""
        return self.search.count() if self.is_valid else (0, False)

    def has_archived(self) -> bool:
        """Whether runs that it would list are archived. One query, which a page asks that has no rows."""
        listed = self.scope.filter(kind=Kind.PIPELINE) if self.place == "pipelines" else self.scope.roots()
        return listed.filter(archived_at__isnull=False).exists()

    def rows(self, page: Page) -> list[Row]:
        """The lines of the table: the page's runs, and the children of those that are open.

        Queries: for a search 1 (parents of what was found), else 1 (how many children each has) and, if
        something is open, 3 more (which children, their rows, their tags).
        """
        if self.is_filtered:
            return self._flat(page.rows)
        return self._tree(page.rows)

    def _flat(self, runs: list[Run]) -> list[Row]:
        wanted = {run.parent_id for run in runs if run.parent_id}
        parents = Run.objects.filter(pk__in=wanted).select_related("experiment").only(
            "number", "display_name", "step_name", "experiment__name"
        )  # fmt: skip
        found = {parent.pk: parent for parent in parents}
        self._put_first_what_was_asked_for(runs)
        return [Row(run, self.key(run), parent=found.get(run.parent_id or 0)) for run in runs]

    def _put_first_what_was_asked_for(self, runs: list[Run]) -> None:
        """Of a run's tags a row has room for one or two, and those of the search say why it is there."""
        keys, words = set(), []
        for condition in self.query.conditions():
            if isinstance(condition, Labelled) and condition.what == "tag" and condition.key.is_exact:
                keys.add(fold(condition.key.pieces[0]))
            elif isinstance(condition, Text):
                words.append(fold(condition.term))
        for run in runs if keys or words else []:
            run.labels.sort(key=lambda tag: not (fold(tag.key) in keys or _has_any(fold(str(tag)), words)))

    def key(self, run: Run) -> str:
        """What `open` calls a run: its number where that is enough."""
        return str(run.number) if self.experiment is not None else run.run_id

    @cached_property
    def open(self) -> list[str]:
        """The keys of the unfolded parents."""
        keys = dict.fromkeys(key for key in self.state.get("open", "").split(",") if key and "\0" not in key)
        if self.experiment is not None:
            return [key for key in keys if key.isascii() and key.isdecimal() and len(key) < 19][:MOST_OPEN]
        return list(keys)[:MOST_OPEN]

    def _tree(self, roots: list[Run]) -> list[Row]:
        below = self._open_children(roots) if self.open else {}
        shown = [*roots, *(run for children in below.values() for run in children)]
        counts = {
            row["parent"]: row
            for row in Run.objects.filter(parent__in=[run.pk for run in shown], archived_at=None)
            .order_by()
            .values("parent")
            .annotate(n=Count("pk"), failed=Count("pk", filter=Q(status=Status.FAILED)))
        }
        rows: list[Row] = []
        for run in roots:
            self._add(rows, run, 0, below, counts)
        return rows

    def _add(
        self,
        rows: list[Row],
        run: Run,
        depth: int,
        below: dict[int, list[Run]],
        counts: dict[int | None, Any],
    ) -> None:
        counted = counts.get(run.pk, {"n": 0, "failed": 0})
        row = Row(run, self.key(run), depth, counted["n"], counted["failed"], guides=range(depth))
        children = below.get(run.pk, [])
        row.is_open = row.key in self.open and row.children > 0
        keys = [key for key in self.open if key != row.key]
        row.toggled = ",".join(keys if row.is_open else [*keys, row.key])
        rows.append(row)
        if row.is_open:
            for child in children:
                self._add(rows, child, depth + 1, below, counts)
            if row.children > len(children):
                beyond = row.children - len(children)
                rows.append(replace(row, unseen=beyond, depth=depth + 1, guides=range(depth + 1)))

    def _open_children(self, roots: list[Run]) -> dict[int, list[Run]]:
        """The newest children of every open parent below these roots, by parent."""
        families = {run.root_id or run.pk for run in roots}
        name = "parent__number" if self.experiment is not None else "parent__run_id"
        children = Run.objects.filter(root__in=families, archived_at=None, **{f"{name}__in": self.open})
        rank = Window(RowNumber(), partition_by="parent", order_by="-pk")
        first = children.annotate(rank=rank).filter(rank__lte=UNFOLDED).order_by()
        pks = list(first.values_list("pk", flat=True))
        below: dict[int, list[Run]] = {}
        for run in Run.objects.filter(pk__in=pks).for_table().order_by("-pk"):
            below.setdefault(run.parent_id or 0, []).append(run)
        return below


def _has_any(text: str, words: Iterable[str]) -> bool:
    return any(word in text for word in words)
