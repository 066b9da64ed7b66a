"""What the search bar offers while someone types: qualifiers, and keys and values that exist.

Every answer costs at most MOST + 2 small queries. Tags, properties and metrics "exist" if one of the newest
RECENT runs of the workspace has them, so that the cost does not grow with the number of runs.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.db.models import Count, Q

from runs.folding import LABEL_SEPARATOR, fold, fold_label
from runs.models import ComputeTarget, Experiment, Metric, Node, Property, Run, Tag
from runs.search.expressions import LikeAnyCase, SpelledWithin
from runs.search.nodes import Labelled, Measured, Named, OneOf, Pattern
from runs.search.parser import MAX_LENGTH
from runs.search.qualifiers import CLAIMS, QUALIFIERS, WORDS
from runs.search.text import like_pattern
from studio.accounts.models import Membership, User, Workspace

#: Suggestions in one group.
MOST = 8
RECENT = 1_000
#: Runs of a tag's value are counted up to here.
COUNTED = 1_000

_QUOTES = '"“”'
_LABEL_MODELS: dict[str, Any] = {"tag": Tag, "property": Property}
_TIMES = {"today": "", "yesterday": "", "7d": "the last 7 days", ">24h": "the last 24 hours", "<30d": "older"}
_DURATIONS = {">1m": "longer than a minute", ">10m": "", ">1h": "", ">1d": "", "<10s": "shorter than 10 s"}
_EXAMPLES = {"duration": _DURATIONS, "created": _TIMES, "started": _TIMES, "ended": _TIMES}
#: Control characters and lone surrogates: made blanks, so that positions stay.
_UNTYPED = ("Cc", "Cs")
_TERM = re.compile(r"(?P<minus>-*)(?:(?P<name>[^\W\d]\w*):)?(?P<value>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One line of the list: `insert` replaces the term that is being typed; `hint` says what it is."""

    insert: str
    hint: str = ""

    @property
    def label(self) -> str:
        """What the list shows."""
        return self.insert.rstrip()


@dataclass(frozen=True, slots=True)
class Group:
    """Suggestions of one kind under a title."""

    title: str
    suggestions: tuple[Suggestion, ...]


@dataclass(frozen=True, slots=True)
class Completion:
    """What to offer for the term from letter `start` up to `end` (counted from 0), which is to be replaced.

    `wants` says what belongs there when nothing can be offered; "" when there is no telling.
    """

    start: int
    end: int
    groups: tuple[Group, ...]
    wants: str = ""


def complete(workspace: Workspace, text: str, cursor_position: int, person: User | None) -> Completion:
    """What could stand where the cursor is. `cursor_position` counts letters (code points) from 0."""
    letters = (" " if unicodedata.category(letter) in _UNTYPED else letter for letter in text[:MAX_LENGTH])
    text = "".join(letters)
    cursor_position = max(0, min(cursor_position, len(text)))
    start, end = _term_bounds(text, cursor_position)
    typed = text[start:cursor_position]
    term = _TERM.fullmatch(typed)
    assert term is not None
    offer = _Offer(workspace, person, "-" if len(term["minus"]) % 2 else "")
    name = (term["name"] or "").casefold()
    if name in QUALIFIERS:
        groups = offer.values(name, term["value"])
        return Completion(start, end, _filled(groups), QUALIFIERS[name].wants)
    return Completion(start, end, () if name else _filled(offer.qualifiers(term["value"])))


def _filled(groups: Iterable[Group]) -> tuple[Group, ...]:
    return tuple(group for group in groups if group.suggestions)


def _term_bounds(text: str, cursor: int) -> tuple[int, int]:
    """Where the term around the cursor begins and ends; blanks and parentheses in quotes do not end it."""
    start, quoted, at = 0, False, 0
    while at < len(text):
        letter = text[at]
        if letter == "\\" and quoted:
            at += 1
        elif letter in _QUOTES:
            quoted = not quoted
        elif not quoted and (letter.isspace() or letter in "()"):
            if at >= cursor:
                return start, at
            start = at + 1
        at += 1
    return start, len(text)


@dataclass
class _Offer:
    """Finds suggestions; all of them begin with `minus`, as what was typed does."""

    workspace: Workspace
    person: User | None
    minus: str

    def qualifiers(self, typed: str) -> list[Group]:
        """The qualifiers whose name begins so, then what exists by that name."""
        known = [q for q in QUALIFIERS.values() if q.name.startswith(typed.casefold())]
        groups = [Group("Search by", tuple(self.suggest(f"{q.name}:", q.meaning, end="") for q in known))]
        if len(typed) >= 2 and '"' not in typed:
            groups.append(Group("Experiments", tuple(self.named("experiment", self.experiments, typed))))
            groups.append(Group("People", tuple(self.named("submitter", self.people, typed))))
        return groups

    def values(self, name: str, typed: str) -> list[Group]:
        """What could follow the colon of a qualifier."""
        if name in WORDS:
            return [Group(name.capitalize(), tuple(self.words(name, typed)))]
        if name in ("submitter", "experiment", "target", "node"):
            source: Callable[[str], list[str]] = {
                "submitter": self.people,
                "experiment": self.experiments,
                "target": self.targets,
                "node": self.nodes,
            }[name]
            return [Group(name.capitalize(), tuple(self.named(name, source, typed)))]
        if name in _LABEL_MODELS:
            return self.labels(name, typed)
        if name == "metric":
            return [Group("Metrics", tuple(self.metrics(typed)))]
        examples = (time for time in _EXAMPLES.get(name, {}).items() if time[0].startswith(typed))
        return [Group("Such as", tuple(self.suggest(f"{name}:{time}", hint) for time, hint in examples))]

    def suggest(self, term: str, hint: str = "", *, end: str = " ") -> Suggestion:
        """One suggestion; a blank ends what is complete."""
        return Suggestion(f"{self.minus}{term}{end}", hint)

    def words(self, name: str, typed: str) -> Iterable[Suggestion]:
        """Words of a fixed list; earlier ones of a list with commas are kept."""
        *kept, last = typed.split(",")
        for word in WORDS[name]:
            if word.casefold().startswith(last.casefold()):
                term = ",".join([*kept, str(OneOf(name, (word,))).partition(":")[2]])
                yield self.suggest(f"{name}:{term}", CLAIMS.get(word, "") if name == "is" else "")

    def named(self, name: str, source: Callable[[str], list[str]], typed: str) -> Iterable[Suggestion]:
        """Names that hold what was typed; earlier ones of a list with commas are kept."""
        kept, comma, last = typed.rpartition(",")
        part = last.strip(_QUOTES + "*")
        if name == "submitter" and self.person and "@me".startswith(part):
            yield self.suggest(f"{name}:{kept}{comma}@me", "you")
        for found in source(part):
            value = str(Named(name, (Pattern((found,)),))).partition(":")[2]
            yield self.suggest(f"{name}:{kept}{comma}{value}")

    def people(self, part: str) -> list[str]:
        """User names of members. There are few, so case is compared here, where it is known in any script."""
        members = Membership.objects.filter(workspace=self.workspace).order_by("user__username")
        names = members.values_list("user__username", flat=True)[:COUNTED]
        return list(islice((name for name in names if fold(part) in fold(name)), MOST))

    def experiments(self, part: str) -> list[str]:
        """Names of experiments that are not archived."""
        current = Experiment.objects.in_workspace(self.workspace).current()
        return self.first_names(current, "name", part)

    def targets(self, part: str) -> list[str]:
        """Names of compute targets."""
        return self.first_names(ComputeTarget.objects.filter(workspace=self.workspace), "name", part)

    def nodes(self, part: str) -> list[str]:
        """Names of nodes; a machine that serves several targets once."""
        return self.first_names(Node.objects.filter(target__workspace=self.workspace), "name", part)

    def first_names(self, rows: Any, column: str, part: str) -> list[str]:
        """The first few names that hold this part, in order of the alphabet."""
        holding = rows.filter(Q(LikeAnyCase(column, like_pattern(part)))) if part else rows
        return list(holding.order_by(column).values_list(column, flat=True).distinct()[:MOST])

    def labels(self, name: str, typed: str) -> list[Group]:
        """Keys while there is no =, then the values of the key."""
        key, equals, value = _split_label(typed)
        title = name.capitalize()
        rows = _LABEL_MODELS[name].objects.filter(run__in=self.recent()).order_by()
        if not equals:
            keys = self.common(rows, "key", key)
            found = (self.suggest(str(Labelled(name, Pattern((key,)), None)), end="") for key in keys)
            return [Group(f"{title} keys", tuple(found))]
        start = fold(key)
        rows = rows.filter(SpelledWithin("folded", start + LABEL_SEPARATOR, start + " "))
        values = self.common(rows, "value", value)
        whole = Pattern((key,))
        found = (
            self.suggest(str(Labelled(name, whole, Pattern((one,)))), self.runs_with(name, key, one))
            for one in values
        )
        has = str(Labelled(name, whole, None))
        either = Suggestion(f"{has} ", "has it, any value"), Suggestion(f"-{has} ", "does not have it")
        return [Group(f"Values of {name} {key}", tuple(found)), Group("Or", either if key else ())]

    def recent(self) -> list[int]:
        """The keys of the newest runs; as a list, because as a subquery PostgreSQL would read all labels."""
        runs = Run.objects.filter(workspace=self.workspace).order_by("-pk")
        return list(runs.values_list("pk", flat=True)[:RECENT])

    def common(self, rows: Any, column: str, part: str, *, sense: Callable[[str], str] = fold) -> list[str]:
        """The most frequent values of a column that hold this part, whatever the case.

        Of those that have the same `sense` to a search it is the most frequent one.
        """
        counted = rows.values_list(column).annotate(times=Count("pk")).order_by("-times", column)
        found: dict[str, str] = {}
        for value, _ in counted:
            if fold(part) in fold(value):
                found.setdefault(sense(value), value)
            if len(found) == MOST:
                break
        return list(found.values())

    def runs_with(self, name: str, key: str, value: str) -> str:
        """How many runs have this label, in words."""
        rows = _LABEL_MODELS[name].objects.filter(
            folded=fold_label(key, value), run__workspace=self.workspace, run__archived_at=None
        )
        count = rows.order_by().values("pk")[: COUNTED + 1].count()
        return f"{COUNTED:,}+ runs" if count > COUNTED else f"{count:,} run{'' if count == 1 else 's'}"

    def metrics(self, typed: str) -> Iterable[Suggestion]:
        """Names of metrics while there is no comparison."""
        if re.search(r"[<>=!]", typed):
            return
        rows = Metric.objects.filter(run__in=self.recent())
        for found in self.common(rows, "name", typed.strip(_QUOTES), sense=str):
            yield self.suggest(str(Measured(found)), end="")


def _split_label(typed: str) -> tuple[str, str, str]:
    """Key, = and value as far as they were typed, without quotes."""
    quoted = False
    for at, letter in enumerate(typed):
        if letter in _QUOTES:
            quoted = not quoted
        elif letter == "=" and not quoted:
            return typed[:at].strip(_QUOTES), "=", typed[at + 1 :].strip(_QUOTES + "*")
    return typed.strip(_QUOTES + "*"), "", ""
