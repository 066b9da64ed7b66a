"""A batch of metrics as clients write it: JSON, with columns of numbers as base64 of little-endian arrays."""

from __future__ import annotations

import binascii
import math
import time
from array import array
from base64 import b64decode
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runs.errors import InvalidInput, TooBig
from runs.json_size import check_json
from runs.models import MetricKind
from runs.points import F8, I8, JSON, NO_STEP, Points, Values, numbers
from runs.services.metrics import LAST_SEQ, MOST_SERIES, MOST_VALUES, WRITER_PATTERN, Series

#: The most that a batch may be.
BODY_BYTES = 64 << 20
#: Commas, colons and opening brackets: one for each value that is not packed, 25 for the rest of a series.
MOST_MARKS = MOST_VALUES + 25 * MOST_SERIES
#: Numbers that JSON has no words for, as {"float": word}.
NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

ColumnType = Annotated[
    Literal["f8", "i8", "json"],
    Field(description="f8 are floats and i8 whole numbers of 8 bytes, json anything."),
]
#: What the description says of arrays.
OF_F8, OF_I8 = (f"Base64 of a little-endian array of {kind}" for kind in (F8, I8))
STEPS = f"{OF_I8}; {NO_STEP} for an entry without one, null if none has any."


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ColumnIn(_In):
    """One column."""

    name: str = Field("", description='"" where an entry is one value.')
    type: ColumnType
    data: str | list[Any] = Field(description="Base64 of a little-endian array, or a list of JSON values.")


class SeriesIn(_In):
    """Entries for one metric; each column has a value for each of them."""

    name: str = Field(description="The metric that it adds to; made if it is new.")
    kind: str = Field("scalar", description=f"One of {', '.join(MetricKind)}; the first of a name stays.")
    description: str = Field("", description='Shown with the metric; "" leaves what it has.')
    columns: list[ColumnIn] = Field(description="Each has a value for each entry.")
    steps: str | None = Field(None, description=STEPS)
    times: str | None = Field(None, description=f"{OF_F8}: Unix seconds; now if they are left out.")


class BatchIn(_In):
    """Batch number `seq`, from 1, of a writer: stored once, however often it is sent."""

    writer: str = Field(
        json_schema_extra={"pattern": f"^{WRITER_PATTERN}$"},
        description="A name of its own for each process that writes.",
    )
    seq: int = Field(
        json_schema_extra={"minimum": 1, "maximum": LAST_SEQ}, description="Its number, from 1 without a gap."
    )
    series: list[SeriesIn] = Field(description="Entries for each metric.")


def parse_batch(body: bytes) -> BatchIn:
    """The batch that a body describes. Raises InvalidInput, TooBig."""
    if len(body) > BODY_BYTES:
        raise TooBig(f"A batch has at most {BODY_BYTES >> 20} MiB.", hint="Send several smaller ones.")
    check_json(body, MOST_MARKS, hint="Send several smaller batches, with numbers packed as base64.")
    try:
        return BatchIn.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise InvalidInput(f"{field or 'The body'}: {first['msg']}.", field=field) from error


def series_of(batch: BatchIn) -> list[Series]:
    """What a batch adds. Raises InvalidInput for data that is not of its type."""
    return [_series(one) for one in batch.series]


def _series(series: SeriesIn) -> Series:
    columns = {column.name: _values(column, series.name) for column in series.columns}
    count = len(next(iter(columns.values()), []))
    times = array("d", [time.time()]) * count
    if series.times is not None:
        times = _array(series.times, F8, f"times of {series.name}")
        if not math.isfinite(sum(times)):
            raise InvalidInput(f"The times of {series.name} are not all numbers.", field="times")
    steps = None
    if series.steps is not None:
        steps = _array(series.steps, I8, f"steps of {series.name}")
    return Series(series.name, Points(columns, times, steps), series.kind, series.description)


def _values(column: ColumnIn, metric: str) -> Values:
    where = f"column {column.name!r} of {metric}"
    if isinstance(column.data, list):
        if column.type != JSON:
            raise InvalidInput(f"The {where} is a list, and its type is {column.type}.", field="data")
        return [_from_json(value) for value in column.data]
    if column.type == JSON:
        raise InvalidInput(f"The {where} is of the type json, and no list.", field="data")
    return _array(column.data, column.type, where)


def _array(text: str, kind: str, where: str) -> array[Any]:
    try:
        return numbers(b64decode(text, validate=True), kind)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput(f"The {where} are not base64 of numbers of 8 bytes.", field="data") from error


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        if len(value) == 1 and isinstance(value.get("float"), str) and value["float"] in NOT_FINITE:
            return NOT_FINITE[value["float"]]
        return {key: _from_json(inner) for key, inner in value.items()}
    return [_from_json(inner) for inner in value] if isinstance(value, list) else value
