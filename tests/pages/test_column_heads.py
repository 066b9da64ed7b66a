"""The heads of list tables: those that are links sort by their column, and the others say nothing of it."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

import pytest
from django.test import Client

from runs.lists import columns
from studio.accounts.models import User
from tests.factories import make_pipeline, make_run

HEAD = re.compile(r"<th\b([^>]*)>(.*?)</th>", re.S)
LINK = re.compile(r'<a href="([^"]*)"')
UNSORTED = {"", "Last 20 runs", "Node", "Kind", "Tags", "Command", "Error", "Run id", "Started", "Ended"}


def heads(page: str) -> dict[str, tuple[str, str]]:
    """The attributes and the inside of each head, by its words."""
    found = HEAD.findall(page)
    return {re.sub(r"<[^>]*>", "", inside).strip(): (about, inside) for about, inside in found}


@pytest.mark.parametrize("path", ["/experiments/", "/experiments/mnist/", "/runs/", "/pipelines/"])
def test_a_head_sorts_if_and_only_if_it_is_a_link(
    ana: User, client_of: Callable[[User], Client], path: str
) -> None:
    make_run(tags={"a": "b"})
    make_pipeline()
    for place in columns.DEFAULTS:
        columns.choose(ana, place, columns.COLUMNS)
    client = client_of(ana)
    linked = {}
    for words, (_, inside) in heads(client.get(path).content.decode()).items():
        link = LINK.search(inside)
        unsorted = words in UNSORTED or (words == "#" and path != "/experiments/mnist/")
        assert (link is None) is unsorted, words
        if link:
            linked[words] = html.unescape(link[1])
    for words, url in linked.items():
        sorted_by = heads(client.get(path + url).content.decode())
        assert [each for each, (about, _) in sorted_by.items() if "aria-sort" in about] == [words]


@pytest.mark.parametrize("place", sorted(columns.DEFAULTS))
def test_what_a_list_shows_at_first_needs_no_scrolling(place: str) -> None:
    assert columns.scrolls_in([columns.COLUMNS[key] for key in columns.DEFAULTS[place]]) == ""


def test_more_metrics_than_a_window_has_room_for_are_scrolled_to() -> None:
    usual = [columns.COLUMNS[key] for key in columns.DEFAULTS["experiment"]]
    metric = columns.Column("metric:last:loss", "loss", "w-86", css="from-1100")
    room = [columns.scrolls_in(columns.with_metrics(usual, [metric] * count)) for count in range(8)]
    assert room[:5] == ["", "", "", "wide-scrolls mid-scrolls", "wide-scrolls mid-scrolls slim-scrolls"]
    assert set(room[5:]) == {"wide-scrolls mid-scrolls slim-scrolls"}
