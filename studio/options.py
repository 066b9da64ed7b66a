"""The options of `manage.py up`, each of which stands for a variable of the environment."""

from __future__ import annotations

import os
import sys

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
    """Put the options of `up` into the environment, from which settings are made. Ends for an empty one."""
    for position, word in enumerate(arguments):
        name, equals, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and name in OPTIONS:
            following = arguments[position + 1] if position + 1 < len(arguments) else ""
            text = value if equals else following
            if not text.strip():
                sys.exit(f"studio: --{name} needs a value, or leave it out.")
            os.environ[OPTIONS[name][0]] = text
