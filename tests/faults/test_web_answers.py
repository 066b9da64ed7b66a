"""What comes over a connection that is kept: each answer whole, and nothing behind it."""

from __future__ import annotations

import socket
from contextlib import closing
from http.client import HTTPConnection

import pytest

from tests.fixtures.processes import StudioProcess

pytestmark = [pytest.mark.worker, pytest.mark.own_servers]


def test_an_answer_to_head_ends_with_its_headers(studio: StudioProcess) -> None:
    with closing(HTTPConnection("127.0.0.1", studio.port, timeout=30)) as connection:
        connection.request("HEAD", "/sign-in/")
        head = connection.getresponse()
        head.read()
        connection.request("GET", "/sign-in/")
        get = connection.getresponse()
        assert (head.status, get.status) == (200, 200)
        assert head.headers["Content-Length"] == str(len(get.read()))


def test_also_where_its_length_is_not_known(studio: StudioProcess) -> None:
    with socket.create_connection(("127.0.0.1", studio.port), timeout=30) as connection:
        connection.sendall(b"HEAD /api/v1/me HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    headers, end, body = answer.partition(b"\r\n\r\n")
    assert (headers.split(b"\r\n")[0], end, body) == (
        b"HTTP/1.1 405 Method Not Allowed", b"\r\n\r\n", b""
    )  # fmt: skip
    assert b"Transfer-Encoding: chunked" in headers.split(b"\r\n")


def test_answers_without_a_body_keep_their_headers(studio: StudioProcess) -> None:
    with closing(HTTPConnection("127.0.0.1", studio.port, timeout=30)) as connection:

        def ask(path: str, **headers: str) -> tuple[int, bytes, str]:
            connection.request(
                "GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()}
            )
            answer = connection.getresponse()
            return (
                answer.status,
                answer.read(),
                answer.headers["Last-Modified"] or answer.headers["Location"] or "",
            )

        status, whole, changed = ask("/static/studio.css")
        assert (status, len(whole) > 1000) == (200, True)
        assert ask("/static/studio.css", If_Modified_Since=changed)[:2] == (304, b"")
        status, body, place = ask("/runs/")
        assert (status, body, place[:9]) == (302, b"", "/sign-in/")
        assert ask("/static/studio.css")[:2] == (200, whole)
