"""The Metrics and Images tabs: what stands on them without any script, what they cost, when they are news."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from runs.formats import number_text
from runs.lists import metrics as lists
from runs.models import Artifact, MetricLedger, Run
from runs.status import Status
from studio.accounts.models import User
from tests.factories import log_metrics, log_rows, make_run

ClientOf = Callable[[User], Client]
HTMX = {"HX-Request": "true", "HX-Target": "div#run-metrics"}
MATRIX = {"data": {"class_labels": ["cat", "dog"], "matrix": [[9, 1], [0, 10]]}}
ACCURACY = {
    "data": {
        "class_labels": ["0"],
        "probability_tables": [[[10, 10, 0, 0], [8, 2, 8, 2], [0, 0, 10, 10]]],
        "probability_thresholds": [0, 0.5, 1],
    }
}
RESIDUALS = {"data": {"bin_edges": [-1, 0, 1], "bin_counts": [3, 4]}}
PREDICTIONS = {
    "data": {
        "bin_averages": [0.2, 0.7],
        "bin_errors": [0.1, 0.1],
        "bin_counts": [3, 4],
        "bin_edges": [0, 0.5, 1],
    }
}


def url(run: Run, tab: str = "metrics") -> str:
    return f"/experiments/{run.experiment.name}/runs/{run.number}/{tab}/"


def settle() -> None:
    """Let what was logged be long past: something just now is always news."""
    MetricLedger.objects.update(written_at=datetime.now(UTC) - timedelta(hours=1))


def shapes(response: Any) -> dict[str, str]:
    return {card.metric.name: card.shape for card in response.context["page"].cards}


class TestCards:
    def test_each_metric_has_the_shape_of_what_was_logged(self, ana: User, client_of: ClientOf) -> None:
        run = make_run()
        log_metrics(
            run, {"loss": [1.0, 0.5], "epoch": [3], "status": ["begin", "end"], "nan": [math.nan] * 2}
        )
        log_metrics(run, {"list": [1, 2, 3], "nothing": []}, kind="list")
        log_rows(run, "roc", {"fpr": [0, 1], "tpr": [0.5, 1]}, kind="table")
        log_rows(run, "folds", {"name": ["a", "b"], "auc": [0.5, 1], "f1": [0.1, 0.2]})
        log_metrics(run, {"matrix": [MATRIX]}, kind="confusion_matrix")
        response = client_of(ana).get(url(run))
        assert shapes(response) == {
            "loss": "line", "epoch": "value", "status": "value", "nan": "line", "list": "line",
            "nothing": "empty", "roc": "line", "folds": "table", "matrix": "document",
        }  # fmt: skip

    def test_values_and_rows_of_one_name_are_a_table(self, ana: User, client_of: ClientOf) -> None:
        run = make_run()
        log_metrics(run, {"kk": [1]})
        log_rows(run, "kk", {"a": [2]})
        log_rows(run, "roc", {"fpr": [0, 1]})
        log_metrics(run, {"roc": [0.5]})
        response = client_of(ana).get(url(run))
        cards = {card.metric.name: card for card in response.context["page"].cards}
        assert {name: card.shape for name, card in cards.items()} == {"kk": "table", "roc": "table"}
        assert [head.text for head in cards["kk"].heads] == ["Value", "a"]
        assert [[cell.text for cell in row] for row in cards["kk"].rows] == [["1", ""], ["", "2"]]
        assert "null" not in response.content.decode()

    def test_figures_are_there_without_a_script(self, ana: User, client_of: ClientOf) -> None:
        run = make_run()
        log_metrics(run, {"loss": [3.0, 0.125, 0.25], "message": ["Hello <b>"], "off": [1.0, math.nan]})
        page = client_of(ana).get(url(run)).content.decode()
        assert re.search(r'class="metric-last" title="0.25">0.25<', page)
        assert "min 0.125" in page
        assert "max 3" in page
        assert "Hello &lt;b&gt;" in page
        assert re.search(r'class="metric-last is-odd" title="NaN">NaN<', page)
        assert f'href="{url(run)}one/?name=loss"' in page

    def test_numbers_of_similar_size_are_told_apart(self, ana: User, client_of: ClientOf) -> None:
        run = make_run()
        log_metrics(run, {"near": [round(123_456.7 + at / 100, 2) for at in range(30)], "one": [1 / 3]})
        log_rows(run, "folds", {"fold": ["a"], "auc": [0.99991234], "f1": [0.5]})
        log_rows(run, "scores", {"score": [1e6 + 0.001, 1e6 + 0.0005], "n": [1, 2], "said": ["a", None]})
        client = client_of(ana)
        response = client.get(url(run))
        near = next(card for card in response.context["page"].cards if card.metric.name == "near")
        assert (near.last.text, near.least.text, near.most.text) == ("123,457", "123,456.7", "123,457")
        scores = next(card for card in response.context["page"].cards if card.metric.name == "scores")
        rows = [[cell.text for cell in row] for row in scores.rows]
        assert rows == [["1,000,000.001", "1", "a"], ["1,000,000.0005", "2", ""]]
        page = response.content.decode()
        assert 'title="123,456.99">max 123,457<' in page
        assert 'title="0.3333333333333333">0.3333<' in page
        assert 'title="0.99991234">0.9999<' in page
        table = client.get(url(run) + "one/", {"name": "near"}).content.decode()
        assert len(set(re.findall(r'<td class="num">(123,456\.[\d]+)</td>', table))) == 30

    def test_a_table_shows_its_first_rows(self, ana: User, client_of: ClientOf) -> None:
        run = make_run()
        log_rows(run, "folds", {"fold": [f"f{n}" for n in range(9)], "n": [1000 + n for n in range(9)]})
        card = client_of(ana).get(url(run)).context["page"].cards[0]
        assert [[cell.text for cell in row] for row in card.rows] == [[f"f{n}", f"1,00{n}"] for n in range(6)]
        assert [(head.text, head.is_number) for head in card.heads] == [("fold", False), ("n", True)]

    def test_the_column_that_a_row_draws_can_be_chosen(self, ana: User, client_of: ClientOf) -> None:
        run = make_run()
        log_rows(run, "fit", {"epoch": [1, 2], "label": ["a", "b"], "loss": [4, 2], "acc": [0, 1]})
        log_rows(run, "val", {"epoch": [1, 2], "loss": [4, 2], "acc": [0, 1]})
        client = client_of(ana)
        fit, val = client.get(url(run), {"log": "1"}).context["page"].cards
        assert (fit.shape, fit.column, fit.x) == ("line", "loss", "epoch")
        (loss, _), (acc, query) = fit.choices
        assert (loss, acc) == ("loss", "acc")
        query = val.choices[1][1].replace(f"col={val.key}", f"col={fit.key}%3Aacc&col={val.key}")
        response = client.get(url(run) + query)
        assert [card.column for card in response.context["page"].cards] == ["acc", "acc"]
        assert (
            response.context["page"]
            .cards[0]
            .choices[0][1]
            .endswith(f"?log=1&col={val.key}%3Aacc&col={fit.key}%3Aloss")
        )
        page = response.content.decode()
        assert page.count('data-column="acc"') == 2
        assert f'<input type="hidden" name="col" value="{fit.key}:acc">' in page
        assert f"col={fit.key}%3Aacc" in response.context["part_url"]
        for column in ("zebra", "label", "epoch"):
            context = client.get(url(run), {"col": f"{fit.key}:{column}"}).context
            assert context["page"].cards[0].column == "loss"
        one = client.get(url(run) + "one/", {"name": "fit", "col": f"{fit.key}:acc"})
        assert (one.context["column"], one.context["x_column"]) == ("acc", "epoch")
        assert f"?name=fit&amp;col={fit.key}%3Aloss" in one.content.decode()

    def test_documents_are_drawn_with_their_numbers(self, ana: User, client_of: ClientOf) -> None:
        run = make_run()
        kinds = {
            "confusion_matrix": MATRIX, "accuracy_table": ACCURACY, "residuals": RESIDUALS,
            "predictions": PREDICTIONS,
        }  # fmt: skip
        for kind, document in kinds.items():
            log_metrics(run, {kind: [{"data": {}}, document]}, kind=kind)
        response = client_of(ana).get(url(run))
        cards = {card.metric.name: card.document for card in response.context["page"].cards}
        (label, cells) = cards["confusion_matrix"].matrix[0]
        assert (label, [(c.text, c.shade, c.is_right) for c in cells]) == (
            "cat",
            [("9", 8, True), ("1", 1, False)],
        )
        receiver = cards["accuracy_table"].drawings[0]
        assert receiver.rows[1] == ["0", "0.5", "0.8", "0.2", "0.8"]
        assert "polyline" in receiver.svg
        assert cards["residuals"].drawings[0].rows == [["-1", "0", "3"], ["0", "1", "4"]]
        assert cards["predictions"].drawings[0].rows[1] == ["0.5", "1", "0.7", "0.1", "4"]

    @pytest.mark.parametrize(
        ("kind", "document"),
        [
            ("confusion_matrix", MATRIX),
            ("accuracy_table", ACCURACY),
            ("residuals", RESIDUALS),
            ("predictions", PREDICTIONS),
        ],
    )
    def test_the_page_of_one_draws_it_as_its_card_does(
        self, ana: User, client_of: ClientOf, kind: str, document: Any
    ) -> None:
        run = make_run()
        log_metrics(run, {"one": [document]}, kind=kind)
        cards = client_of(ana).get(url(run)).content.decode()
        page = client_of(ana).get(url(run) + "one/", {"name": "one"}).content.decode()
        drawn = re.search('<svg class="chart.*?</svg>|<table class="matrix">.*?</table>', cards, re.DOTALL)
        assert drawn
        assert drawn[0] in page

    def test_a_long_text_says_that_it_is_cut(self, ana: User, client_of: ClientOf) -> None:
        run = make_run()
        wide = {"data": {"class_labels": ["a" * 2_000], "matrix": [[1]]}}
        log_metrics(run, {"wide": [wide]}, kind="confusion_matrix")
        (row,) = client_of(ana).get(url(run) + "one/", {"name": "wide"}).context["points"].rows
        assert row.cells[0].text[-2:] == "a…"

    @pytest.mark.parametrize(
        "document",
        [None, 1, "text", [], {}, {"data": None}, {"data": {"class_labels": ["a"], "matrix": [[1, 2]]}},
         {"data": {"class_labels": ["a"], "matrix": [[math.nan]]}},
         {"data": {"class_labels": ["a"], "matrix": [[10**400]]}}],
    )  # fmt: skip
    @pytest.mark.parametrize("kind", ["confusion_matrix", "accuracy_table", "residuals", "predictions"])
    def test_a_document_of_another_shape_is_shown_as_it_is(
        self, ana: User, client_of: ClientOf, kind: str, document: Any
    ) -> None:
        run = make_run()
        log_metrics(run, {"odd": [document]}, kind=kind)
        response = client_of(ana).get(url(run))
        assert response.context["page"].cards[0].document is None
        assert b"shown as it is" in response.content

    def test_a_matrix_of_more_classes_than_are_drawn_says_so(self, ana: User, client_of: ClientOf) -> None:
        run = make_run()
        for count in (100, 101):
            document = {"data": {"class_labels": list(range(count)), "matrix": [[1] * count] * count}}
            log_metrics(run, {f"of {count}": [document]}, kind="confusion_matrix")
        response = client_of(ana).get(url(run))
        assert [len(card.document.matrix) for card in response.context["page"].cards] == [100, 0]
        assert response.content.count(b"It has 101 classes. More than 100 are not drawn.") == 1

    def test_names_are_found_and_paged(
        self, ana: User, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lists, "CARDS", 3)
        run = make_run()
        log_metrics(run, {f"Layer {number}": [1.0] for number in range(7)} | {"loss": [1.0]})
        client = client_of(ana)
        first = client.get(url(run))
        assert list(shapes(first)) == ["Layer 0", "Layer 1", "Layer 2"]
        assert first.context["page"].found == 8
        assert b"after=Layer+2" in first.content or b"after=Layer%202" in first.content
        assert list(shapes(client.get(url(run), {"after": "Layer 5"}))) == ["Layer 6", "loss"]
        assert list(shapes(client.get(url(run), {"q": "LOSS"}))) == ["loss"]
        assert b"No metric has such a name" in client.get(url(run), {"q": "zebra\0"}).content

    def test_without_metrics_it_says_how_to_log_one(self, ana: User, client_of: ClientOf) -> None:
        assert b"run.log(name, value)" in client_of(ana).get(url(make_run())).content

    def test_the_tab_counts(self, ana: User, client_of: ClientOf) -> None:
        run = make_run()
        log_metrics(run, {"loss": [1.0], "acc": [1.0]})
        log_metrics(run, {"picture": [{"path": "a.png"}] * 3}, kind="image")
        tabs = {tab.key: tab.count for tab in client_of(ana).get(url(run)).context["tabs"]}
        assert (tabs["metrics"], tabs["images"]) == (2, 3)

    @pytest.mark.parametrize("smooth", ["", "x", "-5", "100", "９", "40"])
    def test_looks_come_from_the_address(self, ana: User, client_of: ClientOf, smooth: str) -> None:
        run = make_run(metrics={"loss": 1.0})
        context = client_of(ana).get(url(run), {"smooth": smooth, "x": "time", "log": "1"}).context
        assert (context["by_time"], context["by_log"], context["by_logx"]) == (True, True, False)
        assert context["smooth"] == (40 if smooth == "40" else 0)


class TestLive:
    def test_nothing_new_is_204(self, ana: User, client_of: ClientOf) -> None:
        run = make_run(status=Status.RUNNING, metrics={"loss": 1.0})
        settle()
        client = client_of(ana)
        address = client.get(url(run)).context["part_url"]
        with CaptureQueriesContext(connection) as asked:
            assert client.get(address, headers=HTMX).status_code == 204
        assert len(asked) == 2  # session, run
        log_metrics(run, {"loss": [0.5]})
        part = client.get(address, headers=HTMX)
        assert part.status_code == 200
        assert b"<html" not in part.content
        assert part.content.count(b'id="run-metrics"') == 1

    def test_it_asks_only_while_more_may_come(self, ana: User, client_of: ClientOf) -> None:
        client = client_of(ana)
        live, over = make_run(status=Status.RUNNING, metrics={"a": 1.0}), make_run(metrics={"a": 1.0})
        assert b'hx-trigger="every 2s, run-changed' in client.get(url(live)).content
        assert b'hx-trigger="run-changed' in client.get(url(over)).content

    def test_it_costs_the_same_whatever_it_shows(self, ana: User, client_of: ClientOf) -> None:
        client, numbers = client_of(ana), []
        for count in (2, 40):
            run = make_run()
            log_metrics(run, {f"m{number}": [1.0, 2.0] for number in range(count)})
            for number in range(count // 2):
                log_rows(run, f"t{number}", {"a": [1], "b": ["x"]})
            with CaptureQueriesContext(connection) as asked:
                client.get(url(run))
            numbers.append(len(asked))
        # Session, run, its children, shell; how many metrics, these metrics, the ends of tables.
        assert numbers == [7, 7]


class TestOne:
    def test_its_points_are_a_table(
        self, ana: User, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lists, "ROWS", 4)
        run = make_run()
        log_metrics(run, {"loss": [0.5, math.nan, None, "text", 2**60, True, 7.0, 8.0, 9.0]})
        client = client_of(ana)

        def page(start: object) -> Any:
            return client.get(url(run) + "one/", {"name": "loss", "from": start}).context["points"]

        first = page("")
        assert [row.cells[0].text for row in first.rows] == ["0.5", "NaN", "", "text"]
        assert [(row.number, row.step) for row in first.rows] == [(1, 0), (2, 1), (3, 2), (4, 3)]
        assert (first.before, first.after) == (None, 4)
        assert [row.cells[0].text for row in page(4).rows] == ["1152921504606846976", "true", "7", "8"]
        last = page(10**14)
        assert ([row.number for row in last.rows], last.before, last.after) == ([9], 4, None)
        assert [row.number for row in page("x").rows] == [1, 2, 3, 4]

    def test_whole_numbers_are_written_as_on_charts(self, ana: User, client_of: ClientOf) -> None:
        run = make_run()
        log_metrics(run, {"steps": [12_340, 10**15 + 1]})
        table = client_of(ana).get(url(run) + "one/", {"name": "steps"}).context["points"]
        texts = [row.cells[0].text for row in table.rows]
        assert texts == ["12,340", "1,000,000,000,000,001"] == [number_text(12_340), number_text(1e15 + 1)]

    def test_rows_have_a_column_each(self, ana: User, client_of: ClientOf) -> None:
        run = make_run()
        log_rows(run, "folds", {"fold": ["a"], "auc": [0.5]})
        page = client_of(ana).get(url(run) + "one/", {"name": "folds"})
        assert page.context["points"].heads == ["fold", "auc"]
        assert not page.context["points"].has_steps

    def test_unknown_names_are_404(self, ana: User, client_of: ClientOf) -> None:
        run = make_run()
        for tab in ("one", "csv"):
            for name in ("", "los", "a\0"):
                assert client_of(ana).get(f"{url(run)}{tab}/", {"name": name}).status_code == 404

    def test_as_a_file_it_is_exact(self, ana: User, client_of: ClientOf) -> None:
        run = make_run()
        log_metrics(run, {"val/loss": [0.1 + 0.2, math.nan, 2**60, "=1+1", None, True]})
        answer = client_of(ana).get(url(run) + "csv/", {"name": "val/loss"})
        assert 'filename="mnist-1-val_loss.csv"' in answer["Content-Disposition"]
        lines = list(csv.reader(io.StringIO(b"".join(answer).decode())))
        assert lines[0] == ["entry", "step", "time", "value"]
        assert [line[3] for line in lines[1:]] == [
            "0.30000000000000004", "nan", "1152921504606846976", "'=1+1", "", "true",
        ]  # fmt: skip
        assert lines[1][:3] == ["1", "0", "1700000000.0"]

    def test_what_one_costs(self, ana: User, client_of: ClientOf) -> None:
        run = make_run(metrics={"loss": 1.0})
        client = client_of(ana)
        with CaptureQueriesContext(connection) as asked:
            client.get(url(run) + "one/", {"name": "loss"})
        assert len(asked) == 6  # session, run, its children, shell; the metric, its points


class TestImages:
    def test_they_stand_by_name_the_newest_first(self, ana: User, client_of: ClientOf) -> None:
        run = make_run()
        log_metrics(run, {"roc": [{"path": "a.png"}, {"path": "gone.png"}], "zoo": [{"no": 1}]}, kind="image")
        stored = default_storage.save("artifacts/a.png", ContentFile(b"\x89PNG\r\n\x1a\n"))
        Artifact.objects.create(
            run=run,
            path="a.png",
            size_bytes=8,
            sha256="0" * 64,
            content_type="image/png",
            storage_name=stored,
        )
        response = client_of(ana).get(url(run, "images"))
        found = {
            group.metric.name: [(image.path, image.number, image.is_there) for image in group.images]
            for group in response.context["groups"]
        }
        assert found == {"roc": [("gone.png", 2, False), ("a.png", 1, True)], "zoo": [("", 1, False)]}
        assert f'src="{url(run, "outputs")}file/a.png?show=1"' in response.content.decode()

    def test_only_the_newest_of_many(
        self, ana: User, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lists, "IMAGES", 2)
        run = make_run()
        log_metrics(run, {"roc": [{"path": f"{number}.png"} for number in range(5)]}, kind="image")
        response = client_of(ana).get(url(run, "images"))
        assert [image.path for image in response.context["groups"][0].images] == ["4.png", "3.png"]
        assert b"the newest 2 of them" in response.content

    def test_nothing_new_is_204_and_none_says_how(self, ana: User, client_of: ClientOf) -> None:
        run = make_run(status=Status.RUNNING)
        client = client_of(ana)
        page = client.get(url(run, "images"))
        assert b"run.log_image" in page.content
        headers = {"HX-Request": "true", "HX-Target": "run-images"}
        assert client.get(page.context["part_url"], headers=headers).status_code == 204
