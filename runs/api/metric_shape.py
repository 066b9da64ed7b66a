"""Metrics as the API writes them: columns of numbers as base64 of little-endian arrays, all else as JSON."""

from __future__ import annotations

import json
import math
import zlib
from array import array
from base64 import b64encode
from typing import Any

from django.http import HttpRequest, HttpResponse
from pydantic import BaseModel, Field

from runs.errors import InvalidInput
from runs.models import Metric, MetricKind
from runs.points import NO_STEP, Points, number_bytes, steps_of, type_of
from runs.services.metric_batches import (
    BODY_BYTES,
    NOT_FINITE,
    OF_F8,
    STEPS,
    BatchIn,
    ColumnType,
    parse_batch,
)
from runs.services.metrics import Chart

_KINDS = f"One of {', '.join(MetricKind)}."


class BatchOut(BaseModel):
    """What became of a batch."""

    stored: int = Field(description="How many entries it added; 0 for a duplicate.")
    duplicate: bool = Field(False, description="Whether this batch had been stored before.")


class ColumnSummary(BaseModel):
    """What is known of a column."""

    name: str = Field(description='"" where an entry is one value.')
    type: ColumnType
    last: float | None = Field(description="Its last finite number; null for none.")
    min: float | None = Field(description="Its least finite number; null for none.")
    max: float | None = Field(description="Its greatest finite number; null for none.")


class MetricOut(BaseModel):
    """A metric without its points."""

    run_id: str = Field(description="The run that logged it.")
    name: str = Field(description="Unique in its run.")
    kind: str = Field(description=_KINDS)
    description: str = Field(description='As it was logged; "" for none.')
    count: int = Field(description="How many entries it has.")
    last: float | None = Field(description="The last finite number, of the first column with one; or null.")
    last_text: str = Field(description='What came last if that is no finite number, such as NaN; else "".')
    min: float | None = Field(description="The least finite number of that column; null for none.")
    max: float | None = Field(description="The greatest finite number of that column; null for none.")
    columns: list[ColumnSummary] = Field(description="What is known of each column.")


class ColumnOut(BaseModel):
    """The values of a column, as they are sent."""

    name: str = Field(description='"" where an entry is one value.')
    type: ColumnType
    data: str | list[Any] = Field(description="Base64 of a little-endian array, or a list of JSON values.")


class ValuesOut(BaseModel):
    """A metric with all of its points."""

    name: str = Field(description="Unique in its run.")
    kind: str = Field(description=_KINDS)
    columns: list[ColumnOut] = Field(description="Each has one value for each entry.")
    steps: str | None = Field(description=STEPS)
    times: str = Field(description=f"{OF_F8}: Unix seconds.")


class ChartOut(BaseModel):
    """What a chart draws: arrays of one length."""

    run_id: str = Field(description="The run that logged it.")
    name: str = Field(description="Unique in its run.")
    kind: str = Field(description=_KINDS)
    column: str = Field(description='The one that is drawn; "" where an entry is one value.')
    x_column: str = Field(description='The one on the other axis; "" for steps or times.')
    count: int = Field(description="How many entries the metric has.")
    start: int = Field(description="The first entry that was looked at, from 0.")
    end: int = Field(description="The entry before which that ended.")
    is_whole: bool = Field(description="Whether all of these were kept, not the extremes of stretches alone.")
    at: str = Field(description=f"{OF_F8}: the place of each in the series, from 0.")
    times: str = Field(description=f"{OF_F8}: Unix seconds.")
    steps: str | None = Field(description=f"{OF_F8}; NaN for an entry without one, null if none has any.")
    values: str = Field(description=f"{OF_F8}: those of `column`.")
    x: str | None = Field(description=f"{OF_F8}: those of `x_column`; null without one.")


def read_batch(request: HttpRequest) -> BatchIn:
    """The batch in a body, which may be compressed with gzip. Raises InvalidInput, TooBig."""
    body = request.read(BODY_BYTES + 1)
    if request.headers.get("Content-Encoding", "").lower() == "gzip":
        body = _unpacked(body)
    return parse_batch(body)


def _unpacked(body: bytes) -> bytes:
    reader = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        return reader.decompress(body, BODY_BYTES + 1)
    except zlib.error as error:
        raise InvalidInput("The body says that it is gzip, and is not.") from error


def _to_json(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": next(name for name, known in NOT_FINITE.items() if repr(known) == repr(value))}
    if isinstance(value, dict):
        return {key: _to_json(inner) for key, inner in value.items()}
    return [_to_json(inner) for inner in value] if isinstance(value, list) else value


def _packed(values: array[Any]) -> str:
    return b64encode(number_bytes(values)).decode()


def metric_out(metric: Metric, run_id: str) -> dict[str, Any]:
    """The answer for a metric without its points."""
    columns = [
        {
            "name": one["name"],
            "type": one["type"],
            "last": one["last"],
            "min": one["least"],
            "max": one["most"],
        }
        for one in metric.columns
    ]
    return {
        "run_id": run_id,
        "name": metric.name,
        "kind": metric.kind,
        "description": metric.description,
        "count": metric.count,
        "last": metric.last,
        "last_text": metric.last_text,
        "min": metric.least,
        "max": metric.most,
        "columns": columns,
    }


def values_out(metric: Metric, points: Points) -> dict[str, Any]:
    """The answer for a metric with all of its points."""
    columns = [
        {
            "name": name,
            "type": type_of(values),
            "data": [_to_json(v) for v in values] if isinstance(values, list) else _packed(values),
        }
        for name, values in points.columns.items()
    ]
    return {
        "name": metric.name,
        "kind": metric.kind,
        "columns": columns,
        "steps": None if points.steps is None else _packed(steps_of(points)),
        "times": _packed(points.times),
    }


def chart_out(chart: Chart, run_id: str) -> dict[str, Any]:
    """The answer for a chart."""
    line = chart.line
    steps = array("d", [math.nan if step == NO_STEP else step for step in line.steps])
    return {
        "run_id": run_id,
        "name": chart.metric.name,
        "kind": chart.metric.kind,
        "column": chart.column,
        "x_column": chart.x,
        "count": chart.metric.count,
        "start": chart.start,
        "end": chart.end,
        "is_whole": chart.is_whole,
        "at": _packed(array("d", line.at)),
        "times": _packed(line.times),
        "steps": None if all(map(math.isnan, steps)) else _packed(steps),
        "values": _packed(line.values),
        "x": _packed(line.x) if chart.x else None,
    }


def answer(data: dict[str, Any]) -> HttpResponse:
    """The data as JSON, without looking at each value once more as the API's own way would."""
    return HttpResponse(json.dumps(data, allow_nan=False), content_type="application/json")
