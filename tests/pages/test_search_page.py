"""The list under the search bar: markup, positions as a browser counts them, and who may ask."""

from __future__ import annotations

import re

import pytest
from django.conf import settings
from django.urls import reverse

from runs.search.text import PART_LENGTH, TAG_LENGTH, TEXT_LENGTH
from tests.factories import make_run

pytestmark = pytest.mark.django_db


def ask(client, text: str, at: int | str | None = None):
    units = len(text.encode("utf-16-le")) // 2 if at is None else at
    return client.get(reverse("search-complete"), {"q": text, "at": units})


def test_suggestions_are_options_of_a_listbox(client_of, ana):
    make_run(tags={"quality": 'a "<b>" run'})
    page = ask(client_of(ana), "x tag:quality=").content.decode()
    assert 'role="listbox"' in page
    assert 'id="completions"' in page
    assert 'data-start="2" data-end="14"' in page
    assert 'data-insert="tag:quality=&quot;a \\&quot;&lt;b&gt;\\&quot; run&quot; "' in page
    assert "1 run" in page
    assert "<b>" not in page
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_positions_are_those_of_a_browser(client_of, ana):
    page = ask(client_of(ana), "😀😀 status:f more", at=13).content.decode()
    assert 'data-start="5" data-end="13"' in page
    assert "status:Failed" in page


@pytest.mark.parametrize("at", ["", "x", "-1", "99999999999", "²"])
def test_a_position_that_is_none_is_the_end(client_of, ana, at):
    response = ask(client_of(ana), "stat", at=at)
    assert response.status_code == 200
    assert "status:" in response.content.decode()


def test_what_is_wanted_is_said_where_nothing_can_be_offered(client_of, ana):
    assert "a number such as 12" in ask(client_of(ana), "number:").content.decode()


def test_readers_may_ask_and_strangers_see_nothing_of_ours(client_of, ben, dan):
    make_run(tags={"quality": "good"})
    assert "tag:quality" in ask(client_of(ben), "tag:").content.decode()
    assert "tag:quality" not in ask(client_of(dan), "tag:").content.decode()


def test_nobody_asks_without_signing_in(client, db):
    assert ask(client, "tag:").status_code in (302, 401)
    assert client.post(reverse("search-complete")).status_code in (302, 401, 403, 405)


@pytest.mark.parametrize("text", ["\x01", "%", "'", '"', "a" * 5_000, "tag:" + "=" * 100])
def test_nothing_typed_breaks_it(client_of, ana, text):
    assert ask(client_of(ana), text).status_code == 200


def test_page_and_manual_say_how_far_words_reach(client_of, ana):
    page = client_of(ana).get(reverse("run-list")).content.decode()
    manual = (settings.BASE_DIR / "docs/search.md").read_text()
    for letters in (PART_LENGTH, TAG_LENGTH, TEXT_LENGTH):
        assert f"{letters:,}" in page
        assert f"{letters:,}" in manual
