"""Headers that every answer carries, and what a refusal looks like for a page, a part and a program."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import re
import sqlite3
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, DataError, OperationalError, connection
from django.http import Http404, HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import path

from runs import errors
from runs.middleware import STATUS_OF, outage_of, status_of
from studio.accounts import views
from studio.accounts.models import User
from studio.accounts.permissions import public
from studio.accounts.services import make_sign_in_link
from studio.urls import urlpatterns as real_patterns

ClientOf = Callable[[User], Client]
HTMX = {"HX-Request": "true"}
RAISED: dict[str, Exception] = {
    "tag": errors.InvalidTag("A key cannot be empty.", field="key", hint="Give it a name, such as quality."),
    "conflict": errors.RunFinished("Run 12 has ended."),
    "gone": errors.NotFound("There is no such run."),
    "denied": errors.PermissionDenied("Not you."),
    "big": errors.SnapshotTooBig("More than 300 MiB."),
    "search": errors.SearchError("A quote is not closed.", position=4),
    "http404": Http404("nothing"),
    "django-denied": PermissionDenied("no"),
    "nul": DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"),
    "broken": ZeroDivisionError("secret detail"),
}


def raised_from(cause: Exception) -> OperationalError:
    """As Django hands on what a database's driver raised."""
    error = OperationalError(str(cause))
    error.__cause__ = cause
    return error


def full_sqlite() -> OperationalError:
    """What SQLite itself says when it may not grow."""
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.executescript("PRAGMA max_page_count = 2; CREATE TABLE kept (text)")
        try:
            database.execute("INSERT INTO kept VALUES (?)", ["x" * 100_000])
        except sqlite3.OperationalError as error:
            return raised_from(error)
    raise AssertionError("it was not full")


RAISED |= {"full": full_sqlite(), "away": raised_from(psycopg.OperationalError("connection refused"))}


def raising(request: HttpRequest, kind: str) -> HttpResponse:
    raise RAISED[kind]


def sandboxed(request: HttpRequest) -> HttpResponse:
    return HttpResponse("x", headers={"Content-Security-Policy": "sandbox", "Cache-Control": "max-age=60"})


urlpatterns = [
    *real_patterns,
    path("raise/<str:kind>/", public(raising)),
    path("api/raise/<str:kind>/", public(raising)),
    path("api/closed/", sandboxed),
    path("sandboxed/", sandboxed),
]
extra = pytest.mark.urls(__name__)


class TestHeaders:
    @pytest.mark.parametrize("address", ["/sign-in/", "/healthz", "/no/such/", "/tokens/"])
    def test_every_answer_is_guarded(self, client: Client, db: None, address: str) -> None:
        answer = client.get(address)
        policy = answer["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert answer["X-Frame-Options"] == "DENY"
        assert answer["Referrer-Policy"] == "same-origin"
        assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "camera=()" in answer["Permissions-Policy"]

    def test_what_a_person_sees_is_kept_by_nobody(self, client_of: ClientOf, ana: User) -> None:
        answer = client_of(ana).get("/tokens/")
        assert answer["Cache-Control"] == "no-store"
        assert {"Cookie", "HX-Request", "HX-Target"} <= set(answer["Vary"].split(", "))

    @extra
    def test_a_view_may_set_its_own(self, client_of: ClientOf, ana: User) -> None:
        answer = client_of(ana).get("/sandboxed/")
        assert answer["Content-Security-Policy"] == "sandbox"
        assert answer["Cache-Control"] == "max-age=60"
        assert "X-Frame-Options" not in answer

    def test_cookies_are_closed_to_scripts_and_other_sites(self, client: Client, ana: User) -> None:
        client.post(f"/sign-in/{make_sign_in_link(ana)}/")
        session = client.cookies["studio_session"]
        assert session["httponly"]
        assert session["samesite"] == "Lax"

    def test_no_page_holds_anything_inline(self, client: Client, client_of: ClientOf, chi: User) -> None:
        pages = [
            client.get("/sign-in/"),
            *(client_of(chi).get(p) for p in ("/members/", "/tokens/", "/account/")),
        ]
        for page in pages:
            text = page.content.decode()
            assert not re.search(r"<script(?![^>]*\bsrc=)|<style| style=| on[a-z]+=|javascript:", text)


class TestHost:
    @pytest.mark.parametrize(
        ("host", "named", "example"),
        [
            ("192.168.1.5:8000", "192.168.1.5", "STUDIO_ALLOWED_HOSTS=127.0.0.1,localhost,192.168.1.5"),
            ("[fd00::5]:8000", "[fd00::5]", "STUDIO_ALLOWED_HOSTS=127.0.0.1,localhost,[fd00::5]"),
            ("<b>", "This", "STUDIO_ALLOWED_HOSTS"),
            ("x" * 300, "This", "STUDIO_ALLOWED_HOSTS"),
        ],
    )
    @pytest.mark.parametrize("address", ["/", "/sign-in/", "/api/v1/info"])
    def test_a_name_that_is_not_allowed_is_told_with_what_to_set(
        self, client: Client, db: None, caplog: Any, address: str, host: str, named: str, example: str
    ) -> None:
        answer = client.get(address, headers={"Host": host})
        assert answer.status_code == 400
        said = answer.json()["error"] if address.startswith("/api/") else answer.content.decode()
        assert f"{named} is not" in str(said)
        assert example in str(said)
        assert "<b>" not in str(said)
        [logged] = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert "STUDIO_ALLOWED_HOSTS" in logged.getMessage()
        assert "\n" not in logged.getMessage()
        assert not logged.exc_info


@extra
class TestRefusals:
    TABLE = pytest.mark.parametrize(
        ("kind", "status", "code"),
        [
            ("tag", 422, "invalid_tag"),
            ("conflict", 409, "run_finished"),
            ("gone", 404, "not_found"),
            ("denied", 403, "permission_denied"),
            ("big", 413, "snapshot_too_big"),
            ("search", 400, "invalid_query"),
        ],
    )

    @TABLE
    def test_a_page_says_what_was_wrong(
        self, client_of: ClientOf, ana: User, kind: str, status: int, code: str
    ) -> None:
        answer = client_of(ana).get(f"/raise/{kind}/")
        assert answer.status_code == status
        page = answer.content.decode()
        assert page.startswith("<!doctype html>")
        assert RAISED[kind].message in page  # type: ignore[attr-defined]

    @TABLE
    def test_a_part_gets_the_line_alone(
        self, client_of: ClientOf, ana: User, kind: str, status: int, code: str
    ) -> None:
        answer = client_of(ana).get(f"/raise/{kind}/", headers=HTMX)
        assert answer.status_code == status
        part = answer.content.decode()
        assert "<html" not in part
        assert re.search(r"<p[^>]* data-error>" + re.escape(RAISED[kind].message), part)  # type: ignore[attr-defined]

    @TABLE
    def test_a_program_gets_the_error_as_json(
        self, client: Client, db: None, kind: str, status: int, code: str
    ) -> None:
        answer = client.get(f"/api/raise/{kind}/")
        assert answer.status_code == status
        error = json.loads(answer.content)["error"]
        assert error["code"] == code
        assert set(error) == {"code", "message", "field", "hint", "request_id"}

    def test_every_error_of_the_domain_has_a_status(self) -> None:
        kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
        assert STATUS_OF[-1][0] is errors.StudioError
        assert all(issubclass(kind, errors.StudioError) for kind in kinds)
        assert status_of(errors.OffsetMismatch("later", expected=3)) == 409

    @pytest.mark.parametrize(("kind", "status"), [("http404", 404), ("django-denied", 403)])
    def test_djangos_own_refusals_look_the_same(
        self, client_of: ClientOf, ana: User, kind: str, status: int
    ) -> None:
        for headers in ({}, HTMX):
            answer = client_of(ana).get(f"/raise/{kind}/", headers=headers)
            assert answer.status_code == status
            assert "data-error" in answer.content.decode()

    @pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "htmx"])
    def test_what_nobody_expected_is_logged_once_with_a_number(
        self, ana: User, caplog: pytest.LogCaptureFixture, headers: dict[str, str]
    ) -> None:
        client = Client(raise_request_exception=False)
        client.force_login(ana)
        answer = client.get("/raise/broken/", headers=headers)
        assert answer.status_code == 500
        page = answer.content.decode()
        assert "secret detail" not in page
        assert f"<code>{answer['X-Request-Id']}</code>" in page
        logged = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert len(logged) == 1
        assert answer["X-Request-Id"] in logged[0].getMessage()
        assert logged[0].exc_info

    @pytest.mark.parametrize("address", ["/members/a%00b/role/", "/runs/%00/"])
    def test_the_character_that_no_database_takes_is_refused(
        self, client_of: ClientOf, chi: User, address: str
    ) -> None:
        for answer in (client_of(chi).get(address), client_of(chi).post(address)):
            assert answer.status_code == 404
            assert "NUL" in answer.content.decode()

    def test_also_when_only_the_database_notices(self, client_of: ClientOf, ana: User) -> None:
        answer = client_of(ana).get("/raise/nul/")
        assert answer.status_code == 400
        assert "NUL" in answer.content.decode()

    def test_without_a_token_a_program_gets_401(self, client: Client, db: None) -> None:
        answer = client.get("/api/closed/")
        assert answer.status_code == 401
        assert json.loads(answer.content)["error"]["code"] == "not_signed_in"


class TestOutages:
    def test_a_full_disk_is_told_from_a_database_that_is_away(self) -> None:
        assert outage_of(OSError(errno.ENOSPC, "No space left on device")) == outage_of(full_sqlite())
        assert outage_of(raised_from(psycopg.errors.DiskFull())) == outage_of(full_sqlite())
        assert (outage_of(full_sqlite()) or ())[0] == 507
        for cause in (psycopg.OperationalError("refused"), psycopg.errors.AdminShutdown()):
            assert (outage_of(raised_from(cause)) or ())[0] == 503

    @pytest.mark.django_db(transaction=True)
    def test_what_is_wrong_with_a_query_is_no_outage(self) -> None:
        with pytest.raises(DatabaseError) as raised, connection.cursor() as cursor:
            cursor.execute("SELECT nothing FROM nowhere")
        assert outage_of(raised.value) is None
        assert outage_of(raised_from(psycopg.errors.DeadlockDetected())) is None
        assert outage_of(PermissionError(errno.EACCES, "Permission denied")) is None

    @extra
    @pytest.mark.parametrize("kind", ["full", "away"])
    def test_a_person_reads_what_it_is_and_the_log_has_a_line(
        self, client_of: ClientOf, ana: User, caplog: pytest.LogCaptureFixture, kind: str
    ) -> None:
        status, message, _ = outage_of(RAISED[kind]) or (0, "", "")
        client = client_of(ana)
        caplog.clear()
        for address, headers in (("/raise", {}), ("/raise", HTMX), ("/api/raise", {})):
            answer = client.get(f"{address}/{kind}/", headers=headers)
            assert answer.status_code == status
            assert message in answer.content.decode()
            assert answer["Retry-After"]
        assert len(caplog.records) == 3
        assert not any(record.exc_info for record in caplog.records)


class TestOutOfDate:
    def test_an_old_page_says_so_and_offers_itself_again(self, ana: User) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(ana)
        answer = client.post("/tokens/", {"name": "x"}, headers={"Referer": "http://testserver/tokens/"})
        page = answer.content.decode()
        assert answer.status_code == 403
        assert "<h1>This page is out of date</h1>" in page
        assert 'href="/tokens/">Load the page again' in page

    def test_without_any_cookie_the_sign_in_leads_back_to_the_page(self, db: None) -> None:
        client = Client(enforce_csrf_checks=True)
        headers = {"Referer": "http://testserver/tokens/"}
        answer = client.post("/tokens/", {"name": "x"}, headers=headers)
        assert (answer.status_code, answer["Location"]) == (302, "/sign-in/?next=%2Ftokens%2F")
        assert client.post("/tokens/", headers=HTMX).status_code == 401

    @pytest.mark.parametrize("signed_in", [True, False])
    def test_what_is_no_address_leads_nowhere(self, ana: User, signed_in: bool) -> None:
        client = Client(enforce_csrf_checks=True)
        if signed_in:
            client.force_login(ana)
        answer = client.post("/tokens/", {"name": "x"}, headers={"Referer": "http://[bad"})
        assert (answer.status_code, answer.get("Location")) == (
            (403, None) if signed_in else (302, "/sign-in/")
        )
        part = Client().get("/tokens/", headers=HTMX | {"HX-Current-URL": "http://[bad"})
        assert (part.status_code, part["HX-Redirect"]) == (401, "/sign-in/?next=%2F")

    def test_a_sign_in_without_cookies_says_that_it_needs_them(self, db: None) -> None:
        answer = Client(enforce_csrf_checks=True).post("/sign-in/", {"username": "ana", "password": "x"})
        assert answer.status_code == 403
        assert "Cookies have to be allowed." in answer.content.decode()

    def test_a_part_of_it_too(self, ana: User) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(ana)
        answer = client.post("/tokens/", headers=HTMX)
        assert answer.status_code == 403
        assert "data-error" in answer.content.decode()


class TestHealth:
    def test_says_ok(self, client: Client, db: None) -> None:
        assert client.get("/healthz").json() == {"status": "ok"}

    def test_says_when_the_database_is_away(self, rf: RequestFactory, monkeypatch: Any) -> None:
        def away() -> None:
            raise OperationalError("no such host")

        monkeypatch.setattr(views.connection, "cursor", away)
        answer = views.health(rf.get("/healthz"))
        assert answer.status_code == 503
        assert b"no such host" not in answer.content
