"""What people do with accounts: start, invite, sign in by link, make and revoke tokens."""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.hashers import make_password
from django.db import DatabaseError, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from studio.accounts.changes import record
from studio.accounts.errors import AlreadyMember, ElsewhereToo, InvalidUserName, LastOwner
from studio.accounts.models import ApiToken, Membership, Role, SignInLink, User, Workspace
from studio.prepared import Given, Prepared

FIRST_OWNER, FIRST_WORKSPACE = "admin", "default"
LINK_VALID = timedelta(days=1)
INVITATION_VALID = timedelta(days=7)
USED_AT_MOST_EVERY = timedelta(minutes=1)

TOKEN_START, PREFIX_LENGTH = "stu_", 12
TOKEN = re.compile(r"stu_[A-Za-z0-9]{8}[A-Za-z0-9_-]{43}\Z")
LETTERS = string.ascii_letters + string.digits


def digest_of(secret: str) -> str:
    """What is stored of a secret. It is random and long, so a plain hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


# The first start -----------------------------------------------------------------------------------------
def ensure_first_start() -> User:
    """The first owner of the oldest workspace; makes both when they are missing.

    Safe to call at every start and from several processes at once. A new owner has no password: they come by
    a sign-in link.
    """
    with transaction.atomic():
        workspace = Workspace.objects.order_by("pk").first()
        if workspace is None:
            workspace, _ = Workspace.objects.get_or_create(name=FIRST_WORKSPACE)
        workspace = Workspace.objects.select_for_update(no_key=True).get(pk=workspace.pk)
        owners = workspace.memberships.filter(role=Role.OWNER, user__is_active=True)
        membership = owners.select_related("user").order_by("pk").first()
        if membership:
            return membership.user
        user, _ = _user(FIRST_OWNER)
        Membership.objects.update_or_create(user=user, workspace=workspace, defaults={"role": Role.OWNER})
        return user


def _user(username: str) -> tuple[User, bool]:
    """The person of this name, in whatever case, and whether they are new. The new have no password."""
    known = User.objects.filter(username__iexact=username).first()
    if known:
        return known, False
    name = User.normalize_username(username)
    _check_new_name(name)
    return User.objects.get_or_create(username=name, defaults={"password": make_password(None)})


def _check_new_name(name: str) -> None:
    """Refuse names that addresses of pages or searches (`@me`) could not hold; who has one keeps it."""
    if name in (".", ".."):
        raise InvalidUserName("A user name has more than dots. Add a letter or a digit.", field="username")
    if name.startswith("@"):
        raise InvalidUserName("A user name does not begin with @. Leave the @ out.", field="username")


# Sign-in links -------------------------------------------------------------------------------------------
def spelled_name(typed: str) -> str:
    """A user name as its person spells it, if what was typed differs from exactly one in case. One query.

    What fits nobody, or several and none of them exactly, stays as it was typed.
    """
    names = list(User.objects.filter(username__iexact=typed).values_list("username", flat=True)[:2])
    return names[0] if len(names) == 1 else typed


def make_sign_in_link(user: User, valid_for: timedelta = LINK_VALID, *, by: User | None = None) -> str:
    """The secret of a new link that signs this person in, once. Only its hash is kept.

    `by` is the owner who makes it, None for whoever runs the server.
    """
    token, expires_at = secrets.token_urlsafe(32), timezone.now() + valid_for
    SignInLink.objects.create(user=user, issued_by=by, digest=digest_of(token), expires_at=expires_at)
    return token


def find_sign_in_link(token: str) -> SignInLink | None:
    """The link, with its person, if it still works. Does not use it up.

    One that an owner made works no more once it would open a workspace that is not theirs.
    """
    links = SignInLink.objects.select_related("user", "issued_by").filter(digest=digest_of(token))
    link = links.filter(used_at=None, expires_at__gt=timezone.now(), user__is_active=True).first()
    if link is None or (link.issued_by is not None and _is_elsewhere_too(link.user_id, link.issued_by)):
        return None
    return link


def _is_elsewhere_too(user_id: int, owner: User) -> bool:
    """Whether a person belongs to a workspace that this owner does not own, or may not enter any more."""
    owned = Membership.objects.filter(user=owner, user__is_active=True, role=Role.OWNER).values("workspace")
    return Membership.objects.filter(user_id=user_id).exclude(workspace__in=owned).exists()


def use_sign_in_link(token: str) -> User | None:
    """The person of a link that still works, which from now on works no more; None for any other."""
    link = find_sign_in_link(token)
    if link is None:
        return None
    # Of several who come at once, the one whose update finds the link unused is let in.
    won = SignInLink.objects.filter(pk=link.pk, used_at=None).update(used_at=Now())
    return link.user if won else None


# Members -------------------------------------------------------------------------------------------------
def invite(workspace: Workspace, username: str, role: Role, *, by: User | None) -> tuple[Membership, str]:
    """Make a person a member. Gives the secret of a sign-in link when the person is new, "" otherwise.

    Somebody who is known already has a way in, which is not the inviting owner's to replace.
    Raises AlreadyMember, InvalidUserName for a new person. User names are compared without regard to case, so
    that nobody looks like another.
    """
    with transaction.atomic():
        workspace = Workspace.objects.select_for_update(no_key=True).get(pk=workspace.pk)
        user, new = _user(username)
        membership, made = Membership.objects.get_or_create(
            user=user, workspace=workspace, defaults={"role": role}
        )
        if not made:
            known_as = f"{'an' if membership.role == Role.OWNER else 'a'} {membership.role}"
            raise AlreadyMember(f"{user.username} is {known_as} here already.", field="username")
        record(workspace, f"member:{user.username}", f"added as {role}", by=by)
        return membership, make_sign_in_link(user, INVITATION_VALID, by=by) if new else ""


def change_role(membership: Membership, role: Role, *, by: User) -> None:
    """Give a member another role. Raises LastOwner if nobody would be left who can manage the workspace."""
    with transaction.atomic():
        if role != Role.OWNER:
            _keep_an_owner(membership)
        Membership.objects.filter(pk=membership.pk).update(role=role)
        record(membership.workspace_id, f"member:{membership.user.username}", f"made {role}", by=by)


def remove_member(membership: Membership, *, by: User) -> None:
    """Take a person out of the workspace; what they did stays theirs. Raises LastOwner."""
    with transaction.atomic():
        _keep_an_owner(membership)
        Membership.objects.filter(pk=membership.pk).delete()
        record(membership.workspace_id, f"member:{membership.user.username}", "removed", by=by)


def _keep_an_owner(membership: Membership) -> None:
    """Raise LastOwner unless another owner stays. The lock makes two owners who leave at once take turns."""
    Workspace.objects.select_for_update(no_key=True).get(pk=membership.workspace_id)
    owners = Membership.objects.filter(workspace_id=membership.workspace_id, role=Role.OWNER)
    if not owners.filter(user__is_active=True).exclude(pk=membership.pk).exists():
        raise LastOwner(
            f"{membership.user.username} is the only owner. Make somebody else an owner first, "
            "so that the workspace can still be managed."
        )


def make_link_for_member(membership: Membership, *, by: User) -> str:
    """The secret of a new sign-in link for a member who lost their way in.

    Raises ElsewhereToo for a person who belongs to a workspace that `by` does not own: the link would open
    that one too.
    """
    if _is_elsewhere_too(membership.user_id, by):
        raise ElsewhereToo(
            f"{membership.user.username} also belongs to a workspace that is not yours. Whoever runs the "
            f"server can make a link: python manage.py link --user {membership.user.username}"
        )
    record(membership.workspace_id, f"member:{membership.user.username}", "given a sign-in link", by=by)
    return make_sign_in_link(membership.user, by=by)


# Preferences ---------------------------------------------------------------------------------------------
def remember_choice(person: User, kind: str, place: str, choice: Any) -> None:
    """Keep what a person chose for a place as `preferences[kind][place]`; None forgets it.

    Holds their row: of two choices made at once, both are kept.
    """
    with transaction.atomic():
        held = User.objects.select_for_update(no_key=True).only("preferences").get(pk=person.pk)
        chosen = {key: value for key, value in held.preferences.get(kind, {}).items() if key != place}
        if choice is not None:
            chosen[place] = choice
        person.preferences = {**held.preferences, kind: chosen}
        User.objects.filter(pk=person.pk).update(preferences=person.preferences)


# API tokens ----------------------------------------------------------------------------------------------
def make_token(user: User, name: str, expires_at: datetime | None = None) -> tuple[ApiToken, str]:
    """A new token, and its text, which nobody can show again."""
    prefix = TOKEN_START + "".join(secrets.choice(LETTERS) for _ in range(PREFIX_LENGTH - len(TOKEN_START)))
    text = prefix + secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        user=user, name=name, prefix=prefix, digest=digest_of(text), expires_at=expires_at
    )
    return token, text


_token_row = Prepared(
    lambda: ApiToken.objects.select_related("user").filter(
        prefix=Given("prefix"), revoked_at=None, user__is_active=True
    )
)


#: What no operation of the API reads of who asks.
_NOT_READ = ("password", "first_name", "last_name", "email", "date_joined", "last_login", "preferences")

_member_row = Prepared(
    lambda: (
        Membership.objects.select_related("user", "workspace")
        .filter(
            user__api_tokens__prefix=Given("prefix"),
            user__api_tokens__revoked_at=None,
            user__is_active=True,
            workspace__name=Given("workspace"),
        )
        .annotate(
            **{name: F(f"user__api_tokens__{name}") for name in ("digest", "expires_at", "last_used_at")}
        )
        .defer("created_at", *(f"user__{name}" for name in _NOT_READ))
    )
)


def check_token(text: str) -> tuple[User, ApiToken] | None:
    """The person and the token that this text stands for, or None. One query, and a write once a minute."""
    token = _token_row.first(prefix=text[:PREFIX_LENGTH]) if TOKEN.match(text) else None
    return (token.user, token) if token is not None and _use(token, text) else None


def member_by_token(text: str, workspace: str) -> Membership | None:
    """The membership in this workspace of the person whose token this text is, or None. As `check_token`."""
    readable = TOKEN.match(text) and "\0" not in workspace
    found: Any = _member_row.first(prefix=text[:PREFIX_LENGTH], workspace=workspace) if readable else None
    return found if found is not None and _use(found, text) else None


def _use(token: Any, text: str) -> bool:
    """Whether this is the text of a token that is not revoked, of which the columns are here."""
    now = timezone.now()
    if not constant_time_compare(token.digest, digest_of(text)):
        return False
    if token.expires_at is not None and token.expires_at <= now:
        return False
    if token.last_used_at is None or token.last_used_at < now - USED_AT_MOST_EVERY:
        # On a full disk people still read, and in a transaction PostgreSQL would refuse what follows.
        with suppress(DatabaseError), transaction.atomic():
            ApiToken.objects.filter(prefix=text[:PREFIX_LENGTH]).update(last_used_at=Now())
    return True


def why_refused(text: str) -> tuple[str, str] | None:
    """Why this token is worth nothing, and what to do, for whoever has all of it; None if nobody knows it."""
    known = ApiToken.objects.select_related("user").filter(prefix=text[:PREFIX_LENGTH])
    token = known.first() if TOKEN.match(text) else None
    if token is None or not constant_time_compare(token.digest, digest_of(text)):
        return None
    another = "Make another one on the page Tokens, and give it to `studio login` or STUDIO_TOKEN."
    if not token.user.is_active:
        return (
            f"The account of {token.user.username} is deactivated.",
            "Whoever runs this server can say why.",
        )
    if token.revoked_at is not None:
        return f"This token was revoked on {token.revoked_at:%Y-%m-%d at %H:%M} UTC.", another
    if token.expires_at is not None and token.expires_at <= timezone.now():
        return f"This token expired on {token.expires_at:%Y-%m-%d at %H:%M} UTC.", another
    return None


def revoke_token(token: ApiToken) -> bool:
    """End a token at once. False if it was revoked before."""
    return bool(ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=Now()))
