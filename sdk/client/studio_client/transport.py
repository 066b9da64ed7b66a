"""One method, `send`, that carries a request to the server and back: connections kept open, retries, clear
errors.

What is idempotent is asked again with growing pauses while the server is away, up to `patience_s`; anything
else only if no connection could be made. Away it is also while something else answers in its place: every
answer of a Studio says its version. The token goes into one header and nowhere else. One that is refused is
replaced by what `studio login` keeps by then, if it came from there.
"""

from __future__ import annotations

import base64
import contextlib
import encodings.idna  # noqa: F401  (sockets import it at the first connection; a fork in that moment hangs)
import http.client
import json
import logging
import os
import random
import socket
import ssl
import threading
import time
import urllib.parse
import urllib.request
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, Union

from studio_client import __version__
from studio_client.answers import OF_PROXIES, Answer, no_studio
from studio_client.config import Login, Secret, kept_anew
from studio_client.errors import AWAY_STATUSES, Refused, Unreachable, WrongServer, refusal
from studio_client.idle_connections import IdleConnections
from studio_client.masking import masked

API_VERSION = 1
PREFIX = f"/api/v{API_VERSION}"
TIMEOUT_S = 60.0
#: A server of plain HTTP waits silently for the rest of what is to it half a line.
_HANDSHAKE_TIMEOUT_S = 10.0
#: How long an idempotent request is tried, at a prompt and inside a run that was submitted.
PATIENCE_S = 10.0
PATIENCE_IN_RUN_S = 300.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 10.0
_AWAY_IS_SAID_AFTER_S = 1.0
#: A server that has a connection and does not answer may only be slow.
_SILENCE_IS_SAID_AFTER_S = 3.0
_LONGEST_RETRY_AFTER_S = 60.0
_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_NO_ANSWER = (OSError, http.client.HTTPException)
#: Spreads clients out, and hides nothing. It is our own, because scripts seed the one of the module.
_spread = random.Random()  # noqa: S311

_BLOCK = 1 << 17

_log = logging.getLogger("studio_client.transport")

#: What a Studio says of an address that it does not have, or not for that method.
_UNKNOWN = frozenset({"unknown_address", "method_not_allowed"})
_NEWER_CLIENT = "Install the SDK that the server's source has: `pip install ./sdk/client ./sdk/azureml`."

Body = Union[bytes, IO[bytes], None]
Pairs = Iterable[tuple[str, Any]]


class Transport:
    """Speaks with one server as one login. Safe to use from several threads and after a fork."""

    def __init__(
        self, login: Login, *, patience_s: float = PATIENCE_S, client: str = "studio-client"
    ) -> None:
        self.url = login.url
        self.patience_s = patience_s
        self.login = login
        #: Called when the server is away for a second or silent for three, and again only after it has
        #: answered; also in another thread.
        self.when_away: Callable[[], None] | None = None
        self._away_since, self._away_is_said = 0.0, False
        self._parts = urllib.parse.urlsplit(login.url)
        self._idle = IdleConnections()
        weakref.finalize(self, self._idle.close)
        self._headers = {
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
        held_s: float = 0.0,
        patience_s: float | None = None,
        target: IO[bytes] | None = None,
    ) -> Answer:
        """Send and give the answer; `path` comes after /api/v1 and is quoted already.

        `held_s` of `timeout_s` the server may hold the answer back. With `target` the body of the answer is
        written there instead of being kept. Raises Unreachable, WrongServer, or the kind of Refused that the
        answer stands for.
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
        request = _Request(method, address, content, sent, timeout_s, held_s, target)
        return self._until_answered(request, repeatable, time.monotonic() + patience)

    def _until_answered(self, request: _Request, repeatable: bool, until: float) -> Answer:
        pause = _FIRST_PAUSE_S
        while True:
            login = self.login
            answer = self._asked(request, login)
            if self._is_replaced(login, answer) and request.rewind():
                continue
            if isinstance(answer, Exception):
                again = repeatable or isinstance(answer, _NotConnected)
            elif answer.is_in_its_place:
                again = repeatable
            elif answer.status in AWAY_STATUSES:
                again = repeatable or answer.status == 429
            else:
                again = False
            wait_s = max(pause * _spread.uniform(0.7, 1.3), _retry_after(answer))
            wait_s = min(wait_s, max(0.0, until - time.monotonic()))
            self._note(wait_s, is_away=again)
            if not again or not wait_s or not request.rewind():
                return self._judged(answer)
            time.sleep(wait_s)
            pause = min(_LONGEST_PAUSE_S, pause * 2)

    def _note(self, wait_s: float, *, is_away: bool) -> None:
        """Whether it is away, and how long it is waited for before it is asked again."""
        now = time.monotonic()
        if not is_away:
            self._away_since, self._away_is_said = 0.0, False
            return
        self._away_since = self._away_since or now
        if now + wait_s - self._away_since >= _AWAY_IS_SAID_AFTER_S:
            self._say_away()

    def _say_away(self) -> None:
        if self.when_away is not None and not self._away_is_said:
            self._away_is_said = True
            self.when_away()

    @contextlib.contextmanager
    def _silence_is_said(self, held_s: float = 0.0) -> Iterator[None]:
        if self.when_away is None:
            yield
            return
        timer = threading.Timer(held_s + _SILENCE_IS_SAID_AFTER_S, self._say_away)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _is_replaced(self, login: Login, answer: Answer | Exception) -> bool:
        """Whether this login was refused and this transport has another one by now."""
        is_refused = isinstance(answer, Answer) and answer.status == 401 and bool(answer.version)
        if is_refused and login is self.login and (found := kept_anew(login)):
            self.login = found  # without a lock: what another thread has put here meanwhile is the same
        return is_refused and login is not self.login

    def _asked(self, request: _Request, login: Login) -> Answer | Exception:
        """What came of asking once. An error comes without the frames that had the token in them."""
        began = time.monotonic()
        try:
            answer = self._once(request, login)
        except _NO_ANSWER as error:
            _log.debug("%s %s: %s", request.method, masked(request.address), _reason(error))
            return error.with_traceback(None)
        spent_ms = 1000 * (time.monotonic() - began)
        address = masked(request.address)  # people have typed a token where an id belongs
        _log.debug("%s %s: %s in %.0f ms", request.method, address, answer.status, spent_ms)
        return answer

    def _once(self, request: _Request, login: Login) -> Answer:
        with self._silence_is_said():
            connection = self._open_connection(request.timeout_s)
        try:
            address = self._in_request_line(request.address)
            headers = {"Authorization": Secret(f"Bearer {login.token}"), **request.headers}
            connection.request(request.method, address, headers=headers)
            if request.body:  # on its own, for the frames that send the headers hold the token
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    connection.send(request.body)  # a refusal may come before the body is through
            with self._silence_is_said(request.held_s):
                response = connection.getresponse()
            answer = Answer(self.url, response.status, response.headers, b"")
            if 200 <= response.status < 300 and request.target is not None and answer.version:
                while chunk := response.read(1 << 20):
                    request.target.write(chunk)
            else:
                answer.body = response.read()
        except BaseException:
            connection.close()
            raise
        self._idle.give(connection)
        return answer

    def _judged(self, answer: Answer | Exception) -> Answer:
        """The answer if it is a success of a Studio; else the exception that it stands for."""
        if isinstance(answer, Exception):
            raise self._unreachable(answer)
        if answer.is_in_its_place or 300 <= answer.status < 400:
            raise no_studio(answer)
        if 200 <= answer.status < 300:
            return answer
        error = answer.error()
        if error is not None or answer.status >= 500 or answer.status in OF_PROXIES:
            body, after_s = error or {}, _retry_after(answer)
            refused = refusal(
                answer.status, body, url=self.url, retry_after_s=after_s, is_studios=bool(answer.version)
            )
            raise self._of_another_age(answer) if self._is_unknown(refused, answer) else refused
        raise self._of_another_age(answer)

    def _is_unknown(self, refused: Refused, answer: Answer) -> bool:
        """Whether the server knows nothing such, because it has another version."""
        return refused.code in _UNKNOWN and answer.version != __version__

    def _of_another_age(self, answer: Answer) -> WrongServer:
        """The exception for a Studio that does not know what is asked."""
        is_older = _numbers(answer.version) < _numbers(__version__)
        return WrongServer(
            f"The Studio at {self.url} has version {answer.version} and does not know what studio-client "
            f"{__version__} asks.",
            hint="Update the server." if is_older else _NEWER_CLIENT,
        )

    def check_version(self) -> dict[str, Any]:
        """What /info says, asked once. Raises WrongServer when server and client have no version of the API
        in common.
        """
        answer = self.send("GET", "/info", patience_s=0)
        info = answer.json()
        if not isinstance(info, dict) or info.get("product") != "studio":
            raise no_studio(answer)
        versions = [int(v) for v in info.get("api_versions", [])]
        if API_VERSION not in versions:
            newer = bool(versions) and min(versions) > API_VERSION
            raise WrongServer(
                f"The Studio at {self.url} (version {info.get('version')}) is too "
                f"{'new' if newer else 'old'} for "
                f"studio-client {__version__}.",
                hint=_NEWER_CLIENT if newer else "Update the server.",
            )
        return info

    def _open_connection(self, timeout_s: float) -> http.client.HTTPConnection:
        """A connection that is open: one that was used before, or a new one. Raises _NotConnected."""
        kept = self._idle.take()
        if kept is not None and kept.sock is not None:
            kept.sock.settimeout(timeout_s)
            return kept
        is_secure = self._parts.scheme == "https"
        made = self._new_connection(min(timeout_s, _HANDSHAKE_TIMEOUT_S) if is_secure else timeout_s)
        made.set_debuglevel(0)  # the level that users set for all connections would print the token
        try:
            made.connect()
        except OSError as error:
            is_plain = (
                is_secure and made.sock is not None and not isinstance(error, ssl.SSLCertVerificationError)
            )
            made.close()
            raise (_NotEncrypted if is_plain else _NotConnected)(_reason(error)) from error
        if is_secure:
            made.timeout = timeout_s
            made.sock.settimeout(timeout_s)
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
        where = f"It comes from {self.login.source}."
        if isinstance(error, _NotEncrypted):
            return Unreachable(
                f"The Studio at {self.url} does not answer with an encrypted connection: {_reason(error)}.",
                hint=f"Does its address begin with http:// rather than https://? {where}",
            )
        return Unreachable(
            f"The Studio at {self.url} does not answer: {_reason(error)}.",
            hint=f"Is it running, and is the address right? {where}",
        )


class _Request:
    """What is sent, as often as it takes."""

    __slots__ = ("_start", "address", "body", "headers", "held_s", "method", "target", "timeout_s")

    def __init__(
        self,
        method: str,
        address: str,
        body: Body,
        headers: dict[str, str],
        timeout_s: float,
        held_s: float,
        target: IO[bytes] | None,
    ) -> None:
        self.method, self.address, self.body, self.headers = method, address, body, headers
        self.timeout_s, self.held_s, self.target = timeout_s, held_s, target
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


class _NotEncrypted(_NotConnected):
    """Something has taken the connection, and does not speak TLS as far as can be told."""


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


def _numbers(version: str) -> list[int]:
    """A version such as 1.10.2 in an order that can be compared."""
    return [int(word) for word in version.split(".") if word.isdigit()]


def _retry_after(answer: Answer | Exception) -> float:
    """How long the server asks to be left alone, as far as it is obeyed."""
    if isinstance(answer, Exception) or answer.status not in AWAY_STATUSES:
        return 0.0
    try:
        return min(_LONGEST_RETRY_AFTER_S, max(0.0, float(answer.headers.get("Retry-After", ""))))
    except ValueError:
        return 0.0


def _reason(error: BaseException) -> str:
    if isinstance(error, (socket.timeout, TimeoutError)):
        return "it took too long"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _proxy_headers(proxy: urllib.parse.SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    who = f"{urllib.parse.unquote(proxy.username)}:{urllib.parse.unquote(proxy.password or '')}"
    return {"Proxy-Authorization": "Basic " + base64.b64encode(who.encode()).decode()}
