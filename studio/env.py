"""Typed reads of the environment that refuse nonsense with one clear line."""

from __future__ import annotations

import os
import re
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from django.core.exceptions import ImproperlyConfigured

#: The brokers that requirements.txt or docs/operations.md bring a driver for.
BROKERS = ("filesystem", "redis", "rediss", "sentinel", "amqp", "amqps", "pyamqp")
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


def env_str(name: str, default: str = "") -> str:
    """The variable's text, or the default when it is unset or empty."""
    return os.environ.get(name, "").strip() or default


def env_bool(name: str, default: bool) -> bool:
    """A yes or no. Raises ImproperlyConfigured for anything else."""
    raw = env_str(name).lower()
    if not raw:
        return default
    if raw in _TRUE | _FALSE:
        return raw in _TRUE
    raise ImproperlyConfigured(f"{name}={raw!r} is neither yes nor no. Use 1 or 0.")


def env_int(name: str, default: int, *, least: int = 0, most: int | None = None) -> int:
    """A whole number within bounds. Raises ImproperlyConfigured otherwise."""
    raw = env_str(name)
    try:
        value = int(raw) if raw else default
    except ValueError:
        raise ImproperlyConfigured(f"{name}={raw!r} is not a whole number.") from None
    if value < least or (most is not None and value > most):
        bounds = f"at least {least}" if most is None else f"between {least} and {most}"
        raise ImproperlyConfigured(f"{name}={value} is out of range: it has to be {bounds}.")
    return value


def env_list(name: str, default: str = "", *, least: int = 0) -> list[str]:
    """Comma-separated words, without blanks. Raises ImproperlyConfigured for fewer than `least`."""
    raw = env_str(name, default)
    words = [word.strip() for word in raw.split(",") if word.strip()]
    if len(words) < least:
        raise ImproperlyConfigured(f"{name}={raw!r} names nothing. Name at least {least}, such as {default}.")
    return words


def env_path(name: str, default: str | Path) -> Path:
    """An absolute path; `~` is the home folder, relative paths start at the working directory."""
    return Path(env_str(name, str(default))).expanduser().absolute()


def env_address(name: str) -> str:
    """An IP address as connections name it, "" when unset. Raises ImproperlyConfigured otherwise."""
    raw = env_str(name)
    try:
        return str(ip_address(raw)) if raw else ""
    except ValueError:
        raise ImproperlyConfigured(f"{name}={raw!r} is not an IP address, such as 127.0.0.1.") from None


def split_url(name: str, url: str) -> SplitResult:
    """The parts of a variable's URL. Raises ImproperlyConfigured, without the password, for a port or a host
    that cannot be.
    """
    try:
        parts = urlsplit(url)
        is_fine = parts.port != 0
    except ValueError:
        is_fine = False
    if not is_fine:
        raise ImproperlyConfigured(f"{name}: the port is no number from 1 to 65535, or the host is none.")
    return parts


def env_url(name: str) -> str:
    """The address of a web site, without a slash at its end; "" when unset. Raises ImproperlyConfigured."""
    url = env_str(name).rstrip("/")
    if url:
        parts = split_url(name, url)
        if "@" in parts.netloc:
            raise ImproperlyConfigured(
                f"{name} names a person or a password. Leave out what is before the @."
            )
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ImproperlyConfigured(f"{name}={url!r} is not a web address, such as https://studio.lab.")
    return url


def env_broker(name: str) -> str:
    """A Celery broker's address; files, when unset. Raises ImproperlyConfigured for what cannot be one."""
    url = env_str(name, "filesystem://")
    scheme, found, _ = url.partition("://")
    if not found or scheme not in BROKERS:
        raise ImproperlyConfigured(
            f"{name} names an unknown kind of broker. Use redis://host:port/0, amqp://user:password@host, or "
            "leave it out for files in the data folder."
        )
    paths = [split_url(name, one).path for one in url.split(";")]  # one after the other is tried
    if "redis" in scheme and not all(re.fullmatch(r"/?\d*", path) for path in paths):
        raise ImproperlyConfigured(f"{name} ends in the number of a database: redis://host:port/0.")
    return url
