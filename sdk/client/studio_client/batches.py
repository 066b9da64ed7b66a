"""What of a segment goes to the server in one request, in the form that it takes."""

from __future__ import annotations

import base64
import json
import sys
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, Union

from studio_client.image_entries import is_waiting
from studio_client.segments import FLOAT, INT, NAME, NO_STEP, SLOT_BYTES, Segment, Slots

#: Whole numbers up to this are the same as floats.
_EXACT = 2**53
_LOWER_HALF = 0xFFFFFFFF
Values = Union["array[Any]", Sequence[Any]]


class Batch:
    """The entries from `start` to before `end` of a segment; `series` is what the API takes.

    `images` has what entries say of images that wait, by their names; it is in `series`, too, and is to be
    settled first.
    """

    __slots__ = ("count", "end", "images", "series", "start")

    def __init__(self, segment: Segment, start: int, end: int) -> None:
        slots = segment.read(start, end)
        self.start, self.end = start, start + len(slots.words) * SLOT_BYTES
        self.count = 0
        self.series: list[dict[str, Any]] = []
        self.images: dict[str, dict[str, Any]] = {}
        for name, (words, places) in _by_name(segment, slots).items():
            self.count += len(places)
            labels = [segment.labels[word & _LOWER_HALF] for word in words]
            content = _numbers(slots, words[0] >> 32, places) if len(words) == 1 else None
            self.series.append(
                {
                    "name": name,
                    "kind": labels[0][1],
                    "description": next((label[2] for label in reversed(labels) if label[2]), ""),
                    **(content or _mixed(segment, slots, places, self.images)),
                }
            )

    def body(self, writer: str, seq: int) -> bytes:
        """The request as JSON."""
        content = {"writer": writer, "seq": seq, "series": self.series}
        return json.dumps(content, separators=(",", ":")).encode()


def _by_name(segment: Segment, slots: Slots) -> dict[str, tuple[list[int], Sequence[int]]]:
    """For each name the words that stand for it, and the places where they are."""
    found: dict[str, tuple[list[int], list[int]]] = {}
    places_of: dict[int, list[int]] = {}
    for word in dict.fromkeys(slots.words):
        if word >> 32 == NAME:
            places_of[word] = []
            continue
        words, places = found.setdefault(segment.labels[word & _LOWER_HALF][0], ([], []))
        words.append(word)
        places_of[word] = places
    for place, word in enumerate(slots.words):
        places_of[word].append(place)
    return dict(found)


def _numbers(slots: Slots, tag: int, places: Sequence[int]) -> dict[str, Any] | None:
    """The content of a series that has floats only, or ints only; None for others."""
    if tag not in (FLOAT, INT):
        return None
    values = _chosen(slots.floats if tag == FLOAT else slots.ints, places)
    return _content({"": values}, _chosen(slots.steps, places), _chosen(slots.times, places))


def _chosen(values: array[Any], places: Sequence[int]) -> array[Any]:
    if places[-1] - places[0] + 1 == len(places):
        return values[places[0] : places[-1] + 1]
    return array(values.typecode, [values[place] for place in places])


def _mixed(
    segment: Segment, slots: Slots, places: Sequence[int], images: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """The content of any series: a column that an entry lacks is None there. Adds the images that wait."""
    columns: dict[str, list[Any]] = {}
    steps, times = array("q"), array("d")
    for place in places:
        tag = slots.words[place] >> 32
        number = slots.floats[place] if tag == FLOAT else slots.ints[place]
        rows = {"": [number]} if tag in (FLOAT, INT) else json.loads(segment.text(number))
        if segment.labels[slots.words[place] & _LOWER_HALF][1] == "image":
            images.update((value["file"], value) for value in rows.get("", []) if is_waiting(value))
        had, count = len(times), len(next(iter(rows.values()), []))
        steps.extend([slots.steps[place]] * count)
        times.extend([slots.times[place]] * count)
        for name, values in rows.items():
            columns.setdefault(name, [None] * had).extend(values)
        for values in columns.values():
            values.extend([None] * (had + count - len(values)))
    return _content(columns, steps, times)


def _content(columns: Mapping[str, Values], steps: array[Any], times: array[Any]) -> dict[str, Any]:
    return {
        "columns": [_column(name, values) for name, values in columns.items()],
        "steps": None if steps.count(NO_STEP) == len(steps) else _base64(steps),
        "times": _base64(times),
    }


def _column(name: str, values: Values) -> dict[str, Any]:
    packed = values if isinstance(values, array) else _packed(values)
    if packed is None:
        return {"name": name, "type": "json", "data": values}
    return {"name": name, "type": "f8" if packed.typecode == "d" else "i8", "data": _base64(packed)}


def _packed(values: Sequence[Any]) -> array[Any] | None:
    """Numbers as an array; None if something would be lost, or is no number."""
    kinds = set(map(type, values))
    whole = kinds == {int}
    if not kinds or not kinds <= {int, float}:
        return None
    if int in kinds and not whole and any(abs(v) > _EXACT for v in values if type(v) is int):
        return None
    try:
        return array("q" if whole else "d", values)
    except OverflowError:
        return None


def _base64(numbers: array[Any]) -> str:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode()
