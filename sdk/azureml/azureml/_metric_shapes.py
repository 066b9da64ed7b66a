"""What `get_metrics` returns, out of the columns that the server keeps."""

from __future__ import annotations

import array
import base64
import math
import sys
from typing import Any

ROWS = frozenset({"row", "table"})
IMAGE = "image"


def metrics_of(run_id: str, series: list[dict[str, Any]]) -> dict[str, Any]:
    """A dict of name to value: a scalar for one point, a list for more, a dict of columns for rows and
    tables.

    Of a name that had single values and rows it is a list of them in their order, each row a dict.
    """
    kinds: dict[str, str] = {}
    columns: dict[str, dict[str, list[Any]]] = {}
    for part in series:
        name = part["name"]
        kinds.setdefault(name, part["kind"])
        _append(columns.setdefault(name, {}), part["columns"])
    return {name: _shaped(run_id, kinds[name], held) for name, held in columns.items()}


def _append(held: dict[str, list[Any]], more: list[dict[str, Any]]) -> None:
    """Add entries to columns; one that either side lacks is None there."""
    had = max(map(len, held.values()), default=0)
    for column in more:
        name = column["name"]
        held[name] = [*held.get(name, [None] * had), *_decoded(column)]
    length = max(map(len, held.values()), default=0)
    for values in held.values():
        values += [None] * (length - len(values))


def _shaped(run_id: str, kind: str, columns: dict[str, list[Any]]) -> Any:
    values = columns.get("", [])
    if kind == IMAGE:
        values = [_address(run_id, value) for value in values]
    if values and len(columns) > 1:
        rows = {name: cells for name, cells in columns.items() if name}
        return _one_or_all([_entry(value, rows, at) for at, value in enumerate(values)])
    if kind in ROWS:
        return {name: _one_or_all(_alike(cells)) for name, cells in columns.items()}
    return _one_or_all(_alike(values))


def _entry(value: Any, rows: dict[str, list[Any]], at: int) -> Any:
    """The single value that was logged, or the row; both under their columns where an entry has both."""
    row = {name: cells[at] for name, cells in rows.items() if cells[at] is not None}
    if not row:
        return value
    return row if value is None else {"": value, **row}


def _address(run_id: str, value: Any) -> Any:
    """Where an image lies; what is none is left as it was logged under the image's name."""
    path = value.get("path", "") if isinstance(value, dict) else value
    return f"aml://artifactId/ExperimentRun/dcid.{run_id}/{path}" if isinstance(path, str) else value


def _one_or_all(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


def _alike(values: list[Any]) -> list[Any]:
    """Whole numbers among others become floats, too."""
    kinds = {type(value) for value in values}
    if kinds == {int, float}:
        return [float(value) for value in values]
    return values


_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def _from_json(value: Any) -> Any:
    """A value as it was logged: strict JSON has no nan, so that comes as `{"float": "NaN"}`."""
    if isinstance(value, dict):
        if len(value) == 1 and value.get("float") in _NOT_FINITE:
            return _NOT_FINITE[value["float"]]
        return {key: _from_json(inner) for key, inner in value.items()}
    return [_from_json(inner) for inner in value] if isinstance(value, list) else value


def _decoded(column: dict[str, Any]) -> list[Any]:
    if column["type"] == "json":
        return [_from_json(value) for value in column["data"]]
    numbers = array.array("d" if column["type"] == "f8" else "q")
    numbers.frombytes(base64.b64decode(column["data"]))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()
