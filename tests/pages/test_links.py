"""Links that leave Studio, in answers of the API and by Copy link, name the workspace that they are of."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from runs.models import Run
from studio.accounts.models import Membership, Role, User
from studio.accounts.services import make_token
from tests.factories import make_experiment, make_run, make_workspace

ClientOf = Callable[[User], Client]


@pytest.fixture
def elsewhere(ana: User) -> Run:
    """A run of Ana's second workspace; in the first there is another at the same address."""
    second = make_workspace("second one")
    Membership.objects.create(user=ana, workspace=second, role=Role.READER)
    make_run(display_name="of default")
    experiment = make_experiment(workspace=second)
    return make_run(workspace=second, experiment=experiment, display_name="of second", target=None)


def bearer(person: User) -> dict[str, str]:
    return {"Authorization": f"Bearer {make_token(person, 'test')[1]}"}


def link_to(run: Run, person: User) -> str:
    """The link that the API gives, without its host."""
    path = f"/api/v1/runs/{run.run_id}"
    url: str = Client().get(path, headers=bearer(person)).json()["url"]
    return "/" + url.split("/", 3)[3]


def go_on(client: Client, page: Any) -> Any:
    """Press the button of a page that asks whether to go to another workspace."""
    (path,) = re.findall(r'name="next" value="([^"]*)"', page.content.decode())
    return client.post("/workspace/", {"workspace": "second one", "next": html.unescape(path)}, follow=True)


def test_a_link_leads_to_its_run_whatever_its_reader_looks_at(
    elsewhere: Run, ana: User, client_of: ClientOf
) -> None:
    client, link = client_of(ana), link_to(elsewhere, ana)
    assert link == "/experiments/mnist/runs/1/?workspace=second%20one"
    asked = client.get(link)
    assert "of the workspace <strong>second one</strong>" in asked.content.decode()
    assert "of default" in client.get("/experiments/mnist/runs/1/").content.decode()
    there = go_on(client, asked)
    assert there.redirect_chain == [("/experiments/mnist/runs/1/", 303)]
    assert "of second" in there.content.decode()


def test_a_link_of_the_workspace_one_looks_at_leads_there_at_once(ana: User, client_of: ClientOf) -> None:
    run = make_run()
    response = client_of(ana).get(link_to(run, ana))
    assert response["Location"] == "/experiments/mnist/runs/1/"


@pytest.mark.parametrize(
    ("link", "page"),
    [
        ("/runs/?q=tag%3Aa&workspace=default&order=-name", "/runs/?q=tag%3Aa&order=-name"),
        ("/experiments/a%23b%2520c/?workspace=default", "/experiments/a%23b%2520c/"),
    ],
)
def test_the_rest_of_an_address_stays(ana: User, client_of: ClientOf, link: str, page: str) -> None:
    assert client_of(ana).get(link)["Location"] == page


def test_signing_in_on_the_way_is_no_hindrance(elsewhere: Run, ana: User) -> None:
    ana.set_password("a long enough one")
    ana.save()
    client = Client()
    to_sign_in = client.get(link_to(elsewhere, ana))["Location"]
    entered = {"username": "ana", "password": "a long enough one"}
    asked = client.post(to_sign_in, entered, follow=True)
    assert "of second" in go_on(client, asked).content.decode()


def test_an_authorization_of_a_proxy_is_no_token(elsewhere: Run, ana: User, client_of: ClientOf) -> None:
    response = client_of(ana).get(link_to(elsewhere, ana), headers={"Authorization": "Basic YTpi"})
    assert "Another workspace" in response.content.decode()


@pytest.mark.parametrize("name", ["second one", "no such", "", "\0"])
def test_who_is_no_member_stays_where_they_are(
    elsewhere: Run, ben: User, client_of: ClientOf, name: str
) -> None:
    client = client_of(ben)
    response = client.get("/experiments/mnist/runs/1/", {"workspace": name})
    assert response.status_code == 404
    assert "or you are not a member of it" in response.content.decode()
    assert "of default" in client.get("/experiments/mnist/runs/1/").content.decode()


def test_what_a_person_may_there_counts(elsewhere: Run, ana: User, client_of: ClientOf) -> None:
    client = client_of(ana)
    assert go_on(client, client.get("/submit/?workspace=second+one")).status_code == 403


def test_a_token_reads_the_page_at_once(elsewhere: Run, ana: User) -> None:
    response = Client().get(link_to(elsewhere, ana), headers=bearer(ana))
    assert response.status_code == 200
    assert "of second" in response.content.decode()


def test_only_looking_leads_elsewhere(elsewhere: Run, ana: User, client_of: ClientOf) -> None:
    client = client_of(ana)
    client.post("/experiments/mnist/runs/1/archive/?workspace=second+one")
    assert Run.objects.get(workspace__name="default").archived_at
    assert not Run.objects.get(workspace__name="second one").archived_at
