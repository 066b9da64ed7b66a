"""Metrics on an experiment's page: columns of the table, a metric by run number, curves of the newest."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.html import escape

from runs.lists.runs import PAGE
from runs.models import Experiment, MetricLedger
from runs.models.metric import NAME_LENGTH
from runs.status import Status
from runs.views import runs as run_views
from studio.accounts.models import User
from tests.factories import log_metrics, log_rows, make_experiment, make_pipeline, make_run, make_workspace

URL = "/experiments/mnist/"
COLUMNS = "/columns/experiment/"
HTMX = {"HX-Request": "true", "HX-Target": "div#run-list"}
ClientOf = Callable[[User], Client]


def settle() -> None:
    """Let the last change and the last metric be long past: something just now is always news."""
    past = datetime.now(UTC) - timedelta(hours=1)
    Experiment.objects.update(updated_at=past)
    MetricLedger.objects.update(written_at=past)


def metric_columns(response: Any) -> list[str]:
    return [column.title for column in response.context["columns"] if column.is_metric]


def cells(response: Any) -> list[list[str]]:
    """What the metric columns say of each row, "" for nothing."""
    found, columns = response.context["metric_cells"], [c for c in response.context["columns"] if c.is_metric]
    return [
        [shown.text if (shown := found.get(row.run.pk, {}).get(column.key)) else "" for column in columns]
        for row in response.context["rows"]
    ]


class TestColumns:
    def test_what_most_runs_log_is_shown_until_somebody_chooses(self, ana: User, client_of: ClientOf) -> None:
        make_run(metrics={"loss": 0.25, "rare": 1.0, "acc": 0.5})
        log_metrics(make_run(), {"loss": [0.5, math.nan], "acc": [0.75]})
        make_run()
        response = client_of(ana).get(URL)
        assert metric_columns(response) == ["loss", "acc"]
        assert cells(response) == [["", ""], ["NaN", "0.75"], ["0.25", "0.5"]]
        assert b'class="num cut from-1100 is-odd" title="NaN"' in response.content
        assert [column.key for column in response.context["columns"]][-1] == "created"

    def test_last_min_and_max_are_chosen_for_each_experiment(self, ana: User, client_of: ClientOf) -> None:
        log_metrics(make_run(), {"loss": [3.0, 1.0, 2.0], "acc": [0.5]})
        make_run(experiment="other", metrics={"loss": 1.0})
        client = client_of(ana)
        dialog = client.get(COLUMNS, {"experiment": "mnist"})
        assert dialog.context["metrics"] == [("loss", "last"), ("acc", "last")]
        chosen = {"experiment": "mnist", "column": ["status"], "metric": ["loss", "acc", "loss"],
                  "sum": ["min", "", "max"], "next": URL}  # fmt: skip
        assert client.post(COLUMNS, chosen)["Location"] == URL
        response = client.get(URL)
        assert metric_columns(response) == ["loss min", "loss max"]
        assert cells(response) == [["1", "3"]]
        assert metric_columns(client.get("/experiments/other/")) == ["loss"]
        client.post(COLUMNS, {"experiment": "mnist", "reset": "1"})
        assert metric_columns(client.get(URL)) == ["loss", "acc"]

    def test_none_may_be_shown_and_nonsense_is_dropped(self, ana: User, client_of: ClientOf) -> None:
        make_run(metrics={"loss": 1.0})
        client = client_of(ana)
        client.post(COLUMNS, {"experiment": "mnist", "metric": ["loss"], "sum": ["mean"]})
        assert metric_columns(client.get(URL)) == []
        client.post(COLUMNS, {"experiment": "mnist", "metric": ["gone: <b>"], "sum": ["last"]})
        response = client.get(URL)
        assert (metric_columns(response), cells(response)) == (["gone: <b>"], [[""]])
        assert b"<b>" not in response.content

    @pytest.mark.parametrize("name", ["elsewhere", "none", "a\0"])
    def test_other_experiments_are_not_asked_for(
        self, ana: User, dan: User, client_of: ClientOf, name: str
    ) -> None:
        make_experiment("elsewhere", workspace=make_workspace("elsewhere"))
        dialog = client_of(ana).get(COLUMNS, {"experiment": name})
        assert (dialog.status_code, dialog.context["experiment"]) == (200, None)
        client_of(ana).post(COLUMNS, {"experiment": name, "metric": ["loss"], "sum": ["last"]})
        ana.refresh_from_db()
        assert "metric_columns" not in ana.preferences

    def test_steps_have_theirs_and_their_pipeline_none(self, ana: User, client_of: ClientOf) -> None:
        pipeline = make_pipeline()
        log_metrics(pipeline.children.get(step_name="train"), {"loss": [0.5]})
        response = client_of(ana).get(URL, {"open": str(pipeline.number)})
        assert [row.run.name for row in response.context["rows"]] == ["Run 1", "evaluate", "train", "prepare"]
        assert cells(response) == [[""], [""], ["0.5"], [""]]
        below = client_of(ana).get(f"{URL}runs/{pipeline.number}/children/").context["metrics"]
        assert [column.title for column in below.columns] == ["loss"]
        assert [shown["metric:last:loss"].text for shown in below.cells.values()] == ["0.5"]

    def test_a_run_with_thousands_of_names_hides_nothing(self, ana: User, client_of: ClientOf) -> None:
        for _ in range(2):
            make_run(metrics={"loss": 1.0})
        log_metrics(make_run(), {f"layer {number}": [1.0] for number in range(1_200)})
        assert client_of(ana).get(URL).context["metrics"].names[0] == "loss"

    def test_any_of_thousands_of_names_is_found_and_chosen(self, ana: User, client_of: ClientOf) -> None:
        for _ in range(2):
            make_run(metrics={"loss": 1.0})
        log_metrics(make_run(), {f"layer{number:04}/w": [1.0] for number in range(1_200)})
        client, part = client_of(ana), {**HTMX, "HX-Target": "div#metric-choice"}
        kept = {"experiment": "mnist", "metric": ["loss"], "sum": ["max"]}
        found = client.post(COLUMNS, {**kept, "find": "LAYER119"}, headers=part)
        names = [("loss", "max"), *((f"layer119{number}/w", "") for number in range(10))]
        assert found.context["metrics"] == names
        page = client.post(COLUMNS, {**kept, "find": "layer1199", "search": "1", "column": ["status"]})
        assert page.context["metrics"] == [("loss", "max"), ("layer1199/w", "")]
        assert [column.key for column, is_shown in page.context["offered"] if is_shown] == ["status"]
        assert metric_columns(client.get(URL)) == ["loss"]  # a search keeps nothing
        client.post(COLUMNS, {"experiment": "mnist", "metric": ["layer1199/w"], "sum": ["last"]})
        assert metric_columns(client.get(URL)) == ["layer1199/w"]
        nothing = client.post(COLUMNS, {"experiment": "mnist", "find": "zebra"}, headers=part)
        assert b"No metric has such a name." in nothing.content

    @pytest.mark.parametrize("key", ["over", "curve"])
    def test_any_of_thousands_of_names_is_drawn(self, ana: User, client_of: ClientOf, key: str) -> None:
        make_run(metrics={"loss": 1.0})
        log_metrics(make_run(), {f"layer{number:04}/w": [1.0, 2.0] for number in range(1_200)})
        client, name = client_of(ana), "layer1199/w"
        headers = {**HTMX, "HX-Target": f"div#{key}-names"}
        with CaptureQueriesContext(connection) as asked:
            part = client.get(URL, {"find": "1199", "q": "x"}, headers=headers)
        assert len(asked) == 4  # session · experiment with its versions · runs · names
        (link,) = re.findall('href="([^"]*)"', part.content.decode())
        assert f"{key}=layer1199%2Fw" in link
        response = client.get(URL, {key: name})
        assert getattr(response.context["metrics"], key) == name
        assert "layer1199/w</span></a>" in client.get(URL, {"find": "1199"}).content.decode()

    def test_a_name_that_no_run_has_is_said(self, ana: User, client_of: ClientOf) -> None:
        make_run(metrics={"loss": 1.0})
        assert b"No run here has zebra" in client_of(ana).get(URL, {"over": "zebra"}).content
        assert b"No run here has" not in client_of(ana).get(URL, {"over": "loss"}).content

    def test_curves_that_no_run_has_are_said(self, ana: User, client_of: ClientOf) -> None:
        run, client, said = make_run(), client_of(ana), "None of the newest runs has"
        assert f"{said} zebra" in client.get(URL, {"curve": "ze\0bra"}).content.decode()
        log_metrics(run, {"loss": [1.0]})
        response = client.get(URL, {"curve": "zebra"})
        assert response.context["metrics"].curve == "loss"
        assert response.content.decode().count(f"{said} zebra") == 1
        figures = {**HTMX, "HX-Target": "div#experiment-figures"}
        assert f"{said} zebra" in client.get(URL, {"curve": "zebra"}, headers=figures).content.decode()
        assert said not in client.get(URL, {"curve": "loss"}).content.decode()

    def test_numbers_of_similar_size_are_told_apart(self, ana: User, client_of: ClientOf) -> None:
        for at in range(4):
            make_run(metrics={"acc": 0.99991 + at * 1e-5, "rest": 1 / 3})
        response = client_of(ana).get(URL, {"over": "acc"})
        columns = zip(*cells(response), strict=True)
        assert next(columns) == ("0.99994", "0.99993", "0.99992", "0.99991")
        assert next(columns) == ("0.3333",) * 4
        page = response.content.decode()
        assert 'title="0.3333333333333333">0.3333</td>' in page
        assert ">0.99992</text>" in page
        assert 'acc 0.99991"' in page

    def test_a_column_is_as_wide_as_the_digits_that_tell_its_numbers_apart(
        self, ana: User, client_of: ClientOf
    ) -> None:
        for value in (1_000_000.001, 1_000_000.002, 1_000_000.0005, 999_999.999):
            make_run(metrics={"score": value, "near": 1 + (value - 1e6) * 1e-12, "zero": 0.25})
        client = client_of(ana)
        metrics = {"metric": ["score", "near", "zero", "gone"], "sum": ["last"] * 4}
        client.post(COLUMNS, {"experiment": "mnist", **metrics})
        response = client.get(URL)
        score, near, *_ = zip(*cells(response), strict=True)
        assert score == ("999,999.999", "1,000,000.0005", "1,000,000.002", "1,000,000.001")
        assert len(set(near)) == 4
        widths = [column.width for column in response.context["columns"] if column.is_metric]
        assert widths == ["w-120", "w-162", "w-86", "w-86"]

    def test_small_screens_name_the_first_metric(self, ana: User, client_of: ClientOf) -> None:
        make_run(metrics={"loss": 0.25})
        assert "· loss 0.25" in client_of(ana).get(URL).content.decode()

    def test_a_click_on_a_head_sorts_and_another_turns_it_round(self, ana: User, client_of: ClientOf) -> None:
        name = 'val/loss: "a" & <b>'
        for value in (0.5, 0.25, None, 0.75):
            make_run(metrics={name: value})
        make_run()
        client = client_of(ana)
        response = client.get(URL)
        for direction, numbers in (("descending", [4, 1, 2, 3, 5]), ("ascending", [2, 1, 4, 3, 5])):
            response = client.get(URL, {"order": response.context["heads"][-2]["sort"]})
            assert response.context["heads"][-2]["direction"] == direction
            assert [row.run.number for row in response.context["rows"]] == numbers
        assert escape(f"Sort by {name}") in response.content.decode()

    def test_an_order_that_sorts_nothing_says_so(self, ana: User, client_of: ClientOf) -> None:
        make_run(metrics={"loss": 1.0})
        client = client_of(ana)
        for order, said in (
            ("metric:bogus:loss", "That order is not known"),
            ("metric:last:zebra", "No run here has a number of zebra; these are the newest first."),
            ("-metric:max:zebra", "No run here has a number of zebra; these are the newest first."),
        ):
            assert f"1 top-level run. {said}" in client.get(URL, {"order": order}).content.decode()
        assert "No run here" not in client.get(URL, {"order": "metric:last:loss"}).content.decode()

    def test_the_least_is_sorted_from_the_least(self, ana: User, client_of: ClientOf) -> None:
        make_run(metrics={"loss": 1.0})
        client = client_of(ana)
        client.post(COLUMNS, {"experiment": "mnist", "metric": ["loss"], "sum": ["min"]})
        assert client.get(URL).context["heads"][-1]["sort"] == "metric:min:loss"

    def test_pages_by_a_metric_follow_one_another_at_a_fixed_cost(
        self, ana: User, client_of: ClientOf
    ) -> None:
        long = "n" * NAME_LENGTH
        for number in range(PAGE + 4):
            make_run(metrics={"loss": number % 2, long: 1.0} if number > 1 else {})
        client = client_of(ana)
        client.get(URL)  # the first page of a process also asks once whether free text is indexed
        for name in ("loss", long):
            shown: list[int] = []
            counted, asked = [], {"order": f"-metric:last:{name}"}
            for _ in range(2):
                with CaptureQueriesContext(connection) as queries:
                    response = client.get(URL, asked)
                counted.append(len(queries))
                shown += [run.number for run in response.context["page"].rows]
                asked["after"] = response.context["page"].next_cursor
            odd, even = range(PAGE + 4, 2, -2), range(PAGE + 3, 2, -2)
            by_loss, by_age = [*odd, *even, 2, 1], [*range(PAGE + 4, 0, -1)]
            assert (shown, asked["after"]) == (by_loss if name == "loss" else by_age, "")
            # The 15 of a page with metrics by age · how many runs · where the newest 100,000 end
            assert counted == [17, 17]

    def test_lists_of_the_workspace_have_none(self, ana: User, client_of: ClientOf) -> None:
        make_run(metrics={"loss": 0.25})
        assert metric_columns(client_of(ana).get("/runs/")) == []


def table(response: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))


class TestExport:
    def test_it_has_the_metrics_that_are_shown_exact_and_no_formulas(
        self, ana: User, client_of: ClientOf
    ) -> None:
        log_metrics(
            make_run(tags={"a": "b"}), {"=loss": [-0.1, -1 / 3], "said": ["@SUM(1)"], "unseen": [1.0]}
        )
        log_metrics(make_run(tags={"a": "b"}), {"=loss": [-2.0, math.nan]})
        make_run(tags={"a": "b"})
        make_run(metrics={"=loss": 7.0})
        client = client_of(ana)
        metrics = {"metric": ["=loss", "said", "=loss", "=loss"], "sum": ["last", "last", "min", "max"]}
        client.post(COLUMNS, {"experiment": "mnist", **metrics})
        rows = table(client.get(URL, {"format": "csv", "q": "tag:a"}))
        assert [list(row.items())[-4:] for row in rows] == [
            [("'=loss", ""), ("said", ""), ("'=loss min", ""), ("'=loss max", "")],
            [("'=loss", "nan"), ("said", ""), ("'=loss min", "-2.0"), ("'=loss max", "-2.0")],
            [
                ("'=loss", "-0.3333333333333333"),
                ("said", "'@SUM(1)"),
                ("'=loss min", "-0.3333333333333333"),
                ("'=loss max", "-0.1"),
            ],
        ]
        client.post(COLUMNS, {"experiment": "mnist", "metric": [], "sum": []})
        assert list(table(client.get(URL, {"format": "csv"}))[0])[-1] == "description"

    def test_it_is_read_in_pieces_at_a_fixed_cost(
        self, ana: User, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client, counted = client_of(ana), []
        make_run(metrics={"loss": 1.0})
        client.get(URL)  # the first page of a process also asks once whether free text is indexed
        for more in (1, 5):
            for _ in range(more):
                make_run(metrics={"loss": 0.5}, tags={"a": "b"})
            with CaptureQueriesContext(connection) as asked:
                rows = table(client.get(URL, {"format": "csv"}))
            counted.append(len(asked))
        assert [row["loss"] for row in rows] == ["0.5"] * 6 + ["1.0"]
        # session · experiment with its versions · names of metrics (2) · runs · their tags · their metrics
        assert counted == [7, 7]
        monkeypatch.setattr(run_views, "_EXPORT_CHUNK", 3)
        with CaptureQueriesContext(connection) as asked:
            assert table(client.get(URL, {"format": "csv"})) == rows
        assert len(asked) == 7 + 2 * 2  # tags and metrics of three runs at a time

    @pytest.mark.parametrize(
        ("order", "numbers"),
        [
            ("", "54321"),
            ("created", "12345"),
            ("metric:last:acc", "24153"),
            ("-metric:last:acc", "14253"),
            ("metric:min:acc", "24153"),
            ("duration", "53142"),
            ("-duration", "24135"),
            ("metric:bogus:acc", "54321"),
        ],
    )
    def test_it_is_in_the_order_of_the_list(
        self, ana: User, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch, order: str, numbers: str
    ) -> None:
        start = datetime(2026, 11, 1, tzinfo=UTC)
        for seconds, value in ((30, 0.75), (50, 0.25), (20, None), (40, 0.5), (10, None)):
            ended = start + timedelta(seconds=seconds)
            make_run(metrics={"acc": value} if value else {}, started_at=start, ended_at=ended)
        monkeypatch.setattr(run_views, "_EXPORT_CHUNK", 2)
        client = client_of(ana)
        listed = [str(row.run.number) for row in client.get(URL, {"order": order}).context["rows"]]
        rows = table(client.get(URL, {"order": order, "format": "csv"}))
        assert [row["number"] for row in rows] == listed == list(numbers)

    def test_readers_have_it_and_strangers_do_not(self, ben: User, dan: User, client_of: ClientOf) -> None:
        make_run(metrics={"loss": 1.0})
        link = '<a class="btn wide-only" href="?format=csv" download>'
        assert link in client_of(ben).get(URL).content.decode()
        assert table(client_of(ben).get(URL, {"format": "csv"}))[0]["loss"] == "1.0"
        assert client_of(dan).get(URL, {"format": "csv"}).status_code == 404


class TestCharts:
    def test_a_metric_by_run_number(self, ana: User, client_of: ClientOf) -> None:
        log_metrics(make_run(display_name="first"), {"loss": [0.5, 0.25, 0.75]})
        make_run()
        make_run(metrics={"loss": None})
        client = client_of(ana)
        charts = client.get(URL, {"over": "loss", "sum": "min"}).context["metrics"]
        assert (charts.over, charts.sum, charts.values) == ("loss", "min", {1: 0.25})
        page = client.get(URL, {"over": "loss"}).content.decode()
        assert 'aria-label="#1 first: loss 0.75"' in page
        assert client.get(URL, {"over": "zebra", "sum": "mean"}).context["metrics"].over == ""

    def test_a_run_that_ended_without_a_finite_number_has_a_mark_and_no_dot(
        self, ana: User, client_of: ClientOf
    ) -> None:
        log_metrics(make_run(), {"loss": [0.5, 0.25]})
        log_metrics(make_run(), {"loss": [0.125, math.nan]})
        log_metrics(make_run(), {"loss": [0.125, -math.inf]})
        log_metrics(make_run(), {"loss": [math.nan]})
        log_metrics(make_run(), {"loss": [0.125, "gone"]})
        page = client_of(ana).get(URL, {"over": "loss"}).content.decode()
        said = re.findall(r'aria-label="#(\d) [^"]*: loss ([^"]*)".*?class="([^"]*)"', page)
        assert said == [
            ("1", "0.25", "bar bar-completed value-dot"),
            ("2", "NaN", "value-odd"),
            ("3", "-Infinity", "value-odd"),
            ("4", "NaN", "value-odd"),
        ]
        assert "not finite: 3" in page
        page = client_of(ana).get(URL, {"over": "loss", "sum": "min"}).content.decode()
        assert page.count("value-dot") == 4
        assert "not finite" not in page

    def test_curves_of_the_newest_runs_with_their_figures(self, ana: User, client_of: ClientOf) -> None:
        for number in range(7):
            log_metrics(make_run(display_name=f"r{number}"), {"loss": [number, number + 0.5, math.nan]})
        make_run(metrics={"acc": 1.0})
        response = client_of(ana).get(URL)
        charts = response.context["metrics"]
        assert charts.curve == "loss"
        assert [(c.run.number, c.last.text, c.least, c.most) for c in charts.curves] == [
            (number + 1, "NaN", str(number), f"{number + 0.5}") for number in (6, 5, 4, 3, 2)
        ]
        assert 'data-curves="/api/v1/workspaces/default/experiments/mnist/metrics/charts"' in (
            response.content.decode()
        )
        assert client_of(ana).get(URL, {"curve": "acc"}).context["metrics"].curve == "acc"

    def test_figures_of_rows_are_of_the_column_that_is_drawn(self, ana: User, client_of: ClientOf) -> None:
        log_rows(make_run(), "fit", {"epoch": [1, 2, 3], "loss": [0.5, 0.25, 0.75]})
        (curve,) = client_of(ana).get(URL, {"curve": "fit"}).context["metrics"].curves
        assert (curve.last.text, curve.least, curve.most) == ("0.75", "0.25", "0.75")

    def test_the_choice_is_kept_in_links_and_live_parts(self, ana: User, client_of: ClientOf) -> None:
        make_run(status=Status.RUNNING, metrics={"loss": 1.0, "acc": 1.0})
        settle()
        response = client_of(ana).get(URL, {"curve": "acc", "over": "loss", "sum": "max"})
        figures = response.context["figures_url"]
        assert "curve=acc&over=loss&sum=max&seen=" in figures
        assert "curve=acc" in response.context["part_url"]
        headers = {"HX-Request": "true", "HX-Target": "div#experiment-figures"}
        part = client_of(ana).get(figures.partition("&seen")[0], headers=headers)
        assert part.context["metrics"].over == "loss"

    def test_without_metrics_the_page_is_as_it_was(self, ana: User, client_of: ClientOf) -> None:
        make_run()
        page = client_of(ana).get(URL).content
        assert b"data-curves" not in page
        assert b'<h2 id="duration-heading">Duration</h2>' in page


class TestLive:
    def test_a_metric_is_news_for_whoever_sees_metrics(self, ana: User, client_of: ClientOf) -> None:
        run = make_run(status=Status.RUNNING, metrics={"loss": 1.0})
        settle()
        client = client_of(ana)
        page = client.get(URL)
        figures = {**HTMX, "HX-Target": "div#experiment-figures"}
        for url, headers in ((page.context["part_url"], HTMX), (page.context["figures_url"], figures)):
            with CaptureQueriesContext(connection) as asked:
                assert client.get(url, headers=headers).status_code == 204
            assert len(asked) == 2  # session, experiment with its versions
        log_metrics(run, {"loss": [0.5]})
        for url, headers in ((page.context["part_url"], HTMX), (page.context["figures_url"], figures)):
            assert client.get(url, headers=headers).status_code == 200

    def test_it_is_none_for_a_table_without(self, ana: User, client_of: ClientOf) -> None:
        run = make_run(status=Status.RUNNING, metrics={"loss": 1.0})
        settle()
        client = client_of(ana)
        client.post(COLUMNS, {"experiment": "mnist", "metric": [], "sum": []})
        url = client.get(URL).context["part_url"]
        log_metrics(run, {"loss": [0.5]})
        assert client.get(url, headers=HTMX).status_code == 204

    def test_the_number_of_queries_does_not_depend_on_the_rows(self, ana: User, client_of: ClientOf) -> None:
        client, counted = client_of(ana), []
        make_run()
        client.get(URL)  # the first page of a process also asks once whether free text is indexed
        for _ in range(2):
            for number in range(8):
                make_run(metrics={f"m{number % 4}": 1.0, "loss": 0.5})
            with CaptureQueriesContext(connection) as asked:
                client.get(URL, {"over": "loss"})
            counted.append(len(asked))
        # The twelve of a page without metrics · names · cells of the table · runs of the curves · values
        assert counted == [16, 16]
