"""Pages of accounts: signing in and out, members, tokens, the person's own account."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import authenticate, login, logout, update_session_auth_hash
from django.db import Error as DatabaseError
from django.db import connection
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render, resolve_url
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from studio.accounts import attempts, services, shown_once
from studio.accounts.changes import changes_of
from studio.accounts.errors import AccountError
from studio.accounts.forms import TOO_MANY_TRIES, InviteForm, PasswordForm, SignInForm, TokenForm
from studio.accounts.middleware import to_sign_in
from studio.accounts.models import ApiToken, Membership, Role
from studio.accounts.permissions import is_public, member, owner, public
from studio.accounts.refusals import is_api, refuse
from studio.accounts.requests import MemberRequest
from studio.accounts.sessions import SessionStore
from studio.addresses import split_address, wanted_next, whole_address

BACKEND = settings.AUTHENTICATION_BACKENDS[0]
BY_LINK = "by_link"
CHANGES_SHOWN = 10
REVOKED_SHOWN_FOR = timedelta(days=30)
WRONG = "User name or password is wrong."
TOO_MANY = "Too many tries to sign in. Wait a few minutes, then try again."


class SeeOther(HttpResponseRedirect):
    """Go and read there: the answer to a write that was done."""

    status_code = 303


# Signing in and out --------------------------------------------------------------------------------------
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
@public
def sign_in(request: HttpRequest) -> HttpResponse:
    """The sign-in page; after it, the page that was asked for."""
    back = safe_next(request)
    if request.method != "POST":
        if request.user.is_authenticated:
            return redirect(back or settings.LOGIN_REDIRECT_URL)
        return render(request, "accounts/sign_in.html", {"next": back})
    form = SignInForm(request.POST)
    context: dict[str, Any] = {"next": back, "username": request.POST.get("username", "")[:150]}
    if not form.is_valid():
        return render(request, "accounts/sign_in.html", context | {"errors": [WRONG]}, status=422)
    username, address = form.cleaned_data["username"], request.META.get("REMOTE_ADDR", "")
    if not attempts.try_once(username, address):
        return too_many(render(request, "accounts/sign_in.html", context | {"errors": [TOO_MANY]}))
    name = services.spelled_name(username)
    user = authenticate(request, username=name, password=form.cleaned_data["password"])
    if user is None:
        return render(request, "accounts/sign_in.html", context | {"errors": [WRONG]}, status=422)
    attempts.forget(username, address)
    start_session(request, user)
    return SeeOther(resolve_url(back or settings.LOGIN_REDIRECT_URL))


def too_many(response: HttpResponse) -> HttpResponse:
    """The answer to a try to guess a password: this page as 429."""
    response.status_code = 429
    response["Retry-After"] = str(attempts.WINDOW_S)
    return response


def start_session(request: HttpRequest, user: Any, *, by_link: bool = False) -> None:
    """Sign a person in, with a new session. Throws expired sessions out on the way."""
    request.session.flush()
    login(request, user, backend=BACKEND)
    if by_link:
        request.session[BY_LINK] = True
    SessionStore.clear_expired()


def safe_next(request: HttpRequest) -> str:
    """The page to go to after signing in, "" if none was named or it is not one of ours."""
    wanted = wanted_next(request)
    return "" if split_address(wanted).path.startswith(reverse("sign-in")) else wanted


@require_http_methods(["GET", "HEAD", "POST"])
@public
def sign_in_link(request: HttpRequest, token: str) -> HttpResponse:
    """Signs in by a link that works once.

    A person who opens it in a browser is in at once; previews, scanners and links on other sites only get a
    page with a button, which uses nothing up.
    """
    if request.method == "POST" or opened_by_hand(request):
        user = services.use_sign_in_link(token)
        if user:
            start_session(request, user, by_link=True)
            return SeeOther(resolve_url(settings.LOGIN_REDIRECT_URL))
        link = None
    else:
        link = services.find_sign_in_link(token)
    context = {"link": link, "action": request.path}
    return render(request, "accounts/sign_in_link.html", context, status=200 if link else 410)


def opened_by_hand(request: HttpRequest) -> bool:
    """Whether a browser says that a person typed, pasted or clicked this address, not on another site."""
    headers = request.headers
    return (
        request.method == "GET"
        and headers.get("Sec-Fetch-Mode") == "navigate"
        and headers.get("Sec-Fetch-Dest") == "document"
        and headers.get("Sec-Fetch-User") == "?1"
        and headers.get("Sec-Fetch-Site") in ("none", "same-origin")
        and not (headers.get("Sec-Purpose") or headers.get("Purpose"))
    )


@require_POST
@public
def sign_out(request: HttpRequest) -> HttpResponse:
    """End this browser's session."""
    logout(request)
    return SeeOther(reverse("sign-in"))


@public
def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """The page was older than the sign-in or that of somebody else, or cookies are off.

    Whoever is not signed in either goes to the sign-in, as with a session that has ended.
    """
    known = request.user.is_authenticated
    view = request.resolver_match
    if not (known or is_api(request) or view is None or is_public(view.func)):
        return to_sign_in(request)
    page = split_address(request.headers.get("Referer", ""))
    back = page.path if page.netloc == request.get_host() else "/"
    message = "Nothing was changed, because this page is out of date. Load it again and repeat what you did."
    hint = f"You are signed in as {request.user}." if known else "Cookies have to be allowed."
    heading = "This page is out of date"
    return refuse(request, 403, message, code="csrf_failed", hint=hint, back=back, heading=heading)


@require_safe
@public
def health(request: HttpRequest) -> HttpResponse:
    """Whether this process answers and reaches its database."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return JsonResponse({"status": "the database cannot be reached"}, status=503)
    return JsonResponse({"status": "ok"})


@require_POST
@member
def workspace_switch(request: MemberRequest) -> HttpResponse:
    """Look at another of one's workspaces, and go to the page `next` of it."""
    mine = Membership.objects.filter(user=request.user, workspace__name=request.POST.get("workspace", ""))
    request.session.look_at(get_object_or_404(mine))
    return SeeOther(wanted_next(request) or resolve_url(settings.LOGIN_REDIRECT_URL))


# Members -------------------------------------------------------------------------------------------------
@require_http_methods(["GET", "HEAD", "POST"])
@owner
def member_list(request: MemberRequest) -> HttpResponse:
    """Who belongs to the workspace; a POST adds a person."""
    if request.method != "POST":
        return member_page(request)
    form = InviteForm(request.POST)
    if not form.is_valid():
        return member_page(request, form=form, status=422)
    workspace = request.membership.workspace
    try:
        added, secret = services.invite(
            workspace, form.cleaned_data["username"], form.cleaned_data["role"], by=request.user
        )
    except AccountError as error:
        form.add_error(error.field or None, error.message)
        return member_page(request, form=form, status=422)
    if secret:
        return member_page(request, new_link=secret, link_for=added.user, link_valid="7 days")
    messages.success(request, f"{added.user.username}: {added.role} from now on")
    return SeeOther(reverse("member-list"))


def member_page(
    request: MemberRequest, *, status: int = 200, new_link: str = "", **context: Any
) -> HttpResponse:
    """The page of members. Two queries."""
    here = request.membership.workspace
    members = here.memberships.select_related("user").order_by("user__username")
    if new_link:
        context["link"] = whole_address(request, reverse("sign-in-link", args=[new_link]))
    context.setdefault("form", InviteForm())
    context |= {"section": "members", "members": members, "roles": list(Role)}
    context["changes"] = changes_of(here, "member:")[:CHANGES_SHOWN]
    return render(request, "accounts/member_list.html", context, status=status)


def member_here(request: MemberRequest, username: str) -> Membership:
    """The member of this workspace with this user name, or 404."""
    here = Membership.objects.filter(workspace=request.membership.workspace)
    return get_object_or_404(here.select_related("user"), user__username=username)


@require_POST
@owner
def member_role(request: MemberRequest, username: str) -> HttpResponse:
    """Give a member another role."""
    membership = member_here(request, username)
    if request.POST.get("role") not in list(Role):
        return member_page(request, status=422, error="There is no such role.")
    role = Role(request.POST["role"])
    try:
        services.change_role(membership, role, by=request.user)
    except AccountError as error:
        return member_page(request, status=409, error=error.message)
    messages.success(request, f"{username}: {role} from now on")
    return SeeOther(reverse("member-list"))


@require_POST
@owner
def member_remove(request: MemberRequest, username: str) -> HttpResponse:
    """Take a person out of the workspace."""
    membership = member_here(request, username)
    try:
        services.remove_member(membership, by=request.user)
    except AccountError as error:
        return member_page(request, status=409, error=error.message)
    messages.success(request, f"{username} was removed from {request.membership.workspace}")
    return SeeOther(reverse("member-list"))


@require_POST
@owner
def member_link(request: MemberRequest, username: str) -> HttpResponse:
    """Show a new sign-in link for a member, once."""
    membership = member_here(request, username)
    try:
        secret = services.make_link_for_member(membership, by=request.user)
    except AccountError as error:
        return member_page(request, status=409, error=error.message)
    return member_page(request, new_link=secret, link_for=membership.user, link_valid="a day")


# Tokens --------------------------------------------------------------------------------------------------
@require_http_methods(["GET", "HEAD", "POST"])
@member
def token_list(request: MemberRequest) -> HttpResponse:
    """The person's own tokens; a POST makes one and leads back here, where it is shown, once."""
    if request.method != "POST":
        made = shown_once.take(request) if request.method == "GET" else None
        return token_page(request, made=made)
    form = TokenForm(request.POST)
    if not form.is_valid():
        return token_page(request, form=form, status=422)
    token, text = services.make_token(
        request.user, form.cleaned_data["name"], form.cleaned_data["expires_on"]
    )
    shown_once.keep(request, token.name, text)
    return SeeOther(reverse("token-list"))


def token_page(request: MemberRequest, *, status: int = 200, **context: Any) -> HttpResponse:
    """The page of tokens: those that work first, then those revoked within the last 30 days. One query."""
    now = timezone.now()
    tokens = ApiToken.objects.filter(user=request.user).filter(
        Q(revoked_at=None) | Q(revoked_at__gt=now - REVOKED_SHOWN_FOR)
    )
    context.setdefault("form", TokenForm())
    context |= {"section": "tokens", "tokens": tokens.order_by("-revoked_at", "-pk"), "now": now}
    context["server"] = whole_address(request)
    return render(request, "accounts/token_list.html", context, status=status)


@require_POST
@member
def token_revoke(request: HttpRequest, prefix: str) -> HttpResponse:
    """End one of the person's own tokens."""
    token = get_object_or_404(ApiToken, user=request.user, prefix=prefix)
    if services.revoke_token(token):
        messages.success(request, f"Token {token.name} no longer works")
    return SeeOther(reverse("token-list"))


# The person's own account --------------------------------------------------------------------------------
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@member
def account(request: MemberRequest) -> HttpResponse:
    """The person's workspaces and password."""
    user = request.user
    ask = user.has_usable_password() and not request.session.get(BY_LINK)
    typed = request.POST if request.method == "POST" else None
    address = request.META.get("REMOTE_ADDR", "")
    form = PasswordForm(typed, user=user, ask_current=ask, address=address)
    if form.is_valid():
        user.set_password(form.cleaned_data["new"])
        user.save(update_fields=["password"])
        update_session_auth_hash(request, user)
        request.session.pop(BY_LINK, None)
        messages.success(request, "The new password holds. Every other browser was signed out.")
        return SeeOther(reverse("account"))
    context = {"form": form, "has_password": user.has_usable_password(), "ask_current": ask}
    if form.has_error("current", TOO_MANY_TRIES):
        return too_many(render(request, "accounts/account.html", context))
    return render(request, "accounts/account.html", context, status=422 if form.is_bound else 200)
