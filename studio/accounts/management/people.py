"""Finding the person that a command is about."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.core.management.base import CommandError
from django.db import connection

from studio.accounts.models import User


def find_person(username: str) -> User:
    """The person of this user name. Raises CommandError, also where there is no Studio yet."""
    check_studio()
    person = User.objects.filter(username=username, is_active=True).first()
    if person is None:
        raise CommandError(f"There is nobody with the user name {username}.")
    return person


def check_studio() -> None:
    """Raises CommandError where there is no Studio yet; nothing is made."""
    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3") and not Path(database["NAME"]).exists():
        raise _nothing_here()
    if User._meta.db_table not in connection.introspection.table_names():
        raise _nothing_here()


def _nothing_here() -> CommandError:
    where = f"STUDIO_DATA={settings.DATA_DIR}"
    return CommandError(
        f"There is no Studio with {where}. Set STUDIO_DATA or STUDIO_DATABASE_URL as where it runs, or "
        "start it first: make run."
    )
