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
    """
    kinds: dict[str, str] = {}
    columns: dict[str, dict[str, list[Any]]] = {}
    for part in series:
        name = part["name"]
        kinds.setdefault(name, part["kind"])
        held = columns.setdefault(name, {})
        for column in part["columns"]:
            held.setdefault(column["name"], []).extend(_decoded(column))
    return {name: _shaped(run_id, kinds[name], held) for name, held in columns.items()}


def _shaped(run_id: str, kind: str, columns: dict[str, list[Any]]) -> Any:
    if kind in ROWS:
        return {name: _one_or_all(_alike(values)) for name, values in columns.items()}
    values = columns.get("", [])
    if kind == IMAGE:
        return _one_or_all(
            [f"aml://artifactId/ExperimentRun/dcid.{run_id}/{_path(value)}" for value in values]
        )
    return _one_or_all(_alike(values))


def _path(value: Any) -> str:
    return str(value.get("path", "")) if isinstance(value, dict) else str(value)


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
