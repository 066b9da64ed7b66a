"""Where the steps of a pipeline stand."""

from __future__ import annotations

import itertools
import time

from hypothesis import given
from hypothesis import strategies as st

from runs.graph import BOX_HEIGHT, BOX_WIDTH, MARGIN, Layout, layout

CHURN = {
    "ingest": [], "validate": ["ingest"], "features": ["ingest"], "logreg": ["features"],
    "xgb": ["features"], "lgbm": ["features"], "evaluate": ["logreg", "xgb"], "blend": ["lgbm"],
    "report": ["evaluate"],
}  # fmt: skip


def of(edges: dict[str, list[str]]) -> Layout:
    return layout(list(edges), edges)


def test_a_step_stands_right_of_all_it_waits_for() -> None:
    drawn = of(CHURN)
    x = {box.name: box.x for box in drawn.boxes}
    assert all(x[before] + BOX_WIDTH < x[name] for name, befores in CHURN.items() for before in befores)
    assert len({x[name] for name in ("logreg", "xgb", "lgbm")}) == 1


def test_a_chain_is_a_straight_line() -> None:
    drawn = of({"a": [], "b": ["a"], "c": ["b"]})
    assert {box.y for box in drawn.boxes} == {MARGIN}
    assert drawn.height == BOX_HEIGHT + 2 * MARGIN


def test_a_step_stands_in_the_middle_of_its_branches() -> None:
    y = {box.name: box.y for box in of({"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}).boxes}
    assert y["a"] == y["d"] == (y["b"] + y["c"]) / 2


def test_branches_do_not_cross() -> None:
    y = {box.name: box.y for box in of({"a": [], "b": [], "after b": ["b"], "after a": ["a"]}).boxes}
    assert (y["a"] < y["b"]) == (y["after a"] < y["after b"])


def test_a_long_edge_goes_around_the_boxes_between() -> None:
    drawn = of({"a": [], "b": ["a"], "c": ["b", "a"]})
    long = next(line for line in drawn.lines if (line.before, line.after) == ("a", "c"))
    between = next(box for box in drawn.boxes if box.name == "b")
    lane = float(long.path.split("H")[0].split()[-1])
    assert not between.y <= lane <= between.y + BOX_HEIGHT


def test_nothing_and_one_step() -> None:
    assert of({}).boxes == []
    assert len(of({"only": []}).boxes) == 1


def test_a_cycle_is_drawn_all_the_same() -> None:
    assert len(of({"a": ["b"], "b": ["a"]}).boxes) == 2


@given(st.integers(0, 14), st.data())
def test_boxes_never_overlap_and_stay_inside(n: int, data: st.DataObject) -> None:
    edges = {
        str(i): [str(j) for j in data.draw(st.sets(st.integers(0, i - 1), max_size=4))] if i else []
        for i in range(n)
    }
    drawn = of(edges)
    for one, two in itertools.combinations(drawn.boxes, 2):
        assert one.x != two.x or abs(one.y - two.y) >= BOX_HEIGHT
    assert all(box.x > 0 and box.x + BOX_WIDTH < drawn.width for box in drawn.boxes)
    assert all(box.y > 0 and box.y + BOX_HEIGHT < drawn.height for box in drawn.boxes)


def test_a_thicket_of_a_hundred_steps_is_drawn_in_no_time() -> None:
    edges = {str(i): [str(j) for j in range(i)] for i in range(100)}
    started = time.process_time()
    assert len(of(edges).lines) == 4_950
    assert time.process_time() - started < 2
