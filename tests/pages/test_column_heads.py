"""The heads of list tables: those that are links sort by their column, and the others say nothing of it."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.test import Client

from runs.lists import columns, metric_columns
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
    assert columns.least_widths([columns.COLUMNS[key] for key in columns.DEFAULTS[place]]) == ""


def test_the_style_sheet_knows_every_width_that_a_list_may_need() -> None:
    sheet = (Path(__file__).parents[2] / "static/css/lists.css").read_text()
    metric = columns.Column("metric:last:loss", "loss", "w-208", css="from-1100")  # as wide as they come
    everything = [*columns.COLUMNS.values(), *[metric] * metric_columns.MOST]
    needed = {name for count in range(len(everything)) for name in least_widths_of(everything[count:])}
    assert {name.partition("-")[0] for name in needed} == {"wide", "mid", "slim"}
    for name in needed:
        assert f".{name} {{ min-width: {name.partition('-')[2]}px; }}" in sheet


def least_widths_of(some: list[columns.Column]) -> list[str]:
    return columns.least_widths(some).split()
