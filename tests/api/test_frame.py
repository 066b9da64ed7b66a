"""What holds for every answer: the version, the shape of errors, pages of lists, the description."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext

import studio
from runs.api.schemas import JSON_LENGTH
from studio.accounts.models import Role, User
from tests.api_kit import Api, refusal
from tests.factories import make_run, make_user, make_workspace


def test_info_needs_no_token(db: None) -> None:
    answer = Api().get("/info")
    assert answer.json() == {"product": "studio", "version": studio.VERSION, "api_versions": [1]}


def test_every_answer_says_the_version(api: Api) -> None:
    for path in ("/info", "/me", "/nothing/here", "/workspaces/unknown"):
        assert api.get(path)["Studio-Version"] == studio.VERSION


def test_the_description_is_public_and_whole(db: None) -> None:
    described = Api().get("/openapi.json").json()
    assert described["openapi"].startswith("3.")
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], f"{method} {path}"
            assert operation.get("description"), f"{method} {path}"
            for one in operation.get("parameters", []):
                assert one["in"] != "path" or one.get("description"), f"{method} {path} {one['name']}"
            assert set(operation["responses"]) & {"200", "201", "204"}, f"{method} {path}"
            assert {"401", "403", "404", "422"} <= set(operation["responses"]), f"{method} {path}"


def test_the_page_of_the_description_is_public_and_names_every_operation(client: Client, db: None) -> None:
    answer = client.get("/api/docs")
    assert answer.status_code == 200
    assert "script-src 'self'" in answer["Content-Security-Policy"]
    page = answer.content.decode()
    assert "<script" not in page
    assert "style=" not in page
    described = Api().get("/openapi.json").json()
    for path in described["paths"]:
        assert f"<code>{path}</code>" in page
    for name in described["components"]["schemas"]:
        assert f'id="shape-{name}"' in page
    linked = set(re.findall(r'href="#([^"]+)"', page))
    assert linked <= set(re.findall(r' id="([^"]+)"', page))
    assert "shape-RunOut" in linked
    assert "`" not in page


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/nothing", "unknown_address"),
        ("/me/", "unknown_address"),
        ("/workspaces/a/b/c", "unknown_address"),
        ("/", "not_found"),
        ("/runs/nothing", "not_found"),
    ],
)
def test_unknown_addresses_say_so_as_json(api: Api, path: str, code: str) -> None:
    answer = api.get(path)
    assert answer.status_code == 404
    assert refusal(answer)["code"] == code


@pytest.mark.parametrize(
    "path", ["/workspaces", "/workspaces/default/runs", "/workspaces/default/experiments"]
)
def test_a_parameter_that_is_not_known_is_refused_with_those_that_are(api: Api, path: str) -> None:
    answer = api.get(path, {"limit": 1, "bogus": 1})
    assert (answer.status_code, refusal(answer)["field"]) == (422, "bogus")
    assert "limit" in refusal(answer)["hint"]
    assert api.get(path, {"limit": 1}).status_code == 200


@pytest.mark.parametrize(
    "query", ["target=false&target=0.0&target=", "include_children=1&include_children=0"]
)
def test_a_parameter_with_one_value_that_comes_twice_is_refused(api: Api, query: str) -> None:
    answer = api.get(f"/workspaces/default/runs?{query}")
    assert (answer.status_code, refusal(answer)["field"]) == (422, query.partition("=")[0])
    assert api.get("/workspaces/default/runs?tag=a&tag=b&limit=1").status_code == 200


def test_a_wrong_method_says_which_are_right(api: Api) -> None:
    answer = api.post("/me", {})
    assert (answer.status_code, answer["Allow"]) == (405, "GET")
    assert refusal(answer)["code"] == "method_not_allowed"


def test_nul_is_refused_wherever_it_is(api: Api) -> None:
    for path in ("/workspaces/a%00b", "/workspaces?cursor=%00", "/me?x=%00"):
        assert api.get(path).status_code in (200, 404, 422)


@pytest.mark.parametrize("text", ["\ud800", "a\0b"])
def test_text_that_no_database_keeps_is_refused_by_its_field(api: Api, text: str) -> None:
    run = make_run()
    for path, body, field in (
        (f"/runs/{run.run_id}", {"description": text}, "description"),
        ("/workspaces/default/experiments/mnist", {"description": text}, "description"),
    ):
        answer = api.patch(path, body)
        assert (answer.status_code, refusal(answer)["field"]) == (422, field)
    for field in ("parent", "snapshot", "tags"):
        body = {"experiment": "mnist", field: {"key": text} if field == "tags" else text}
        answer = api.post("/workspaces/default/runs", body)
        assert (answer.status_code, refusal(answer)["field"].partition(".")[0]) == (422, field)


def test_an_address_with_too_much_in_it_is_refused(api: Api) -> None:
    answer = api.get("/workspaces?" + "a&" * 10_001)
    assert answer.status_code == 413
    assert refusal(answer)["code"] == "too_big"


def test_a_body_with_too_much_in_it_is_refused(api: Api, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000
    answer = api.post("/workspaces/default/experiments", {"name": "x" * 2_000})
    assert (answer.status_code, refusal(answer)["code"]) == (413, "too_big")
    assert refusal(answer)["message"] == "The body has more than 1,000 bytes."


def test_a_body_with_too_many_parts_is_refused_before_they_are_made(api: Api) -> None:
    many = b"[]," * (JSON_LENGTH // 2) + b"[]"
    body = b'{"experiment": "mnist", "script": "x.py", "run_configuration": {"a": [%b]}}' % many
    answer = api.post("/workspaces/default/submissions", raw=body)
    assert (answer.status_code, refusal(answer)["code"]) == (413, "too_big")
    assert "brackets" in refusal(answer)["message"]


class TestMe:
    def test_says_who_and_where(self, api: Api) -> None:
        said = api.get("/me").json()
        assert (said["username"], said["display_name"], said["run_id"]) == ("ana", None, None)
        assert [(one["name"], one["role"]) for one in said["workspaces"]] == [("default", "contributor")]

    def test_a_session_may_look(self, client_of: Callable[[User], Client], ben: User) -> None:
        assert client_of(ben).get("/api/v1/me").json()["username"] == "ben"

    def test_beside_a_token_a_session_is_not_even_looked_at(
        self, api: Api, client_of: Callable[[User], Client], ben: User
    ) -> None:
        browser = client_of(ben)
        browser.get("/api/v1/me")
        bearer = {"Authorization": f"Bearer {api.token}"}
        for address, status in (("/api/v1/me", 200), ("/api/v1/nothing", 404), ("/api/docs", 200)):
            answer = browser.get(address, headers={**bearer, "HX-Request": "true"})
            assert answer.status_code == status
            assert not hasattr(answer.wsgi_request, "session")
            assert not answer.cookies
        assert browser.get("/api/v1/me", headers=bearer).json()["username"] == "ana"
        assert browser.get("/api/v1/me", headers={"Authorization": "Bearer x"}).status_code == 401
        assert browser.get("/api/v1/me", headers={"Authorization": ""}).json()["username"] == "ben"


class TestWorkspaces:
    def test_only_ones_own_in_pages(self, api: Api, ana: User, dan: User) -> None:
        for name in ("b-second", "a-first", "c-third"):
            make_user("ana", Role.READER, workspace=make_workspace(name))
        names, cursor = [], None
        while True:
            page = api.get("/workspaces", {"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
            names += [one["name"] for one in page["items"]]
            cursor = page["next_cursor"]
            if not cursor:
                break
        assert names == ["a-first", "b-second", "c-third", "default"]

    def test_one(self, api: Api) -> None:
        api.get("/workspaces/default")  # notes when the token was used
        with CaptureQueriesContext(connection) as asked:
            said = api.get("/workspaces/default").json()
        assert len(asked) == 1
        assert said["name"] == "default"
        assert said["created_at"].endswith("Z")
        assert said["url"].endswith("/experiments/?workspace=default")

    @pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "cursor=%21", "cursor=a"])
    def test_bad_pages_are_refused(self, api: Api, query: str) -> None:
        answer = api.get(f"/workspaces?{query}")
        assert answer.status_code == 422
        assert refusal(answer)["field"] == query.split("=")[0]


class Breaks:
    """A middleware with a mistake in it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        pass

    def __call__(self, request: HttpRequest) -> HttpResponse:
        raise ValueError("a mistake")


def test_what_breaks_before_any_view_is_told_in_json(settings: Any, db: None) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.api.test_frame.Breaks"]
    answer = Client(raise_request_exception=False).get("/api/v1/info")
    assert (answer.status_code, refusal(answer)["code"]) == (500, "server_error")
    assert "mistake" not in answer.content.decode()
