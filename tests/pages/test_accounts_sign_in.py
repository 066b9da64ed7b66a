"""Signing in by password and by link, and what ends a session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from studio.accounts import attempts
from studio.accounts.models import Membership, Role, Session, User, Workspace
from studio.accounts.services import make_sign_in_link, make_token
from tests.factories import make_user, make_workspace

ClientOf = Callable[[User], Client]
PASSWORD = "a long enough one"
SIGN_IN = "/sign-in/"
PART = {"HX-Request": "true"}
BY_HAND = {
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-User": "?1",
    "Sec-Fetch-Site": "none",
}


@pytest.fixture(autouse=True)
def no_earlier_tries() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def eva(workspace: Workspace) -> User:
    """A contributor with a password."""
    user = make_user("eva")
    user.set_password(PASSWORD)
    user.save()
    return user


def sign_in(client: Client, username: str = "eva", password: str = PASSWORD, **more: Any) -> Any:
    return client.post(SIGN_IN, {"username": username, "password": password, **more})


class TestPassword:
    def test_the_right_one_leads_in(self, client: Client, eva: User) -> None:
        answer = sign_in(client)
        assert (answer.status_code, answer["Location"]) == (303, reverse("experiment-list"))
        assert client.get(reverse("token-list")).status_code == 200

    def test_and_to_the_page_that_was_asked_for(self, client: Client, eva: User) -> None:
        asked = client.get("/tokens/?a=1&b=2")
        page = client.get(asked["Location"])
        assert 'name="next" value="/tokens/?a=1&amp;b=2"' in page.content.decode()
        assert sign_in(client, next="/tokens/?a=1&b=2")["Location"] == "/tokens/?a=1&b=2"

    @pytest.mark.parametrize(
        ("page", "back"),
        [("http://testserver/tokens/?a=1", "?next=%2Ftokens%2F%3Fa%3D1"), ("http://evil/x", "")],
    )
    def test_and_to_the_page_whose_form_came_too_late(self, client: Client, page: str, back: str) -> None:
        answer = client.post(reverse("token-list"), {"name": "x"}, headers={"Referer": page})
        assert answer["Location"] == SIGN_IN + back

    @pytest.mark.parametrize(
        "elsewhere",
        ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", SIGN_IN,
         "abc", "run-list", "runs", "-1", "blank", "?a=1", "a/b", "http://[bad"],
    )  # fmt: skip
    def test_but_never_elsewhere(self, client: Client, eva: User, elsewhere: str) -> None:
        assert sign_in(client, next=elsewhere)["Location"] == reverse("experiment-list")
        assert client.get(SIGN_IN, {"next": elsewhere})["Location"] == reverse("experiment-list")

    def test_a_part_without_a_page_leads_back_to_none(self, client: Client, db: None) -> None:
        for page in ("about:blank", "data:text/html,x", "http://testserver"):
            answer = client.get("/runs/", headers={"HX-Request": "true", "HX-Current-URL": page})
            assert (answer.status_code, answer["HX-Redirect"]) == (401, f"{SIGN_IN}?next=%2F")

    @pytest.mark.parametrize(
        ("username", "password"),
        [
            ("eva", "wrong"),
            ("nobody", PASSWORD),
            ("", ""),
            ("eva\x00", "x"),
            ("e" * 200, "x"),
            ("eva", "x" * 2000),
        ],
    )
    def test_a_wrong_one_says_no_more_than_that(
        self, client: Client, eva: User, username: str, password: str
    ) -> None:
        answer = sign_in(client, username, password)
        assert answer.status_code == 422
        assert "User name or password is wrong." in answer.content.decode()

    @pytest.mark.parametrize("typed", ["eva", "Eva", "EVA", " eva "])
    def test_the_case_of_the_user_name_does_not_matter(self, client: Client, eva: User, typed: str) -> None:
        assert sign_in(client, typed).status_code == 303
        assert client.session["_auth_user_id"] == str(eva.pk)

    def test_unless_two_people_differ_in_nothing_else(self, client: Client, eva: User) -> None:
        other = make_user("EVA")
        other.set_password("quite another one")
        other.save()
        assert sign_in(client, "Eva").status_code == 422
        assert sign_in(client, "EVA").status_code == 422
        assert sign_in(client, "EVA", "quite another one").status_code == 303
        assert client.session["_auth_user_id"] == str(other.pk)

    def test_a_wildcard_is_no_letter(self, client: Client, eva: User) -> None:
        assert sign_in(client, "ev_").status_code == 422
        assert sign_in(client, "%").status_code == 422

    @pytest.mark.parametrize("name", ["eva", "EVA", "nobody"])
    def test_no_name_costs_more_queries_than_another(
        self, client: Client, eva: User, name: str, django_assert_num_queries: Any
    ) -> None:
        with django_assert_num_queries(2):
            assert sign_in(client, name, "wrong").status_code == 422

    def test_a_person_without_a_password_cannot_use_one(self, client: Client, ana: User) -> None:
        for password in ("", "!", ana.password):
            assert sign_in(client, "ana", password).status_code == 422

    def test_unknown_names_take_as_long_as_known_ones(
        self, client: Client, eva: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from django.contrib.auth import hashers

        hashed: list[str] = []
        hasher = hashers.get_hasher()
        encode = type(hasher).encode
        monkeypatch.setattr(
            type(hasher), "encode", lambda self, word, salt: hashed.append(word) or encode(self, word, salt)
        )
        sign_in(client, "nobody", "x")
        sign_in(client, "eva", "y")
        assert hashed == ["x", "y"]

    def test_whoever_is_signed_in_need_not_again(self, client_of: ClientOf, eva: User) -> None:
        assert client_of(eva).get(SIGN_IN, {"next": "/tokens/"})["Location"] == "/tokens/"

    def test_each_sign_in_gets_a_session_of_its_own(self, client: Client, eva: User) -> None:
        sign_in(client)
        first = client.session.session_key
        sign_in(client)
        assert client.session.session_key != first
        assert Session.objects.count() == 1

    def test_sessions_that_ended_are_thrown_out(self, client: Client, client_of: ClientOf, eva: User) -> None:
        client_of(eva)
        Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
        sign_in(client)
        assert Session.objects.count() == 1


class TestLimit:
    def test_guessing_is_stopped(self, client: Client, eva: User) -> None:
        for _ in range(attempts.PER_PERSON):
            assert sign_in(client, password="wrong").status_code == 422
        answer = sign_in(client)
        assert answer.status_code == 429
        assert answer["Retry-After"] == str(attempts.WINDOW_S)
        assert "Too many tries" in answer.content.decode()

    def test_in_any_case_of_the_name(self, client: Client, eva: User) -> None:
        for _ in range(attempts.PER_PERSON):
            sign_in(client, "EVA", "wrong")
        assert sign_in(client).status_code == 429

    def test_somebody_else_may_still_try(self, client: Client, eva: User) -> None:
        for _ in range(attempts.PER_PERSON + 1):
            sign_in(client, "ana", "wrong")
        assert sign_in(client).status_code == 303

    def test_so_may_the_person_from_another_address(self, client: Client, eva: User) -> None:
        for _ in range(attempts.PER_PERSON + 1):
            client.post(SIGN_IN, {"username": "eva", "password": "x"}, REMOTE_ADDR="10.0.0.9")
        assert sign_in(client).status_code == 303

    def test_trying_many_names_is_stopped_too(self, client: Client, eva: User) -> None:
        for number in range(attempts.PER_ADDRESS):
            sign_in(client, f"person{number}", "wrong")
        assert sign_in(client).status_code == 429

    def test_success_starts_the_count_again(self, client: Client, eva: User) -> None:
        for _ in range(3):
            for _ in range(attempts.PER_PERSON - 1):
                sign_in(client, password="wrong")
            assert sign_in(client).status_code == 303


class TestLink:
    def test_opened_by_hand_it_leads_in(self, client: Client, ana: User) -> None:
        answer = client.get(f"/sign-in/{make_sign_in_link(ana)}/", headers=BY_HAND)
        assert (answer.status_code, answer["Location"]) == (303, reverse("experiment-list"))
        assert client.get(reverse("token-list")).status_code == 200

    @pytest.mark.parametrize(
        "sent",
        [
            {},
            {**BY_HAND, "Sec-Fetch-Site": "cross-site"},
            {**BY_HAND, "Sec-Fetch-Dest": "iframe"},
            {**BY_HAND, "Sec-Fetch-Mode": "no-cors"},
            {**BY_HAND, "Sec-Purpose": "prefetch"},
            {key: value for key, value in BY_HAND.items() if key != "Sec-Fetch-User"},
        ],
    )
    def test_a_preview_uses_nothing_up_and_the_button_leads_in(
        self, client: Client, ana: User, sent: dict[str, str]
    ) -> None:
        address = f"/sign-in/{make_sign_in_link(ana)}/"
        for _ in range(2):
            page = client.get(address, headers=sent)
            assert page.status_code == 200
            assert "Continue as ana" in page.content.decode()
        assert "studio_session" not in client.cookies
        assert client.post(address).status_code == 303
        assert client.get(reverse("token-list")).status_code == 200

    @pytest.mark.parametrize("method", ["get", "post"])
    def test_used_ended_or_wrong_it_says_how_to_get_another(
        self, client: Client, ana: User, method: str
    ) -> None:
        used = make_sign_in_link(ana)
        Client().post(f"/sign-in/{used}/")
        for secret in (used, make_sign_in_link(ana, timedelta(seconds=-1)), "wrong"):
            answer = getattr(client, method)(f"/sign-in/{secret}/", headers=BY_HAND)
            assert answer.status_code == 410
            assert "manage.py link --user" in answer.content.decode()

    def test_it_takes_the_place_of_somebody_else(self, client_of: ClientOf, ana: User, ben: User) -> None:
        client = client_of(ben)
        client.get(f"/sign-in/{make_sign_in_link(ana)}/", headers=BY_HAND)
        assert Session.objects.get().user == ana


class TestEnd:
    def test_signing_out_ends_the_session_on_the_server(self, client: Client, eva: User) -> None:
        sign_in(client)
        kept = client.cookies["studio_session"].value
        assert client.post("/sign-out/")["Location"] == SIGN_IN
        client.cookies["studio_session"] = kept
        assert client.get("/tokens/").status_code == 302

    def test_signing_out_takes_a_post(self, client_of: ClientOf, eva: User) -> None:
        client = client_of(eva)
        assert client.get("/sign-out/").status_code == 405
        assert client.get("/tokens/").status_code == 200

    def test_a_session_ends_by_time(self, client_of: ClientOf, ana: User) -> None:
        client = client_of(ana)
        Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
        assert client.get("/tokens/").status_code == 302

    def test_a_new_password_ends_every_other_session(self, client_of: ClientOf, eva: User) -> None:
        here, elsewhere = client_of(eva), client_of(eva)
        typed = {"current": PASSWORD, "new": "quite another one", "again": "quite another one"}
        assert here.post("/account/", typed).status_code == 303
        assert here.get("/tokens/").status_code == 200
        assert elsewhere.get("/tokens/").status_code == 302

    def test_whoever_may_no_longer_come_in_is_out_at_once(self, client_of: ClientOf, ana: User) -> None:
        client = client_of(ana)
        User.objects.filter(pk=ana.pk).update(is_active=False)
        assert client.get("/tokens/").status_code == 302
        assert not Session.objects.exists()


class TestCost:
    def test_knowing_who_asks_costs_one_query(
        self, client_of: ClientOf, ben: User, django_assert_num_queries: Any
    ) -> None:
        client = client_of(ben)
        for _ in range(2):
            with django_assert_num_queries(1):  # the session, with person, membership and workspace
                assert client.post(reverse("run-list"), headers=PART).status_code == 403

    def test_a_token_costs_two(self, client: Client, ben: User, django_assert_num_queries: Any) -> None:
        headers = {**PART, "Authorization": f"Bearer {make_token(ben, 'script')[1]}"}
        client.get("/tokens/", headers=headers)
        with django_assert_num_queries(2):  # the token with its person; the membership with its workspace
            assert client.get("/members/", headers=headers).status_code == 403

    def test_nobody_costs_nothing(self, client: Client, db: None, django_assert_num_queries: Any) -> None:
        with django_assert_num_queries(0):
            client.get("/tokens/")
            client.get(SIGN_IN)


class TestToken:
    @pytest.mark.parametrize("enforced", [True, False])
    def test_reads_pages_and_makes_no_other_token(self, ana: User, enforced: bool) -> None:
        client = Client(enforce_csrf_checks=enforced)
        headers = {"Authorization": f"Bearer {make_token(ana, 'script')[1]}"}
        assert client.get("/runs/?format=csv", headers=headers).status_code == 200
        answer = client.post("/tokens/", {"name": "next"}, headers=headers)
        assert answer.status_code == 401
        assert "A token reads pages and changes nothing there." in answer.content.decode()
        assert not ana.api_tokens.filter(name="next").exists()

    def test_a_wrong_one_is_refused_beside_a_good_session(self, client_of: ClientOf, ana: User) -> None:
        answer = client_of(ana).get("/tokens/", headers={"Authorization": "Bearer stu_wrong"})
        assert answer.status_code == 401


class TestWorkspaces:
    def test_a_person_switches_between_their_own(self, client_of: ClientOf, ana: User) -> None:
        Membership.objects.create(user=ana, workspace=make_workspace("second"), role=Role.OWNER)
        client = client_of(ana)
        assert client.get("/members/").status_code == 403
        assert client.post("/workspace/", {"workspace": "second"}).status_code == 303
        page = client.get("/members/").content.decode()
        assert "of second" in page

    @pytest.mark.parametrize("name", ["elsewhere", "no such", "", "\x00"])
    def test_and_to_no_other(self, client_of: ClientOf, ana: User, dan: User, name: str) -> None:
        # PostgreSQL refuses NUL itself, which is 400.
        assert client_of(ana).post("/workspace/", {"workspace": name}).status_code in (404, 400)

    def test_losing_one_leads_to_another(self, client_of: ClientOf, ana: User, workspace: Workspace) -> None:
        client = client_of(ana)
        Membership.objects.create(user=ana, workspace=make_workspace("second"), role=Role.OWNER)
        Membership.objects.filter(user=ana, workspace=workspace).delete()
        assert "of second" in client.get("/members/").content.decode()
        assert Session.objects.get().membership.workspace.name == "second"
