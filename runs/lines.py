"""What a chart draws of a metric: its entries as a line, thinned so that no extreme value is lost."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from runs.points import Points, finite_number, nothing, steps_of

Numbers: TypeAlias = "array[Any]"


class Line(NamedTuple):
    """What a chart draws, entry by entry: the place in the series, time, step (or NO_STEP), value, and x."""

    at: Numbers
    times: Numbers
    steps: Numbers
    values: Numbers
    x: Numbers

    def cut(self, start: int, end: int) -> Line:
        """The entries from `start` to before `end`."""
        return Line(*(part[start:end] for part in self))

    def plus(self, more: Line) -> Line:
        """These and then those."""
        return Line(*(mine + its for mine, its in zip(self, more, strict=True)))

    def extend(self, more: Line) -> None:
        """Add entries to these."""
        for mine, its in zip(self, more, strict=True):
            mine.extend(its)

    def picked(self, places: Sequence[int]) -> Line:
        """The entries at these places."""
        return Line(*(array(part.typecode, [part[place] for place in places]) for part in self))


def line_of(points: Points, y: str, x: str, first: int) -> Line:
    """The entries whose `y` is a number, and their `x` if that is asked for ("" for not).

    `first` is the place of the first entry in the series.
    """
    values = points.columns.get(y, nothing(len(points)))
    other = points.columns.get(x, nothing(len(points))) if x else points.times
    at: Numbers = array("q", range(first, first + len(points)))
    if isinstance(values, array) and isinstance(other, array):
        return Line(*_own(points, at), _floats(values), _floats(other))
    pairs = zip(values, other, strict=True)
    places = [place for place, (v, o) in enumerate(pairs) if _is_drawn(v) and _is_drawn(o)]
    drawn = [array("d", [float(part[place]) for place in places]) for part in (values, other)]
    own = [array(part.typecode, [part[place] for place in places]) for part in _own(points, at)]
    return Line(*own, *drawn)


def _own(points: Points, at: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    return at, points.times, steps_of(points)


def _floats(values: Numbers) -> Numbers:
    return values if values.typecode == "d" else array("d", values)


def _is_drawn(value: Any) -> bool:
    return isinstance(value, float) or finite_number(value) is not None


def thin(lines: Iterable[Line], size: int) -> Line:
    """Of every `size` entries the least, the most, and the first of each kind that is not finite.

    The very first and the very last are kept too, so that a line begins and ends where the series does.
    """
    kept, rest, last = empty_line(), empty_line(), empty_line()
    for line in lines:
        if not len(line.at):
            continue
        if not len(kept.at):
            kept.extend(line.cut(0, 1))
        last = line.cut(len(line.at) - 1, len(line.at))
        rest = rest.plus(line)
        whole = len(rest.at) // size * size
        for start in range(0, whole, size):
            _keep(kept, rest.cut(start, start + size))
        rest = rest.cut(whole, len(rest.at))
    _keep(kept, rest)
    if len(last.at) and kept.at[-1] != last.at[0]:
        kept.extend(last)
    return kept


def empty_line() -> Line:
    """A line without entries."""
    return Line(array("q"), array("d"), array("q"), array("d"), array("d"))


def _keep(kept: Line, bucket: Line) -> None:
    """Add what must be seen of these entries, in their order, without what is there already."""
    if not len(bucket.at):
        return
    values = bucket.values
    if math.isfinite(sum(values)):
        places = {values.index(min(values)), values.index(max(values))}
    else:
        places = _extremes(values)
    kept.extend(bucket.picked([place for place in sorted(places) if bucket.at[place] > kept.at[-1]]))


def _extremes(values: Numbers) -> set[int]:
    """The places of the least and the most finite value, and of the first NaN, Infinity and -Infinity."""
    finite = [place for place, value in enumerate(values) if math.isfinite(value)]
    places = {min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)} if finite else set()
    seen: dict[str, int] = {}
    for place, value in enumerate(values):
        if not math.isfinite(value):
            seen.setdefault(repr(value), place)
    return places | set(seen.values())
