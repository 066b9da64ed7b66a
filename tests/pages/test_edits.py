"""Two people edit the same thing at the same time: what each of them changed is kept, or they are told."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from studio.accounts.models import Role, User
from tests.factories import make_experiment, make_run, make_target, make_user
from tests.pages.test_run_frame import url_of

SignIn = Callable[[User], Client]
HTMX = {"HX-Request": "true"}


@pytest.fixture
def carl(workspace: Any, client_of: SignIn) -> Client:
    return client_of(make_user("carl", Role.OWNER))


@pytest.fixture
def olga(workspace: Any, client_of: SignIn) -> Client:
    return client_of(make_user("olga", Role.OWNER))


def fields_of(page: str) -> dict[str, str]:
    """What a browser would send of the dialog on a page."""
    form = page[page.index('<form method="post"') : page.index("</form>", page.index("dialog-form"))]
    sent = {
        name: unescape(text)
        for name, text in re.findall(r'<input[^>]* name="([a-z_-]+)" value="([^"]*)"', form)
        if name != "csrfmiddlewaretoken"
    }
    areas = re.findall(r'<textarea[^>]* name="([a-z_-]+)"[^>]*>([^<]*)</textarea>', form)
    sent |= {name: unescape(text) for name, text in areas}
    return {name: text.replace("\n", "\r\n") for name, text in sent.items()}


def opened(client: Client, url: str) -> dict[str, str]:
    return fields_of(client.get(url, headers=HTMX).content.decode())


def test_a_run_keeps_what_each_of_two_people_changed(carl: Client, olga: Client) -> None:
    run = make_run(display_name="before", description="First\n\nsecond line")
    url = url_of(run, "run-edit")
    hers, his = opened(olga, url), opened(carl, url)
    assert carl.post(url, {**his, "description": "His long text"}, headers=HTMX).status_code == 200
    assert olga.post(url, {**hers, "display_name": "after"}, headers=HTMX).status_code == 200
    run.refresh_from_db()
    assert (run.display_name, run.description) == ("after", "His long text")
    assert "after" in run.search_text
    assert "long" in run.search_text


def test_the_same_field_of_a_run_is_refused_until_it_is_saved_again(carl: Client, olga: Client) -> None:
    run = make_run(display_name="before", description="First")
    url = url_of(run, "run-edit")
    hers = opened(olga, url)
    carl.post(url, {**hers, "description": "His <text>"}, headers=HTMX)
    answer = olga.post(url, {**hers, "display_name": "after", "description": "Her text"}, headers=HTMX)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "carl changed the description meanwhile." in page
    assert "readonly>His &lt;text&gt;</textarea>" in page
    assert "display name meanwhile" not in page
    run.refresh_from_db()
    assert (run.display_name, run.description) == ("before", "His <text>")
    again = fields_of(page)
    assert (again["display_name"], again["description"]) == ("after", "Her text")
    assert olga.post(url, again, headers=HTMX).status_code == 200
    run.refresh_from_db()
    assert (run.display_name, run.description) == ("after", "Her text")


def test_two_who_change_a_field_to_the_same_agree(carl: Client, olga: Client) -> None:
    run = make_run(description="First")
    url = url_of(run, "run-edit")
    hers = opened(olga, url)
    for client in (carl, olga):
        assert client.post(url, {**hers, "description": "Second"}, headers=HTMX).status_code == 200


def test_ones_own_change_in_another_tab_is_named_so(olga: Client) -> None:
    run = make_run(display_name="one")
    url = url_of(run, "run-edit")
    stale = opened(olga, url)
    olga.post(url, {**stale, "display_name": "two"}, headers=HTMX)
    answer = olga.post(url, {**stale, "display_name": "three"}, headers=HTMX)
    assert "You changed the display name in another tab meanwhile." in answer.content.decode()


def test_an_experiment_keeps_the_description_when_only_a_tag_was_added(carl: Client, olga: Client) -> None:
    experiment = make_experiment("mnist", description="First", tags={"said": '"quoted"'})
    url = reverse("experiment-edit", args=["mnist"])
    hers, his = opened(olga, url), opened(carl, url)
    carl.post(url, {**his, "description": "His text"}, headers=HTMX)
    olga.post(url, {**hers, "tags": hers["tags"] + "\r\nteam=vision"}, headers=HTMX)
    experiment.refresh_from_db()
    assert experiment.description == "His text"
    assert experiment.tags["team"] == "vision"


def test_tags_of_an_experiment_are_not_undone(carl: Client, olga: Client) -> None:
    experiment = make_experiment("mnist", tags={"said": '"quoted"'})
    url = reverse("experiment-edit", args=["mnist"])
    hers = opened(olga, url)
    carl.post(url, {**hers, "tags": "team=vision"}, headers=HTMX)
    assert olga.post(url, {**hers, "description": "Her text"}, headers=HTMX).status_code == 200
    answer = olga.post(url, {**hers, "tags": "team=speech"}, headers=HTMX)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "carl changed the tags meanwhile." in page
    assert "readonly>team=vision</textarea>" in page
    olga.post(url, fields_of(page), headers=HTMX)
    experiment.refresh_from_db()
    assert (experiment.description, experiment.tags) == ("Her text", {"team": "speech"})


def test_a_compute_target_made_the_default_keeps_its_new_description(carl: Client, olga: Client) -> None:
    make_target("local", is_default=True)
    target = make_target("gpu", description="First")
    url = reverse("target-edit", args=["gpu"])
    hers = opened(olga, url)
    carl.post(url, {**hers, "description": "His text"}, headers=HTMX)
    assert olga.post(url, {**hers, "default": "on"}, headers=HTMX).status_code == 200
    target.refresh_from_db()
    assert (target.description, target.is_default) == ("His text", True)
    answer = olga.post(url, {**hers, "description": "Her text"}, headers=HTMX)
    assert answer.status_code == 422
    assert "carl changed the description meanwhile." in answer.content.decode()
