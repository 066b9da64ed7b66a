"""Axes of charts that come drawn: how far they reach, and the round numbers at them.

static/js/axes.js does the same for charts that are drawn in the browser.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from decimal import Decimal

from runs.formats import tick_text

#: How wide an axis is at least, as a share of its numbers and at all.
_NARROWEST, _LEAST = 2e-14, 1e-300
#: How far apart ticks are at least, as a share of what they stand for.
_FINEST = 4e-15
#: As far as an axis reaches; from its one end to the other there is a number, too.
_MOST = sys.float_info.max / 2
#: An end that misses a tick by so little of a step has it.
_SLACK = Decimal("1e-9")


def within(value: float) -> float:
    """The number of an axis that is nearest to `value`."""
    return max(-_MOST, min(_MOST, value))


def reach(least: float, most: float, share: float) -> tuple[float, float]:
    """The ends of an axis from `least` to `most`, with a `share` of that as room on both sides.

    Floats have no digits for what lies between numbers that hardly differ: they have the axis of equal ones.
    """
    least, most = within(least), within(most)
    size, wide = max(abs(least), abs(most)), most - least
    flat = size * 0.1 if size > 10 * _LEAST else 1.0
    room = wide * share if wide > max(size * _NARROWEST, _LEAST) else flat
    return within(least - room), within(most + room)


def ticks(least: float, most: float, wanted: int = 5) -> list[float]:
    """About as many round numbers as wanted, at least two, between ends that `reach` gives."""
    finest = max(abs(least), abs(most)) * _FINEST
    while True:
        rough = max((most - least) / wanted, finest) * 0.999
        size = Decimal(1).scaleb(math.floor(math.log10(rough)))
        step = next(size * part for part in (1, 2, 5, 10) if size * part >= rough)
        first, last = math.ceil(Decimal(least) / step - _SLACK), math.floor(Decimal(most) / step + _SLACK)
        found = [float(step * at) for at in range(first, last + 1)]
        if len(found) > 1 or rough < finest:
            return found
        wanted += 1


def tick_texts(at: Sequence[float]) -> list[tuple[float, str]]:
    """Each of these ticks with what stands at it."""
    step = at[1] - at[0] if len(at) > 1 else 0.0
    return [(tick, tick_text(tick, step)) for tick in at]
