"""One method, `send`, that carries a request to the server and back: connections kept open, retries, clear
errors.

What is idempotent is asked again with growing pauses while the server is away, up to `patience_s`; anything
else only if no connection could be made. The token goes into one header and nowhere else.
"""

from __future__ import annotations

import base64
import encodings.idna  # noqa: F401  (sockets import it at the first connection; a fork in that moment hangs)
import http.client
import json
import logging
import os
import random
import socket
import ssl
import time
import urllib.parse
import urllib.request
import weakref
from collections.abc import Iterable
from typing import IO, Any, Union

from studio_client import __version__
from studio_client.config import Login
from studio_client.errors import StudioClientError, Unreachable, WrongServer, refusal

API_VERSION = 1
PREFIX = f"/api/v{API_VERSION}"
TIMEOUT_S = 60.0
#: How long an idempotent request is tried, at a prompt and inside a run that was submitted.
PATIENCE_S = 10.0
PATIENCE_IN_RUN_S = 300.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 10.0
_PAUSE_AND_ASK_AGAIN = frozenset({429, 502, 503, 504})
_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_NO_ANSWER = (OSError, http.client.HTTPException)
#: Spreads clients out, and hides nothing. It is our own, because scripts seed the one of the module.
_spread = random.Random()  # noqa: S311

_BLOCK = 1 << 17

_log = logging.getLogger("studio_client.transport")

Body = Union[bytes, IO[bytes], None]
Pairs = Iterable[tuple[str, Any]]


class Answer:
    """A successful answer: its status, its headers, and its body, read whole."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: http.client.HTTPMessage, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        """The body as JSON; None when it is empty."""
        return json.loads(self.body) if self.body else None


class Transport:
    """Speaks with one server as one login. Safe to use from several threads and after a fork."""

    def __init__(
        self, login: Login, *, patience_s: float = PATIENCE_S, client: str = "studio-client"
    ) -> None:
        self.url = login.url
        self.patience_s = patience_s
        self.login = login
        self._parts = urllib.parse.urlsplit(login.url)
        self._idle = _Idle()
        weakref.finalize(self, self._idle.close)
        self._headers = {
            "Authorization": f"Bearer {login.token}",
            "Studio-Client": f"{client}/{__version__}",
            "User-Agent": f"{client}/{__version__}",
            "Accept": "application/json",
        }

    def __repr__(self) -> str:
        return f"Transport({self.url!r})"

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine, with no network and no proxy in between."""
        return self._parts.hostname in ("localhost", "127.0.0.1", "::1")

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Pairs = (),
        json_body: Any = None,
        body: Body = None,
        headers: dict[str, str] | None = None,
        idempotent: bool | None = None,
        timeout_s: float = TIMEOUT_S,
        patience_s: float | None = None,
        target: IO[bytes] | None = None,
    ) -> Answer:
        """Send and give the answer; `path` comes after /api/v1 and is quoted already.

        With `target` the body of the answer is written there instead of being kept. Raises Unreachable,
        WrongServer, or the kind of Refused that the answer stands for.
        """
        address = self._address(path, query)
        content: Body = body
        sent = {**self._headers, **(headers or {})}
        if json_body is not None:
            content = json.dumps(json_body, allow_nan=False, separators=(",", ":")).encode()
            sent["Content-Type"] = "application/json"
        if content is not None:
            sent["Content-Length"] = str(_size(content))
        repeatable = method in _IDEMPOTENT if idempotent is None else idempotent
        patience = self.patience_s if patience_s is None else patience_s
        request = _Request(method, address, content, sent, timeout_s, target)
        return self._until_answered(request, repeatable, time.monotonic() + patience)

    def _until_answered(self, request: _Request, repeatable: bool, until: float) -> Answer:
        pause = _FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            wait_s = pause * _spread.uniform(0.7, 1.3)
            try:
                answer = self._once(request)
            except _NO_ANSWER as error:
                _log.debug("%s %s: %s", request.method, request.address, _reason(error))
                safe = repeatable or isinstance(error, _NotConnected)
                if not safe or time.monotonic() + wait_s > until or not request.rewind():
                    raise self._unreachable(error) from None
            else:
                spent_ms = 1000 * (time.monotonic() - began)
                _log.debug("%s %s: %s in %.0f ms", request.method, request.address, answer.status, spent_ms)
                if answer.status not in _PAUSE_AND_ASK_AGAIN or not (repeatable or answer.status == 429):
                    return self._judged(answer)
                wait_s = max(wait_s, _retry_after(answer))
                if time.monotonic() + wait_s > until or not request.rewind():
                    return self._judged(answer)
            time.sleep(wait_s)
            pause = min(_LONGEST_PAUSE_S, pause * 2)

    def _once(self, request: _Request) -> Answer:
        connection = self._open_connection(request.timeout_s)
        try:
            connection.request(
                request.method, self._in_request_line(request.address), request.body, request.headers
            )
            response = connection.getresponse()
            if 200 <= response.status < 300 and request.target is not None:
                while chunk := response.read(1 << 20):
                    request.target.write(chunk)
                answer = Answer(response.status, response.headers, b"")
            else:
                answer = Answer(response.status, response.headers, response.read())
        except BaseException:
            connection.close()
            raise
        self._idle.give(connection)
        return answer

    def _judged(self, answer: Answer) -> Answer:
        """The answer if it is a success of a Studio; else the exception that it stands for."""
        if 200 <= answer.status < 300:
            return answer
        try:
            body = json.loads(answer.body)
        except ValueError:
            body = None
        if isinstance(body, dict) and isinstance(body.get("error"), dict):
            raise refusal(answer.status, body)
        if 300 <= answer.status < 400:
            raise WrongServer(
                f"{self.url} sends its callers on to {answer.headers.get('Location', 'another address')}.",
                hint="Sign in to that address instead.",
            )
        if answer.status >= 500:
            raise refusal(answer.status, {})
        raise self._wrong_server(answer)

    def _wrong_server(self, answer: Answer) -> StudioClientError:
        """Why an answer is not one of the API: no Studio, or one that is too old or too new."""
        version = answer.headers.get("Studio-Version")
        if not version:
            return WrongServer(
                f"What answers at {self.url} (status {answer.status}) is no Studio.",
                hint="Look at the address: it is that of the pages, such as http://127.0.0.1:8000.",
            )
        return WrongServer(
            f"The Studio at {self.url} has version {version} and does not know what studio-client "
            f"{__version__} asks.",
            hint="Update whichever is older: `pip install --upgrade studio-client`, or the server.",
        )

    def check_version(self) -> dict[str, Any]:
        """What /info says. Raises WrongServer when server and client have no version of the API in common."""
        info = self.send("GET", "/info").json()
        if not isinstance(info, dict) or info.get("product") != "studio":
            raise WrongServer(f"What answers at {self.url} is no Studio.", hint="Look at the address.")
        versions = [int(v) for v in info.get("api_versions", [])]
        if API_VERSION not in versions:
            newer = bool(versions) and min(versions) > API_VERSION
            raise WrongServer(
                f"The Studio at {self.url} (version {info.get('version')}) is too "
                f"{'new' if newer else 'old'} for "
                f"studio-client {__version__}.",
                hint="Run `pip install --upgrade studio-client`." if newer else "Update the server.",
            )
        return info

    def _open_connection(self, timeout_s: float) -> http.client.HTTPConnection:
        """A connection that is open: one that was used before, or a new one. Raises _NotConnected."""
        kept = self._idle.take()
        if kept is not None and kept.sock is not None:
            kept.sock.settimeout(timeout_s)
            return kept
        made = self._new_connection(timeout_s)
        try:
            made.connect()
        except OSError as error:
            made.close()
            raise _NotConnected(_reason(error)) from error
        return made

    def close(self) -> None:
        """Close the connections that are kept; the next request opens another."""
        self._idle.close()

    def _new_connection(self, timeout_s: float) -> http.client.HTTPConnection:
        secure = self._parts.scheme == "https"
        host, port = self._parts.hostname or "", self._parts.port or (443 if secure else 80)
        proxy = self._proxy()
        if proxy is None:
            if secure:
                return http.client.HTTPSConnection(
                    host, port, timeout=timeout_s, blocksize=_BLOCK, context=_tls()
                )
            return http.client.HTTPConnection(host, port, timeout=timeout_s, blocksize=_BLOCK)
        if not secure:
            return http.client.HTTPConnection(proxy.hostname or "", proxy.port or 80, timeout=timeout_s)
        through = http.client.HTTPSConnection(
            proxy.hostname or "", proxy.port or 80, timeout=timeout_s, context=_tls()
        )
        through.set_tunnel(host, port, headers=_proxy_headers(proxy))
        return through

    def _proxy(self) -> urllib.parse.SplitResult | None:
        """The proxy that the environment names for this server."""
        host = self._parts.hostname or ""
        named = urllib.request.getproxies().get(self._parts.scheme)
        if not named or self.is_local or urllib.request.proxy_bypass(host):
            return None
        return urllib.parse.urlsplit(named if "://" in named else f"http://{named}")

    def _address(self, path: str, query: Pairs) -> str:
        words = [(name, _text(value)) for name, value in query if value is not None]
        asked = f"?{urllib.parse.urlencode(words)}" if words else ""
        return f"{self._parts.path}{PREFIX}{path}{asked}"

    def _in_request_line(self, address: str) -> str:
        plain_proxy = self._parts.scheme == "http" and self._proxy() is not None
        return f"{self._parts.scheme}://{self._parts.netloc}{address}" if plain_proxy else address

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(
            f"The Studio at {self.url} does not answer: {_reason(error)}.",
            hint=f"Is it running, and is the address right? It comes from {self.login.source}.",
        )


class _Idle:
    """Open connections that nobody uses at the moment. A forked process begins without any."""

    def __init__(self) -> None:
        self._connections: list[http.client.HTTPConnection] = []
        self._pid = os.getpid()

    def take(self) -> http.client.HTTPConnection | None:
        """One that is still open on both sides, for the caller alone; None if there is none."""
        if self._pid != os.getpid():
            self.close()
            self._pid = os.getpid()
        while True:
            try:
                kept = self._connections.pop()
            except IndexError:
                return None
            if kept.sock is not None and not _has_ended(kept.sock):
                return kept
            kept.close()

    def give(self, connection: http.client.HTTPConnection) -> None:
        """Keep it for the next request, unless the server has closed it."""
        if connection.sock is not None:
            self._connections.append(connection)

    def close(self) -> None:
        """Close them all."""
        while self._connections:
            self._connections.pop().close()


class _Request:
    """What is sent, as often as it takes."""

    __slots__ = ("_start", "address", "body", "headers", "method", "target", "timeout_s")

    def __init__(
        self,
        method: str,
        address: str,
        body: Body,
        headers: dict[str, str],
        timeout_s: float,
        target: IO[bytes] | None,
    ) -> None:
        self.method, self.address, self.body, self.headers = method, address, body, headers
        self.timeout_s, self.target = timeout_s, target
        self._start = 0 if body is None or isinstance(body, bytes) else body.tell()

    def rewind(self) -> bool:
        """Make ready to be sent again; False if that is impossible."""
        try:
            if self.body is not None and not isinstance(self.body, bytes):
                self.body.seek(self._start)
            if self.target is not None:
                self.target.seek(0)
                self.target.truncate()
        except OSError:
            return False
        return True


class _NotConnected(OSError):
    """No connection was made, so nothing can have been done."""


def _size(body: Any) -> int:
    if isinstance(body, (bytes, bytearray, memoryview)):
        return len(body)
    here = body.tell()
    end = body.seek(0, os.SEEK_END)
    body.seek(here)
    return int(end - here)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _retry_after(answer: Answer) -> float:
    try:
        return min(60.0, float(answer.headers.get("Retry-After", "")))
    except ValueError:
        return 0.0


def _reason(error: BaseException) -> str:
    if isinstance(error, (socket.timeout, TimeoutError)):
        return "it took too long"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def _has_ended(sock: socket.socket) -> bool:
    """Whether the other side has closed a connection that was kept:
    then there is something to read, namely its end.
    """
    timeout = sock.gettimeout()
    try:
        sock.settimeout(0)
        sock.recv(1, socket.MSG_PEEK)
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except (OSError, ValueError):  # ValueError: TLS takes no flags, and then nothing is known
        return not isinstance(sock, ssl.SSLSocket)
    finally:
        sock.settimeout(timeout)
    return True


def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _proxy_headers(proxy: urllib.parse.SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    who = f"{urllib.parse.unquote(proxy.username)}:{urllib.parse.unquote(proxy.password or '')}"
    return {"Proxy-Authorization": "Basic " + base64.b64encode(who.encode()).decode()}
