"""Links that leave Studio, in answers of the API and by Copy link, name the workspace that they are of."""

from __future__ import annotations

from collections.abc import Callable

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


def test_a_link_leads_to_its_run_whatever_its_reader_looks_at(
    elsewhere: Run, ana: User, client_of: ClientOf
) -> None:
    client, link = client_of(ana), link_to(elsewhere, ana)
    assert "of default" in client.get("/experiments/mnist/runs/1/").content.decode()
    assert link == "/experiments/mnist/runs/1/?workspace=second%20one"
    response = client.get(link, follow=True)
    assert response.redirect_chain == [("/experiments/mnist/runs/1/", 302)]
    assert "of second" in response.content.decode()
    assert "of second" in client.get("/experiments/mnist/runs/1/").content.decode()


def test_the_rest_of_an_address_stays(elsewhere: Run, ana: User, client_of: ClientOf) -> None:
    response = client_of(ana).get("/runs/?q=tag%3Aa&workspace=second+one&order=-name")
    assert response["Location"] == "/runs/?q=tag%3Aa&order=-name"


def test_signing_in_on_the_way_is_no_hindrance(elsewhere: Run, ana: User) -> None:
    ana.set_password("a long enough one")
    ana.save()
    client = Client()
    to_sign_in = client.get(link_to(elsewhere, ana))["Location"]
    entered = {"username": "ana", "password": "a long enough one"}
    response = client.post(to_sign_in, entered, follow=True)
    assert "of second" in response.content.decode()


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
    response = client_of(ana).get("/submit/?workspace=second+one", follow=True)
    assert response.status_code == 403


def test_a_token_reads_the_page_at_once(elsewhere: Run, ana: User) -> None:
    response = Client().get(link_to(elsewhere, ana), headers=bearer(ana))
    assert response.status_code == 200
    assert "of second" in response.content.decode()


def test_only_looking_leads_elsewhere(elsewhere: Run, ana: User, client_of: ClientOf) -> None:
    client = client_of(ana)
    client.post("/experiments/mnist/runs/1/archive/?workspace=second+one")
    assert Run.objects.get(workspace__name="default").archived_at
    assert not Run.objects.get(workspace__name="second one").archived_at
