"""Accounts: first start, links that work once, tokens, and a workspace that always has an owner."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from studio.accounts import services
from studio.accounts.errors import AlreadyMember, ElsewhereToo, InvalidUserName, LastOwner
from studio.accounts.models import ApiToken, Membership, Role, SignInLink, User, Workspace
from tests.factories import make_user, make_workspace
from tests.life_kit import held_up


def membership_of(user: User, workspace: Workspace) -> Membership:
    return Membership.objects.select_related("user").get(user=user, workspace=workspace)


def at_once(*calls: Any) -> list[Any]:
    """Runs the calls in threads of their own; gives what each returned, or the exception it raised."""

    def one(call: Any) -> Any:
        try:
            return call()
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


@contextmanager
def nothing_is_written() -> Iterator[None]:
    """The database refuses every change meanwhile, as it does on a full disk."""
    is_sqlite = connection.vendor == "sqlite"
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("PRAGMA query_only = ON" if is_sqlite else "SET LOCAL transaction_read_only = on")
        try:
            yield
        finally:
            if is_sqlite:
                cursor.execute("PRAGMA query_only = OFF")
            transaction.set_rollback(True)


class TestFirstStart:
    def test_makes_an_owner_without_a_password(self, db: None) -> None:
        user = services.ensure_first_start()
        assert user.username == "admin"
        assert not user.has_usable_password()
        assert membership_of(user, Workspace.objects.get(name="default")).is_owner

    def test_a_second_start_changes_nothing(self, db: None) -> None:
        first = services.ensure_first_start()
        assert services.ensure_first_start() == first
        assert (User.objects.count(), Workspace.objects.count(), Membership.objects.count()) == (1, 1, 1)

    def test_an_owner_of_another_name_is_enough(self, chi: User) -> None:
        assert services.ensure_first_start() == chi
        assert not User.objects.filter(username="admin").exists()

    @pytest.mark.django_db(transaction=True)
    def test_several_starts_at_once_make_one_owner(self) -> None:
        found = at_once(*[services.ensure_first_start] * 6)
        assert {user.pk for user in found} == {User.objects.get().pk}
        assert Membership.objects.get().is_owner


class TestSignInLinks:
    def test_a_link_works_once(self, ana: User) -> None:
        secret = services.make_sign_in_link(ana)
        assert services.use_sign_in_link(secret) == ana
        assert services.use_sign_in_link(secret) is None

    def test_looking_at_a_link_does_not_use_it_up(self, ana: User) -> None:
        secret = services.make_sign_in_link(ana)
        assert services.find_sign_in_link(secret)
        assert services.use_sign_in_link(secret) == ana

    def test_a_link_ends(self, ana: User) -> None:
        assert services.use_sign_in_link(services.make_sign_in_link(ana, timedelta(seconds=-1))) is None

    def test_a_link_of_somebody_who_may_not_come_in_does_nothing(self, ana: User) -> None:
        secret = services.make_sign_in_link(ana)
        User.objects.filter(pk=ana.pk).update(is_active=False)
        assert services.use_sign_in_link(secret) is None

    def test_only_a_hash_is_stored(self, ana: User) -> None:
        secret = services.make_sign_in_link(ana)
        assert secret not in str(SignInLink.objects.values().get())

    @pytest.mark.django_db(transaction=True)
    def test_of_many_who_come_at_once_one_gets_in(self) -> None:
        ana = make_user("ana")
        secret = services.make_sign_in_link(ana)
        found = at_once(*[lambda: services.use_sign_in_link(secret)] * 8)
        assert sorted(found, key=bool) == [None] * 7 + [ana]


def is_nobody(text: str) -> bool:
    """Whether this token opens neither pages nor the workspace of all people here."""
    return services.check_token(text) is None and services.member_by_token(text, "default") is None


class TestTokens:
    def test_a_token_stands_for_its_person(self, ana: User, chi: User) -> None:
        services.make_token(chi, "desktop")
        token, text = services.make_token(ana, "laptop")
        assert text.startswith("stu_")
        assert services.check_token(text) == (ana, token)

    @pytest.mark.parametrize("name", ["elsewhere", "nowhere", "Default", "", "de\0fault"])
    def test_a_token_opens_the_workspaces_of_its_person_alone(self, ana: User, name: str) -> None:
        make_workspace("elsewhere")
        here = make_workspace("here")
        Membership.objects.create(user=ana, workspace=here, role=Role.READER)
        services.make_token(ana, "another")
        _, text = services.make_token(ana, "laptop")
        found = services.member_by_token(text, "here")
        assert found is not None
        assert (found.user, found.workspace, found.role) == (ana, here, Role.READER)
        assert services.member_by_token(text, name) is None

    def test_only_a_hash_is_stored(self, ana: User) -> None:
        _, text = services.make_token(ana, "laptop")
        assert text[len("stu_") + 8 :] not in str(ApiToken.objects.values().get())

    @pytest.mark.parametrize(
        "spoil", [lambda t: t[:-1] + "~", lambda t: t[:-1], lambda t: t + "a", str.upper]
    )
    def test_a_text_that_differs_is_nobody(self, ana: User, spoil: Any) -> None:
        _, text = services.make_token(ana, "laptop")
        assert is_nobody(spoil(text))

    def test_another_secret_behind_a_known_prefix_is_nobody(self, ana: User) -> None:
        (_, first), (_, second) = services.make_token(ana, "a"), services.make_token(ana, "b")
        assert is_nobody(first[:12] + second[12:])

    @pytest.mark.parametrize("text", ["", "stu_", "x" * 10_000, "stu_\x00", "Ünïcode"])
    def test_nonsense_is_nobody(self, db: None, text: str) -> None:
        assert is_nobody(text)

    def test_a_revoked_token_is_nobody(self, ana: User) -> None:
        token, text = services.make_token(ana, "laptop")
        assert services.revoke_token(token)
        assert not services.revoke_token(token)
        assert is_nobody(text)

    def test_a_token_ends(self, ana: User) -> None:
        _, text = services.make_token(ana, "laptop", timezone.now() - timedelta(seconds=1))
        assert is_nobody(text)

    def test_a_token_of_somebody_who_may_not_come_in_is_nobody(self, ana: User) -> None:
        _, text = services.make_token(ana, "laptop")
        User.objects.filter(pk=ana.pk).update(is_active=False)
        assert is_nobody(text)

    @pytest.mark.parametrize(
        "ask", [services.check_token, lambda text: services.member_by_token(text, "default")]
    )
    def test_use_is_noted_once_a_minute(self, ana: User, ask: Any, django_assert_num_queries: Any) -> None:
        token, text = services.make_token(ana, "laptop")
        other, _ = services.make_token(ana, "desktop")
        with django_assert_num_queries(4):  # the token with its person; the time of use, in its transaction
            assert ask(text)
        with django_assert_num_queries(1):
            ask(text)
        two_minutes_ago = timezone.now() - timedelta(minutes=2)
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=two_minutes_ago)
        ask(text)
        token.refresh_from_db()
        other.refresh_from_db()
        assert token.last_used_at > two_minutes_ago
        assert other.last_used_at is None

    def test_a_token_reads_while_nothing_can_be_written(self, ana: User) -> None:
        token, text = services.make_token(ana, "laptop")
        with nothing_is_written():
            assert services.check_token(text) == (ana, token)
            assert User.objects.filter(pk=ana.pk).exists()


class TestMembers:
    def test_a_new_person_gets_a_link(self, workspace: Workspace) -> None:
        membership, secret = services.invite(workspace, "eva", Role.READER, by=None)
        assert membership.role == Role.READER
        assert services.use_sign_in_link(secret) == membership.user
        assert not membership.user.has_usable_password()

    def test_somebody_known_becomes_a_member_and_keeps_their_own_way_in(
        self, workspace: Workspace, dan: User
    ) -> None:
        membership, secret = services.invite(workspace, "Dan", Role.READER, by=None)
        assert (membership.user, secret) == (dan, "")

    @pytest.mark.parametrize("name", ["..", ".", "@me", "@eva"])
    def test_a_name_that_reads_as_something_else_is_for_nobody_new(
        self, workspace: Workspace, name: str
    ) -> None:
        with pytest.raises(InvalidUserName) as refused:
            services.invite(workspace, name, Role.READER, by=None)
        assert refused.value.field == "username"
        assert not User.objects.exists()
        known = make_user(name, role=None)
        assert services.invite(workspace, name, Role.READER, by=None)[0].user == known

    @pytest.mark.parametrize("name", ["eva@studio.lab", "...", "e.", "-eva", "+1"])
    def test_any_other_name_is_a_name(self, workspace: Workspace, name: str) -> None:
        assert services.invite(workspace, name, Role.READER, by=None)[0].user.username == name

    def test_nobody_is_a_member_twice(self, workspace: Workspace, ana: User) -> None:
        with pytest.raises(AlreadyMember) as refused:
            services.invite(workspace, "ANA", Role.OWNER, by=None)
        assert refused.value.field == "username"
        assert membership_of(ana, workspace).role == Role.CONTRIBUTOR

    @pytest.mark.parametrize(
        "leave",
        [
            lambda m: services.change_role(m, Role.READER, by=m.user),
            lambda m: services.remove_member(m, by=m.user),
        ],
    )
    def test_the_last_owner_stays(self, workspace: Workspace, chi: User, ana: User, leave: Any) -> None:
        with pytest.raises(LastOwner):
            leave(membership_of(chi, workspace))
        assert membership_of(chi, workspace).is_owner

    def test_an_owner_who_may_not_come_in_does_not_count(self, workspace: Workspace, chi: User) -> None:
        gone = make_user("gone", Role.OWNER)
        User.objects.filter(pk=gone.pk).update(is_active=False)
        with pytest.raises(LastOwner):
            services.remove_member(membership_of(chi, workspace), by=chi)

    @pytest.mark.django_db(transaction=True)
    def test_two_owners_who_leave_at_once_do_not_both_go(self) -> None:
        here = make_workspace()
        both = [membership_of(make_user(name, Role.OWNER), here) for name in ("chi", "eva")]
        first, second = both
        left = at_once(
            lambda: services.remove_member(first, by=second.user),
            lambda: services.change_role(second, Role.READER, by=first.user),
        )
        assert [type(answer) for answer in left].count(LastOwner) == 1
        assert here.memberships.filter(role=Role.OWNER).count() == 1

    def test_an_owner_may_give_a_member_a_new_way_in(
        self, workspace: Workspace, chi: User, ana: User
    ) -> None:
        secret = services.make_link_for_member(membership_of(ana, workspace), by=chi)
        assert services.use_sign_in_link(secret) == ana

    def test_a_link_never_opens_a_workspace_of_somebody_else(
        self, workspace: Workspace, chi: User, dan: User
    ) -> None:
        membership, _ = services.invite(workspace, "dan", Role.READER, by=None)
        with pytest.raises(ElsewhereToo):
            services.make_link_for_member(membership, by=chi)

    @pytest.mark.parametrize("role", list(Role))
    def test_nor_one_that_its_person_joined_after_it_was_made(
        self, workspace: Workspace, chi: User, ana: User, dan: User, role: Role
    ) -> None:
        invited, invitation = services.invite(workspace, "eva", Role.READER, by=chi)
        again = services.make_link_for_member(membership_of(ana, workspace), by=chi)
        elsewhere = dan.memberships.get().workspace
        for person in (invited.user, ana):
            services.invite(elsewhere, person.username, role, by=dan)
        for secret in (invitation, again):
            assert services.find_sign_in_link(secret) is None
            assert services.use_sign_in_link(secret) is None

    def test_an_owner_who_invites_to_two_workspaces_leaves_the_link_alone(
        self, workspace: Workspace, chi: User
    ) -> None:
        invited, secret = services.invite(workspace, "eva", Role.READER, by=chi)
        another = make_workspace("another")
        make_user("chi", Role.OWNER, workspace=another)
        services.invite(another, "eva", Role.OWNER, by=chi)
        assert services.use_sign_in_link(secret) == invited.user

    @pytest.mark.parametrize(
        "leave",
        [
            lambda owner: owner.memberships.all().delete(),
            lambda owner: owner.memberships.update(role=Role.CONTRIBUTOR),
            lambda owner: User.objects.filter(pk=owner.pk).update(is_active=False),
            lambda owner: owner.delete(),
        ],
    )
    def test_a_link_ends_with_the_rights_of_whoever_made_it(
        self, workspace: Workspace, chi: User, leave: Any
    ) -> None:
        _, secret = services.invite(workspace, "eva", Role.READER, by=chi)
        leave(chi)
        assert services.use_sign_in_link(secret) is None

    def test_a_link_of_whoever_runs_the_server_opens_everything(
        self, workspace: Workspace, ana: User, dan: User
    ) -> None:
        secret = services.make_sign_in_link(ana)
        services.invite(dan.memberships.get().workspace, "ana", Role.READER, by=dan)
        assert services.use_sign_in_link(secret) == ana


class TestPreferences:
    @pytest.mark.django_db(transaction=True)
    def test_of_two_choices_at_once_both_are_kept(self, ana: User) -> None:
        """Each as a request does it that read its person before the others wrote."""
        first, second = (User.objects.get(pk=ana.pk) for _ in range(2))
        calls = [
            lambda: services.remember_choice(first, "columns", "runs", ["status"]),
            lambda: services.remember_choice(second, "last_experiment", "1", "mnist"),
        ]
        with held_up(User.objects.filter(pk=ana.pk), calls) as results:
            services.remember_choice(ana, "columns", "pipelines", ["tags"])
        kept = {"columns": {"runs": ["status"], "pipelines": ["tags"]}, "last_experiment": {"1": "mnist"}}
        assert results == [None, None]
        assert User.objects.get(pk=ana.pk).preferences == kept
        assert kept in (first.preferences, second.preferences)

    def test_none_forgets_one(self, ana: User) -> None:
        services.remember_choice(ana, "columns", "runs", ["status"])
        services.remember_choice(ana, "columns", "pipelines", [])
        services.remember_choice(ana, "columns", "runs", None)
        assert User.objects.get(pk=ana.pk).preferences == {"columns": {"pipelines": []}}
