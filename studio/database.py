"""Database settings from one address: `sqlite:////absolute/path` (three slashes: relative) or `postgresql://user:password@host:port/name`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from studio.env import split_url

#: Measured with eight writing processes: no "database is locked", and readers are not held up. Every 16 MB of
#: log are taken into the database at once, in which a page that thirty runs changed is written once.
SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=4000;",
}

#: Who is silent for so long is away, also when Studio stops; the system itself would wait for two minutes.
CONNECT_S = 10


def take_to_disk() -> None:
    """Return when a power cut can no longer undo what was committed. Raises OSError.

    PostgreSQL sees to that at every commit. SQLite would hold its lock for all writers meanwhile: 0.2 to 3 ms
    each time, or for as long as a process hangs that is stopped then.
    """
    if connection.vendor != "sqlite":
        return
    try:
        log = os.open(f"{connection.settings_dict['NAME']}-wal", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # SQLite has taken all of it into the database itself, and to the disk
        return
    try:
        os.fsync(log)
    finally:
        os.close(log)


def sqlite_database(path: str) -> dict[str, Any]:
    """Django's settings for a database in this file."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "CONN_MAX_AGE": 600,
        "OPTIONS": dict(SQLITE_OPTIONS),
    }


def misplaced_database(path: Path) -> Path | None:
    """Where earlier versions put the database that belongs at this path, if it is there and not here.

    They read `#`, `?` and codes such as `%41` in the name of the data folder as an address has them.
    """
    older = Path(unquote(urlsplit(f"sqlite:///{path}").path.removeprefix("/")))
    return older if older != path and older.is_file() and not path.exists() else None


def parse_database_url(url: str) -> dict[str, Any]:
    """Django's settings for one database. Raises ImproperlyConfigured for an address that it cannot read."""
    parts = split_url("STUDIO_DATABASE_URL", url)
    if parts.scheme == "sqlite":
        if parts.query or parts.fragment:
            raise ImproperlyConfigured(
                "STUDIO_DATABASE_URL: write ? as %3F and # as %23 in the path of a file, and % as %25."
            )
        return sqlite_database(unquote(parts.path.removeprefix("/")))
    if parts.scheme in ("postgres", "postgresql"):
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": unquote(parts.path.removeprefix("/")),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": parts.hostname or "",
            "PORT": str(parts.port or ""),
            "CONN_MAX_AGE": 60,
            "CONN_HEALTH_CHECKS": True,
            "OPTIONS": {"connect_timeout": CONNECT_S, **dict(parse_qsl(parts.query))},
        }
    raise ImproperlyConfigured(
        f"STUDIO_DATABASE_URL names an unknown kind of database ({parts.scheme or 'none'}). "
        "Use sqlite:////path/to/file or postgresql://user:password@host:port/name."
    )
