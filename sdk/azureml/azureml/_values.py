"""What may be logged, as None, bool, int, float or text;
and the columns that make up one entry of a metric.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Union

from azureml.exceptions import AzureMLException, UserErrorException

Scalar = Union[None, bool, int, float, str]
NAME_LENGTH = 255
_INT_END = 2**63
_DOCUMENTS = ("confusion_matrix", "accuracy_table", "residuals", "predictions")
_SERIES = (list, range, Iterator, set, frozenset)
_NESTED = (list, tuple, dict, set, frozenset, range, Iterator)


def name_of(name: Any, metric: str = "") -> str:
    """The name of a metric, or of a column of one. Raises UserErrorException for one that cannot be."""
    text = name if isinstance(name, str) else str(name)
    if name is None or not text:
        wrong = "None" if name is None else "empty"
        what = f"A column of {metric!r}" if metric else "A metric"
        raise UserErrorException(f"{what} has a name, which is a text and not {wrong}.")
    if len(text) > NAME_LENGTH:
        what = f"a column of {metric!r}" if metric else "a metric"
        raise UserErrorException(
            f"The name of {what} has at most {NAME_LENGTH} letters; {text[:40]!r}… has {len(text)}."
        )
    return text


def step_of(step: Any) -> int | None:
    """The step of an entry. Raises UserErrorException for what is no whole number of 64 bits."""
    if step is None:
        return None
    try:
        number = int(step)
    except (TypeError, ValueError, OverflowError):
        raise UserErrorException(f"A step is a whole number, not {step!r}.") from None
    if number != step or not -(2**63) < number < 2**63:
        raise UserErrorException(f"A step is a whole number of 64 bits, not {step!r}.")
    return number


def scalar(value: Any, name: str = "") -> Scalar:
    """A single value. Numbers of numpy, torch and tensorflow become numbers, whole ones that do not fit
    into 64 bits floats; what is unknown becomes its text.

    Raises UserErrorException for lists (which log_list takes) and for whole numbers beyond 64 bits.
    """
    kind = type(value)
    if kind is float or value is None or kind is bool or kind is str:
        return value
    if isinstance(value, int):
        return _whole(int(value), name)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, _SERIES):
        raise UserErrorException(
            f"The value of the metric {name!r} is a {kind.__name__}; log takes one value. Use run.log_list "
            "for several."
        )
    number = _single(value)
    if number is None:
        return str(value)
    is_beyond = type(number[0]) is int and not -_INT_END <= number[0] < _INT_END
    return float(number[0]) if is_beyond else scalar(number[0], name)


def cell(value: Any, name: str) -> Scalar:
    """A value in a list, a row or a table. Raises AzureMLException for a list in its place."""
    if type(value) is float:
        return value
    if isinstance(value, _NESTED) or (_dimensions(value) and not _is_one(value)):
        raise AzureMLException(
            f"The metric {name!r} holds a {type(value).__name__} where a single value belongs; lists cannot "
            "be nested."
        )
    return scalar(value, name)


def _whole(value: int, name: str) -> int:
    if not -_INT_END <= value < _INT_END:
        raise UserErrorException(
            f"The value of the metric {name!r} does not fit into 64 bits. Log float(value), or str(value)."
        )
    return value


def _single(value: Any) -> tuple[Any] | None:
    """The number inside of a scalar of a numeric library, in a tuple; None if it is none."""
    item = getattr(value, "item", None)
    if not callable(item):
        numpy = getattr(value, "numpy", None)
        if not callable(numpy):
            return None
        try:
            return _single(numpy())
        except (TypeError, ValueError, RuntimeError):
            return None
    if _dimensions(value) and not _is_one(value):
        return None
    try:
        number = math.nan if _is_masked(value) else item()
    except (TypeError, ValueError, RuntimeError):
        return None
    if isinstance(number, (bool, int, float, str)):
        return (number,)
    from numbers import Real  # rarely needed

    return (float(number),) if isinstance(number, Real) else None  # a long double is its own item


def _dimensions(value: Any) -> int:
    """How many dimensions an array has; 0 for all else."""
    found = getattr(value, "ndim", None)
    return found if isinstance(found, int) else 0


def _is_one(value: Any) -> bool:
    """Whether an array has one element, as `numel()` of torch, `size` of numpy, or `numpy()` tells."""
    numel, size = getattr(value, "numel", None), getattr(value, "size", None)
    if callable(numel):
        return bool(numel() == 1)
    if isinstance(size, int):
        return size == 1
    numpy = getattr(value, "numpy", None)
    return callable(numpy) and getattr(numpy(), "size", None) == 1


def _is_masked(value: Any) -> bool:
    """Whether numpy hides the one number: its item is what lies beneath."""
    mask = getattr(value, "mask", False)
    return not callable(mask) and bool(mask)  # pandas has a method of that name


def _unrolled(value: Any) -> Any:
    """Arrays as lists, which are quicker to walk."""
    tolist = getattr(value, "tolist", None)
    return tolist() if callable(tolist) and _dimensions(value) else value


def list_column(name: str, value: Any) -> dict[str, list[Scalar]]:
    """The column of log_list. Raises UserErrorException for what is no list, AzureMLException for nested
    ones.
    """
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(_unrolled(value), Iterable):
        raise UserErrorException(
            f"log_list takes a list of values for {name!r}, not a {type(value).__name__}."
        )
    return {"": [cell(item, name) for item in _unrolled(value)]}


def row_columns(name: str, row: Mapping[str, Any]) -> dict[str, list[Scalar]]:
    """The columns of log_row. Raises UserErrorException without any, AzureMLException for a list as a
    value.
    """
    if not row:
        raise UserErrorException(f"log_row takes columns for {name!r}, such as x=1, y=2.")
    return {name_of(column, name): [cell(value, f"{name}.{column}")] for column, value in row.items()}


def table_columns(name: str, table: Any) -> dict[str, list[Scalar]]:
    """The columns of log_table: equally long lists, or a value each.

    Raises UserErrorException, AzureMLException.
    """
    if not isinstance(table, Mapping) or not table:
        raise UserErrorException(
            f"log_table takes a dict of columns for {name!r}, such as {{'x': [1, 2], 'y': [3, 4]}}, not "
            f"{table!r}."
        )
    columns: dict[str, list[Scalar]] = {}
    for column, values in table.items():
        label = f"{name}.{column}"
        rows = _unrolled(values)
        several = isinstance(rows, Iterable) and not isinstance(rows, (str, bytes, Mapping))
        columns[name_of(column, name)] = (
            [cell(item, label) for item in rows] if several else [cell(values, label)]
        )
    lengths = {column: len(values) for column, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise AzureMLException(f"The columns of the table {name!r} are not equally long: {lengths}.")
    return columns


def document(name: str, value: Any, kind: str) -> dict[str, Any]:
    """The document of log_confusion_matrix and the like. Raises UserErrorException for what is none."""
    if isinstance(value, (str, bytes)):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise UserErrorException(f"The value of {name!r} is no JSON: {error}") from None
    if not isinstance(value, Mapping):
        raise UserErrorException(
            f"log_{kind} takes a dict or JSON text for {name!r}, not a {type(value).__name__}."
        )
    missing = [key for key in ("schema_type", "schema_version", "data") if key not in value]
    if missing:
        raise UserErrorException(f"The value of {name!r} lacks {', '.join(missing)}.")
    said = value["schema_type"]
    if said != kind and said in _DOCUMENTS:
        raise UserErrorException(
            f"The schema_type of {name!r} is {said}, which is for log_{said}, not for log_{kind}."
        )
    return {str(key): _strict(item) for key, item in value.items()}


def _strict(value: Any) -> Any:
    """A value that strict JSON can hold: nan and infinities as `{"float": "NaN"}` and the like."""
    value = _unrolled(value)
    if isinstance(value, Mapping):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(item) for item in value]
    plain = scalar(value)
    if isinstance(plain, float) and not math.isfinite(plain):
        return {"float": "NaN" if math.isnan(plain) else ("Infinity" if plain > 0 else "-Infinity")}
    return plain
