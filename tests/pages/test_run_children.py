"""The Child runs tab: the tree, its bounds and what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from runs.lists.metric_columns import Choice, choose_metrics
from runs.models import MetricLedger, Run
from runs.status import Kind, Status
from runs.views import children
from runs.views.children import opened_rows, tree_rows
from studio.accounts.models import User
from tests.factories import log_metrics, make_run
from tests.pages.test_run_frame import url_of

SignIn = Callable[[User], Client]


def child_of(parent: Run, name: str, **over: Any) -> Run:
    return make_run(parent=parent, kind=Kind.SCRIPT, display_name=name, **over)


def test_children_stand_under_their_parents(workspace: object) -> None:
    top = make_run(status=Status.RUNNING)
    one, two = child_of(top, "one"), child_of(top, "two")
    child_of(two, "two a")
    deep = child_of(one, "one a")
    child_of(deep, "one a i")
    rows = [(row.run.name, row.depth) for row in tree_rows(top)]
    assert rows == [("one", 0), ("one a", 1), ("one a i", 2), ("two", 0), ("two a", 1)]


def test_what_is_deeper_than_three_levels_comes_on_demand(ana: User, client_of: SignIn) -> None:
    run = top = make_run(status=Status.RUNNING)
    for level in range(5):
        run = child_of(run, f"level {level}")
    last = tree_rows(top)[-1]
    assert (last.run.name, last.depth, last.n_more) == ("level 2", 3, 1)
    url = f"{url_of(top, 'run-children')}?open={last.run.number}"
    client = client_of(ana)
    assert f'href="{url}"' in client.get(url_of(top, "run-children")).content.decode()
    page = client.get(url).content.decode()
    assert "level 3" in page
    assert "level 4" in page
    assert f'hx-get="{url}&amp;seen=' in page  # so that the next live update shows it too


def test_more_children_than_one_page_come_on_demand(
    workspace: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "LEVEL_SIZE", 3)
    top = make_run(status=Status.RUNNING)
    names = [child_of(top, f"child {i}").name for i in range(8)]
    rows = tree_rows(top)
    assert [row.run.name for row in rows[:-1]] == names[:3]
    assert rows[-1].n_more == 5
    rows = opened_rows(top, [top.number])
    assert [row.run.name for row in rows[:-1]] == names[:6]
    assert rows[-1].n_more == 2
    rows = opened_rows(top, [top.number] * 2)
    assert [row.run.name for row in rows] == names


def test_more_opens_so_often_and_then_on_a_page_of_its_own(
    ana: User, client_of: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "LEVEL_SIZE", 1)
    monkeypatch.setattr(children, "MOST_OPEN", 2)
    top = make_run(status=Status.RUNNING)
    for i in range(5):
        child_of(top, f"child {i}")
    url = url_of(top, "run-children")
    page = client_of(ana).get(url, {"open": ",".join([str(top.number)] * 9)}).content.decode()
    assert "child 2" in page
    assert "child 3" not in page
    assert f'<a href="{url}">2 more below' in page


def test_a_run_without_children_teaches_how_to_make_them(ana: User, client_of: SignIn) -> None:
    assert "run.child_run(name)" in client_of(ana).get(url_of(make_run(), "run-children")).content.decode()


@pytest.mark.parametrize("text", ["-1", "x", "٣", "9" * 40, ""])
def test_strange_places_open_nothing(ana: User, client_of: SignIn, text: str) -> None:
    top = make_run(status=Status.RUNNING)
    child_of(top, "one")
    page = client_of(ana).get(url_of(top, "run-children"), {"open": f"{text},{text}"})
    assert "one" in page.content.decode()


@pytest.mark.parametrize("n", [1, 6])
@pytest.mark.parametrize(("logs", "queries"), [(False, 13), (True, 16)])
def test_the_tree_costs_the_same_whatever_is_in_it(
    ana: User, client_of: SignIn, django_assert_num_queries: Any, n: int, logs: bool, queries: int
) -> None:
    client = client_of(ana)
    top = make_run(status=Status.RUNNING)
    metrics = {f"m{i}": 1.0 for i in range(n)} if logs else {}
    for i in range(n):
        child = child_of(top, f"child {i}", tags={"a": "b"}, metrics=metrics)
        for j in range(n):
            child_of(child_of(child, f"grandchild {j}"), "great-grandchild", metrics=metrics)
    # who asks; the run; when metrics were written; children by status; how many; three levels, each with its
    # tags; who of them logged last; the shell's counts. With metrics: names; cells of the table; the chart
    with django_assert_num_queries(queries):
        client.get(url_of(top, "run-children"))


def metrics_of(client: Client, run: Run, **asked: str) -> Any:
    return client.get(url_of(run, "run-children"), asked).context["metrics"]


def columns_of(client: Client, run: Run) -> list[tuple[str, str]]:
    return [(column.title, column.hidden) for column in metrics_of(client, run).columns]


class TestMetrics:
    def test_what_most_children_log_is_shown_and_the_third_where_there_is_room(
        self, ana: User, client_of: SignIn
    ) -> None:
        top, client = make_run(status=Status.RUNNING), client_of(ana)
        one = child_of(top, "one", metrics={"rare": 1.0, "also rare": 1.0})
        log_metrics(child_of(one, "one a"), {"loss": [3.0, math.nan], "acc": [0.5]})
        child_of(top, "two", metrics={"loss": 0.25, "acc": 0.75})
        child_of(top, "three")
        assert columns_of(client, top) == [("loss", "from-1100"), ("acc", "from-1100"), ("rare", "from-1400")]
        page = client.get(url_of(top, "run-children")).content.decode()
        assert '<td class="num cut from-1100 is-odd" title="NaN">NaN</td>' in page
        assert '<td class="num cut from-1400">–</td>' in page
        assert '<span class="narrow-only"> · loss 0.25</span>' in page

    def test_what_the_person_chose_for_the_experiment_goes_first(self, ana: User, client_of: SignIn) -> None:
        top, client = make_run(), client_of(ana)
        child_of(top, "one", metrics={"loss": 0.25, "acc": 0.75})
        for chosen, shown in (
            ([Choice("acc", "min"), Choice("elsewhere")], ["acc min"]),
            ([Choice("elsewhere")], ["loss", "acc"]),
            ([], []),
        ):
            choose_metrics(ana, top.experiment, chosen)
            assert [title for title, _ in columns_of(client, top)] == shown

    def test_the_chart_has_any_metric_or_durations_by_run_number(self, ana: User, client_of: SignIn) -> None:
        top, client = make_run(), client_of(ana)
        one = child_of(top, "one", metrics={"acc": 0.5})
        log_metrics(child_of(one, "one a"), {"loss": [3.0, 1.0, 2.0], "acc": [0.25]})
        child_of(top, "two")
        metrics = metrics_of(client, top)
        assert [bar.name for bar in metrics.bars] == ["one", "one a", "two"]
        assert (metrics.drawn.over, metrics.drawn.values) == ("acc", {2: 0.5, 3: 0.25})
        drawn = metrics_of(client, top, over="loss", sum="min").drawn
        assert (drawn.over, drawn.sum, drawn.values) == ("loss", "min", {3: 1.0})
        for over in ("", "zebra", "a\0"):
            assert metrics_of(client, top, over=over).drawn.over == ""
        page = client.get(url_of(top, "run-children"), {"over": ""}).content.decode()
        assert 'aria-label="Duration by run number"' in page

    def test_the_choice_stays_in_links_and_live_updates(
        self, ana: User, client_of: SignIn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(children, "LEVEL_SIZE", 1)
        top = make_run(status=Status.RUNNING)
        for name in ("one", "two", "three"):
            child_of(top, name, metrics={"loss": 1.0, "acc": 0.5})
        asked = {"open": "1", "over": "acc", "sum": "max", "x": "y"}
        response = client_of(ana).get(url_of(top, "run-children"), asked)
        page = response.content.decode()
        assert response.context["part_url"].partition("&seen")[0].endswith("/?open=1&over=acc&sum=max")
        assert 'href="?open=1&amp;over=loss&amp;sum=max"' in page
        assert "/?open=1,1&amp;over=acc&amp;sum=max" in page

    def test_there_is_nothing_when_no_child_has_any(self, ana: User, client_of: SignIn) -> None:
        top = make_run(metrics={"loss": 1.0})
        log_metrics(child_of(top, "one"), {"notes": ["text"]})
        response = client_of(ana).get(url_of(top, "run-children"), {"over": "loss"})
        assert response.context["metrics"] is None
        assert b"chart" not in response.content.partition(b'id="run-children"')[2]

    def test_any_of_thousands_of_names_is_found(self, ana: User, client_of: SignIn) -> None:
        top, client, name = make_run(), client_of(ana), "layer1199/w"
        child_of(top, "one", metrics={"loss": 1.0})
        log_metrics(child_of(top, "two"), {f"layer{number:04}/w": [1.0] for number in range(1_200)})
        headers = {"HX-Request": "true", "HX-Target": "div#over-names"}
        part = client.get(url_of(top, "run-children"), {"find": "1199"}, headers=headers)
        assert "over=layer1199%2Fw" in part.content.decode()
        assert metrics_of(client, top, over=name).drawn.over == name
        choose_metrics(ana, top.experiment, [Choice(name), Choice("gone")])
        assert [title for title, _ in columns_of(client_of(ana), top)] == [name]

    def test_a_metric_is_news(self, ana: User, client_of: SignIn, django_assert_num_queries: Any) -> None:
        top, client = make_run(status=Status.RUNNING), client_of(ana)
        child = child_of(top, "one", status=Status.RUNNING, metrics={"loss": 1.0})
        MetricLedger.objects.update(written_at=datetime.now(UTC) - timedelta(hours=1))
        response = client.get(url_of(top, "run-children"))
        assert b'hx-trigger="every 2s, run-changed from:body, refresh from:body"' in response.content
        url, htmx = response.context["part_url"], {"HX-Request": "true", "HX-Target": "div#run-children"}
        with django_assert_num_queries(2):  # who asks; when the family changed and metrics were written
            assert client.get(url, headers=htmx).status_code == 204
        log_metrics(child, {"loss": [0.125]})
        assert b"0.125" in client.get(url, headers=htmx).content
