"""What may be logged, and what it becomes."""

from __future__ import annotations

import decimal
import enum
import math
import numbers
from typing import Any

import pytest
from azureml import _metric_shapes, _values
from azureml.exceptions import AzureMLException, UserErrorException


class Scalarlike:
    """As numpy and torch make them: a number with `.item()`, and the dimensions of an array."""

    def __init__(self, value: Any, ndim: int = 0, numel: int | None = None) -> None:
        self.value, self.ndim = value, ndim
        if numel is not None:
            self.numel = lambda: numel

    def item(self) -> Any:
        return self.value

    def __repr__(self) -> str:
        return f"array({self.value})"


class Arraylike(Scalarlike):
    """As numpy and jax make them: `size` elements, of which numpy may hide some."""

    def __init__(self, value: Any, size: int, *, mask: Any = False) -> None:
        super().__init__(value, ndim=1)
        self.size, self.mask = size, mask


class Tensorlike:
    """As tensorflow makes them: `.numpy()` gives the number, or an array of it."""

    def __init__(self, inside: Scalarlike) -> None:
        self.inside, self.ndim = inside, inside.ndim

    def numpy(self) -> Scalarlike:
        return self.inside


class LongDouble:
    """As the long double of numpy: a number that is its own `.item()`."""

    ndim = 0

    def item(self) -> LongDouble:
        return self

    def __float__(self) -> float:
        return 3.5


numbers.Real.register(LongDouble)


class Colour(enum.IntEnum):
    RED = 3


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (Colour.RED, 3),
        (0.5, 0.5),
        ("text", "text"),
        (Scalarlike(3), 3),
        (Scalarlike(2**64 - 1), float(2**64 - 1)),
        (Scalarlike(True), True),
        (Scalarlike(1.5, ndim=1, numel=1), 1.5),
        (Arraylike(0.3, 1), 0.3),
        (Arraylike(0.3, 1, mask=lambda cond: None), 0.3),  # as the series of pandas
        (Tensorlike(Scalarlike(2.5)), 2.5),
        (Tensorlike(Arraylike(2.5, 1)), 2.5),
        (LongDouble(), 3.5),
        (Scalarlike(LongDouble()), 3.5),
        (Scalarlike(1 + 2j), "array((1+2j))"),
        ((1, 2), "(1, 2)"),
        ({"a": 1}, "{'a': 1}"),
        (decimal.Decimal("0.1"), "0.1"),
        (Scalarlike(1, ndim=1), "array(1)"),
        (Arraylike(1, 2), "array(1)"),
        (1 + 2j, "(1+2j)"),
    ],
)
def test_a_value_is_kept_as_a_number_or_as_its_text(value: Any, kept: Any) -> None:
    found = _values.scalar(value, "m")
    assert (found, type(found)) == (kept, type(kept))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_is_too_odd(value: float) -> None:
    assert str(_values.scalar(value)) == str(value)


def test_a_number_that_is_masked_is_none() -> None:
    assert math.isnan(_values.scalar(Arraylike(0.0, 1, mask=True)))


@pytest.mark.parametrize("value", [[1], range(2), (n for n in range(2)), map(abs, [1]), {1}])
def test_lists_are_sent_to_log_list(value: Any) -> None:
    with pytest.raises(UserErrorException, match="log_list"):
        _values.scalar(value, "m")


def test_an_array_of_one_element_is_a_single_value_in_lists_rows_and_tables() -> None:
    one = Arraylike(0.5, 1)
    assert _values.list_column("m", [one, Tensorlike(one)]) == {"": [0.5, 0.5]}
    assert _values.row_columns("m", {"x": one}) == {"x": [0.5]}
    with pytest.raises(AzureMLException, match="nested"):
        _values.row_columns("m", {"x": Arraylike(0.5, 2)})


def test_absurdly_large_numbers_are_refused() -> None:
    assert _values.scalar(2**63 - 1) == 2**63 - 1
    with pytest.raises(UserErrorException, match="64 bits"):
        _values.scalar(10**400, "m")


def test_lists_take_generators_and_nothing_nested() -> None:
    assert _values.list_column("m", (n for n in range(3))) == {"": [0, 1, 2]}
    assert _values.list_column("m", []) == {"": []}
    with pytest.raises(AzureMLException, match="nested"):
        _values.list_column("m", [1, [2]])
    with pytest.raises(AzureMLException, match="nested"):
        _values.list_column("m", [1, map(abs, [2])])
    for value in (3, "abc", {"a": 1}):
        with pytest.raises(UserErrorException):
            _values.list_column("m", value)


def test_rows_and_tables() -> None:
    assert _values.row_columns("m", {"x": 1, "y": "a"}) == {"x": [1], "y": ["a"]}
    assert _values.table_columns("m", {"x": [1, 2], "y": (3, 4)}) == {"x": [1, 2], "y": [3, 4]}
    assert _values.table_columns("m", {"x": 1, "y": "ab"}) == {"x": [1], "y": ["ab"]}
    with pytest.raises(AzureMLException, match="nested"):
        _values.row_columns("m", {"x": [1]})
    with pytest.raises(AzureMLException, match="not equally long"):
        _values.table_columns("m", {"x": [1, 2], "y": [1]})
    for value in ({}, [1], None):
        with pytest.raises(UserErrorException):
            _values.table_columns("m", value)
    with pytest.raises(UserErrorException):
        _values.row_columns("m", {})


def test_documents_are_checked_and_strict() -> None:
    text = '{"schema_type": "residuals", "schema_version": "v1", "data": {"x": [1, NaN]}}'
    assert _values.document("m", text, "residuals")["data"] == {"x": [1, {"float": "NaN"}]}
    for value in ("{", "[]", {"data": 1}, 3):
        with pytest.raises(UserErrorException):
            _values.document("m", value, "residuals")
    with pytest.raises(UserErrorException, match="is for log_residuals, not for log_confusion_matrix"):
        _values.document("m", text, "confusion_matrix")


def test_names_have_a_limit_that_is_told() -> None:
    assert _values.name_of(3) == "3"
    with pytest.raises(UserErrorException, match="at most 255"):
        _values.name_of("x" * 256)
    for name, word in (("", "empty"), (None, "None")):
        with pytest.raises(UserErrorException, match=f"a text and not {word}"):
            _values.name_of(name)
    with pytest.raises(UserErrorException, match="A column of 'm' has a name, which is a text and not empty"):
        _values.row_columns("m", {"": 1})
    with pytest.raises(UserErrorException, match="name of a column of 'm' has at most 255"):
        _values.table_columns("m", {"x" * 256: [1]})


@pytest.mark.parametrize("step", ["x", 3.7, 2**70, -(2**63), float("nan")])
def test_a_step_is_never_cut(step: Any) -> None:
    with pytest.raises(UserErrorException, match="whole number"):
        _values.step_of(step)


@pytest.mark.parametrize("step", [7, 7.0, True])
def test_whole_numbers_are_steps(step: Any) -> None:
    assert _values.step_of(step) == step


def test_the_shapes_of_get_metrics() -> None:
    def series(name: str, kind: str, **columns: list[Any]) -> dict[str, Any]:
        parts = [{"name": c.strip("_"), "type": "json", "data": v} for c, v in columns.items()]
        return {"name": name, "kind": kind, "columns": parts}

    found = _metric_shapes.metrics_of(
        "r",
        [
            series("once", "scalar", _=[1]),
            series("often", "scalar", _=[1]),
            series("often", "scalar", _=[2.5]),
            series("empty", "list", _=[]),
            series("one", "list", _=["x"]),
            series("row", "row", a=[1], b=[2]),
            series("rows", "table", a=[1, 2], b=[2.0, 3]),
            series("image", "image", _=[{"path": "p.png"}]),
        ],
    )
    assert found == {
        "once": 1,
        "often": [1.0, 2.5],
        "empty": [],
        "one": "x",
        "row": {"a": 1, "b": 2},
        "rows": {"a": [1, 2], "b": [2.0, 3.0]},
        "image": "aml://artifactId/ExperimentRun/dcid.r/p.png",
    }
