"""How answers go out: with their headers in one piece, whatever an application gives."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from typing import Any, ClassVar

import pytest
from waitress.server import create_server

from runs.web_answers import WebChannel


class Recorder(WebChannel):
    """Remembers what it gave to the network, piece by piece."""

    sent: ClassVar[list[bytes]] = []

    def send(self, data: bytes, do_close: bool = True) -> int:
        self.sent.append(bytes(data))
        return int(super().send(data, do_close))


Kind = tuple[str, list[tuple[str, str]], Callable[[dict[str, Any]], Any]]
KINDS: dict[str, Kind] = {
    "/page": ("200 OK", [("Content-Length", "5")], lambda _: [b"hello"]),
    "/stream": ("200 OK", [], lambda _: iter([b"a", b"b"])),
    "/nothing": ("204 No Content", [], lambda _: [b"too much"]),
    "/empty": ("200 OK", [("Content-Length", "0")], lambda _: [b""]),
    "/too-long": ("200 OK", [("Content-Length", "0")], lambda _: [b"too much"]),
    "/file": ("200 OK", [("Content-Length", "5")], lambda env: env["wsgi.file_wrapper"](BytesIO(b"hello"))),
}


def application(env: dict[str, Any], start: Callable[..., Any]) -> Any:
    status, headers, body = KINDS[env["PATH_INFO"]]
    start(status, headers)
    return body(env)


@pytest.fixture
def port() -> Iterator[int]:
    """Where the application is served."""
    Recorder.sent.clear()
    server: Any = create_server(application, listen="127.0.0.1:0", threads=1)
    server.channel_class = Recorder
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server.effective_port
    server.trigger.pull_trigger(partial(server.asyncore.close_all, server._map))
    thread.join(30)
    server.task_dispatcher.shutdown()
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("path", "pieces", "body"),
    [
        ("/page", 1, b"hello"),
        ("/stream", 3, b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n"),
        ("/nothing", 1, b""),
        ("/empty", 1, b""),
        ("/too-long", 1, b""),
        ("/file", 2, b"hello"),
    ],
)
def test_headers_go_with_what_comes_behind_them(port: int, path: str, pieces: int, body: bytes) -> None:
    said = answers(port, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    headers, _, found = said.partition(b"\r\n\r\n")
    assert headers.startswith(b"HTTP/1.1 2")
    assert (found, len(Recorder.sent)) == (body, pieces)


def test_what_is_asked_at_once_is_answered_in_order(port: int) -> None:
    paths = ("/page", "/empty", "/file", "/too-long", "/page")
    asked = "".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n" for path in paths)
    said = answers(port, f"{asked}GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    bodies = [each.partition(b"\r\n\r\n")[2] for each in said.split(b"HTTP/1.1 ")[1:]]
    assert bodies == [b"hello", b"", b"hello", b"", b"hello", b""]


def answers(port: int, asked: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(asked.encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))
