"""Answers of a server, and the exception for those that no Studio gives."""

from __future__ import annotations

import http.client
import json
import re
import urllib.parse
from typing import Any

from studio_client.errors import NoStudio, WrongServer

#: What a proxy before a Studio refuses of itself: a request that is malformed or too big, and too many.
OF_PROXIES = frozenset({400, 413, 414, 429, 431})
_VERSION_HEADER = "Studio-Version"
#: The address of something in the API of a server, which answers there if its address has only changed.
_MOVED = re.compile(r"(?P<server>(?i:https?)://[^?#]+)/api/v1(?:/[^?#]*)?(?:[?#].*)?")


class Answer:
    """An answer of the server at `url`: its status, its headers, and its body, read whole."""

    __slots__ = ("body", "headers", "status", "url")

    def __init__(self, url: str, status: int, headers: http.client.HTTPMessage, body: bytes) -> None:
        self.url = url
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def version(self) -> str:
        """The version of the Studio that gave it; "" if none did."""
        return str(self.headers.get(_VERSION_HEADER) or "")

    @property
    def is_in_its_place(self) -> bool:
        """Whether something gave it that is neither a Studio nor a proxy before one."""
        return not self.version and self.status < 500 and self.status not in OF_PROXIES

    def json(self) -> Any:
        """The object of JSON that the body is; None when it is empty. Raises NoStudio if it is another."""
        found = self._parsed() if self.body else None
        if found is None or isinstance(found, dict):
            return found
        raise no_studio(self)

    def error(self) -> dict[str, Any] | None:
        """The error that the body holds as JSON; None without one."""
        body = self._parsed()
        return body if isinstance(body, dict) and isinstance(body.get("error"), dict) else None

    def _parsed(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return ""


def no_studio(answer: Answer) -> WrongServer:
    """The exception for an answer that no Studio gives."""
    if 300 <= answer.status < 400:
        place = answer.headers.get("Location", "")
        server = _server_at(answer.url, place)
        hint = "A sign-in page or a proxy stands before it: give the address that Studio itself has."
        return NoStudio(
            f"{answer.url} sends its callers on to {place or 'another address'}.",
            hint=f"Sign in to {server} instead." if server else hint,
        )
    return NoStudio(
        f"What answers at {answer.url} (status {answer.status}) is no Studio.",
        hint="Look at the address: it is that of the pages, such as http://127.0.0.1:8000.",
    )


def _server_at(url: str, place: str) -> str:
    """The other server to which this one sends who asks its API; "" if it is another page, or none."""
    try:
        moved = _MOVED.fullmatch(urllib.parse.urljoin(url, place))
    except ValueError:
        return ""
    return moved["server"] if moved and moved["server"] != url else ""
