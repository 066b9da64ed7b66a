"""Requests and answers, against a small server of the test's own that behaves as it is told."""

from __future__ import annotations

import contextlib
import http.server
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from traceback import TracebackException
from typing import Any

import pytest
from studio_client import errors, snapshots
from studio_client import transport as module
from studio_client.api import Api, connect
from studio_client.config import Login
from studio_client.transport import Transport

from tests.sdk.live import Signed

SECRET = "studio_secret_token"


class Script:
    """What the server does, answer by answer; the last one is repeated. `seen` is what came."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.connections = 0
        self.url = ""
        self.may_answer = threading.Event()
        self.may_answer.set()

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
            told.may_answer.wait()
            status, headers, data = told.answers.pop(0) if len(told.answers) > 1 else told.answers[0]
            if status == 0:  # hang up without a word
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with contextlib.suppress(OSError):  # who asked has hung up
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
    told.may_answer.set()
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


@pytest.mark.parametrize("status", [429, 503])
def test_who_asks_for_more_patience_than_there_is_is_asked_again_at_its_end(
    script: Script, transport: Any, status: int
) -> None:
    said: list[int] = []
    script.will(status, b"", **{"Retry-After": "60"})
    script.will(200, {"a": 1})
    client = transport(patience_s=1.5)
    client.when_away = lambda: said.append(len(script.seen))
    before = time.monotonic()
    assert client.send("GET", "/x").json() == {"a": 1}
    assert 1.4 < time.monotonic() - before < 10.0
    assert said == [1]  # before it was waited for


@pytest.mark.parametrize("after", ["", "soon", "nan", "-3"])
def test_a_time_to_come_back_that_is_none_delays_nothing(script: Script, transport: Any, after: str) -> None:
    script.will(503, b"", **{"Retry-After": after})
    script.will(200, {"a": 1})
    before = time.monotonic()
    assert transport(patience_s=60.0).send("GET", "/x").json() == {"a": 1}
    assert time.monotonic() - before < 30.0


@pytest.mark.parametrize("status", [429, 502, 503, 504])
@pytest.mark.parametrize(("after", "when"), [("", ""), ("120", " in 60 s"), ("7.5", " in 8 s")])
def test_what_a_proxy_says_of_a_studio_that_is_away_comes_with_what_to_do(
    script: Script, transport: Any, status: int, after: str, when: str
) -> None:
    script.answers.append((status, {"Server": "nginx", "Retry-After": after}, b"<html>no</html>"))
    with pytest.raises(errors.Refused) as refused:
        transport(0).send("GET", "/x")
    assert str(refused.value) == (
        f"The server at {script.url} answered {status}. "
        f"Try again{when}; is Studio running behind that address?"
    )
    assert refused.value.retry_after_s == min(60.0, float(after or 0))


def test_what_a_studio_says_itself_stays_as_it_is(script: Script, transport: Any) -> None:
    script.will(503, {"error": {"code": "busy", "message": "The database is away."}})
    with pytest.raises(errors.ServerFailed) as refused:
        transport(0).send("GET", "/x")
    assert str(refused.value) == "The database is away."
    script.answers.clear()
    script.will(429, {"error": {"code": "c", "message": "Slower."}}, **{"Retry-After": "30"})
    with pytest.raises(errors.Refused, match=r"^Slower\. Try again in 30 s\.$"):
        transport(0).send("GET", "/x")


def test_of_a_server_that_takes_connections_and_is_silent_that_is_said(
    script: Script, transport: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SILENCE_IS_SAID_AFTER_S", 0.2)
    script.will(200, {"a": 1})
    client = transport()
    for _ in range(2):  # and once more after it has answered
        script.may_answer.clear()
        client.when_away = script.may_answer.set
        assert client.send("GET", "/x", timeout_s=30.0).json() == {"a": 1}
    assert len(script.seen) == 2


def test_nobody_calls_a_server_silent_that_holds_an_answer_back_as_it_may(
    api: Api, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[bool] = []
    monkeypatch.setattr(module, "_SILENCE_IS_SAID_AFTER_S", 0.7)
    api.transport.when_away = lambda: said.append(True)
    held_s, version = 0.0, ""
    while held_s < 0.9:  # a run that has just begun changes
        before = time.monotonic()
        version = api.wait(run_id, since=version, timeout_s=1)["version"]
        held_s = time.monotonic() - before
    assert not said


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


#: What a proxy, a login page or another product answers in the place of a Studio.
IN_ITS_PLACE = [
    (200, b"<html>sign in</html>"),
    (200, b""),
    (200, b'{"username": "x"}'),
    (401, b'{"error": {"code": "not_signed_in", "message": "Sign in."}}'),
    (404, b'{"error": {"code": "not_found", "message": "No."}}'),
    (404, b"<html>not here</html>"),
    (302, b""),
]


@pytest.mark.parametrize(("status", "body"), IN_ITS_PLACE)
def test_something_that_is_no_studio_is_told_apart(
    script: Script, transport: Any, status: int, body: bytes
) -> None:
    script.answers.append((status, {"Server": "nginx", "Location": "http://portal/"}, body))
    said = "on to http://portal/. A sign-in page or a proxy" if status == 302 else "is no Studio"
    for options in ({}, {"idempotent": True}, {"target": io.BytesIO()}):
        with pytest.raises(errors.NoStudio, match=said):
            transport(0.3).send("POST", "/me", json_body={}, **options)
        assert not options.get("target", io.BytesIO()).getvalue()
    assert len(script.seen) > 3


@pytest.mark.parametrize(("status", "body"), IN_ITS_PLACE)
def test_what_answers_in_its_place_for_a_while_is_outlasted(
    script: Script, transport: Any, status: int, body: bytes
) -> None:
    script.answers.append((status, {"Server": "nginx"}, body))
    script.will(200, {"a": 1})
    assert transport().send("GET", "/me").json() == {"a": 1}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.Refused),
        (413, errors.TooBig),
        (414, errors.Refused),
        (429, errors.Refused),
        (431, errors.Refused),
        (502, errors.ServerFailed),
    ],
)
def test_what_a_proxy_before_a_studio_refuses_is_a_refusal(
    script: Script, transport: Any, status: int, kind: type[errors.Refused]
) -> None:
    script.answers.append((status, {"Server": "nginx"}, b"<html>no</html>"))
    with pytest.raises(kind, match=f"answered {status}"):
        transport(0).send("PUT", "/x", body=b"x")
    assert len(script.seen) == 1


@pytest.mark.parametrize(
    ("place", "server"),
    [
        ("https://ml.example/studio/api/v1/info", "https://ml.example/studio"),
        ("https://ml.example/api/studio/api/v1/info", "https://ml.example/api/studio"),
        ("//ml.example/api/v1/info", "http://ml.example"),
        ("https://ml.example/api/v1/workspaces/default/runs?top=3", "https://ml.example"),
        ("HTTPS://ml.example/api/v1/info", "HTTPS://ml.example"),
        ("/api/v1/info/", ""),
        ("http://[sso/", ""),
        ("/sign-in?next=/api/v1/info", ""),
        ("https://sso.example/auth?to=https://ml.example/api/v1/info", ""),
    ],
)
def test_an_address_that_sends_its_callers_on_is_told_without_what_was_asked(
    script: Script, transport: Any, place: str, server: str
) -> None:
    script.answers.append((301, {"Location": place}, b""))
    with pytest.raises(errors.NoStudio) as failed:
        transport(0).send("GET", "/info")
    assert failed.value.hint.startswith(f"Sign in to {server} instead" if server else "A sign-in page")


@pytest.mark.parametrize("status", [400, 413, 500])
def test_what_a_proxy_refuses_says_what_to_do(script: Script, transport: Any, status: int) -> None:
    script.answers.append((status, {"Server": "nginx"}, b"<html>no</html>"))
    with pytest.raises(errors.Refused, match="client_max_body_size" if status == 413 else "whoever runs it"):
        transport(0).send("PUT", "/x", body=b"x")
    script.answers[:] = [(status, {"Studio-Version": "1.0.0"}, b"<html>no</html>")]
    with pytest.raises(errors.Refused) as failed:
        transport(0).send("PUT", "/x", body=b"x")
    assert failed.value.hint == ""


@pytest.mark.parametrize("is_there", [True, False])
def test_a_token_in_an_address_is_not_logged(
    script: Script, transport: Any, caplog: pytest.LogCaptureFixture, is_there: bool
) -> None:
    caplog.set_level("DEBUG")
    token = "stu_" + "aB3dE6gH" * 6
    if is_there:
        script.will(200, b"{}")
        transport().send("GET", f"/runs/{token}")
    else:
        away = Transport(Login("http://127.0.0.1:9", SECRET, "a test"))
        with pytest.raises(errors.Unreachable):
            away.send("GET", f"/runs/{token}", patience_s=0)
    assert "/runs/stu_" in caplog.text
    assert token not in caplog.text


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b'"text"', b"{"])
def test_an_answer_that_is_no_object_of_json_is_of_no_studio(
    script: Script, transport: Any, body: bytes
) -> None:
    script.will(200, body)
    with pytest.raises(errors.NoStudio, match="is no Studio"):
        transport().send("GET", "/me").json()


@pytest.mark.parametrize(
    ("version", "hint"), [("0.3", "Update the server"), ("2.0.0", "pip install ./sdk/client")]
)
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b"<html>"),
        (404, b'{"error": {"code": "unknown_address", "message": "There is nothing."}}'),
        (405, b'{"error": {"code": "method_not_allowed", "message": "Not that method."}}'),
    ],
)
def test_a_studio_of_another_age_is_told_with_its_version(
    script: Script, transport: Any, status: int, body: bytes, version: str, hint: str
) -> None:
    script.will(status, body, **{"Studio-Version": version})
    with pytest.raises(errors.WrongServer, match=rf"version {version} and does not know.*{hint}"):
        transport().send("GET", "/me")


def test_an_address_that_a_studio_of_the_same_age_lacks_is_not_found(signed_in: Signed) -> None:
    with pytest.raises(errors.NotFound, match="nothing at this address"):
        connect().transport.send("GET", "/nothing/of/the/kind")
    for name in ("a/b", ""):
        with pytest.raises(errors.NotFound, match="nothing named"):
            connect().run(name)


@pytest.mark.parametrize("how", ["hangs up", "refuses", "has no such value", "is interrupted"])
def test_the_token_is_in_no_local_variable_of_what_is_raised(
    script: Script, transport: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    script.will(*{"hangs up": (0,), "refuses": (401, {"error": {"code": "c"}})}.get(how, (200, {})))
    client, content = transport(0), {"x": float("nan") if how == "has no such value" else 1}
    body: Any = io.BytesIO(b"x" * 10_000_000)
    if how == "is interrupted":
        body = _Interrupting(b"x" * 10_000_000)
    with_json = how in ("has no such value", "refuses")
    sent = {"json_body": content} if with_json else {"body": body}
    with pytest.raises((errors.StudioClientError, ValueError, KeyboardInterrupt)) as caught:
        client.send("PUT", "/x", **sent)
    shown = "".join(TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "request = " in shown or "sent = " in shown
    assert SECRET not in shown


class _Interrupting(io.BytesIO):
    """A file in whose midst Ctrl-C is pressed."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise KeyboardInterrupt
        return super().read(size)


@pytest.mark.parametrize(("versions", "word"), [([2, 3], "too new"), ([], "too old")])
def test_the_versions_of_server_and_client_are_compared(
    script: Script, transport: Any, versions: list[int], word: str
) -> None:
    script.will(200, {"product": "studio", "version": "9", "api_versions": versions})
    with pytest.raises(errors.WrongServer, match=word):
        transport().check_version()


def test_a_refusal_that_comes_before_the_body_is_through_is_taken_for_one() -> None:
    asked = []

    def refuse(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                asked.append(connection.recv(1 << 10))
                connection.sendall(
                    b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                connection.close()  # with the body in it, which breaks the sender's pipe

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=refuse, args=(listener,), daemon=True).start()
        login = Login(f"http://127.0.0.1:{listener.getsockname()[1]}", SECRET, "a test")
        with pytest.raises(errors.TooBig, match="413"):
            Api(Transport(login, patience_s=5.0)).put_snapshot("w", io.BytesIO(bytes(60 << 20)))
        listener.shutdown(socket.SHUT_RDWR)
    assert len(asked) == 1


def test_a_source_that_a_proxy_refuses_for_its_size(script: Script, transport: Any, tmp_path: Path) -> None:
    (tmp_path / "train.py").touch()
    script.will(404, {"error": {"code": "not_found", "message": "There is none."}})
    script.will(413, b"")
    with pytest.raises(errors.SourceTooBig, match="413"):
        snapshots.take(Api(transport()), "w", tmp_path)


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


def test_a_server_without_tls_is_told_apart_soon(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HANDSHAKE_TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for port in (silent.getsockname()[1], int(script.url.rpartition(":")[2])):
            client = Transport(Login(f"https://127.0.0.1:{port}", SECRET, "a test"), patience_s=0)
            with pytest.raises(errors.Unreachable, match="begin with http:// rather than https://"):
                client.send("GET", "/x", timeout_s=3_600.0)
