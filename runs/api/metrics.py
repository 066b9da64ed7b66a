"""The metrics of a run: written in batches, and read as sums, as values, or as charts."""

from __future__ import annotations

from typing import Annotated, Any

from django.http import HttpResponse
from ninja import Router
from pydantic import BaseModel, Field

from runs.api.access import ApiRequest, may_log_to_run, may_look, may_read_run
from runs.api.errors import REFUSALS
from runs.api.metric_shape import (
    BatchOut,
    ChartOut,
    MetricOut,
    ValuesOut,
    answer,
    chart_out,
    metric_out,
    read_batch,
    values_out,
)
from runs.api.parameters import Query
from runs.api.schemas import Text
from runs.errors import InvalidInput, NotFound, TooBig
from runs.lifecycle import subtree
from runs.models import Experiment, Metric, Run
from runs.services.metric_batches import BatchIn, series_of
from runs.services.metrics import (
    MOST_DOTS,
    chart,
    charts,
    drawn_columns,
    find_metric,
    metrics_of,
    newest_with,
    read_points,
    write_metrics,
)

router = Router()

#: Values that one answer holds at most: they, and then their JSON, lie in memory.
MOST_VALUES = 5_000_000
MOST_CHARTS = 100
MOST_CURVES = 50

#: How fine a chart is.
Width = Annotated[
    int, Field(ge=1, le=MOST_DOTS, description="Into how many stretches it is cut; each keeps its extremes.")
]


def _body() -> dict[str, Any]:
    """The description of a batch, which the operation reads itself: it may be compressed."""
    schema = BatchIn.model_json_schema(ref_template="{model}")
    known = schema.pop("$defs")

    def whole(part: Any) -> Any:
        if isinstance(part, dict):
            return whole(known[part["$ref"]]) if "$ref" in part else {k: whole(v) for k, v in part.items()}
        return [whole(one) for one in part] if isinstance(part, list) else part

    return {"requestBody": {"required": True, "content": {"application/json": {"schema": whole(schema)}}}}


class MetricsAsked(BaseModel):
    """Which metrics are wanted: of one name or all, of the run or also of all that descends from it."""

    name: Text | None = Field(None, description="Of this metric alone.")
    recursive: bool = Field(False, description="Whether those of what descends from the run are, too.")


class MetricList(BaseModel):
    """Metrics in the order in which they were first logged, run by run."""

    items: list[MetricOut] = Field(description="The metrics.")


class RunValues(BaseModel):
    """By run id the metrics of each run that has any."""

    runs: dict[str, list[ValuesOut]] = Field(description="Run id to metrics.")


class ChartAsked(BaseModel):
    """Which part of which metric is drawn, by how many stretches; `from` and `to` are places in it."""

    name: Text = Field(description="The metric.")
    column: Text | None = Field(
        None, description="Of a row or table; the one that its chart draws if left out."
    )
    x: Text = Field("", description="A column for the other axis.")
    width: Width = 1_000
    start: int = Field(0, ge=0, le=2**62, alias="from", description="The first entry, from 0.")
    end: int | None = Field(
        None,
        ge=0,
        le=2**62,
        alias="to",
        description="The entry before which it ends; that after the last if left out.",
    )


class ChartsAsked(BaseModel):
    """Several charts at once. A metric that still has as many entries as `count` says is left out."""

    name: list[Text] = Field(min_length=1, max_length=MOST_CHARTS, description="The metrics.")
    count: list[int] = Field(
        [],
        max_length=MOST_CHARTS,
        description="For each name, how many entries are known: a metric without news is left out.",
    )
    column: list[Text] = Field(
        [],
        max_length=MOST_CHARTS,
        description="Of a row or table, for each name; empty for the one that its chart draws.",
    )
    width: Width = 300


class ChartList(BaseModel):
    """Charts."""

    items: list[ChartOut] = Field(description="The charts.")


class CurvesAsked(BaseModel):
    """One metric of the newest runs of an experiment that have it."""

    name: Text = Field(description="The metric.")
    runs: int = Field(5, ge=1, le=MOST_CURVES, description="At most so many runs.")
    width: Width = 300


@router.post(
    "/runs/{run_id}/metrics",
    auth=may_log_to_run(),
    response={200: BatchOut, **REFUSALS},
    openapi_extra=_body(),
)
def metric_write(request: ApiRequest, run_id: str) -> dict[str, Any]:
    """Store a batch of points, exactly once; the body may be compressed (`Content-Encoding: gzip`).

    A batch that was stored before answers `duplicate`; one that comes too early is refused with the number
    that is `expected`. What is refused stores nothing and leaves its number free.
    """
    batch = read_batch(request)
    own = request.auth.run
    stored = write_metrics(
        request.run,
        series_of(batch),
        writer=batch.writer,
        seq=batch.seq,
        attempt=own.attempt if own is not None and own.pk == request.run.pk else None,
    )
    return {"stored": stored.count, "duplicate": stored.is_duplicate}


@router.get("/runs/{run_id}/metrics", auth=may_read_run(), response={200: MetricList, **REFUSALS})
def metric_list(request: ApiRequest, run_id: str, asked: Annotated[MetricsAsked, Query()]) -> HttpResponse:
    """What is known of each metric without its points; an unknown name gives none."""
    run_ids = _runs(request.run, asked)
    rows = metrics_of(list(run_ids), None if asked.name is None else [asked.name])
    return answer({"items": [metric_out(one, run_ids[one.run_id]) for one in rows]})


@router.get("/runs/{run_id}/metrics/values", auth=may_read_run(), response={200: RunValues, **REFUSALS})
def metric_values(request: ApiRequest, run_id: str, asked: Annotated[MetricsAsked, Query()]) -> HttpResponse:
    """All points of the metrics, run by run; runs without any are left out. At most 5,000,000 values."""
    run_ids = _runs(request.run, asked)
    rows = metrics_of(list(run_ids), None if asked.name is None else [asked.name])
    count = sum(one.count * max(1, len(one.columns)) for one in rows)
    if count > MOST_VALUES:
        raise TooBig(
            f"These metrics have {count:,} values, and an answer has at most {MOST_VALUES:,}.",
            hint="Ask for one run and one metric (name) at a time; of one that is too much, for a chart.",
        )
    points = read_points(rows)
    runs: dict[str, list[dict[str, Any]]] = {}
    for one in rows:
        runs.setdefault(run_ids[one.run_id], []).append(values_out(one, points[one.pk]))
    return answer({"runs": runs})


def _runs(run: Run, asked: MetricsAsked) -> dict[int, str]:
    """The run ids that are asked for, by key."""
    if not asked.recursive:
        return {run.pk: run.run_id}
    return dict(Run.objects.filter(pk__in=subtree(run.pk)).values_list("pk", "run_id").order_by("pk"))


@router.get("/runs/{run_id}/metrics/chart", auth=may_read_run(), response={200: ChartOut, **REFUSALS})
def metric_chart(request: ApiRequest, run_id: str, asked: Annotated[ChartAsked, Query()]) -> HttpResponse:
    """A metric as a line of few points, which keeps the extremes of each stretch and what is not finite."""
    metric = find_metric(request.run, asked.name)
    for field, name in (("column", asked.column), ("x", asked.x or None)):
        _check_column(metric, name, field)
    column, x = drawn_columns(metric)
    if asked.column is not None or asked.x:
        column, x = column if asked.column is None else asked.column, asked.x
    drawn = chart(metric, column, x, dots=asked.width, start=asked.start, end=asked.end)
    return answer(chart_out(drawn, request.run.run_id))


def _check_column(metric: Metric, name: str | None, field: str) -> None:
    """Raises InvalidInput for a column that the metric does not have."""
    known = [one["name"] for one in metric.columns] or [""]
    if name is not None and name not in known:
        hint = f"There is {', '.join(known)}." if any(known) else "It has a single value."
        raise InvalidInput(f"{metric.name} has no column {name[:40]!r}.", field=field, hint=hint)


@router.get("/runs/{run_id}/metrics/charts", auth=may_read_run(), response={200: ChartList, **REFUSALS})
def metric_charts(request: ApiRequest, run_id: str, asked: Annotated[ChartsAsked, Query()]) -> HttpResponse:
    """The charts of several metrics, those that nothing was added to left out."""
    seen = dict(zip(asked.name, asked.count, strict=False))
    rows = [one for one in metrics_of([request.run.pk], asked.name) if seen.get(one.name) != one.count]
    columns = dict(zip(asked.name, asked.column, strict=False))
    for one in rows:
        _check_column(one, columns.get(one.name) or None, "column")
    drawn = charts(rows, dots=asked.width, columns=columns)
    items = [chart_out(one, request.run.run_id) for one in drawn]
    return answer({"items": items})


@router.get(
    "/workspaces/{workspace}/experiments/{experiment}/metrics/charts",
    auth=may_look(),
    response={200: ChartList, **REFUSALS},
)
def experiment_charts(
    request: ApiRequest, workspace: str, experiment: str, asked: Annotated[CurvesAsked, Query()]
) -> HttpResponse:
    """One metric of the newest runs of the experiment that have it, the newest run first."""
    found = Experiment.objects.filter(workspace=request.workspace, name=experiment.replace("\0", "")).first()
    if found is None:
        raise NotFound(f"There is no experiment {experiment}.", field="experiment")
    rows = newest_with(found, asked.name, asked.runs)
    drawn = charts(rows, dots=asked.width)
    return answer({"items": [chart_out(one, one.metric.run.run_id) for one in drawn]})
