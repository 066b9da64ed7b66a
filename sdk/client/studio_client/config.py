"""Which server to speak with and as whom: the environment, a run's own variables, or what `studio login`
kept.

Kept is one JSON file, `credentials.json` in `~/.config/studio` (or `$XDG_CONFIG_HOME/studio`, or the folder
that `STUDIO_CONFIG_DIR` names), readable by its owner alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from studio_client.errors import ConfigError
from studio_client.masking import masked

CREDENTIALS = "credentials.json"
_HOW = "Run `studio login --url http://your-studio:8000`, or set STUDIO_URL and STUDIO_TOKEN."


class Secret(str):
    """A text that is not shown where values are, as in the local variables of a traceback."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<secret>"


class Login:
    """An address and the token to use there; `source` says in words where they come from.

    `username` or `run_id` says whose token it is; both are "" as long as the server was not asked. `file` is
    what `studio login` kept it in; None if it is from elsewhere.
    """

    __slots__ = ("file", "run_id", "source", "token", "url", "username")

    def __init__(self, url: str, token: str, source: str, username: str = "", run_id: str = "") -> None:
        token = Secret(token)
        self.url, self.source = url, source  # a traceback that shows this one wants both
        self.url = clean_url(url)
        self.token = clean_token(token)
        self.username, self.run_id = username, run_id
        self.file: Path | None = None

    @property
    def is_known(self) -> bool:
        """Whether it is known whose token it is."""
        return bool(self.run_id or self.username)

    @property
    def marks(self) -> list[str]:
        """What stands for who writes with it, the best last: a digest of the token, a person or a run."""
        found = ["token:" + hashlib.sha256(self.token.encode()).hexdigest()[:32]]
        if self.is_known:
            found.append(f"run:{self.run_id}" if self.run_id else f"person:{self.username}")
        return found

    def __repr__(self) -> str:
        return f"Login(url={self.url!r}, source={self.source!r})"

    def __reduce__(self) -> Any:
        raise TypeError(
            "A login is not pickled: its token would leave this process. Open a run where it is needed, "
            "by Run(experiment, run_id)."
        )


def config_folder() -> Path:
    """Where Studio keeps what belongs to this person on this machine."""
    named = os.environ.get("STUDIO_CONFIG_DIR")
    if named:
        return Path(named)
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return Path(home, "studio")


def clean_url(url: str) -> str:
    """The address without a slash at its end. Raises ConfigError if it is none."""
    text = url.strip()
    text = (text if "://" in text else f"http://{text}").rstrip("/")
    if any(c.isspace() or c in "@?#\\" for c in text) or not _is_address(text):
        raise ConfigError(
            f"{_without_person(url)!r} is not the address of a server.",
            hint="It looks like http://127.0.0.1:8000: a host and perhaps a port and a path, "
            "without a user name, a password or a token.",
        )
    return text[: -len("/api/v1")] if text.endswith("/api/v1") else text


def _without_person(url: str) -> str:
    """The address without a name and password, which stand before its last @."""
    _, at, rest = url.rpartition("@")
    return f"...@{rest}" if at else url


def _is_address(text: str) -> bool:
    if masked(text) != text:
        return False
    try:
        parts = urlsplit(text)
        (parts.hostname or "").encode("idna")
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of the port, of brackets, or of a name with a part that is too long
        return False


def clean_token(token: str) -> Secret:
    """The token without blanks around it. Raises ConfigError, without quoting it, if it cannot be one."""
    token = text = Secret(token.strip())
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ConfigError("This is not a token.", hint="Copy it whole, in one line, from the Tokens page.")
    return text


def in_run(environ: Mapping[str, str] | None = None) -> bool:
    """Whether this process belongs to a run that was submitted."""
    env = os.environ if environ is None else environ
    return bool(env.get("AZUREML_RUN_ID") and env.get("AZUREML_RUN_TOKEN"))


def resolve(url: str = "") -> Login:
    """The login to use: STUDIO_TOKEN, else the run that this process belongs to, else what `studio login`
    kept.

    `url` asks for a certain server; else STUDIO_URL, else the one of the last `studio login`. Raises
    ConfigError.
    """
    asked = clean_url(url) if url else ""
    address = asked or (clean_url(os.environ["STUDIO_URL"]) if os.environ.get("STUDIO_URL") else "")
    if os.environ.get("STUDIO_TOKEN"):
        address = address or current_url()
        if not address:
            raise ConfigError("STUDIO_TOKEN is set, but not STUDIO_URL.", hint="Set both.")
        return Login(address, Secret(os.environ["STUDIO_TOKEN"]), "the variables STUDIO_URL and STUDIO_TOKEN")
    if in_run() and not asked:
        address = address or os.environ.get("AZUREML_SERVICE_ENDPOINT", "")
        run_id = os.environ["AZUREML_RUN_ID"]
        return Login(address, Secret(os.environ["AZUREML_RUN_TOKEN"]), f"the run {run_id}", run_id=run_id)
    return _kept(address, config_folder() / CREDENTIALS)


def _kept(address: str, file: Path) -> Login:
    known = _read(file)
    address = address or str(known.get("current") or "")
    if not address:
        raise ConfigError("You are not signed in to a Studio.", hint=_HOW)
    entry = known.get("servers", {}).get(address)
    if not entry:
        raise ConfigError(
            f"You are not signed in to {address}.",
            hint=f"Run `studio login --url {address}`, or set STUDIO_TOKEN.",
        )
    login = Login(address, entry["token"], str(file), str(entry.get("username") or ""))
    login.file = file.absolute()
    return login


def kept_anew(login: Login) -> Login | None:
    """What `studio login` has kept for the same person and server since it kept this one.

    None if nothing, or if this one is from elsewhere: what one has logged is not sent in another's name.
    Reads the file.
    """
    if login.file is None:
        return None
    with contextlib.suppress(ConfigError):
        found = _kept(login.url, login.file)
        return found if found.token != login.token and found.username == login.username else None
    return None


def current_url() -> str:
    """The server of the last login; "" without one."""
    return str(_read(config_folder() / CREDENTIALS).get("current") or "")


def save(login: Login) -> Path:
    """Keep a login and make its server the current one; the file that holds it, mode 600."""
    folder = config_folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = folder / CREDENTIALS
    known = _read(file)
    servers = known.get("servers", {})
    servers[login.url] = {"token": login.token, "username": login.username}
    _write(file, {"current": login.url, "servers": servers})
    return file


def forget(url: str = "") -> str:
    """Forget the login of a server, or of the current one; the address that was forgotten, "" if none was."""
    file = config_folder() / CREDENTIALS
    known = _read(file)
    address = clean_url(url) if url else str(known.get("current") or "")
    servers = known.get("servers", {})
    if address not in servers:
        return ""
    del servers[address]
    current = known.get("current")
    _write(
        file, {"current": next(iter(servers), None) if current == address else current, "servers": servers}
    )
    return address


def _read(file: Path) -> dict[str, Any]:
    try:
        _tighten(file)
        found = json.loads(file.read_text(encoding="utf-8"), object_hook=_hidden)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is damaged"
    else:
        return found if isinstance(found, dict) else {}
    raise ConfigError(f"{file} cannot be read: {reason}.", hint="Delete it and run `studio login`.")


def _tighten(file: Path) -> None:
    """Take away what others may do with it, such as after it was copied, if it is one's own."""
    if os.name == "posix" and file.stat().st_mode & 0o077:
        with contextlib.suppress(OSError):
            file.chmod(0o600)


def _hidden(entry: dict[str, Any]) -> dict[str, Any]:
    if isinstance(entry.get("token"), str):
        entry["token"] = Secret(entry["token"])
    return entry


def _write(file: Path, content: dict[str, Any]) -> None:
    descriptor, name = tempfile.mkstemp(
        prefix=".credentials-", dir=str(file.parent)
    )  # mode 600 from the start
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as target:
            json.dump(content, target, indent=2)
        os.replace(name, file)
    except BaseException:
        os.unlink(name)
        raise
