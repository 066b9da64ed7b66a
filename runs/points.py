"""Points of a metric as columns: joined, cut, summed up, and packed into bytes.

Numbers lie in arrays of the machine (f8 and i8), everything else in a list of JSON values. A packed block is

    length of the head (4 bytes) · head (JSON: which parts, their types and lengths) · the parts

Parts of a block that takes no more points are compressed, each by itself, so that a chart unpacks only the
columns that it draws. Bytes of equal weight are put together first: those of neighbouring numbers are alike.
"""

from __future__ import annotations

import json
import math
import struct
import sys
import zlib
from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Values: TypeAlias = "array[float] | array[int] | list[Any]"

#: Stands among steps for an entry that has none.
NO_STEP = -(2**63)
F8, I8, JSON = "f8", "i8", "json"
_CODES = {F8: "d", I8: "q"}
_TYPES = {code: name for name, code in _CODES.items()}
_HEAD = struct.Struct("<I")
_BEYOND_FLOATS = 2**1023
_STEPS, _TIMES = "#steps", "#times"
_WIDTH = 8


@dataclass(frozen=True)
class Points:
    """Some entries, oldest first: columns by name, times in Unix seconds, steps if any entry has one."""

    columns: Mapping[str, Values]
    times: array[float]
    steps: array[int] | None = None

    def __len__(self) -> int:
        return len(self.times)

    def cut(self, start: int, end: int) -> Points:
        """The entries from `start` to before `end`."""
        columns = {name: values[start:end] for name, values in self.columns.items()}
        return Points(columns, self.times[start:end], None if self.steps is None else self.steps[start:end])

    def plus(self, more: Points) -> Points:
        """These and then those. A column that one side lacks is None there."""
        columns = {
            name: joined(
                self.columns.get(name, nothing(len(self))),
                more.columns.get(name, nothing(len(more))),
            )
            for name in dict.fromkeys([*self.columns, *more.columns])
        }
        steps = None
        if self.steps is not None or more.steps is not None:
            steps = steps_of(self) + steps_of(more)
        return Points(columns, self.times + more.times, steps)


def nothing(length: int) -> list[Any]:
    """A column without values."""
    return [None] * length


def steps_of(points: Points) -> array[int]:
    """The steps, NO_STEP where an entry has none."""
    return array("q", [NO_STEP]) * len(points) if points.steps is None else points.steps


def type_of(values: Values) -> str:
    """f8, i8 or json."""
    return _TYPES[values.typecode] if isinstance(values, array) else JSON


def joined(first: Values, then: Values) -> Values:
    """One column after the other; JSON values unless both are numbers of one type."""
    if not len(first):
        return then
    if isinstance(first, array) and isinstance(then, array) and first.typecode == then.typecode:
        return first + then  # type: ignore[operator]
    return [*first, *then]


def concatenated(parts: Sequence[Points]) -> Points:
    """All of these in order, each column in the narrowest type that holds it.

    Ints among floats become floats, as `get_metrics` has always given them. A column that some part lacks is
    None there.
    """
    names = dict.fromkeys(name for part in parts for name in part.columns)
    pieces = {name: [part.columns.get(name, nothing(len(part))) for part in parts] for name in names}
    times, steps = array("d"), array("q")
    for part in parts:
        times.extend(part.times)
        steps.extend(steps_of(part))
    has_steps = any(part.steps is not None for part in parts)
    return Points({name: _column(all_) for name, all_ in pieces.items()}, times, steps if has_steps else None)


def _column(pieces: Sequence[Values]) -> Values:
    types = {narrow_type(piece) for piece in pieces if len(piece)}
    if JSON in types or not types:
        return [value for piece in pieces for value in piece]
    whole: array[Any] = array(_CODES[F8 if F8 in types else I8])
    for piece in pieces:
        is_same = isinstance(piece, array) and piece.typecode == whole.typecode
        whole.extend(piece if is_same else array(whole.typecode, piece))
    return whole


def narrow_type(values: Values) -> str:
    """The narrowest type that holds every value of a column."""
    if isinstance(values, array):
        return type_of(values)
    kinds = set(map(type, values))
    if kinds == {int}:
        return I8 if all(-(2**63) <= value < 2**63 for value in values) else JSON
    if kinds and kinds <= {int, float} and all(type(v) is float or abs(v) < _BEYOND_FLOATS for v in values):
        return F8
    return JSON


@dataclass(frozen=True)
class Summary:
    """Last, least and most of the finite numbers of a column, None without one.

    `text` is the very last value where that is no finite number.
    """

    last: float | None = None
    least: float | None = None
    most: float | None = None
    text: str = ""

    def plus(self, more: Summary, count: int) -> Summary:
        """This, and then `more` of `count` further values."""
        if not count:
            return self
        return Summary(
            self.last if more.last is None else more.last,
            min((v for v in (self.least, more.least) if v is not None), default=None),
            max((v for v in (self.most, more.most) if v is not None), default=None),
            more.text,
        )


def summary(values: Values) -> Summary:
    """What is said of a column without reading it. Costs little where all are finite numbers."""
    if not len(values):
        return Summary()
    if isinstance(values, array) and math.isfinite(sum(values)):
        return Summary(float(values[-1]), float(min(values)), float(max(values)))
    finite = [number for number in map(finite_number, values) if number is not None]
    said = finite_number(values[-1]) is None and not isinstance(values[-1], dict | list)
    text = storable(value_text(values[-1])[:255]) if said else ""
    if not finite:
        return Summary(text=text)
    return Summary(finite[-1], min(finite), max(finite), text)


def finite_number(value: Any) -> float | None:
    """The value as a float if it is a finite number; truth values are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def storable(text: str) -> str:
    """The text without what a database refuses: NUL, and halves of letters."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def value_text(value: Any) -> str:
    """A value as a person reads it."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return repr(value).replace("inf", "Infinity").replace("nan", "NaN").removesuffix(".0")
    return json.dumps(value, ensure_ascii=False)


# Packing ------------------------------------------------------------------------------------------------


def pack(points: Points, *, compressed: bool) -> bytes:
    """The points as bytes."""
    named: list[tuple[str, Values]] = [(_TIMES, points.times)]
    if points.steps is not None:
        named.append((_STEPS, points.steps))
    head: list[Any] = []
    parts: list[bytes] = []
    for at, (name, values) in enumerate([*named, *points.columns.items()]):
        part = _part(values, compressed)
        parts.append(part)
        head.append([name, type_of(values), len(part), int(at < len(named))])
    head_bytes = json.dumps({"z": int(compressed), "parts": head}, ensure_ascii=False).encode()
    return b"".join([_HEAD.pack(len(head_bytes)), head_bytes, *parts])


def unpack(data: bytes, columns: Collection[str] | None = None) -> Points:
    """The points in these bytes, with these columns of them, or all."""
    (length,) = _HEAD.unpack_from(data)
    head = json.loads(data[_HEAD.size : _HEAD.size + length])
    at = _HEAD.size + length
    found: dict[str, Values] = {}
    own: dict[str, Any] = {}
    for name, kind, size, is_own in head["parts"]:
        if is_own or columns is None or name in columns:
            (own if is_own else found)[name] = _values(data[at : at + size], kind, head["z"])
        at += size
    return Points(found, own[_TIMES], own.get(_STEPS))


def _part(values: Values, compressed: bool) -> bytes:
    if isinstance(values, list):
        data = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    else:
        data = number_bytes(values)
        if compressed:
            data = b"".join(data[weight::_WIDTH] for weight in range(_WIDTH))
    return zlib.compress(data, 1) if compressed else data


def _values(part: bytes, kind: str, compressed: int) -> Values:
    data = zlib.decompress(part) if compressed else part
    if kind == JSON:
        values: list[Any] = json.loads(data.decode("utf-8", "surrogatepass"))
        return values
    if compressed:
        ordered, each = bytearray(len(data)), len(data) // _WIDTH
        for weight in range(_WIDTH):
            ordered[weight::_WIDTH] = data[weight * each : (weight + 1) * each]
        data = bytes(ordered)
    return numbers(data, kind)


def number_bytes(values: array[Any]) -> bytes:
    """Numbers as little-endian bytes."""
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values.tobytes()


def numbers(data: bytes, kind: str) -> array[Any]:
    """The numbers in little-endian bytes. Raises ValueError for half a number."""
    values: array[Any] = array(_CODES[kind])
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    return values
