"""Pages and counts of the runs that a search finds; the cost depends on the page, not on how many runs exist.

A page is filled in two steps. First the newest WINDOW runs of the scope are read one by one, which ends
early for whatever is common. Only if they do not fill the page, the rest is sought by an index. What no index
serves is read on, at most SCAN runs for one page; the page says so, and the next one goes on from there.
Sorting by anything but age looks at no more than those either.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from django.db import connections
from django.db.models import Count, F, OrderBy, Q, QuerySet, Window
from django.db.models.lookups import GreaterThanOrEqual, LessThanOrEqual
from django.utils import timezone

from runs.models import Run
from runs.search import nodes
from runs.search.conditions import Conditions
from runs.search.cursors import Cursor, Order, parse_order, read_cursor
from runs.search.index import index_exists
from runs.search.nodes import Query
from studio.accounts.models import User

#: Where so many of the newest runs match, counting by reading ends soon, however many runs there are.
_DENSE = 0.5
_KEY = F("pk") + 0
_NEWEST_FIRST = Order("created", descending=True)

WINDOW = 5_000
SCAN = 100_000
#: The same where each run costs more: text that no index knows, labels that are not there.
COSTLY_SCAN = 20_000
#: Where counts stop.
COUNTED = 5_000
COSTLY_COUNTED = 1_000


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of a list, and the cursors of the pages around it ("" where there is none).

    `note` is for the person: what was left out, or why the order is another than was asked for.
    `is_lost`: the page that was asked for cannot be found, and this is the first one.
    """

    rows: list[Run]
    next_cursor: str = ""
    prev_cursor: str = ""
    note: str = ""
    is_lost: bool = False


@dataclass(frozen=True, slots=True)
class _Found:
    """The (value, key) of each run of a page, in the direction of reading.

    `more` follow; or reading `stopped` at the run of this key, which was not looked at any more.
    """

    places: list[tuple[Any, int]]
    more: bool
    stopped: int | None = None


class Search:
    """One search of one scope: ask it for a page and for the count, and names are looked up once for both.

    `runs` is the scope, such as the runs of a workspace or an experiment, with the joins that the rows need.
    Archived runs are left out unless the query or `archived` asks for them. `person` is who `@me` means.
    """

    def __init__(
        self,
        runs: QuerySet[Run],
        query: Query,
        *,
        person: User | None = None,
        archived: bool = False,
        now: datetime | None = None,
    ) -> None:
        self.runs = runs
        self.scope = runs.select_related(None).prefetch_related(None).order_by()
        self.root = query.root if query else None
        self.now = timezone.localtime(now or timezone.now()).replace(microsecond=0)
        self.kept = Q() if archived or query.asks_for_archived else Q(archived_at=None)
        database = connections[runs.db]
        self.conditions = Conditions(
            self.scope, person=person, now=self.now, vendor=database.vendor, indexed=index_exists(database)
        )
        self.seekable = self.conditions.seekable(query.root)
        self.window = WINDOW
        self.scan, self.counted = (COSTLY_SCAN, COSTLY_COUNTED) if _is_costly(query) else (SCAN, COUNTED)
        self._all: tuple[int, bool] | None = None  # what the first page came to know of the count
        self._density = 0.0  # how many of the newest runs match, as far as a first page has read

    # The count ----------------------------------------------------------------------------------------

    def count(self, limit: int | None = None) -> tuple[int, bool]:
        """How many there are, and whether there may be more: beyond the limit, or older than was read.

        The limit is COUNTED if none is given, and COSTLY_COUNTED where each run costs more.

        Asked after the first page it is cheaper, and free if that page had to look for all. 1 query, or 2
        for what is dense or has no index; what names and SQLite's choice of an index cost is shared.
        """
        limit = self.counted if limit is None else limit
        if self._all is not None:
            count, more = self._all
            return min(count, limit), more or count > limit
        matching = self.scope.filter(self.kept)
        if self.root is None:
            return _count(matching, limit)
        read_first = self._density >= _DENSE and self.conditions.seeks_slowly(self.root)
        if read_first or not self.seekable:
            edge = _edge(self._newest, int(limit / _DENSE * 2)) if read_first else self._end
            newest = matching.filter(self.conditions.reading(self.root))
            count, more = _count(newest if edge is None else newest.filter(pk__gt=edge), limit)
            if more or edge is None or not self.seekable:
                return count, more or edge is not None
        return _count(matching.filter(self.conditions.seeking(self.root)), limit)

    def matching(self) -> QuerySet[Run]:
        """All that it finds, however many, for what is done to all of them at once."""
        matching = self.runs.filter(self.kept)
        if self.root is None:
            return matching
        form = self.conditions.seeking if self.seekable else self.conditions.reading
        return matching.filter(form(self.root))

    def ordered(self, order: str) -> QuerySet[Run]:
        """All that it finds in this order, for whoever reads them one after the other; not only the newest.

        An order that cannot be read gives the newest first, as on a page.
        """
        sorting = parse_order(order) or _NEWEST_FIRST
        if sorting.by == "created":
            return self.matching().order_by("-pk" if sorting.descending else "pk")
        return sorting.of(self.matching(), self.now).order_by(
            "-sort_value" if sorting.descending else "sort_value", "-pk"
        )

    @property
    def _newest(self) -> QuerySet[Run]:
        return self.scope.order_by("-pk")

    @cached_property
    def _end(self) -> int | None:
        """The key of the newest run that is not looked at any more; finding it walks along all the others."""
        return _edge(self._newest, self.scan)

    # Pages --------------------------------------------------------------------------------------------

    def page(self, *, after: str | None = None, size: int = 50, order: str = "-created") -> Page:
        """A page of at most `size` rows.

        An order or a cursor that cannot be read gives the first page and says so. Costs 2 queries without a
        search, else 3 or 4; 1 more for each qualifier that takes names; and what the rows prefetch.
        """
        notes: list[str] = []
        sorting = parse_order(order)
        if sorting is None:
            sorting = _NEWEST_FIRST
            notes.append("That order is not known; these are the newest first.")
        cursor = read_cursor(after, sorting) if after else None
        is_lost = bool(after) and cursor is None
        find = self._by_age if sorting.by == "created" else self._sorted
        found = find(sorting, cursor, size)
        if cursor and cursor.backward and not found.places and found.stopped is None:
            cursor, found = None, find(sorting, None, size)
        if cursor is None and found.places and sorting.is_nothing(found.places[0][0]):
            notes.append(f"No run here has a number of {sorting.name}; these are the newest first.")
        if cursor is None and not found.more:
            self._all = len(found.places), found.stopped is not None
        return replace(self._page(found, sorting, cursor, notes), is_lost=is_lost)

    def _page(self, found: _Found, order: Order, cursor: Cursor | None, notes: list[str]) -> Page:
        rows = {run.pk: run for run in self.runs.filter(pk__in=[key for _, key in found.places])}
        by_age, at = order.by == "created", cursor.at if cursor else self.now
        backward = cursor is not None and cursor.backward
        step = -1 if backward == (order.descending or not by_age) else 1  # from a key to one read before it
        onward = back = ""
        if found.more:
            onward = str(Cursor(order, *found.places[-1], at, backward))
        elif found.stopped is not None and by_age:
            notes.append(f"{self.scan:,} runs were looked through for this page; the next one looks further.")
            onward = str(Cursor(order, found.stopped, found.stopped + step, at, backward))
        elif found.stopped is not None:
            notes.append(f"Only the newest {self.scan:,} runs are sorted here.")
        if cursor and found.places:
            back = str(Cursor(order, *found.places[0], at, not backward))
        elif cursor:
            notes.append("There is nothing on this page any more.")
            back = str(Cursor(order, cursor.value, max(0, cursor.key - step), at, not backward))
        keys = [key for _, key in (reversed(found.places) if backward else found.places)]
        ordered = [rows[key] for key in keys if key in rows]
        before, behind = (onward, back) if backward else (back, onward)
        return Page(ordered, behind, before, " ".join(notes))

    def _by_age(self, order: Order, cursor: Cursor | None, size: int) -> _Found:
        """Along the primary key, which is the order of creation."""
        ascending = order.descending == (cursor is not None and cursor.backward)
        walk = self.scope.order_by("pk" if ascending else "-pk")
        if cursor:
            walk = walk.filter(pk__gt=cursor.key) if ascending else walk.filter(pk__lt=cursor.key)
        kept = walk.filter(self.kept)
        if self.root is None:
            return _found(_keys(kept, size + 1), size)
        if self.seekable or cursor or ascending:
            edge = _edge(walk, self.window if self.seekable else self.scan)
        else:
            edge = self._end
        near = kept.filter(self.conditions.reading(self.root))
        if edge is not None:
            near = near.filter(pk__lt=edge) if ascending else near.filter(pk__gt=edge)
        keys = _keys(near, size + 1)
        if len(keys) > size and cursor is None and not ascending:
            self._density = len(keys) / (keys[0] - keys[-1] + 1)
        if edge is None or len(keys) > size:
            return _found(keys, size)
        if not self.seekable:
            return _found(keys, size, stopped=edge)
        # By key + 0, which no index gives: else the planners walk along the key, in vain if all hits are old.
        beyond = Q(GreaterThanOrEqual(_KEY, edge) if ascending else LessThanOrEqual(_KEY, edge))
        far = self.scope.filter(self.kept, beyond, self.conditions.seeking(self.root))
        far = far.order_by(OrderBy(_KEY, descending=not ascending)).annotate(total=Window(Count("*")))
        rest = list(far.values_list("pk", "total")[: size + 1 - len(keys)])
        if cursor is None:  # all of them had to be found anyway
            self._all = len(keys) + (rest[0][1] if rest else 0), False
        return _found(keys + [key for key, _ in rest], size)

    def _sorted(self, order: Order, cursor: Cursor | None, size: int) -> _Found:
        """By a value, then newest first; only of as many of the newest runs as one page looks at."""
        backward = cursor is not None and cursor.backward
        larger_next = order.descending == backward
        matching = order.of(self.scope.filter(self.kept), cursor.at if cursor else self.now)
        edge = self._end
        if edge is not None:
            matching = matching.filter(pk__gt=edge)
        if self.root is not None:
            form = self.conditions.seeking if self.seekable else self.conditions.reading
            matching = matching.filter(form(self.root))
        if cursor:
            beyond = {"sort_value__gt" if larger_next else "sort_value__lt": cursor.value}
            tied = {"sort_value": cursor.value, "pk__gt" if backward else "pk__lt": cursor.key}
            matching = matching.filter(Q(**beyond) | Q(**tied))
        direction = ("sort_value" if larger_next else "-sort_value", "pk" if backward else "-pk")
        places = list(matching.order_by(*direction).values_list("sort_value", "pk")[: size + 1])
        return _Found(places[:size], len(places) > size, edge)


def _count(runs: QuerySet[Run], limit: int) -> tuple[int, bool]:
    count = runs.values("pk")[: limit + 1].count()
    return min(count, limit), count > limit


def _keys(runs: QuerySet[Run], most: int) -> list[int]:
    return list(runs.values_list("pk", flat=True)[:most])


def _edge(walk: QuerySet[Run], window: int) -> int | None:
    """The key of the first run after so many of an ordered scope; None if it has no more than those."""
    return next(iter(walk.values_list("pk", flat=True)[window : window + 1]), None)


def _found(keys: list[int], size: int, *, stopped: int | None = None) -> _Found:
    more = len(keys) > size
    return _Found([(key, key) for key in keys[:size]], more, None if more else stopped)


def _is_costly(query: Query) -> bool:
    costly = (nodes.Text, nodes.Within, nodes.Labelled, nodes.Measured)
    return any(isinstance(condition, costly) for condition in query.conditions())
