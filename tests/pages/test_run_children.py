"""The Child runs tab: the tree, its bounds and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from runs.models import Run
from runs.status import Kind, Status
from runs.views import children
from runs.views.children import tree_rows
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
    more = client_of(ana).get(last.more_url, headers={"HX-Request": "true", "HX-Target": "tr#more-4-3"})
    page = more.content.decode()
    assert "level 3" in page
    assert "level 4" in page
    assert "<table" not in page
    assert "<table" in client_of(ana).get(last.more_url).content.decode()  # without script: a page


def test_more_children_than_one_page_come_on_demand(
    workspace: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "LEVEL_SIZE", 3)
    top = make_run(status=Status.RUNNING)
    names = [child_of(top, f"child {i}").name for i in range(8)]
    rows = tree_rows(top)
    assert [row.run.name for row in rows[:-1]] == names[:3]
    assert rows[-1].n_more == 5
    rest = tree_rows(top, after=rows[-2].run.number)
    assert [row.run.name for row in rest[:-1]] == names[3:6]
    assert rest[-1].n_more == 2


def test_a_run_without_children_teaches_how_to_make_them(ana: User, client_of: SignIn) -> None:
    assert "run.child_run(name)" in client_of(ana).get(url_of(make_run(), "run-children")).content.decode()


@pytest.mark.parametrize("text", ["-1", "x", "٣", "9" * 40, ""])
def test_a_strange_place_to_start_from_is_the_start(ana: User, client_of: SignIn, text: str) -> None:
    top = make_run(status=Status.RUNNING)
    child_of(top, "one")
    page = client_of(ana).get(url_of(top, "run-children"), {"after": text, "depth": text})
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
