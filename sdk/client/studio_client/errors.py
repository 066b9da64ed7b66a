"""Everything that the client raises.

    StudioClientError
    ├── ConfigError         no server or no token is known, or a file of the configuration cannot be read
    ├── InvalidSource       a folder cannot be a snapshot
    │   ├── SourceEmpty     it has no file
    │   └── SourceTooBig    it has more bytes or files than are taken
    ├── Unreachable         no answer came
    ├── WrongServer         what answers is no Studio, or one of another age than this client
    │   └── NoStudio        it is none, as far as can be told: also a proxy or a login page in between
    └── Refused             the server answered with an error; `status` and `code` say which
        ├── NotSignedIn     401
        ├── NotAllowed      403
        ├── NotFound        404
        ├── Conflict        409; `expected` where the server says what would have been right
        ├── TooBig          413
        ├── InvalidInput    422; `field` names the input
        └── ServerFailed    5xx

    try:
        api.run("missing")
    except NotFound as error:
        print(error.message, error.hint)

None of them ever holds a token, also not one that was typed in the place of something else.
"""

from __future__ import annotations

import math
from typing import Any

from studio_client.masking import masked

SIGN_IN = "Make a token on the page Tokens, and give it to `studio login` or STUDIO_TOKEN."


class StudioClientError(Exception):
    """Something that a person can understand and put right:
    `message` says what, `hint` what would be right.
    """

    code = "client_error"
    #: So many seconds the server, or a proxy before it, asks to be left alone.
    retry_after_s = 0.0

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message, self.hint = masked(message), masked(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class ConfigError(StudioClientError):
    """No server or no token is known, or what is kept cannot be read."""

    code = "config"


class InvalidSource(StudioClientError):
    """A folder cannot be taken as a snapshot."""

    code = "invalid_snapshot"


class SourceEmpty(InvalidSource):
    """A folder has no file, but for those that are always left out."""


class SourceTooBig(InvalidSource):
    """A folder has more bytes or files than are taken."""

    code = "snapshot_too_big"


class Unreachable(StudioClientError):
    """The server did not answer, also not when asked again."""

    code = "unreachable"


class WrongServer(StudioClientError):
    """What answers is no Studio, or one that this client cannot speak with."""

    code = "wrong_server"


class NoStudio(WrongServer):
    """What answers is no Studio, also when asked again; a proxy or a login page may be in between."""


class Refused(StudioClientError):
    """The server answered with an error."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str = "error",
        field: str = "",
        hint: str = "",
        expected: Any = None,
        retry_after_s: float = 0.0,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code
        self.field = field
        self.expected = expected
        self.retry_after_s = retry_after_s


class NotSignedIn(Refused):
    """The token is missing, unknown, revoked or expired."""


class NotAllowed(Refused):
    """The role, or the run that the token belongs to, does not allow this."""


class NotFound(Refused):
    """There is no such thing, or it may not be known to who asks."""


class Conflict(Refused):
    """It was right once and no longer is: a run has ended, a property is set, a file is there."""


class TooBig(Refused):
    """What was sent is larger than the server takes, or what was asked for than it gives at once."""


class InvalidInput(Refused):
    """A value is missing, malformed or out of range; `field` names it."""


class ServerFailed(Refused):
    """The server failed, also when asked again."""


_BY_STATUS: dict[int, type[Refused]] = {
    401: NotSignedIn,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    413: TooBig,
    422: InvalidInput,
}


#: What a server, or a proxy before one, answers that is there again soon.
AWAY_STATUSES = frozenset({429, 502, 503, 504})


def is_away(error: BaseException | None) -> bool:
    """Whether the server is away or busy for now, so that the same is worth asking again later."""
    if isinstance(error, Refused):
        return error.status in AWAY_STATUSES
    return isinstance(error, (Unreachable, NoStudio))


_PROXY = "This is of the web server, or of a proxy before it"
#: What to do about what Studio itself has not said.
_OF_PROXIES = {
    413: f"{_PROXY}: have it take more at once (nginx: client_max_body_size), or send less (.amlignore).",
    **dict.fromkeys((400, 414, 431, 500), f"{_PROXY}: whoever runs it finds more in its log."),
}


def refusal(
    status: int, body: dict[str, Any], *, url: str = "", retry_after_s: float = 0.0, is_studios: bool = True
) -> Refused:
    """The exception for an answer with this status and this JSON, from `url`.

    One that is not `is_studios` came from the web server of Studio, or from a proxy before it.
    """
    kind = _BY_STATUS.get(status, ServerFailed if status >= 500 else Refused)
    found = body.get("error")
    error: dict[str, Any] = found if isinstance(found, dict) else {}
    if error.get("code") == "not_signed_in":  # the server's hint is for programs of other kinds
        error = {**error, "hint": SIGN_IN}
    hint = str(error.get("hint") or ("" if error or is_studios else _OF_PROXIES.get(status, "")))
    if status in AWAY_STATUSES and not hint:
        when = f" in {math.ceil(retry_after_s)} s" if retry_after_s else ""
        if not error:
            hint = f"Try again{when}; is Studio running behind that address?"
        elif when:
            hint = f"Try again{when}."
    return kind(
        str(error.get("message") or f"The server{url and f' at {url}'} answered {status}."),
        status=status,
        code=str(error.get("code") or f"http_{status}"),
        field=str(error.get("field") or ""),
        hint=hint,
        expected=error.get("expected", body.get("expected")),
        retry_after_s=retry_after_s,
    )
