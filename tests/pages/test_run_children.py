"""The Child runs tab: the tree, its bounds and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from runs.models import Run
from runs.status import Kind, Status
from runs.views import children
from runs.views.children import opened_rows, tree_rows
from studio.accounts.models import User
from tests.factories import make_run
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
    assert f'hx-get="{url}"' in page  # so that the next live update shows it too


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
def test_the_tree_costs_the_same_whatever_is_in_it(
    ana: User, client_of: SignIn, django_assert_num_queries: Any, n: int
) -> None:
    client = client_of(ana)
    top = make_run(status=Status.RUNNING)
    for i in range(n):
        child = child_of(top, f"child {i}", tags={"a": "b"})
        for j in range(n):
            child_of(child_of(child, f"grandchild {j}"), "great-grandchild")
    # who asks; the run; children by status; how many; three levels, each with its tags; the shell's counts
    with django_assert_num_queries(11):
        client.get(url_of(top, "run-children"))
