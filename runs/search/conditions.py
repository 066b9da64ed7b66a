"""From the dataclasses of a search to conditions of the database, in two forms that mean the same.

*Reading* conditions test one run after the other. They stop as soon as a page is full, so they are for what
is common among the newest runs. *Seeking* conditions start from an index and find all that match, so they are
for what is rare or old. Not everything has an index: `seekable` says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from functools import reduce
from operator import and_, or_
from typing import Any, TypeGuard

from django.db.models import Exists, Lookup, OuterRef, Q, QuerySet
from django.db.models.lookups import Exact, GreaterThan, GreaterThanOrEqual, LessThan, LessThanOrEqual

from runs.folding import FOLDED_LABEL_LENGTH, LABEL_SEPARATOR, fold
from runs.models import ComputeTarget, Experiment, Metric, Node, Property, Run, Tag
from runs.search import nodes
from runs.search.expressions import IsWord, Like, LikeAnyCase, SpelledWithin, TrigramHits, duration_s, holds
from runs.search.index import count_hits
from runs.search.text import DESCRIPTION_END, NAME_END, TRIGRAM, like_pattern
from runs.status import ACTIVE, TERMINAL, Kind
from studio.accounts.models import User

NOTHING = Q(pk__in=[])
EVERYTHING = ~NOTHING

#: More names than this that a pattern finds are left in the database, as a subquery.
_MANY_NAMES = 1_000
#: No text has a letter after this one, so a prefix ends just before the prefix with it.
_LAST_LETTER = "\U0010ffff"

_LOOKUPS: dict[str, type[Lookup[Any]]] = {
    "=": Exact,
    ">": GreaterThan,
    ">=": GreaterThanOrEqual,
    "<": LessThan,
    "<=": LessThanOrEqual,
}
_SUFFIXES = {"=": "", ">": "__gt", ">=": "__gte", "<": "__lt", "<=": "__lte"}
_NAMED: dict[str, tuple[Any, str, str]] = {
    "submitter": (User, "username", "submitter"),
    "experiment": (Experiment, "name", "experiment"),
    "target": (ComputeTarget, "name", "target"),
    "node": (Node, "name", "node"),
}
_CLAIMS = {
    "active": Q(IsWord("status", sorted(ACTIVE))),
    "terminal": Q(IsWord("status", sorted(TERMINAL))),
    "archived": Q(archived_at__isnull=False),
    "root": Q(parent=None),
    "child": Q(parent__isnull=False),
}


#: Words that a partial index is for.
_INDEXED_WORDS = (("active",), ("archived",), (Kind.PIPELINE,))
#: What has this many hits is common; which of two is more so does not matter.
_COMMON = 20_000


class Conditions:
    """Makes the conditions for one person at one time; what `@me` and `today` mean depends on them.

    A qualifier that takes names or a parent costs one small query, once, to find their keys: with keys the
    planners know how many runs to expect. So does a tag or property with a value that no index holds whole.
    """

    def __init__(
        self, scope: QuerySet[Run], *, person: User | None, now: datetime, vendor: str, indexed: bool
    ) -> None:
        self.scope = scope
        self.person = person
        self.now = now
        self.vendor = vendor
        self.indexed = indexed
        self._named: dict[nodes.Named, Q] = {}
        self._parents: dict[str, int] = {}
        self._labelled: dict[nodes.Labelled, Q] = {}
        self._counted: dict[nodes.Node, int] = {}

    # Which form can be had ----------------------------------------------------------------------------

    def seekable(self, node: nodes.Node) -> bool:
        """Whether an index finds what matches without reading everything else."""
        match node:
            case nodes.And(parts):
                return any(map(self.seekable, parts))
            case nodes.Or(parts):
                return all(map(self.seekable, parts))
            case nodes.Text(term):
                return self.indexed and self._has_trigram(fold(term))
            case nodes.OneOf(what, words):
                return what == "status" or words in _INDEXED_WORDS
            case nodes.Named(_, names):
                return not any(_is_anything(name) for name in names)
            case nodes.Labelled(_, key, _):
                return not _is_anything(key)
            case nodes.Dated("created", operator, _):
                return operator in ("=", ">", ">=")
            case nodes.Measured() | nodes.Identified():
                return True
        return False

    def seeks_slowly(self, node: nodes.Node) -> bool:
        """Whether seeking gathers all that an index has before the first is out, however common it is."""
        return self.vendor == "sqlite" or isinstance(node, nodes.Or)

    def _has_trigram(self, term: str) -> bool:
        if self.vendor == "postgresql":  # there only letters and digits count
            return re.search(r"[^\W_]{3}", term) is not None
        return len(term) >= TRIGRAM

    # Both forms ---------------------------------------------------------------------------------------

    def reading(self, node: nodes.Node) -> Q:
        """The condition on one run that needs no index."""
        match node:
            case nodes.Not(nodes.And(())):
                return NOTHING
            case nodes.Not(part):
                return ~self.reading(part)
            case nodes.And(parts):
                return _all_of(map(self.reading, parts))
            case nodes.Or(parts):
                return reduce(or_, map(self.reading, parts))
            case nodes.Text(term):
                return Q(holds(fold(term))) if fold(term) else EVERYTHING
            case nodes.Labelled():
                model, condition = self._labels(node)
                return Q(Exists(model.objects.filter(condition, run=OuterRef("pk"))))
            case nodes.Measured():
                return Q(Exists(Metric.objects.filter(_metrics(node), run=OuterRef("pk"))))
        return self._column(node)

    def seeking(self, node: nodes.Node) -> Q:
        """The condition that starts from an index, for a node that is `seekable`."""
        match node:
            case nodes.And(parts) if self._are_texts(parts):
                return Q(pk__in=TrigramHits([fold(part.term) for part in parts]))
            case nodes.And(parts):
                sought, read = self._division(parts)
                return _all_of([*map(self.seeking, sought), *map(self.reading, read)])
            case nodes.Or(parts):
                return self._any_of(map(self.seeking, parts))
            case nodes.OneOf(what, words) if len(words) > 1 or words == ("active",):
                return self._words(what, words)
            case nodes.Named() | nodes.Identified() if self.vendor == "sqlite":
                # Without statistics SQLite takes a workspace for smaller than a person or an experiment.
                return Q(pk__in=Run.objects.filter(self._column(node)).values("pk"))
            case nodes.Text(term):
                if self.vendor == "sqlite":
                    return Q(pk__in=TrigramHits([fold(term)]))
                return Q(search_text__contains=fold(term))
            case nodes.Labelled():
                model, condition = self._labels(node)
                return Q(pk__in=model.objects.filter(condition).values("run"))
            case nodes.Measured():
                return Q(pk__in=Metric.objects.filter(_metrics(node)).values("run"))
        return self._column(node)

    def _any_of(self, conditions: Iterable[Q]) -> Q:
        first, *more = (self.scope.filter(condition).values("pk") for condition in conditions)
        return Q(pk__in=first.union(*more))

    def _words(self, what: str, words: tuple[str, ...]) -> Q:
        """One after the other for SQLite, which otherwise takes several words for most of the table."""
        column, one_of = ("status", sorted(ACTIVE)) if what == "is" else (what, words)
        if self.vendor == "sqlite":
            return self._any_of(Q(IsWord(column, [word])) for word in one_of)
        return Q(IsWord(column, one_of))

    def _division(self, parts: tuple[nodes.Node, ...]) -> tuple[list[nodes.Node], list[nodes.Node]]:
        """Which parts of an And to seek, and which to read of what those find.

        PostgreSQL's planner knows how common each is, and combines indexes. SQLite's does not: there only the
        rarest is sought, for which each is counted, up to _COMMON; a query of well under a millisecond each.
        """
        sought = [part for part in parts if self.seekable(part)]
        read = [part for part in parts if part not in sought]
        if self.vendor == "sqlite" and len(sought) > 1:
            texts = [part for part in sought if isinstance(part, nodes.Text)]
            others = [part for part in sought if part not in texts]
            sought = [nodes.And(tuple(texts)), *others] if len(texts) > 1 else sought
            rarest = min(sought, key=self._hits)
            return [rarest], [*read, *(part for part in sought if part is not rarest)]
        return sought, read

    def _are_texts(self, parts: tuple[nodes.Node, ...]) -> TypeGuard[tuple[nodes.Text, ...]]:
        """Whether SQLite's index finds all of them at once."""
        texts = all(isinstance(part, nodes.Text) and self.seekable(part) for part in parts)
        return texts and self.vendor == "sqlite"

    def _hits(self, node: nodes.Node) -> int:
        if node not in self._counted:
            self._counted[node] = self._count(node)
        return self._counted[node]

    def _count(self, node: nodes.Node) -> int:
        match node:
            case nodes.And(parts) if self._are_texts(parts):
                return count_hits([fold(part.term) for part in parts], _COMMON)
            case nodes.And(parts):
                return min(self._hits(part) for part in parts if self.seekable(part))
            case nodes.Or(parts):
                return sum(map(self._hits, parts))
            case nodes.Text(term):
                return count_hits([fold(term)], _COMMON)
            case nodes.Labelled():
                model, condition = self._labels(node)
                found: QuerySet[Any] = model.objects.filter(condition)
            case nodes.Measured():
                found = Metric.objects.filter(_metrics(node))
            case nodes.Named() | nodes.Identified():
                found = Run.objects.filter(self._column(node))
            case _:
                found = self.scope.filter(self._column(node))
        return found.order_by().values("pk")[:_COMMON].count()

    # Conditions that are the same in both -------------------------------------------------------------

    def _column(self, node: nodes.Node) -> Q:
        match node:
            case nodes.OneOf("is", (claim, *_)):
                return _CLAIMS[claim]
            case nodes.OneOf("error", words):
                return Q(IsWord("error_class", words))
            case nodes.OneOf(what, words):
                return Q(IsWord(what, words))
            case nodes.Named():
                return self._names(node)
            case nodes.Within(what, pieces):
                return _within(what, pieces)
            case nodes.Numbered("!=", number):
                return ~Q(number=number)
            case nodes.Numbered(operator, number):
                return Q(**{f"number{_SUFFIXES[operator]}": number})
            case nodes.Lasting():
                return self._lasting(node)
            case nodes.Dated(what, operator, when):
                return _dated(f"{what}_at", operator, when, self.now)
            case nodes.Identified("parent", run_id):
                return Q(parent=self._parent(run_id))
            case nodes.Identified(_, run_id):
                return Q(run_id=run_id)
        raise TypeError(node)

    def _lasting(self, node: nodes.Lasting) -> Q:
        seconds, duration = float(node.seconds), duration_s(self.now)
        if node.operator in ("=", "!="):
            same = Q(GreaterThanOrEqual(duration, seconds)) & Q(LessThan(duration, seconds + node.unit_s))
            return Q(started_at__isnull=False) & (same if node.operator == "=" else ~same)
        return Q(started_at__isnull=False) & Q(_LOOKUPS[node.operator](duration, seconds))

    def _labels(self, node: nodes.Labelled) -> tuple[type[Tag] | type[Property], Q]:
        model = Tag if node.what == "tag" else Property
        if node not in self._labelled:
            self._labelled[node] = _label(model, node.key, node.value)
        return model, self._labelled[node]

    def _parent(self, run_id: str) -> int:
        if run_id not in self._parents:
            found = Run.objects.filter(run_id=run_id).values_list("pk", flat=True)
            self._parents[run_id] = next(iter(found), 0)
        return self._parents[run_id]

    def _names(self, node: nodes.Named) -> Q:
        if node not in self._named:
            self._named[node] = self._find_names(node)
        return self._named[node]

    def _find_names(self, node: nodes.Named) -> Q:
        model, column, relation = _NAMED[node.what]
        if any(map(_is_anything, node.names)):
            return Q(**{f"{relation}__isnull": False})
        me = node.what == "submitter" and nodes.Pattern(("@me",)) in node.names
        named = [name for name in node.names if not (me and name.pieces == ("@me",))]
        ids: list[int] = [self.person.pk] if me and self.person else []
        if not all(piece.isascii() for name in named for piece in name.pieces):
            ids += _ids_in_any_script(model, column, named)
        elif named:
            like = reduce(or_, (Q(LikeAnyCase(column, _name_pattern(name))) for name in named))
            ids += model.objects.filter(like).order_by().values_list("pk", flat=True)[: _MANY_NAMES + 1]
            if len(ids) > _MANY_NAMES:
                return Q(**{f"{relation}__in": model.objects.filter(like).order_by().values("pk")})
        return Q(**{relation: ids[0]}) if len(ids) == 1 else Q(**{f"{relation}__in": sorted(ids)})


def _all_of(conditions: Iterable[Q]) -> Q:
    return reduce(and_, conditions, Q()) or EVERYTHING


def _is_anything(pattern: nodes.Pattern) -> bool:
    return not pattern.is_exact and not any(pattern.pieces)


def _name_pattern(name: nodes.Pattern) -> str:
    return "%".join(like_pattern(piece, before="", after="") for piece in name.pieces)


def _ids_in_any_script(model: Any, column: str, names: list[nodes.Pattern]) -> list[int]:
    """For names beyond ASCII, whose case SQLite does not know: they are few, so all are compared here."""
    patterns = ["(.*)".join(re.escape(fold(piece)) for piece in name.pieces) for name in names]
    wanted = re.compile("|".join(patterns))
    rows = model.objects.order_by().values_list("pk", column)
    return [pk for pk, name in rows.iterator() if wanted.fullmatch(fold(name))]


def _within(what: str, pieces: tuple[str, ...]) -> Q:
    if not pieces:
        return ~Q(**{"display_name" if what == "name" else what: ""})
    inside = "%".join(like_pattern(fold(piece), before="", after="") for piece in pieces)
    before, after = ("%", f"%{NAME_END}%") if what == "name" else (f"%{NAME_END}%", f"%{DESCRIPTION_END}%")
    return Q(Like("search_text", f"{before}{inside}{after}"))


def _label(model: type[Tag] | type[Property], key: nodes.Pattern, value: nodes.Pattern | None) -> Q:
    """The condition on a tag or property; all of them are ranges or points of the index on `folded`.

    One query if the value is longer than the index holds, for no database folds as `fold` does.
    """
    if _is_anything(key):
        return EVERYTHING
    start = fold(key.pieces[0])
    if value is None:
        after = start + chr(ord(LABEL_SEPARATOR) + 1) if key.is_exact else start + _LAST_LETTER
        return Q(SpelledWithin("folded", start, after))
    start += LABEL_SEPARATOR + fold(value.pieces[0])
    if not value.is_exact:
        return Q(SpelledWithin("folded", start, start + _LAST_LETTER))
    same = Q(folded=start[:FOLDED_LABEL_LENGTH])
    if len(start) < FOLDED_LABEL_LENGTH:
        return same
    wanted = fold(value.pieces[0])
    alike = model.objects.filter(same).order_by()
    values = alike.values_list("value", flat=True).distinct().iterator()
    return same & Q(value__in=[text for text in values if text is not None and fold(text) == wanted])


def _metrics(node: nodes.Measured) -> Q:
    if node.value is None:
        return Q(name=node.name)
    if node.operator == "!=":
        return Q(name=node.name, last__isnull=False) & ~Q(last=node.value)
    return Q(**{"name": node.name, f"last{_SUFFIXES[node.operator]}": node.value})


def _dated(column: str, operator: str, when: nodes.When, now: datetime) -> Q:
    first, after = when.bounds(now)
    match operator:
        case ">":
            return Q(**{f"{column}__gte": after})
        case ">=":
            return Q(**{f"{column}__gte": first})
        case "<":
            return Q(**{f"{column}__lt": first})
        case "<=":
            return Q(**{f"{column}__lt": after})
        case "=" if when.is_ago:
            return Q(**{f"{column}__gte": first})
    within = Q(**{f"{column}__gte": first, f"{column}__lt": after})
    return within if operator == "=" else Q(**{f"{column}__isnull": False}) & ~within
