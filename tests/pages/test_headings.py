"""Headings lead through a page: none skips a level."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.test import Client

from runs.status import Kind, Status
from studio.accounts.models import User
from tests.factories import make_experiment, make_pipeline, make_run, make_snapshot

pytestmark = pytest.mark.django_db
EMPTY = [
    "/experiments/?archived=1", "/experiments/?q=nothing", "/experiments/none/", "/runs/", "/pipelines/",
    "/compute/", "/tokens/",
]  # fmt: skip
TABS = ["metrics/", "metrics/?q=nothing", "images/", "children/", "logs/", "outputs/", "snapshot/"]


def skips(html: str) -> list[str]:
    """The headings of the page's main part that stand more than one level below the one before."""
    main = html[html.index("<main") : html.index("</main>")]
    found = re.findall(r"<h([1-6])[^>]*>(.*?)</h", main, re.DOTALL)
    before = [0, *(int(level) for level, _ in found)]
    return [text for (level, text), last in zip(found, before, strict=False) if int(level) > last + 1]


@pytest.mark.parametrize("path", EMPTY)
def test_pages_without_anything(path: str, ana: User, client_of: Callable[[User], Client]) -> None:
    make_experiment("none")
    response = client_of(ana).get(path)
    html = response.content.decode()
    assert response.status_code == 200
    assert 'class="empty"' in html
    assert skips(html) == []


@pytest.mark.parametrize("path", TABS)
def test_tabs_of_a_run_that_has_nothing(path: str, ana: User, client_of: Callable[[User], Client]) -> None:
    make_run(kind=Kind.INTERACTIVE, status=Status.RUNNING)
    make_pipeline()
    for number in (1, 2):
        html = client_of(ana).get(f"/experiments/mnist/runs/{number}/{path}").content.decode()
        assert skips(html) == []


def test_a_file_that_cannot_be_shown(ana: User, client_of: Callable[[User], Client]) -> None:
    make_run(snapshot=make_snapshot({"model.bin": b"\0\1"}))
    html = client_of(ana).get("/experiments/mnist/runs/1/snapshot/?path=model.bin").content.decode()
    assert 'class="empty"' in html
    assert skips(html) == []
