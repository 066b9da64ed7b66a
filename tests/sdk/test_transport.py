"""Requests and answers, against a small server of the test's own that behaves as it is told."""

from __future__ import annotations

import http.server
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from studio_client import errors
from studio_client.config import Login
from studio_client.transport import Transport

SECRET = "studio_secret_token"


class Script:
    """What the server does, answer by answer; the last one is repeated. `seen` is what came."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.connections = 0
        self.url = ""

    def will(self, status: int, body: Any = None, **headers: str) -> None:
        """Answer like this the next time."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers.append((status, {"Studio-Version": "1.0.0", **headers}, data))


@pytest.fixture
def script() -> Iterator[Script]:
    """A server on a port of its own."""
    told = Script()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            told.connections += 1
            super().setup()

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            told.seen.append((self.command, self.path, dict(self.headers), body))
            status, headers, data = told.answers.pop(0) if len(told.answers) > 1 else told.answers[0]
            if status == 0:  # hang up without a word
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = answer

        def log_message(self, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield told
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def transport(script: Script) -> Iterator[Callable[..., Transport]]:
    """Gives a transport to that server."""
    made: list[Transport] = []

    def make(patience_s: float = 5.0) -> Transport:
        made.append(Transport(Login(script.url, SECRET, "a test"), patience_s=patience_s))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_request_carries_token_and_version_and_keeps_its_connection(script: Script, transport: Any) -> None:
    script.will(200, {"a": 1})
    client = transport()
    for _ in range(3):
        assert client.send("GET", "/me", query=[("x", "ä b"), ("no", None), ("yes", True)]).json() == {"a": 1}
    method, path, headers, _ = script.seen[0]
    assert (method, path) == ("GET", "/api/v1/me?x=%C3%A4+b&yes=true")
    assert headers["Authorization"] == f"Bearer {SECRET}"
    assert headers["Studio-Client"].startswith("studio-client/")
    assert script.connections == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, errors.NotSignedIn),
        (403, errors.NotAllowed),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (413, errors.TooBig),
        (422, errors.InvalidInput),
        (400, errors.Refused),
    ],
)
def test_each_refusal_has_its_class_with_what_the_server_said(
    script: Script, transport: Any, status: int, kind: type[errors.Refused]
) -> None:
    said = {"code": "c", "message": "Wrong.", "field": "f", "hint": "Do it right.", "expected": 7}
    script.will(status, {"error": said})
    with pytest.raises(kind) as refused:
        transport().send("POST", "/x", json_body={})
    error = refused.value
    assert (error.status, error.code, error.field, error.expected) == (status, "c", "f", 7)
    assert str(error) == "Wrong. Do it right."


def test_what_is_idempotent_is_asked_again_while_the_server_is_away(script: Script, transport: Any) -> None:
    script.will(503, b"")
    script.will(0)
    script.will(200, {"a": 1})
    body = io.BytesIO(b"whole")
    assert transport().send("PUT", "/x", body=body).json() == {"a": 1}
    assert [seen[3] for seen in script.seen] == [b"whole"] * 3


def test_what_is_not_idempotent_is_sent_once(script: Script, transport: Any) -> None:
    script.will(0)
    with pytest.raises(errors.Unreachable):
        transport().send("POST", "/x", json_body={})
    assert len(script.seen) == 1


def test_a_server_that_is_busy_says_when_to_come_back(script: Script, transport: Any) -> None:
    said = {"error": {"code": "too_many_requests", "message": "Slower."}}
    script.will(429, said, **{"Retry-After": "1"})
    script.will(200, {})
    before = time.monotonic()
    transport().send("POST", "/x", json_body={})
    assert time.monotonic() - before >= 1


def test_patience_ends_with_the_servers_own_words(script: Script, transport: Any) -> None:
    script.will(503, {"error": {"code": "busy", "message": "The database is away."}})
    with pytest.raises(errors.ServerFailed, match="The database is away"):
        transport(patience_s=2).send("GET", "/x")
    assert len(script.seen) > 1


def test_a_server_that_is_not_there_is_named_with_where_its_address_is_from() -> None:
    client = Transport(Login("http://127.0.0.1:9", SECRET, "the variable STUDIO_URL"), patience_s=0)
    with pytest.raises(
        errors.Unreachable, match=r"http://127\.0\.0\.1:9 does not answer.*STUDIO_URL"
    ) as failed:
        client.send("GET", "/x")
    assert SECRET not in str(failed.value)


def test_something_that_is_no_studio_is_told_apart(script: Script, transport: Any) -> None:
    script.answers.append((404, {"Server": "nginx"}, b"<html>not here</html>"))
    with pytest.raises(errors.WrongServer, match="is no Studio"):
        transport().send("GET", "/me")


def test_a_studio_of_another_age_is_told_with_its_version(script: Script, transport: Any) -> None:
    script.will(404, b"<html>", **{"Studio-Version": "0.3"})
    with pytest.raises(errors.WrongServer, match=r"version 0\.3 and does not know"):
        transport().send("GET", "/me")


@pytest.mark.parametrize(("versions", "word"), [([2, 3], "too new"), ([], "too old")])
def test_the_versions_of_server_and_client_are_compared(
    script: Script, transport: Any, versions: list[int], word: str
) -> None:
    script.will(200, {"product": "studio", "version": "9", "api_versions": versions})
    with pytest.raises(errors.WrongServer, match=word):
        transport().check_version()


def test_a_redirect_is_not_followed_with_the_token(script: Script, transport: Any) -> None:
    script.will(302, b"", Location="http://elsewhere/")
    with pytest.raises(errors.WrongServer, match="http://elsewhere/"):
        transport().send("GET", "/me")
    assert len(script.seen) == 1


def test_a_connection_that_the_server_has_closed_is_opened_anew(script: Script, transport: Any) -> None:
    script.will(200, {}, Connection="close")
    client = transport()
    client.send("POST", "/x", json_body={})
    client.send("POST", "/x", json_body={})
    assert script.connections == 2


def test_an_answer_can_be_written_to_a_file(script: Script, transport: Any) -> None:
    script.will(200, b"x" * 3_000_000)
    target = io.BytesIO()
    transport().send("GET", "/x", target=target)
    assert len(target.getvalue()) == 3_000_000


def test_nan_never_becomes_invalid_json(script: Script, transport: Any) -> None:
    script.will(200, {})
    with pytest.raises(ValueError, match="JSON"):
        transport().send("POST", "/x", json_body={"x": float("nan")})
