"""The options of `manage.py up`, each of which stands for a variable of the environment."""

from __future__ import annotations

import os

#: Options that stand for a variable; manage.py reads them before the settings are made.
OPTIONS = {
    "host": ("STUDIO_HOST", "address to listen on"),
    "port": ("STUDIO_PORT", "port to listen on"),
    "data": ("STUDIO_DATA", "folder for everything that is kept"),
    "slots": ("STUDIO_SLOTS", "runs at a time"),
    "targets": ("STUDIO_TARGETS", "compute targets that this machine serves, comma-separated, made if new"),
    "database-url": ("STUDIO_DATABASE_URL", "another database than SQLite in the data folder"),
    "broker-url": ("STUDIO_BROKER_URL", "another broker than files in the data folder"),
}


def apply_options(arguments: list[str]) -> None:
    """Put the options of `up` into the environment, from which settings are made."""
    for position, word in enumerate(arguments):
        name, equals, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and name in OPTIONS:
            following = arguments[position + 1] if position + 1 < len(arguments) else ""
            os.environ[OPTIONS[name][0]] = value if equals else following
