"""The pages Members, Tokens and Account, and the two commands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from studio.accounts import attempts
from studio.accounts.models import ApiToken, Membership, Role, SignInLink, User
from studio.accounts.services import check_token, make_sign_in_link, make_token, use_sign_in_link
from tests.factories import make_user

ClientOf = Callable[[User], Client]


def secret_link(page: str) -> str:
    """The secret of the sign-in link that a page shows."""
    found = re.search(r'id="sign-in-secret">http://testserver/sign-in/([^/]+)/<', page)
    assert found
    return found[1]


class TestMembers:
    def test_lists_everybody_with_their_role(
        self, client_of: ClientOf, chi: User, ana: User, ben: User, dan: User
    ) -> None:
        page = client_of(chi).get("/members/").content.decode()
        assert re.findall(r'<span class="cut">(chi|ana|ben|dan)</span>', page.split('id="members"')[1]) == [
            "ana",
            "ben",
            "chi",
        ]

    def test_costs_the_same_for_many(
        self, client_of: ClientOf, chi: User, django_assert_num_queries: Any
    ) -> None:
        client = client_of(chi)
        for count in (0, 10):
            for number in range(count):
                make_user(f"person{number}")
            with django_assert_num_queries(4):  # the session; the members; changes; the shell
                client.get("/members/")

    def test_adds_a_new_person_and_shows_a_link_once(self, client_of: ClientOf, chi: User) -> None:
        client = client_of(chi)
        answer = client.post("/members/", {"username": "eva", "role": "reader"})
        eva = use_sign_in_link(secret_link(answer.content.decode()))
        assert eva
        assert (eva.username, eva.memberships.get().role) == ("eva", Role.READER)
        assert "sign-in-secret" not in client.get("/members/").content.decode()

    @pytest.mark.parametrize(
        ("public", "shown"), [("https://studio.lab", "https://studio.lab"), ("", "http://testserver")]
    )
    def test_the_link_begins_as_people_reach_studio(
        self, client_of: ClientOf, chi: User, settings: Any, public: str, shown: str
    ) -> None:
        settings.PUBLIC_URL = public
        client = client_of(chi)
        page = client.post("/members/", {"username": "eva", "role": "reader"}).content.decode()
        assert f'id="sign-in-secret">{shown}/sign-in/' in page
        assert f"export STUDIO_URL={shown}\n" in client.get("/tokens/").content.decode()
        assert client.get("/start/").context["studio_url"] == shown

    def test_adds_somebody_known_without_a_link(self, client_of: ClientOf, chi: User, dan: User) -> None:
        answer = client_of(chi).post("/members/", {"username": "dan", "role": "reader"}, follow=True)
        assert "dan: reader from now on" in answer.content.decode()
        assert not SignInLink.objects.exists()

    @pytest.mark.parametrize(
        ("username", "role", "text"),
        [
            ("", "reader", "Fill this in."),
            ("two words", "reader", "Use letters, digits"),
            ("a\x00b", "reader", "Use letters, digits"),
            ("..", "reader", "A user name has more than dots."),
            (".", "reader", "A user name has more than dots."),
            ("@me", "reader", "A user name does not begin with @."),
            ("e" * 151, "reader", "This has 151 characters. At most 150"),
            ("ana", "reader", "ana is a contributor here already."),
            ("CHI", "reader", "chi is an owner here already."),
            ("eva", "king", "There is no such role."),
        ],
    )
    def test_refuses_at_the_field_and_keeps_what_was_typed(
        self, client_of: ClientOf, chi: User, ana: User, username: str, role: str, text: str
    ) -> None:
        answer = client_of(chi).post("/members/", {"username": username, "role": role})
        page = answer.content.decode()
        assert answer.status_code == 422
        assert text in page
        assert f'value="{username}"' in page or not username
        assert User.objects.count() == 2

    def test_changes_a_role(self, client_of: ClientOf, chi: User, ana: User) -> None:
        assert client_of(chi).post("/members/ana/role/", {"role": "owner"}).status_code == 303
        assert ana.memberships.get().role == Role.OWNER

    @pytest.mark.parametrize("role", ["", "king"])
    def test_knows_only_three_roles(self, client_of: ClientOf, chi: User, ana: User, role: str) -> None:
        assert client_of(chi).post("/members/ana/role/", {"role": role}).status_code == 422
        assert ana.memberships.get().role == Role.CONTRIBUTOR

    def test_removes(self, client_of: ClientOf, chi: User, ana: User) -> None:
        assert client_of(chi).post("/members/ana/remove/").status_code == 303
        assert not ana.memberships.exists()

    @pytest.mark.parametrize(("act", "typed"), [("role", {"role": "reader"}), ("remove", {})])
    def test_keeps_the_last_owner(
        self, client_of: ClientOf, chi: User, act: str, typed: dict[str, str]
    ) -> None:
        answer = client_of(chi).post(f"/members/chi/{act}/", typed)
        assert answer.status_code == 409
        assert "chi is the only owner" in answer.content.decode()
        assert chi.memberships.get().is_owner

    def test_gives_a_member_a_new_link(self, client_of: ClientOf, chi: User, ana: User) -> None:
        answer = client_of(chi).post("/members/ana/link/")
        assert use_sign_in_link(secret_link(answer.content.decode())) == ana

    def test_gives_none_for_a_member_of_a_foreign_workspace(
        self, client_of: ClientOf, chi: User, dan: User
    ) -> None:
        Membership.objects.create(user=dan, workspace=chi.memberships.get().workspace, role=Role.READER)
        answer = client_of(chi).post("/members/dan/link/")
        assert answer.status_code == 409
        assert not SignInLink.objects.exists()

    def test_names_with_signs_have_addresses(self, client_of: ClientOf, chi: User) -> None:
        make_user("ünï.c+d@e_f-g")
        page = client_of(chi).get("/members/").content.decode()
        address = re.search(r'action="(/members/[^"]*%[^"]*/remove/)"', page)
        assert address
        assert client_of(chi).post(address[1]).status_code == 303
        assert not Membership.objects.filter(user__username="ünï.c+d@e_f-g").exists()


class TestTokens:
    def test_teaches_when_there_is_none(self, client_of: ClientOf, ben: User) -> None:
        assert "No tokens yet" in client_of(ben).get("/tokens/").content.decode()

    def test_makes_one_and_shows_it_once(self, client_of: ClientOf, ben: User) -> None:
        client = client_of(ben)
        answer = client.post("/tokens/", {"name": "laptop", "expires_on": ""})
        assert (answer.status_code, answer["Location"]) == (303, "/tokens/")
        page = client.get("/tokens/").content.decode()
        text = re.search(r'id="token-secret">(stu_[^<]+)<', page)
        assert text
        known = check_token(text[1])
        assert known
        assert known[0] == ben
        assert "studio login --url http://testserver</span>" in page
        assert "in the folder of Studio's source" in page
        assert page.count(text[1]) == 1  # no line to copy puts it into the history of a shell
        assert text[1] not in client.get("/tokens/").content.decode()
        assert text[1] not in str([client.session.items(), client.cookies])

    def test_shows_it_in_the_browser_that_made_it_alone(self, client_of: ClientOf, ben: User) -> None:
        client, elsewhere = client_of(ben), client_of(ben)
        client.post("/tokens/", {"name": "laptop", "expires_on": ""})
        assert "token-secret" not in elsewhere.get("/tokens/").content.decode()
        assert "token-secret" in client.get("/tokens/").content.decode()

    def test_works_until_the_end_of_its_last_day(self, client_of: ClientOf, ben: User) -> None:
        today = timezone.now().date()
        client_of(ben).post("/tokens/", {"name": "laptop", "expires_on": today.isoformat()})
        ends = ApiToken.objects.get().expires_at
        assert ends
        assert (ends.date(), ends.hour) == (today, 23)

    @pytest.mark.parametrize(
        ("name", "day", "text"),
        [
            ("", "", "Fill this in."),
            ("x" * 101, "", "This has 101 characters. At most 100"),
            ("a\x00", "", "control character"),
            ("a\x07", "", "control character"),
            ("x", "soon", "This is no day."),
            ("x", "2001-01-01", "This day is over"),
            ("x", "9999-01-01", "within the next ten years"),
        ],
    )
    def test_refuses_at_the_field(
        self, client_of: ClientOf, ben: User, name: str, day: str, text: str
    ) -> None:
        answer = client_of(ben).post("/tokens/", {"name": name, "expires_on": day})
        assert answer.status_code == 422
        assert text in answer.content.decode()
        assert not ApiToken.objects.exists()

    def test_revokes_at_once(self, client_of: ClientOf, ben: User) -> None:
        token, text = make_token(ben, "laptop")
        answer = client_of(ben).post(f"/tokens/{token.prefix}/revoke/", follow=True)
        assert "Token laptop no longer works" in answer.content.decode()
        assert check_token(text) is None

    def test_shows_and_revokes_nobody_elses(self, client_of: ClientOf, chi: User, ben: User) -> None:
        token, text = make_token(ben, "laptop")
        client = client_of(chi)
        assert token.prefix not in client.get("/tokens/").content.decode()
        assert client.post(f"/tokens/{token.prefix}/revoke/").status_code == 404
        assert check_token(text)

    def test_costs_the_same_for_many(
        self, client_of: ClientOf, ben: User, django_assert_num_queries: Any
    ) -> None:
        client = client_of(ben)
        for count in (1, 10):
            for number in range(count):
                make_token(ben, f"token {number}")
            with django_assert_num_queries(3):  # the session; the tokens; the shell
                client.get("/tokens/")


class TestAccount:
    NEW = "quite another one"

    def by_link(self, user: User) -> Client:
        client = Client()
        client.post(f"/sign-in/{make_sign_in_link(user)}/")
        return client

    def test_whoever_came_by_link_chooses_a_password(self, ana: User) -> None:
        ana.set_unusable_password()
        ana.save()
        client = self.by_link(ana)
        assert "Choose a password" in client.get("/account/").content.decode()
        assert client.post("/account/", {"new": self.NEW, "again": self.NEW}).status_code == 303
        ana.refresh_from_db()
        assert ana.check_password(self.NEW)

    def test_whoever_forgot_theirs_comes_by_link_and_is_not_asked_for_it(self, ana: User) -> None:
        ana.set_password("forgotten by now")
        ana.save()
        client = self.by_link(ana)
        assert client.post("/account/", {"new": self.NEW, "again": self.NEW}).status_code == 303
        assert 'name="current"' in client.get("/account/").content.decode()

    @pytest.mark.parametrize(
        ("typed", "text"),
        [
            ({"current": "wrong", "new": NEW, "again": NEW}, "not the password so far"),
            ({"new": NEW, "again": NEW}, "Fill this in."),
            ({"current": "the one so far", "new": NEW, "again": "another"}, "differ"),
            ({"current": "the one so far", "new": "short", "again": "short"}, "too short"),
            ({"current": "the one so far", "new": "password1234", "again": "password1234"}, "too common"),
        ],
    )
    def test_refuses_at_the_field(
        self, client_of: ClientOf, ana: User, typed: dict[str, str], text: str
    ) -> None:
        ana.set_password("the one so far")
        ana.save()
        answer = client_of(ana).post("/account/", typed)
        assert answer.status_code == 422
        assert text in answer.content.decode()
        ana.refresh_from_db()
        assert ana.check_password("the one so far")

    @pytest.fixture
    def guess(self, client_of: ClientOf, ana: User) -> Iterator[Callable[[str], Any]]:
        """Sends the form with this as the password so far; no try was made before."""
        ana.set_password("the one so far")
        ana.save()
        client = client_of(ana)
        cache.clear()
        yield lambda current: client.post("/account/", {"current": current, "new": self.NEW, "again": "x"})
        cache.clear()

    def test_guessing_is_stopped_here_and_not_at_the_sign_in(
        self, guess: Callable[[str], Any], client: Client
    ) -> None:
        for _ in range(attempts.PER_PERSON):
            assert guess("wrong").status_code == 422
        answer = guess("the one so far")
        assert (answer.status_code, answer["Retry-After"]) == (429, str(attempts.WINDOW_S))
        assert "Too many tries with a password. Wait a few minutes" in answer.content.decode()
        assert client.post("/sign-in/", {"username": "ana", "password": "the one so far"}).status_code == 303

    def test_the_right_one_starts_the_count_again(self, guess: Callable[[str], Any]) -> None:
        for _ in range(2):
            for _ in range(attempts.PER_PERSON - 1):
                assert guess("wrong").status_code == 422
            assert "differ" in guess("the one so far").content.decode()

    def test_what_is_empty_is_no_try(self, guess: Callable[[str], Any]) -> None:
        for _ in range(attempts.PER_PERSON + 1):
            assert guess("").status_code == 422
        assert "not the password so far" in guess("wrong").content.decode()


class TestCommands:
    def run(self, *words: str) -> tuple[str, str]:
        out, err = StringIO(), StringIO()
        call_command(*words, stdout=out, stderr=err)
        return out.getvalue(), err.getvalue()

    def test_token_prints_the_token_alone(self, ana: User) -> None:
        out, err = self.run("token", "--user", "ana", "--name", "script")
        assert out.count("\n") == 1
        known = check_token(out.strip())
        assert known
        assert (known[0], known[1].name) == (ana, "script")
        assert "ana" in err

    def test_link_prints_a_link_that_works(self, ana: User, settings: Any) -> None:
        settings.PUBLIC_URL = "https://studio.lab"
        out, _ = self.run("link", "--user", "ana")
        found = re.fullmatch(r"https://studio\.lab/sign-in/([^/]+)/\n", out)
        assert found
        assert use_sign_in_link(found[1]) == ana

    @pytest.mark.parametrize("command", ["token", "link"])
    def test_nobody_of_that_name_is_one_clear_line(self, db: None, command: str) -> None:
        with pytest.raises(CommandError, match=r"^There is nobody with the user name nobody\.$"):
            call_command(command, "--user", "nobody")
