"""Metrics: each batch once, whatever the way it is cut and sent; nothing lost of any value."""

from __future__ import annotations

import math
import random
import threading
import uuid
from array import array
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from django.db import connections
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runs.errors import InvalidInput, InvalidName, NotFound, OutOfOrder, StaleAttempt
from runs.models import Metric, MetricBlock, MetricLedger, MetricWriter, Run
from runs.points import NO_STEP, Points, narrow_type, pack, unpack
from runs.services import metrics
from runs.services.metrics import Series, chart, charts, find_metric, read_points, write_metrics
from tests.factories import log_metrics, log_rows, make_run, points_of

pytestmark = pytest.mark.django_db

VALUES = st.one_of(
    st.floats(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(2**63, 2**200),
    st.text(max_size=20),
    st.none(),
    st.booleans(),
)
RELAXED = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def batch(name: str, values: Sequence[Any], *, start: int = 0, kind: str = "scalar") -> Series:
    points = points_of({"": values})
    times = array("d", [start + place for place in range(len(values))])
    return Series(name, Points(points.columns, times, array("q", map(int, times))), kind)


def stored(run: Run, name: str = "loss") -> Points:
    metric = find_metric(run, name)
    points = read_points([metric])[metric.pk]
    assert len(points) == metric.count
    return points


def same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Equal in value and type; NaN equals NaN."""
    return [repr(value) for value in one] == [repr(value) for value in other]


class TestAnyWayOfSending:
    @RELAXED
    @given(data=st.data(), values=st.lists(VALUES, max_size=24))
    def test_any_split_gives_the_same_points(self, workspace: Any, data: Any, values: list[Any]) -> None:
        run, writer = make_run(), str(uuid.uuid4())
        kind = narrow_type(values) if values else "json"
        cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=8)))
        for seq, (at, end) in enumerate(pairwise([0, *cuts, len(values)]), start=1):
            part = batch("loss", values[at:end], start=at)
            if kind == "json":
                part = replace(part, points=replace(part.points, columns={"": values[at:end]}))
            write_metrics(run, [part], writer=writer, seq=seq)
        points = stored(run)
        expected = [float(value) for value in values] if kind == "f8" else values
        assert same(list(points.columns[""]), expected)
        assert list(points.times) == list(map(float, range(len(values))))
        assert list(points.steps or []) == list(range(len(values)))

    @RELAXED
    @given(data=st.data(), count=st.integers(1, 8))
    def test_repeats_and_another_order_change_nothing(self, workspace: Any, data: Any, count: int) -> None:
        run, writer = make_run(), str(uuid.uuid4())
        sends = data.draw(st.lists(st.integers(1, count), max_size=20)) + list(range(1, count + 1))
        done = 0
        for seq in sends:
            series = [batch("loss", [seq, seq + 0.5], start=2 * seq)]
            if seq > done + 1:
                with pytest.raises(OutOfOrder) as refused:
                    write_metrics(run, series, writer=writer, seq=seq)
                assert refused.value.expected == done + 1
                continue
            answer = write_metrics(run, series, writer=writer, seq=seq)
            assert (answer.count, answer.is_duplicate) == ((2, False) if seq == done + 1 else (0, True))
            done = max(done, seq)
        assert list(stored(run).columns[""]) == [v for n in range(1, count + 1) for v in (n, n + 0.5)]

    def test_several_writers_at_once_lose_nothing(self, transactional_db: None, workspace: Any) -> None:
        run, n_writers, n_batches = make_run(), 4, 12
        barrier, failed = threading.Barrier(n_writers), []

        def send(writer: int) -> None:
            try:
                barrier.wait()
                for seq in range(1, n_batches + 1):
                    series = [batch("loss", [writer * 1000 + seq]), batch(f"own {writer}", [0.5])]
                    write_metrics(run, series, writer=str(writer), seq=seq)
            except Exception as error:
                failed.append(error)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=send, args=(number,)) for number in range(n_writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        values = list(stored(run).columns[""])
        assert sorted(values) == [w * 1000 + s for w in range(n_writers) for s in range(1, n_batches + 1)]
        for writer in range(n_writers):
            mine = [value for value in values if value // 1000 == writer]
            assert mine == sorted(mine)
        assert MetricLedger.objects.get(run=run).names == n_writers + 1

    def test_one_batch_sent_twice_at_once_counts_once(self, transactional_db: None, workspace: Any) -> None:
        run, barrier, answers = make_run(), threading.Barrier(2), []

        def send() -> None:
            barrier.wait()
            answers.append(write_metrics(run, [batch("loss", [1.0])], writer="w", seq=1).count)
            connections.close_all()

        threads = [threading.Thread(target=send) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers) == [0, 1]
        assert find_metric(run, "loss").count == 1


class TestBlocks:
    def test_one_point_a_second_does_not_make_a_row_a_second(self, workspace: Any) -> None:
        run = make_run()
        for seq in range(1, 301):
            write_metrics(run, [batch("loss", [seq / 7], start=seq)], writer="w", seq=seq)
        counts = list(MetricBlock.objects.order_by("start").values_list("count", "is_open"))
        assert counts == [(256, False), (44, True)]
        assert list(stored(run).columns[""]) == [seq / 7 for seq in range(1, 301)]

    def test_a_large_batch_makes_full_blocks(self, workspace: Any) -> None:
        run = make_run()
        log_metrics(run, {"loss": [float(place) for place in range(10_000)]})
        assert list(MetricBlock.objects.order_by("start").values_list("count", flat=True)) == [
            4096,
            4096,
            1808,
        ]

    def test_ints_and_floats_in_turn_share_a_block(self, workspace: Any) -> None:
        run = make_run()
        for seq in range(1, 101):
            write_metrics(run, [batch("loss", [seq if seq % 2 else seq / 2])], writer="w", seq=seq)
        assert MetricBlock.objects.count() == 1
        assert stored(run).columns[""] == array("d", [seq if seq % 2 else seq / 2 for seq in range(1, 101)])

    @given(values=st.lists(VALUES, min_size=1, max_size=50), compressed=st.booleans())
    def test_packing_keeps_every_value(self, values: list[Any], compressed: bool) -> None:
        points = points_of({"a": values, "b": [1.5] * len(values), "": list(range(len(values)))})
        again = unpack(pack(points, compressed=compressed))
        assert list(again.columns) == ["a", "b", ""]
        assert all(same(again.columns[name], points.columns[name]) for name in points.columns)
        assert again.times == points.times
        assert again.steps is None

    def test_only_the_asked_columns_are_unpacked(self) -> None:
        points = points_of({"a": [1.0], "b": [2.0], "#times": [3.0]})
        assert dict(unpack(pack(points, compressed=True), ["#times"]).columns) == {
            "#times": array("d", [3.0])
        }


class TestSums:
    def test_lists_read_the_metric_alone(self, workspace: Any) -> None:
        run = make_run()
        log_metrics(run, {"loss": [3.0, math.nan, 1.0, math.inf, 2.0]})
        metric = find_metric(run, "loss")
        assert (metric.count, metric.last, metric.least, metric.most) == (5, 2.0, 1.0, 3.0)
        assert metric.last_text == ""
        assert metric.columns == [
            {"name": "", "type": "f8", "last": 2.0, "least": 1.0, "most": 3.0, "text": ""}
        ]

    @pytest.mark.parametrize(
        ("values", "text", "last"),
        [
            ([1.0, math.nan], "NaN", 1.0),
            ([-math.inf], "-Infinity", None),
            (["Preparing data"], "Preparing data", None),
            ([1, None], "null", 1.0),
            ([True], "true", None),
            ([2**63], "", 2.0**63),
            ([10**400], str(10**400)[:255], None),
        ],
    )
    def test_what_is_no_finite_number_is_said(
        self, workspace: Any, values: list[Any], text: str, last: float | None
    ) -> None:
        run = make_run()
        log_metrics(run, {"message": values})
        metric = find_metric(run, "message")
        assert (metric.last_text, metric.last) == (text, last)
        assert same(stored(run, "message").columns[""], values)

    def test_an_entry_without_a_column_leaves_what_came_last_of_it(self, workspace: Any) -> None:
        run = make_run()
        log_metrics(run, {"kk": [0.5, 1]})
        log_rows(run, "kk", {"a": [2, 3, None]})
        metric = find_metric(run, "kk")
        assert (metric.last, metric.last_text, metric.count) == (1.0, "", 5)
        assert [(one["last"], one["text"]) for one in metric.columns] == [(1.0, ""), (3.0, "")]

    def test_rows_have_sums_for_each_column(self, workspace: Any) -> None:
        run = make_run()
        log_rows(run, "scores", {"fold": ["a", "b"], "auc": [0.5, 0.75]})
        log_rows(run, "scores", {"fold": ["c"], "f1": [0.1]})
        metric = find_metric(run, "scores")
        sums = {c["name"]: (c["type"], c["last"], c["least"], c["most"]) for c in metric.columns}
        assert sums == {
            "fold": ("json", None, None, None),
            "auc": ("json", 0.75, 0.5, 0.75),
            "f1": ("json", 0.1, 0.1, 0.1),
        }
        assert stored(run, "scores").columns == {
            "fold": ["a", "b", "c"], "auc": [0.5, 0.75, None], "f1": [None, None, 0.1],
        }  # fmt: skip

    def test_an_empty_list_is_a_metric(self, workspace: Any) -> None:
        run = make_run()
        log_metrics(run, {"nothing": []}, kind="list")
        metric = find_metric(run, "nothing")
        assert (metric.count, metric.kind, metric.last) == (0, "list", None)
        assert len(read_points([metric])[metric.pk]) == 0
        assert len(chart(metric).line.at) == 0

    def test_the_first_kind_stays_and_the_newest_description_counts(self, workspace: Any) -> None:
        run = make_run()
        for seq, (kind, text) in enumerate([("scalar", "one"), ("list", ""), ("list", "two")], start=1):
            series = Series("loss", points_of({"": [1.0]}), kind, text)
            write_metrics(run, [series], writer="w", seq=seq)
        metric = find_metric(run, "loss")
        assert (metric.kind, metric.description, metric.count) == ("scalar", "two", 3)

    def test_one_name_twice_in_a_batch(self, workspace: Any) -> None:
        run = make_run()
        answer = write_metrics(run, [batch("loss", [1]), batch("loss", [2, 3])], writer="w", seq=1)
        assert answer.count == 3
        assert list(stored(run).columns[""]) == [1, 2, 3]

    def test_the_ledger_counts_names_and_images(self, workspace: Any) -> None:
        run = make_run()
        log_metrics(run, {"loss": [1.0], "acc": [1.0]})
        log_metrics(run, {"loss": [1.0]})
        log_metrics(run, {"curve": [{"path": "a.png"}, {"path": "b.png"}]}, kind="image")
        ledger = MetricLedger.objects.get(run=run)
        assert (ledger.names, ledger.images, ledger.experiment_id) == (2, 2, run.experiment_id)


class TestChart:
    @RELAXED
    @given(
        values=st.lists(st.floats() | st.integers(-5, 5) | st.none() | st.text(max_size=2), max_size=160),
        dots=st.integers(1, 30),
        sizes=st.integers(15, 80),
    )
    def test_no_extreme_is_lost(self, workspace: Any, values: list[Any], dots: int, sizes: int) -> None:
        run = make_run()
        for seq, at in enumerate(range(0, len(values) or 1, sizes), start=1):
            write_metrics(run, [batch("loss", values[at : at + sizes], start=at)], writer="w", seq=seq)
        line = chart(find_metric(run, "loss"), dots=dots).line
        drawn = [float(v) for v in values if isinstance(v, int | float)]
        assert same(line.values, [float(values[at]) for at in line.at])
        assert list(line.steps) == list(line.at) == sorted(set(line.at))
        finite = [value for value in drawn if math.isfinite(value)]
        assert {repr(v) for v in drawn if not math.isfinite(v)} <= {repr(v) for v in line.values}
        if finite:
            assert {min(finite), max(finite)} <= set(line.values)
        if drawn:
            assert same([line.values[0], line.values[-1]], [drawn[0], drawn[-1]])
        assert len(line.at) <= 2 * dots + 3 * dots + 2

    def test_a_million_points_in_a_small_answer(self, workspace: Any) -> None:
        run, spikes = make_run(), random.Random(57).sample(range(1_000_000), 3)
        values = array("d", bytes(8_000_000))
        values[spikes[0]], values[spikes[1]], values[spikes[2]] = 9.0, -9.0, math.nan
        points = Points({"": values}, array("d", range(1_000_000)))
        write_metrics(run, [Series("loss", points)], writer="w", seq=1)
        line = chart(find_metric(run, "loss"), dots=1_000).line
        assert len(line.at) < 3_000
        found = dict(zip(line.at, line.values, strict=True))
        assert (found[spikes[0]], found[spikes[1]]) == (9.0, -9.0)
        assert math.isnan(found[spikes[2]])
        part = chart(find_metric(run, "loss"), dots=500, start=spikes[0] - 100, end=spikes[0] + 100)
        assert part.is_whole
        assert list(part.line.at) == list(range(spikes[0] - 100, spikes[0] + 100))

    def test_a_table_of_two_numbers_is_drawn_one_against_the_other(self, workspace: Any) -> None:
        run = make_run()
        log_rows(run, "roc", {"fpr": [0, 0.5, 1], "tpr": [0, 0.9, 1]}, kind="table")
        one = charts([find_metric(run, "roc")])[0]
        assert (one.column, one.x) == ("tpr", "fpr")
        assert list(zip(one.line.x, one.line.values, strict=True)) == [(0, 0), (0.5, 0.9), (1, 1)]

    @pytest.mark.parametrize(
        ("columns", "drawn", "choices"),
        [
            ({"epoch": [1, 2], "label": ["a", "b"], "loss": [4, 2], "acc": [0, 1]}, "loss epoch", "loss acc"),
            ({"loss": [4.0, 2.0], "Step": [10, 20], "acc": [0, 1]}, "loss Step", "loss acc"),
            ({"loss": [4.0, 2.0], "epoch": [1, 2]}, "loss epoch", "loss"),
            ({"fold": [0, 1, 2], "auc": [0.5, 0.6, 0.7], "f1": [1, 2, 3]}, "auc fold", "auc f1"),
            ({"fold": ["a", "b"], "auc": [0.5, 0.6], "f1": [0.1, 0.2]}, "auc", "auc f1"),
            ({"width": [64, 32], "loss": [0.5, 0.25], "acc": [0.5, 1.0]}, "width", "width loss acc"),
            ({"epoch": [1, 2], "said": ["a", "b"]}, "epoch", "epoch"),
            (
                {"epoch": [1, 1, 2, 2], "batch": [1, 2, 1, 2], "loss": [4, 3, 2, 1]},
                "loss",
                "epoch batch loss",
            ),
            (
                {"batch": [1, 2, 1, 2], "epoch": [1, 1, 2, 2], "loss": [4, 3, 2, 1]},
                "loss",
                "batch epoch loss",
            ),
            ({"epoch": [1, 1, 2], "step": [5, 6, 7], "loss": [4, 3, 2]}, "loss step", "epoch loss"),
            ({"epoch": [0.5, 1.0], "loss": [4, 2], "acc": [0, 1]}, "loss epoch", "loss acc"),
            ({"epoch": [1, 2], "loss": [4, 2], "": ["said", None]}, "loss", "epoch loss"),
        ],
    )
    def test_a_column_that_only_counts_is_the_axis_of_the_others(
        self, workspace: Any, columns: dict[str, list[Any]], drawn: str, choices: str
    ) -> None:
        run = make_run()
        log_rows(run, "row", columns)
        row = find_metric(run, "row")
        assert " ".join(filter(None, metrics.drawn_columns(row))) == drawn
        assert metrics.columns_to_draw(row) == choices.split()

    def test_another_column_can_be_drawn(self, workspace: Any) -> None:
        run = make_run()
        log_rows(run, "row", {"epoch": [1, 2], "loss": [4, 2], "acc": [0.25, 0.5]})
        row = find_metric(run, "row")
        one = charts([row], columns={"row": "acc"})[0]
        assert (one.column, one.x) == ("acc", "epoch")
        assert list(zip(one.line.x, one.line.values, strict=True)) == [(1, 0.25), (2, 0.5)]
        assert metrics.drawn_columns(row, "epoch") == ("epoch", "")
        assert metrics.drawn_columns(row, "zebra") == ("loss", "epoch")

    def test_many_charts_cost_one_query(
        self, workspace: Any, django_assert_num_queries: Callable[..., Any]
    ) -> None:
        run = make_run()
        log_metrics(run, {f"m{number}": [number, 2.0] for number in range(20)})
        log_metrics(run, {"empty": []})
        rows = list(Metric.objects.filter(run=run).order_by("id"))
        with django_assert_num_queries(1):
            found = charts(rows)
        assert [one.metric.name for one in found] == [row.name for row in rows]
        assert list(found[3].line.values) == [3.0, 2.0]
        assert len(found[20].line.at) == 0


class TestRefused:
    @pytest.mark.parametrize(
        ("series", "error"),
        [
            (Series("", points_of({"": [1.0]})), InvalidName),
            (Series("x" * 256, points_of({"": [1.0]})), InvalidName),
            (Series("a\0b", points_of({"": [1.0]})), InvalidName),
            (Series("a\ud800", points_of({"": [1.0]})), InvalidName),
            (Series("loss", points_of({"c" * 256: [1.0]})), InvalidName),
            (Series("loss", points_of({"": [1.0]}), "scaler"), InvalidInput),
            (Series("loss", Points({}, array("d"))), InvalidInput),
            (Series("loss", Points({"": [1, 2]}, array("d", [1.0]))), InvalidInput),
            (Series("loss", Points({"": [1]}, array("d", [1.0]), array("q"))), InvalidInput),
        ],
    )
    def test_what_cannot_be_stored(self, workspace: Any, series: Series, error: type[Exception]) -> None:
        run = make_run()
        with pytest.raises(error):
            write_metrics(run, [batch("good", [1.0]), series], writer="w", seq=1)
        assert not Metric.objects.exists()
        assert write_metrics(run, [batch("good", [1.0])], writer="w", seq=1).count == 1

    def test_a_writer_or_number_that_is_none(self, workspace: Any) -> None:
        for writer, seq in (("", 1), ("x" * 65, 1), ("w", 0), ("w", 2**63)):
            with pytest.raises(InvalidInput):
                write_metrics(make_run(), [], writer=writer, seq=seq)

    def test_more_values_than_a_batch_takes(self, workspace: Any) -> None:
        points = Points({"": array("d", bytes(8 * 1_000_001))}, array("d", bytes(8 * 1_000_001)))
        with pytest.raises(InvalidInput, match="send several"):
            write_metrics(make_run(), [Series("loss", points)], writer="w", seq=1)

    def test_an_older_attempt(self, workspace: Any) -> None:
        run = make_run(attempt=2)
        with pytest.raises(StaleAttempt):
            write_metrics(run, [batch("loss", [1.0])], writer="w", seq=1, attempt=1)
        assert not MetricWriter.objects.exists()
        assert write_metrics(run, [batch("loss", [1.0])], writer="w", seq=1, attempt=2).count == 1

    def test_an_unknown_name(self, workspace: Any) -> None:
        with pytest.raises(NotFound):
            find_metric(make_run(), "los\0s")

    def test_texts_that_a_database_refuses(self, workspace: Any) -> None:
        run, text = make_run(), "half \ud83d NUL \0"
        series = Series("message", points_of({"": [text]}), "scalar", text)
        write_metrics(run, [series], writer="w", seq=1)
        assert find_metric(run, "message").last_text == "half ? NUL "
        assert stored(run, "message").columns[""] == [text]


class TestCost:
    def test_a_batch_costs_the_same_whatever_it_holds(
        self, workspace: Any, django_assert_num_queries: Callable[..., Any]
    ) -> None:
        # Ledger, attempt, turn; metrics, open blocks; metrics, blocks and ledger written; the transaction.
        run = make_run()
        write_metrics(run, [batch(f"m{n}", [1.0]) for n in range(50)], writer="w", seq=1)
        for seq, names in ((2, 1), (3, 50)):
            with django_assert_num_queries(10):
                series = [batch(f"m{n}", [1.0]) for n in range(names)]
                write_metrics(run, series, writer="w", seq=seq)

    def test_steps_may_be_missing(self, workspace: Any) -> None:
        run = make_run()
        write_metrics(run, [Series("loss", points_of({"": [1.0, 2.0]}))], writer="w", seq=1)
        assert stored(run).steps is None
        write_metrics(run, [Series("loss", points_of({"": [3.0]}, steps=True))], writer="w", seq=2)
        assert stored(run).steps == array("q", [NO_STEP, NO_STEP, 0])
        assert metrics.drawn_columns(find_metric(run, "loss")) == ("", "")
