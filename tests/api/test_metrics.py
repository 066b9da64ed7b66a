"""Metrics over the API: batches once and in order, values that survive, charts that lose nothing."""

from __future__ import annotations

import gzip
import json
import math
import time
from array import array
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from runs.models import Metric, MetricWriter, Run
from runs.points import NO_STEP
from runs.services.metric_batches import MOST_MARKS, parse_batch
from runs.services.metrics import MOST_SERIES, MOST_VALUES, find_metric, read_points
from runs.status import Kind, Status
from studio.accounts.models import User
from tests.api_kit import Api, refusal
from tests.factories import log_metrics, log_rows, make_run, make_user, make_workspace

ApiOf = Callable[[User | Run | None], Api]
WRITER = "0b5b2f0c-8a3e-4b53-9a1e-6f4dd9b3c001"


@pytest.fixture
def run(ana: User) -> Run:
    return make_run(status=Status.RUNNING, submitter=ana)


def f8(*values: float) -> str:
    return b64encode(array("d", values).tobytes()).decode()


def i8(*values: int) -> str:
    return b64encode(array("q", values).tobytes()).decode()


def floats(text: str) -> list[float]:
    return list(array("d", b64decode(text)))


def scalars(name: str, data: Any, kind: str = "f8", **more: Any) -> dict[str, Any]:
    return {"name": name, "columns": [{"type": kind, "data": data}], **more}


def send(
    api: Api, run: Run, *series: dict[str, Any], seq: int = 1, writer: str = WRITER, **options: Any
) -> Any:
    body = {"writer": writer, "seq": seq, "series": list(series)}
    return api.post(f"/runs/{run.run_id}/metrics", body, **options)


def values(api: Api, run: Run, **query: Any) -> Any:
    return api.get(f"/runs/{run.run_id}/metrics/values", query).json()["runs"]


def test_one_answer_has_so_many_values_and_no_more(api: Api, run: Run) -> None:
    send(api, run, scalars("loss", f8(0.5)))
    child = make_run(parent=run, status=Status.RUNNING)
    log_rows(child, "row", {"a": [1.0], "b": [2.0]})
    Metric.objects.filter(run=run).update(count=2_000_000)
    Metric.objects.filter(run=child).update(count=1_500_001)  # of two values each
    address = f"/runs/{run.run_id}/metrics/values"
    answer = api.get(address, {"recursive": True})
    assert (answer.status_code, refusal(answer)["code"]) == (413, "too_big")
    assert "5,000,002 values" in refusal(answer)["message"]
    assert "name" in refusal(answer)["hint"]
    assert api.get(address).status_code == 200
    Metric.objects.filter(run=child).update(count=1_500_000)
    assert api.get(address, {"recursive": True}).status_code == 200


class TestWriting:
    def test_a_batch_is_stored_once(self, api: Api, run: Run) -> None:
        series = scalars("loss", f8(0.5, 0.25), steps=i8(1, 2), times=f8(10.0, 11.5))
        assert send(api, run, series).json() == {"stored": 2, "duplicate": False}
        assert send(api, run, series).json() == {"stored": 0, "duplicate": True}
        metric = find_metric(run, "loss")
        points = read_points([metric])[metric.pk]
        assert (list(points.columns[""]), list(points.times)) == ([0.5, 0.25], [10.0, 11.5])
        assert list(points.steps or []) == [1, 2]

    def test_a_gap_is_refused_with_what_is_expected(self, api: Api, run: Run) -> None:
        send(api, run, scalars("loss", f8(1)))
        answer = send(api, run, scalars("loss", f8(3)), seq=3)
        assert answer.status_code == 409
        assert (refusal(answer)["code"], refusal(answer)["expected"]) == ("out_of_order", 2)

    def test_gzip(self, api: Api, run: Run) -> None:
        body = json.dumps({"writer": WRITER, "seq": 1, "series": [scalars("loss", f8(1, 2, 3))]}).encode()
        headers = {"Content-Encoding": "gzip"}
        path = f"/runs/{run.run_id}/metrics"
        assert api.post(path, raw=gzip.compress(body), headers=headers).json()["stored"] == 3
        answer = api.post(path, raw=body, headers=headers)
        assert (answer.status_code, refusal(answer)["code"]) == (422, "invalid_input")

    def test_a_body_that_unpacks_to_too_much(self, api: Api, run: Run) -> None:
        answer = api.post(
            f"/runs/{run.run_id}/metrics",
            raw=gzip.compress(bytes(65 << 20), 1),
            headers={"Content-Encoding": "gzip"},
        )
        assert (answer.status_code, refusal(answer)["code"]) == (413, "too_big")

    def test_a_body_with_too_many_parts_is_refused_before_they_are_made(self, api: Api, run: Run) -> None:
        many = b"[]," * (MOST_MARKS // 2) + b"[]"
        body = (
            b'{"writer":"w","seq":1,"series":[{"name":"a","columns":[{"type":"json","data":[%b]}]}]}' % many
        )
        packed = gzip.compress(body, 1)
        path = f"/runs/{run.run_id}/metrics"
        answer = api.post(path, raw=packed, headers={"Content-Encoding": "gzip"})
        assert (answer.status_code, refusal(answer)["code"]) == (413, "too_big")
        assert "base64" in refusal(answer)["hint"]

    def test_the_largest_batch_is_read(self) -> None:
        count = MOST_VALUES // MOST_SERIES
        columns = [{"name": "", "type": "json", "data": ["x"] * count}]
        said = {"name": "loss", "kind": "scalar", "description": ""}
        one = {**said, "columns": columns, "steps": i8(1), "times": f8(1)}
        body = json.dumps({"writer": WRITER, "seq": 1, "series": [one] * MOST_SERIES}).encode()
        assert len(parse_batch(body).series) == MOST_SERIES

    def test_times_are_now_when_they_are_left_out(self, api: Api, run: Run) -> None:
        send(api, run, scalars("loss", f8(1)))
        (found,) = values(api, run)[run.run_id]
        assert abs(floats(found["times"])[0] - time.time()) < 60

    def test_twenty_thousand_values_and_many_names(self, api: Api, run: Run) -> None:
        series = [scalars(f"m{number}", f8(number)) for number in range(300)]
        assert send(api, run, scalars("loss", f8(*range(20_000))), *series).json()["stored"] == 20_300

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"columns": [{"type": "f8", "data": "abc"}]}, "data"),
            ({"columns": [{"type": "f8", "data": b64encode(b"1234567").decode()}]}, "data"),
            ({"columns": [{"type": "f8", "data": "é"}]}, "data"),
            ({"columns": [{"type": "f8", "data": [1.0]}]}, "data"),
            ({"columns": [{"type": "json", "data": f8(1)}]}, "data"),
            ({"columns": [{"type": "f4", "data": f8(1)}]}, "series.0.columns.0.type"),
            ({"columns": []}, ""),
            ({"times": f8(1, 2)}, "series"),
            ({"times": f8(math.nan)}, "times"),
            ({"steps": i8(1, 2)}, "series"),
            ({"name": ""}, "name"),
            ({"name": "x" * 256}, "name"),
            ({"name": "a\0b"}, "name"),
            ({"name": 5}, "series.0.name"),
            ({"kind": "scaler"}, "kind"),
            ({"colour": "red"}, "series.0.colour"),
        ],
    )
    def test_what_is_wrong_is_named_and_nothing_is_stored(
        self, api: Api, run: Run, change: dict[str, Any], field: str
    ) -> None:
        answer = send(api, run, scalars("good", f8(1)), scalars("loss", f8(1)) | change)
        assert answer.status_code == 422
        assert refusal(answer)["field"].replace("series.1", "series.0") == field
        assert not Metric.objects.exists()
        assert send(api, run, scalars("good", f8(1))).json()["stored"] == 1

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"writer": 1}', b"\xff"])
    def test_a_body_that_is_no_batch(self, api: Api, run: Run, body: bytes) -> None:
        answer = api.post(f"/runs/{run.run_id}/metrics", raw=body)
        assert (answer.status_code, refusal(answer)["code"]) == (422, "invalid_input")

    @pytest.mark.parametrize("writer", ["", "x" * 65, "a\nb"])
    def test_a_writer_without_a_proper_name(self, api: Api, run: Run, writer: str) -> None:
        assert refusal(send(api, run, writer=writer))["field"] == "writer"

    def test_an_ended_run_still_takes_what_was_left_behind(self, api: Api, ana: User) -> None:
        run = make_run(status=Status.FAILED, submitter=ana)
        assert send(api, run, scalars("loss", f8(1))).status_code == 200


class TestWho:
    def test_a_reader_may_only_read(self, api_of: ApiOf, ben: User, run: Run) -> None:
        assert send(api_of(ben), run, scalars("loss", f8(1))).status_code == 403
        assert values(api_of(ben), run) == {}

    def test_a_stranger_finds_nothing(self, api_of: ApiOf, dan: User, run: Run) -> None:
        assert send(api_of(dan), run, scalars("loss", f8(1))).status_code == 404
        assert api_of(dan).get(f"/runs/{run.run_id}/metrics").status_code == 404

    def test_a_run_writes_its_own_and_its_descendants(self, api_of: ApiOf, run: Run) -> None:
        child = make_run(parent=run, status=Status.RUNNING, submitter=run.submitter)
        sibling = make_run(status=Status.RUNNING, submitter=run.submitter)
        assert send(api_of(run), run, scalars("loss", f8(1))).status_code == 200
        assert send(api_of(run), child, scalars("loss", f8(1))).status_code == 200
        assert send(api_of(run), sibling, scalars("loss", f8(1))).status_code == 403
        assert send(api_of(sibling), child, scalars("loss", f8(1)), seq=2).status_code == 403

    def test_a_run_writes_to_those_above_it_and_not_beside_it(
        self, api_of: ApiOf, run: Run, api: Api
    ) -> None:
        child = make_run(parent=run, status=Status.RUNNING, submitter=run.submitter)
        sister = make_run(parent=run, status=Status.RUNNING, submitter=run.submitter)
        grandchild = make_run(parent=child, status=Status.RUNNING, submitter=run.submitter)
        assert send(api_of(child), run, scalars("loss", f8(1)), writer="child").status_code == 200
        assert send(api_of(grandchild), run, scalars("loss", f8(2)), writer="deeper").status_code == 200
        assert send(api_of(grandchild), child, scalars("loss", f8(3))).status_code == 200
        assert send(api_of(grandchild), sister, scalars("loss", f8(4))).status_code == 403
        (loss,) = api.get(f"/runs/{run.run_id}/metrics").json()["items"]
        assert loss["count"] == 2

    def test_an_older_attempt_is_refused(self, api_of: ApiOf, run: Run) -> None:
        api = api_of(run)
        Run.objects.filter(pk=run.pk).update(attempt=run.attempt + 1)
        answer = send(api, run, scalars("loss", f8(1)))
        assert (answer.status_code, refusal(answer)["code"]) == (409, "stale_attempt")
        assert not MetricWriter.objects.exists()

    def test_a_session_reads_and_never_writes(
        self, client_of: Callable[[User], Client], ana: User, run: Run
    ) -> None:
        client = client_of(ana)
        assert client.get(f"/api/v1/runs/{run.run_id}/metrics").status_code == 200
        answer = client.post(f"/api/v1/runs/{run.run_id}/metrics", {}, content_type="application/json")
        assert answer.status_code == 401


class TestReading:
    def test_every_value_survives(self, api: Api, run: Run) -> None:
        odd = [None, True, 1, 1.5, 2**70, "text", {"float": "NaN"}, {"float": "-Infinity"}, {"a": [1]}]
        send(
            api, run,
            scalars("f", f8(math.nan, math.inf, -0.0, 5e-324)),
            scalars("i", i8(2**53 + 1, -(2**63)), "i8"),
            scalars("odd", odd, "json"),
        )  # fmt: skip
        found = {one["name"]: one["columns"][0] for one in values(api, run)[run.run_id]}
        assert repr(floats(found["f"]["data"])) == "[nan, inf, -0.0, 5e-324]"
        assert list(array("q", b64decode(found["i"]["data"]))) == [2**53 + 1, -(2**63)]
        assert (found["odd"]["type"], found["odd"]["data"]) == ("json", odd)

    def test_ints_and_floats_become_floats(self, api: Api, run: Run) -> None:
        send(api, run, scalars("loss", i8(1), "i8"))
        send(api, run, scalars("loss", f8(0.5)), seq=2)
        (found,) = values(api, run)[run.run_id]
        assert (found["columns"][0]["type"], floats(found["columns"][0]["data"])) == ("f8", [1.0, 0.5])
        assert found["steps"] is None

    def test_steps_that_only_some_have(self, api: Api, run: Run) -> None:
        send(api, run, scalars("loss", f8(1)))
        send(api, run, scalars("loss", f8(2), steps=i8(7)), seq=2)
        (found,) = values(api, run)[run.run_id]
        assert list(array("q", b64decode(found["steps"]))) == [NO_STEP, 7]

    def test_rows(self, api: Api, run: Run) -> None:
        columns = [
            {"name": "a", "type": "f8", "data": f8(1, 2)},
            {"name": "b", "type": "json", "data": ["x", None]},
        ]
        send(api, run, {"name": "row", "kind": "row", "columns": columns})
        (found,) = values(api, run)[run.run_id]
        assert found["kind"] == "row"
        assert [one["name"] for one in found["columns"]] == ["a", "b"]
        assert found["columns"][1]["data"] == ["x", None]

    def test_the_whole_tree_by_run(self, api: Api, run: Run) -> None:
        child = make_run(parent=run, submitter=run.submitter)
        grandchild = make_run(parent=child, submitter=run.submitter)
        make_run(parent=run, submitter=run.submitter)
        for one, value in ((child, 1.0), (grandchild, 2.0)):
            log_metrics(one, {"loss": [value], "other": [0.0]})
        assert values(api, run) == {}
        found = values(api, run, recursive=True, name="loss")
        assert {key: floats(one["columns"][0]["data"]) for key, (one,) in found.items()} == {
            child.run_id: [1.0], grandchild.run_id: [2.0],
        }  # fmt: skip
        assert set(values(api, child, recursive=True)) == {child.run_id, grandchild.run_id}

    def test_an_unknown_name_gives_nothing(self, api: Api, run: Run) -> None:
        log_metrics(run, {"loss": [1.0]})
        assert values(api, run, name="los") == {}
        assert api.get(f"/runs/{run.run_id}/metrics", {"name": "los"}).json() == {"items": []}

    def test_sums(self, api: Api, run: Run) -> None:
        log_metrics(run, {"loss": [3.0, 1.0, math.nan]})
        log_rows(run, "roc", {"fpr": [0, 1], "tpr": [0.5, 1.0]})
        loss, roc = api.get(f"/runs/{run.run_id}/metrics").json()["items"]
        assert loss == {
            "run_id": run.run_id, "name": "loss", "kind": "scalar", "description": "", "count": 3,
            "last": 1.0, "last_text": "NaN", "min": 1.0, "max": 3.0,
            "columns": [{"name": "", "type": "f8", "last": 1.0, "min": 1.0, "max": 3.0}],
        }  # fmt: skip
        assert roc["columns"] == [
            {"name": "fpr", "type": "i8", "last": 1.0, "min": 0.0, "max": 1.0},
            {"name": "tpr", "type": "f8", "last": 1.0, "min": 0.5, "max": 1.0},
        ]

    def test_what_reading_costs(
        self, api: Api, run: Run, django_assert_num_queries: Callable[..., Any]
    ) -> None:
        log_metrics(run, {f"m{number}": [1.0, 2.0] for number in range(30)})
        # Token, run, membership; the metrics, their blocks.
        for path, n in (("metrics", 1), ("metrics/values", 2), ("metrics/chart?name=m1", 2)):
            api.get(f"/runs/{run.run_id}/{path}")
            with django_assert_num_queries(n + 3):
                api.get(f"/runs/{run.run_id}/{path}")


class TestCharts:
    def test_a_long_series_comes_thinned_with_its_spikes(self, api: Api, run: Run) -> None:
        series = [0.0] * 50_000
        series[31_234], series[40_000], series[7] = 5.0, math.nan, -3.0
        log_metrics(run, {"loss": series})
        found = api.get(f"/runs/{run.run_id}/metrics/chart", {"name": "loss", "width": 500})
        assert len(found.content) < 60_000
        chart = found.json()
        assert (chart["count"], chart["start"], chart["end"], chart["is_whole"]) == (50_000, 0, 50_000, False)
        drawn = dict(zip(floats(chart["at"]), floats(chart["values"]), strict=True))
        assert (drawn[31_234], drawn[7]) == (5.0, -3.0)
        assert math.isnan(drawn[40_000])
        part = {"name": "loss", "width": 500, "from": 31_000, "to": 31_500}
        zoomed = api.get(f"/runs/{run.run_id}/metrics/chart", part).json()
        assert zoomed["is_whole"]
        assert floats(zoomed["at"]) == list(range(31_000, 31_500))
        assert floats(zoomed["steps"]) == list(range(31_000, 31_500))

    def test_a_column_of_a_table(self, api: Api, run: Run) -> None:
        log_rows(run, "t", {"a": [1, 2], "b": [3, 4], "c": [5, 6]})
        path = f"/runs/{run.run_id}/metrics/chart"
        chart = api.get(path, {"name": "t", "column": "c", "x": "b"}).json()
        assert (floats(chart["x"]), floats(chart["values"])) == ([3, 4], [5, 6])
        assert refusal(api.get(path, {"name": "t", "column": "z"}))["field"] == "column"
        assert floats(api.get(path, {"name": "t", "x": "b"}).json()["x"]) == [3, 4]
        assert refusal(api.get(path, {"name": "t", "column": ""}))["field"] == "column"
        assert api.get(path, {"name": "none"}).status_code == 404

    @pytest.mark.parametrize("asked", [{}, {"column": "a"}])
    @pytest.mark.parametrize("name", ["t", "loss"])
    def test_an_axis_that_is_not_there_is_refused_with_those_that_are(
        self, api: Api, run: Run, asked: dict[str, str], name: str
    ) -> None:
        log_rows(run, "t", {"a": [1, 2], "b": [3, 4]})
        log_metrics(run, {"loss": [1.0, 2.0]})
        query = {"name": name, "x": "zz", **(asked if name == "t" else {})}
        answer = api.get(f"/runs/{run.run_id}/metrics/chart", query)
        assert (answer.status_code, refusal(answer)["field"]) == (422, "x")
        assert refusal(answer)["hint"] == ("There is a, b." if name == "t" else "It has a single value.")

    def test_several_at_once_without_what_is_known(self, api: Api, run: Run) -> None:
        log_metrics(run, {"loss": [1.0, 2.0], "acc": [0.5], "other": [1.0]})
        path = f"/runs/{run.run_id}/metrics/charts?name=loss&count=2&name=acc&count=0&name=none&count=0"
        assert [one["name"] for one in api.get(path).json()["items"]] == ["acc"]

    def test_of_each_the_column_that_is_asked_for(self, api: Api, run: Run) -> None:
        log_rows(run, "row", {"epoch": [1, 2], "loss": [4, 2], "acc": [0.25, 0.5]})
        log_metrics(run, {"plain": [1.0, 2.0]})
        path = f"/runs/{run.run_id}/metrics/charts?name=plain&column=&name=row&column="
        found = {
            one["name"]: (one["column"], one["x_column"]) for one in api.get(path + "acc").json()["items"]
        }
        assert found == {"plain": ("", ""), "row": ("acc", "epoch")}
        answer = api.get(path + "zebra")
        assert (answer.status_code, refusal(answer)["field"]) == (422, "column")

    def test_one_metric_over_the_newest_runs(self, api: Api, ana: User) -> None:
        runs = [make_run(metrics={"loss": float(number)}) for number in range(4)]
        make_run(metrics={"acc": 1.0})
        path = "/workspaces/default/experiments/mnist/metrics/charts"
        items = api.get(path, {"name": "loss", "runs": 3}).json()["items"]
        assert [one["run_id"] for one in items] == [run.run_id for run in runs[:0:-1]]
        assert floats(items[0]["values"]) == [3.0]
        assert api.get(path.replace("mnist", "none"), {"name": "loss"}).status_code == 404

    def test_other_workspaces_have_charts_of_their_own(self, api: Api, dan: User) -> None:
        elsewhere = make_workspace("elsewhere")
        run = make_run(kind=Kind.SCRIPT, workspace=elsewhere, submitter=make_user("dan", workspace=elsewhere))
        path = f"/workspaces/elsewhere/experiments/{run.experiment.name}/metrics/charts"
        assert api.get(path, {"name": "loss"}).status_code == 404
