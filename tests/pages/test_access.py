"""Every address of Studio: who may read it, who may write to it. A new one needs a line in ACCESS."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import product
from typing import Any

import pytest
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from runs.models import Artifact, Draft, Run
from runs.status import Kind
from studio.accounts.models import Membership, Role, User
from studio.accounts.permissions import is_public
from studio.accounts.services import make_link_for_member, make_token
from tests.factories import make_run, make_snapshot, make_target, make_user

ClientOf = Callable[[User], Client]
WRITING = ("post", "put", "patch", "delete")
BY_HAND = {
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-User": "?1",
    "Sec-Fetch-Site": "none",
}
HTMX = {"HX-Request": "true", "HX-Current-URL": "http://testserver/runs/?q=lr"}


class May(Enum):
    """Who may do what at an address: reading, then writing."""

    ANYBODY = "everybody reads and writes, signed in or not"
    READ = "readers read; contributors write, if anything is written at all"
    READ_OWNERS_WRITE = "readers read, owners write"
    OWN = "readers read and write, because it concerns only themselves"
    CONTRIBUTE = "contributors read and write"
    MANAGE = "owners read and write"


ACCESS = {
    # The person
    "health": May.ANYBODY,
    "sign-in": May.ANYBODY,
    "sign-in-link": May.ANYBODY,
    "sign-out": May.ANYBODY,
    "account": May.OWN,
    "workspace-switch": May.OWN,
    "token-list": May.OWN,
    "token-revoke": May.OWN,
    # Members
    "member-list": May.MANAGE,
    "member-role": May.MANAGE,
    "member-link": May.MANAGE,
    "member-remove": May.MANAGE,
    # The shell and search
    "home": May.READ,
    "shell": May.READ,
    "search-complete": May.READ,
    "start": May.READ,
    "start-files": May.READ,
    # Lists of runs
    "run-list": May.READ,
    "pipeline-list": May.READ,
    "run-actions": May.CONTRIBUTE,
    "pipeline-actions": May.CONTRIBUTE,
    "run-undo": May.CONTRIBUTE,
    "run-columns": May.OWN,
    # Experiments
    "experiment-list": May.READ,
    "experiment-detail": May.READ,
    "experiment-actions": May.CONTRIBUTE,
    "experiment-edit": May.CONTRIBUTE,
    "experiment-archive": May.CONTRIBUTE,
    "experiment-unarchive": May.CONTRIBUTE,
    # One run
    "run-by-id": May.READ,
    "run-detail": May.READ,
    "run-head": May.READ,
    "run-overview": May.READ,
    "run-edit": May.CONTRIBUTE,
    "run-cancel": May.CONTRIBUTE,
    "run-archive": May.READ,
    "run-unarchive": May.READ,
    "run-tags": May.READ,
    "run-metrics": May.READ,
    "run-metric": May.READ,
    "run-metric-csv": May.READ,
    "run-images": May.READ,
    "run-children": May.READ,
    "run-graph": May.READ,
    "run-log-tail": May.READ,
    "run-logs": May.READ,
    "run-log-files": May.READ,
    "run-log-lines": May.READ,
    "run-log-search": May.READ,
    "run-log-raw": May.READ,
    "run-outputs": May.READ,
    "run-outputs-zip": May.READ,
    "run-output-file": May.READ,
    "run-snapshot": May.READ,
    "run-snapshot-zip": May.READ,
    # Submit
    "submit": May.CONTRIBUTE,
    "submit-upload": May.CONTRIBUTE,
    "submit-draft-delete": May.CONTRIBUTE,
    # Compute
    "compute-list": May.READ,
    "target-command": May.READ,
    "target-create": May.MANAGE,
    "target-edit": May.MANAGE,
    "target-default": May.MANAGE,
    "node-change": May.MANAGE,
}

#: Addresses that name an object of a workspace: argument name → its value for `things`.
OBJECT_ARGUMENTS = {"name", "number", "run_id", "username", "prefix", "path", "target", "node", "draft"}


@dataclass(frozen=True)
class Things:
    """What the addresses name: everything is in the workspace of chi, ana and ben."""

    run: Run
    values: dict[str, Any]

    def address(self, pattern: URLPattern) -> str:
        arguments = pattern.pattern.converters
        unknown = set(arguments) - set(self.values)
        assert not unknown, f"{pattern.name}: give {unknown} a value in the fixture `things`"
        return reverse(pattern.name, kwargs={name: self.values[name] for name in arguments})


def patterns(under: URLResolver | None = None, before: str = "") -> Iterator[tuple[str, URLPattern]]:
    """Every address of the project, as (route, pattern)."""
    for entry in (under or get_resolver()).url_patterns:
        if isinstance(entry, URLResolver):
            yield from patterns(entry, before + str(entry.pattern))
        else:
            yield before + str(entry.pattern), entry


PAGES = [pattern for route, pattern in patterns() if not route.startswith("api/")]


def those(*kinds: May) -> Any:
    """Parametrises with the addresses of these kinds."""
    chosen = [pattern for pattern in PAGES if ACCESS.get(pattern.name) in kinds]
    return pytest.mark.parametrize("pattern", chosen, ids=[str(pattern.name) for pattern in chosen])


not_public = those(*(set(May) - {May.ANYBODY}))


@pytest.fixture
def things(chi: User, ana: User, ben: User) -> Things:
    run = make_run(kind=Kind.SCRIPT, submitter=ana, snapshot=make_snapshot())
    keep_artifact(run, "outputs/model.txt", b"weights")
    values = {
        "name": run.experiment.name,
        "number": run.number,
        "run_id": run.run_id,
        "path": "outputs/model.txt",
        "username": ana.username,
        "prefix": make_token(chi, "laptop")[0].prefix,
        "token": "unknown",
        "target": make_target().name,
        "draft": Draft.objects.create(workspace=run.workspace, owner=ana, name="half done").pk,
        "place": "runs",
    }
    return Things(run, values)


def keep_artifact(run: Run, path: str, data: bytes) -> None:
    Artifact.objects.create(
        run=run,
        path=path,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        content_type="text/plain",
        storage_name=default_storage.save("artifacts/model.txt", ContentFile(data)),
    )


def test_every_address_has_a_line_in_access() -> None:
    names = {pattern.name for pattern in PAGES}
    assert None not in names, "every address needs a name"
    assert names - set(ACCESS) == set(), "new addresses: say in ACCESS who may use them"
    assert set(ACCESS) - names == set(), "these addresses are gone: take them out of ACCESS"


def test_only_the_ways_in_are_public() -> None:
    marked = {pattern.name for pattern in PAGES if is_public(pattern.callback)}
    assert marked == {name for name, may in ACCESS.items() if may is May.ANYBODY}


class TestAnonymous:
    @not_public
    def test_a_page_leads_to_sign_in_and_back(self, client: Client, things: Things, pattern: Any) -> None:
        address = things.address(pattern)
        answer = client.get(address)
        assert answer.status_code == 302
        assert answer["Location"] == reverse("sign-in", query={"next": address})

    @not_public
    def test_a_write_leads_to_sign_in(self, client: Client, things: Things, pattern: Any) -> None:
        for method in WRITING:
            answer = getattr(client, method)(things.address(pattern))
            assert (answer.status_code, answer["Location"]) == (302, reverse("sign-in"))

    @not_public
    def test_a_part_sends_the_whole_page_to_sign_in(
        self, client: Client, things: Things, pattern: Any
    ) -> None:
        for method in ("get", *WRITING):
            answer = getattr(client, method)(things.address(pattern), headers=HTMX)
            assert answer.status_code == 401
            assert answer["HX-Redirect"] == reverse("sign-in", query={"next": "/runs/?q=lr"})

    @not_public
    def test_a_wrong_token_gets_401_as_json(self, client: Client, things: Things, pattern: Any) -> None:
        answer = client.get(things.address(pattern), headers={"Authorization": "Bearer stu_wrong"})
        assert answer.status_code == 401
        assert answer["WWW-Authenticate"] == "Bearer"

    @those(May.ANYBODY)
    def test_the_ways_in_are_open(self, client: Client, things: Things, pattern: Any) -> None:
        answer = client.get(things.address(pattern))
        assert answer.status_code in (200, 405, 410)


class TestReader:
    @those(May.READ, May.READ_OWNERS_WRITE, May.CONTRIBUTE, May.MANAGE)
    def test_can_change_nothing(self, client_of: ClientOf, ben: User, things: Things, pattern: Any) -> None:
        client = client_of(ben)
        for method, headers in product(WRITING, ({}, HTMX)):
            answer = getattr(client, method)(things.address(pattern), headers=headers)
            assert answer.status_code == 403
            assert "An owner can make you a contributor" in says(answer) or "Only an owner" in says(answer)

    @those(May.READ, May.READ_OWNERS_WRITE, May.OWN)
    def test_reading_changes_nothing(
        self, client_of: ClientOf, ben: User, things: Things, pattern: Any
    ) -> None:
        client = client_of(ben)
        with CaptureQueriesContext(connection) as asked:
            answer = client.get(things.address(pattern))
            answer.close()
        assert answer.status_code in (200, 204, 302, 403, 404, 405)
        written = [q["sql"] for q in asked if q["sql"].startswith(("INSERT", "UPDATE", "DELETE"))]
        assert written == []

    @those(May.CONTRIBUTE, May.MANAGE)
    def test_does_not_see_what_others_manage(
        self, client_of: ClientOf, ben: User, things: Things, pattern: Any
    ) -> None:
        assert client_of(ben).get(things.address(pattern)).status_code == 403

    @those(May.OWN)
    def test_writes_what_is_their_own(
        self, client_of: ClientOf, ben: User, things: Things, pattern: Any
    ) -> None:
        assert client_of(ben).post(things.address(pattern)).status_code in (303, 404, 422)


class TestContributor:
    @those(May.READ, May.CONTRIBUTE)
    def test_may_write(self, client_of: ClientOf, ana: User, things: Things, pattern: Any) -> None:
        answer = client_of(ana).post(things.address(pattern))
        assert answer.status_code != 403
        assert answer.status_code < 500

    @those(May.MANAGE, May.READ_OWNERS_WRITE)
    def test_may_not_manage(self, client_of: ClientOf, ana: User, things: Things, pattern: Any) -> None:
        answer = client_of(ana).post(things.address(pattern))
        assert answer.status_code == 403
        assert "Only an owner" in says(answer)


class TestStranger:
    """dan is an owner elsewhere: nothing of this workspace exists for him."""

    objects = pytest.mark.parametrize(
        "pattern",
        [p for p in PAGES if OBJECT_ARGUMENTS & set(p.pattern.converters)],
        ids=lambda pattern: str(pattern.name),
    )

    @objects
    def test_finds_nothing(self, client_of: ClientOf, dan: User, things: Things, pattern: Any) -> None:
        client, address = client_of(dan), things.address(pattern)
        found = {client.get(address).status_code, client.post(address).status_code}
        assert found in ({404}, {404, 405})

    def test_whoever_is_in_no_workspace_is_told_so(self, client_of: ClientOf, things: Things) -> None:
        client = client_of(make_user("nobody", role=None))
        for pattern in PAGES:
            if ACCESS[pattern.name] is not May.ANYBODY:
                answer = client.get(things.address(pattern))
                assert answer.status_code == 403
                assert "a member of no workspace" in answer.content.decode()

    def test_whoever_was_removed_sees_nothing_from_then_on(
        self, client_of: ClientOf, ana: User, things: Things
    ) -> None:
        client = client_of(ana)
        assert client.get(reverse("token-list")).status_code == 200
        Membership.objects.filter(user=ana).delete()
        assert client.get(reverse("token-list")).status_code == 403


def test_a_lower_role_counts_from_the_next_request_on(client_of: ClientOf, chi: User, ana: User) -> None:
    client = client_of(chi)
    assert client.get(reverse("member-list")).status_code == 200
    Membership.objects.filter(user=chi).update(role=Role.CONTRIBUTOR)
    assert client.get(reverse("member-list")).status_code == 403


@pytest.mark.parametrize("typed", [{}, {"unknown": "x"}, {"name": "", "do": "", "remove": ""}])
def test_a_post_without_its_fields_is_answered(
    client_of: ClientOf, chi: User, things: Things, typed: dict[str, str]
) -> None:
    for pattern in PAGES:
        answer = client_of(chi).post(things.address(pattern), typed)
        assert answer.status_code < 500, pattern.name


def test_head_answers_as_a_get_would_and_changes_nothing(
    client_of: ClientOf, chi: User, things: Things
) -> None:
    client = client_of(chi)
    for pattern in PAGES:
        address = things.address(pattern)
        with CaptureQueriesContext(connection) as asked:
            head = client.head(address)
        written = [q["sql"] for q in asked if q["sql"].startswith(("INSERT", "UPDATE", "DELETE"))]
        assert written == [], pattern.name
        assert b"".join(head) == b""
        get = client.get(address)
        assert head.status_code == get.status_code, pattern.name
        assert head.get("Location") == get.get("Location"), pattern.name
        assert head.get("Content-Type") == get.get("Content-Type"), pattern.name
        b"".join(get)  # reads to the end, which closes the files


def test_head_uses_up_no_sign_in_link(client: Client, ana: User, chi: User) -> None:
    membership = Membership.objects.get(user=ana)
    address = reverse("sign-in-link", args=[make_link_for_member(membership, by=chi)])
    assert client.head(address, headers=BY_HAND).status_code == 200
    assert client.get(address, headers=BY_HAND).status_code == 303


def test_unknown_addresses_say_so_to_everybody(client: Client, db: None) -> None:
    answer = client.get("/no/such/page/")
    assert answer.status_code == 404
    assert "Nothing is here" in answer.content.decode()


def test_csrf_is_enforced_on_every_write(chi: User, things: Things) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(chi)
    for pattern in PAGES:
        answer = client.post(things.address(pattern))
        assert answer.status_code == 403
        assert "out of date" in says(answer)


def test_no_view_turns_csrf_off() -> None:
    assert [p.name for p in PAGES if getattr(p.callback, "csrf_exempt", False)] == []
    assert "django.middleware.csrf.CsrfViewMiddleware" in settings.MIDDLEWARE


def says(answer: HttpResponse) -> str:
    """The text that a refusal gives, as the page script reads it."""
    text = answer.content.decode()
    assert "data-error" in text
    return text.split("data-error", 1)[1]
