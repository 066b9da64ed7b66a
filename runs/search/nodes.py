"""What a search asks for, as frozen data. `str()` of any of it is query text that parses to the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

#: Seconds in each unit of a duration.
UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}

_BARE_WORD = re.compile(r'[^\s()":*\\-][^\s()":*\\]*')
_BARE_VALUE = re.compile(r'[^\s()",*<>=!\\]+')
_KEYWORDS = ("OR", "AND", "NOT")


def quote(text: str) -> str:
    """The text in quotes, so that nothing in it has a meaning."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _value(text: str) -> str:
    return text if _BARE_VALUE.fullmatch(text) else quote(text)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A name, or several pieces of one with `*` between them."""

    pieces: tuple[str, ...]

    @property
    def is_exact(self) -> bool:
        """Whether there is no `*` in it."""
        return len(self.pieces) == 1

    def __str__(self) -> str:
        return "*".join(_value(piece) if piece else "" for piece in self.pieces) or '""'


@dataclass(frozen=True, slots=True)
class Text:
    """Free text: found anywhere in the run's name, description, tags, experiment, submitter or id."""

    term: str

    def __str__(self) -> str:
        bare = _BARE_WORD.fullmatch(self.term) and self.term not in _KEYWORDS
        return self.term if bare else quote(self.term)


@dataclass(frozen=True, slots=True)
class Within:
    """These pieces, in this order, within the run's `name` or `description`; without pieces, it has one."""

    what: str
    pieces: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.what}:{'*'.join(map(_value, self.pieces)) or '*'}"


@dataclass(frozen=True, slots=True)
class OneOf:
    """A word of a fixed list: `status`, `kind`, `error` or `is`."""

    what: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.what}:{','.join(self.words)}"


@dataclass(frozen=True, slots=True)
class Named:
    """Belongs to a `submitter`, `experiment`, `target` or `node` of one of these names."""

    what: str
    names: tuple[Pattern, ...]

    def __str__(self) -> str:
        return f"{self.what}:{','.join(map(str, self.names))}"


@dataclass(frozen=True, slots=True)
class Labelled:
    """Has a `tag` or `property` of this key and, unless None, this value."""

    what: str
    key: Pattern
    value: Pattern | None

    def __str__(self) -> str:
        return f"{self.what}:{self.key}" + ("" if self.value is None else f"={self.value}")


@dataclass(frozen=True, slots=True)
class Measured:
    """Has a metric of this name and, unless None, its last value compares so."""

    name: str
    operator: str = ""
    value: float | None = None

    def __str__(self) -> str:
        if self.value is None:
            return f"metric:{_value(self.name)}"
        return f"metric:{_value(self.name)}{self.operator}{repr(self.value).removesuffix('.0')}"


@dataclass(frozen=True, slots=True)
class Numbered:
    """Its number in its experiment compares so."""

    operator: str
    number: int

    def __str__(self) -> str:
        return f"number:{'' if self.operator == '=' else self.operator}{self.number}"


@dataclass(frozen=True, slots=True)
class Lasting:
    """Its duration compares so; `=` means to the unit, so that 5m covers 5:00 to 5:59."""

    operator: str
    seconds: int
    unit: str

    @property
    def unit_s(self) -> int:
        """How many seconds the smallest unit that was written has."""
        return UNITS[self.unit]

    def __str__(self) -> str:
        operator = "" if self.operator == "=" else self.operator
        return f"duration:{operator}{self.seconds // self.unit_s}{self.unit}"


@dataclass(frozen=True, slots=True)
class When:
    """A time as it was written: `2026-11-01T10:30Z`, `2026-11-01`, `2026-11`, `2026`, `today`, `7d` (ago).

    Raises ValueError for anything else.
    """

    text: str

    def __post_init__(self) -> None:
        self.bounds(datetime(2026, 1, 1, tzinfo=UTC))

    def __str__(self) -> str:
        return quote(self.text) if " " in self.text else self.text

    @property
    def is_ago(self) -> bool:
        """Whether it counts back from now, so that it is one instant."""
        return _AGO.fullmatch(self.text) is not None

    def bounds(self, now: datetime) -> tuple[datetime, datetime]:
        """The first instant of it and the first after it; what has no time zone is read in that of `now`."""
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        if self.text == "today":
            return midnight, midnight + timedelta(days=1)
        if self.text == "yesterday":
            return midnight - timedelta(days=1), midnight
        if ago := _AGO.fullmatch(self.text):
            instant = now - timedelta(seconds=int(ago[1]) * UNITS[ago[2]])
            return instant, instant
        return self._calendar_bounds(now)

    def _calendar_bounds(self, now: datetime) -> tuple[datetime, datetime]:
        written = _CALENDAR.fullmatch(self.text)
        if written is None:
            raise ValueError(self.text)
        year, month, day, hour, minute, second, zone = written.groups()
        day_text = f"{year}-{month or '01'}-{day or '01'}"
        time_text = f"{hour or '00'}:{minute or '00'}:{second or '00'}"
        start = datetime.fromisoformat(f"{day_text}T{time_text}{zone or ''}")
        if start.tzinfo is None:
            start = start.replace(tzinfo=now.tzinfo)
        if month is None:
            return start, start.replace(year=start.year + 1)
        if day is None:
            return start, (start + timedelta(days=31)).replace(day=1)
        return start, start + timedelta(seconds=86_400 if hour is None else 60 if second is None else 1)


_AGO = re.compile(r"(\d{1,5})([mhdw])", re.ASCII)
_CLOCK = r"(\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?(Z|[+-]\d\d:\d\d)?"
_CALENDAR = re.compile(rf"((?:19|20|21)\d\d)(?:-(\d\d)(?:-(\d\d)(?:[T ]{_CLOCK})?)?)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Dated:
    """It was `created`, `started` or `ended` at a time that compares so."""

    what: str
    operator: str
    when: When

    def __str__(self) -> str:
        return f"{self.what}:{'' if self.operator == '=' else self.operator}{self.when}"


@dataclass(frozen=True, slots=True)
class Identified:
    """Its own `id` is this run id, or that of its `parent`."""

    what: str
    run_id: str

    def __str__(self) -> str:
        return f"{self.what}:{_value(self.run_id)}"


Condition = Text | Within | OneOf | Named | Labelled | Measured | Numbered | Lasting | Dated | Identified


@dataclass(frozen=True, slots=True)
class Not:
    """What does not match `node`; never a Not of a Not."""

    node: Node

    def __str__(self) -> str:
        return f"-{_grouped(self.node)}"


@dataclass(frozen=True, slots=True)
class And:
    """What matches all; without nodes, everything."""

    nodes: tuple[Node, ...] = ()

    def __str__(self) -> str:
        return " ".join(f"({node})" if isinstance(node, Or) else str(node) for node in self.nodes) or "*"


@dataclass(frozen=True, slots=True)
class Or:
    """What matches any; at least two."""

    nodes: tuple[Node, ...]

    def __str__(self) -> str:
        return " OR ".join(map(str, self.nodes))


Node = Condition | Not | And | Or


def _grouped(node: Node) -> str:
    return f"({node})" if isinstance(node, Or) or (isinstance(node, And) and node.nodes) else str(node)


@dataclass(frozen=True, slots=True)
class Query:
    """A whole search. False when it asks for nothing in particular."""

    root: Node = field(default_factory=And)

    def __bool__(self) -> bool:
        return self.root != And()

    def __str__(self) -> str:
        return str(self.root) if self else ""

    def conditions(self) -> Iterator[Condition]:
        """Every condition in it, in the order it was written."""
        yield from _conditions(self.root)

    @property
    def asks_for_archived(self) -> bool:
        """Whether it says itself what becomes of archived runs."""
        return OneOf("is", ("archived",)) in self.conditions()


def _conditions(node: Node) -> Iterator[Condition]:
    if isinstance(node, Not):
        yield from _conditions(node.node)
    elif isinstance(node, And | Or):
        for part in node.nodes:
            yield from _conditions(part)
    else:
        yield node
