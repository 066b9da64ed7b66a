"""Who asks, whether they may, and the headers that keep their browser safe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.utils.crypto import constant_time_compare
from django.utils.encoding import escape_uri_path
from django.utils.http import escape_leading_slashes
from django_htmx.middleware import HtmxDetails

from studio.accounts.browsers import is_program
from studio.accounts.models import Membership, User
from studio.accounts.permissions import REFUSED, has_role, is_public, role_for
from studio.accounts.refusals import is_api, is_htmx, refuse
from studio.accounts.services import check_token, why_refused
from studio.addresses import split_address

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "form-action 'self'",
    ]
)
PERMISSIONS_POLICY = ", ".join(
    f"{feature}=()"
    for feature in ("camera", "display-capture", "geolocation", "microphone", "payment", "usb", "serial")
)

#: The key of the person who is signed in. It proves nothing: pages compare it with their own.
PERSON_COOKIE = "studio_person"

Handler = Callable[[HttpRequest], HttpResponse]


class SecureHeadersMiddleware:
    """Adds the security headers, and keeps what a signed-in person sees out of every cache.

    A view that serves untrusted content sets its own Content-Security-Policy, which then stays as it is.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if not response.has_header("Content-Security-Policy"):
            response["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
            response["X-Frame-Options"] = "DENY"
        response.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        if getattr(request, "user", None) and request.user.is_authenticated:
            response.setdefault("Cache-Control", "no-store")
        if response.get("Content-Type", "").startswith("text/html"):
            patch_vary_headers(response, ["HX-Request", "HX-Target"])
        return response


#: Who has found a token must not make another one of it, which would outlive the first.
_READS_ONLY = (
    "A token reads pages and changes nothing there.",
    "The API has operations that change something.",
)


def _bearer(request: HttpRequest) -> str | None:
    scheme, _, text = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    return text.strip() if scheme.lower() == "bearer" else None


class PersonMiddleware:
    """Sets `request.user` and `request.membership`, and lets nobody in who may not.

    Every view needs a signed-in person with a membership unless it is marked public. A browser's session
    costs one query, a bearer token two. PERSON_COOKIE tells an open page who is signed in now: what one
    person has typed is not sent in the name of the next.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.user = AnonymousUser()
        request.membership = None  # type: ignore[attr-defined]
        token = _bearer(request)
        by_session = False
        if is_program(request):
            pass  # each operation of the API says which tokens it takes, and reads them itself
        elif token is None:
            by_session = True
            self._by_session(request)
        elif request.method in ("GET", "HEAD"):
            self._by_token(request, token)
        else:
            return to_sign_in(request, _READS_ONLY)
        response = self.get_response(request)
        if by_session and request.user.is_authenticated:
            person = str(request.user.pk)
            if request.COOKIES.get(PERSON_COOKIE) != person:
                response.set_cookie(
                    PERSON_COOKIE,
                    person,
                    max_age=settings.CSRF_COOKIE_AGE,
                    secure=settings.CSRF_COOKIE_SECURE,
                    samesite="Lax",
                )
        return response

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
    ) -> HttpResponse | None:
        """The refusal, or None to go on."""
        if is_public(view):
            return None
        if not request.user.is_authenticated:
            return to_sign_in(request)
        membership: Membership | None = request.membership  # type: ignore[attr-defined]
        if membership is None:
            return no_workspace(request)
        if request.method in ("GET", "HEAD") and "workspace" in request.GET and not is_api(request):
            name = request.GET["workspace"]
            membership = membership_in(name, request.user)
            if membership is None:
                said = f"There is no workspace {name[:255]}, or you are not a member of it."
                return refuse(request, 404, said, code="not_found")
            if _bearer(request) is None:
                return to_workspace(request, membership)
            request.membership = membership  # type: ignore[attr-defined]
        needed = role_for(view, request.method or "GET")
        if not has_role(membership, needed):
            return refuse(request, 403, REFUSED[needed], code="permission_denied")
        return None

    def _by_session(self, request: HttpRequest) -> None:
        row = request.session.loaded_row()  # type: ignore[attr-defined]
        if row is None or row.user is None:
            return
        signed = request.session.get(HASH_SESSION_KEY, "")
        if not row.user.is_active or not constant_time_compare(signed, row.user.get_session_auth_hash()):
            request.session.flush()
            return
        request.user = row.user
        request.membership = row.membership or self._another(request, row.user.pk)  # type: ignore[attr-defined]

    @staticmethod
    def _another(request: HttpRequest, user_id: int) -> Membership | None:
        """Where a person goes on whose membership was taken away while they were signed in."""
        found = Membership.objects.filter(user_id=user_id).select_related("workspace").order_by("pk").first()
        if found:
            request.session.look_at(found)  # type: ignore[attr-defined]
        return found

    @staticmethod
    def _by_token(request: HttpRequest, text: str) -> None:
        known = check_token(text)
        if known is None:
            return
        request.user, _ = known
        memberships = Membership.objects.filter(user=request.user).select_related("workspace")
        request.membership = memberships.order_by("pk").first()  # type: ignore[attr-defined]


def membership_in(workspace: str, person: User) -> Membership | None:
    """The person's membership in the workspace that an address names as `?workspace=`, if there is one.

    Addresses that leave Studio, in answers of the API and by Copy link, name it; those of open pages do not.
    """
    mine = Membership.objects.filter(user=person, workspace__name=workspace.replace("\0", ""))
    return mine.select_related("workspace").first()


def to_workspace(request: HttpRequest, wanted: Membership) -> HttpResponse:
    """Send a browser on to the page that a link of this workspace is for.

    Who looks at another workspace decides first: all pages that are open in the browser change with it.
    """
    rest = request.GET.copy()
    del rest["workspace"]
    path = escape_leading_slashes(escape_uri_path(request.path))
    page = f"{path}?{rest.urlencode()}" if rest else path
    if wanted == request.membership:  # type: ignore[attr-defined]
        return redirect(page)
    return render(request, "accounts/other_workspace.html", {"wanted": wanted.workspace, "page": page})


def _page_of_form(request: HttpRequest) -> str:
    """The page from which a form was sent, "" if nobody says so."""
    address = request.headers.get("Referer", "")
    return _local(address) if split_address(address).netloc == request.get_host() else ""


def _local(address: str) -> str:
    """Path and query of an address, "" if it has no path: `about:blank` is an address too."""
    page = split_address(address)
    if not page.path.startswith("/"):
        return ""
    return f"{page.path}?{page.query}" if page.query else page.path


def to_sign_in(request: HttpRequest, why: tuple[str, str] | None = None) -> HttpResponse:
    """Send the person to the sign-in page and, after it, back to the page they were on.

    Programs are told why their token is refused, and what to do: `why`, or what is known of a person's token.
    """
    if is_api(request) or "Authorization" in request.headers:
        why = why or why_refused(request.headers.get("Authorization", "").partition(" ")[2].strip())
        message, hint = why or (
            "This needs a valid token.",
            "Make one under Tokens and send it as “Authorization: Bearer …”.",
        )
        code = "token_refused" if why else "not_signed_in"
        response = refuse(request, 401, message, code=code, hint=hint)
        response["WWW-Authenticate"] = "Bearer"
        return response
    sign_in = reverse("sign-in")
    if is_htmx(request):
        back = _local(HtmxDetails(request).current_url or "")
        response = refuse(request, 401, "You were signed out. Sign in again to go on.", code="not_signed_in")
        response["HX-Redirect"] = f"{sign_in}?{urlencode({'next': back or '/'})}"
        return response
    back = request.get_full_path() if request.method in ("GET", "HEAD") else _page_of_form(request)
    return redirect(f"{sign_in}?{urlencode({'next': back})}" if back else sign_in)


def no_workspace(request: HttpRequest) -> HttpResponse:
    """The answer to a person who is in no workspace."""
    message = "You are not a member of any workspace. Ask an owner to add you."
    if is_api(request) or is_htmx(request):
        return refuse(request, 403, message, code="permission_denied")
    return render(request, "accounts/no_workspace.html", status=403)
