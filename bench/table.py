"""Figures, each beside its floor, as a table."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Figure:
    """One measured thing. `goal` is the most it should be, `floor` what the bare mechanism costs here."""

    section: str
    name: str
    value: float
    unit: str
    goal: float | None = None
    floor: float | None = None
    floor_name: str = ""
    median: float | None = None  # where `value` is a p95
    least: float | None = None  # what it costs while the machine does nothing else

    @property
    def is_reached(self) -> bool:
        """Whether the goal is kept; True where there is none."""
        return self.goal is None or self.value <= self.goal

    def to_json(self) -> str:
        """One line that `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Figure:
        """The figure that another process printed."""
        return cls(**json.loads(line))


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def number(value: float | None) -> str:
    """A number with as many digits as mean something."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def render(figures: Iterable[Figure]) -> str:
    """The table in Markdown, as the README quotes it."""
    lines = ["| | measured | median | goal | floor in the same run | |", "|---|---:|---:|---:|---|---|"]
    section = ""
    for one in figures:
        if one.section != section:
            section = one.section
            lines.append(f"| **{section}** | | | | | |")
        median = f"{number(one.median)} {one.unit}" if one.median is not None else ""
        goal = f"{number(one.goal)} {one.unit}" if one.goal is not None else ""
        floor = f"{number(one.floor)} {one.unit} ({one.floor_name})" if one.floor is not None else ""
        mark = "" if one.goal is None else "reached" if one.is_reached else "**missed**"
        measured = f"{number(one.value)} {one.unit}"
        lines.append(f"| {one.name} | {measured} | {median} | {goal} | {floor} | {mark} |")
    return "\n".join(lines)
