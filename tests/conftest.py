"""People, storage and clients for every test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.conf import settings as django_settings
from django.contrib.contenttypes.management import create_contenttypes
from django.db import connection
from django.db.models.signals import post_migrate
from django.test import Client
from hypothesis import HealthCheck

from studio.accounts.models import Role, User, Workspace
from tests import environment
from tests.factories import make_user, make_workspace

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("studio", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis.settings.load_profile("studio")

pytest_plugins = ["tests.fixtures.migrated", "tests.fixtures.processes", "tests.fixtures.browser"]


def pytest_configure() -> None:
    """A database in a file, so that threads and other processes see it, and passwords that cost nothing.

    A `Client` also lists no static files, which takes it 5 ms: they are looked for when they are asked for.
    And tables that a test with real transactions has emptied are not filled with permissions of Django's own
    kind again, which take 12 ms and which Studio does not have.
    """
    database = django_settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        database.setdefault("TEST", {})["NAME"] = str(environment.FOLDER / "tests.sqlite3")
    django_settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    django_settings.WHITENOISE_AUTOREFRESH = True
    post_migrate.disconnect(dispatch_uid="django.contrib.auth.management.create_permissions")
    post_migrate.disconnect(create_contenttypes)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """No test runs on one engine only that has to do with the database of the suite."""
    given = {"db", "transactional_db", "live_server"}
    wrong = [
        item.nodeid
        for item in items
        if item.get_closest_marker("own_servers") and given & set(getattr(item, "fixturenames", ()))
    ]
    if wrong:
        raise pytest.UsageError(f"own_servers, and yet on the database of the suite: {wrong}")


@pytest.fixture(autouse=True)
def storage(settings: Any, tmp_path: Path) -> Path:
    """A storage folder of the test's own."""
    folder = tmp_path / "storage"
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": folder},
        },
    }
    return folder


@pytest.fixture
def workspace(db: None) -> Workspace:
    """The workspace that chi, ana and ben are members of."""
    return make_workspace()


@pytest.fixture
def chi(workspace: Workspace) -> User:
    """An owner."""
    return make_user("chi", Role.OWNER)


@pytest.fixture
def ana(workspace: Workspace) -> User:
    """A contributor."""
    return make_user("ana", Role.CONTRIBUTOR)


@pytest.fixture
def ben(workspace: Workspace) -> User:
    """A reader."""
    return make_user("ben", Role.READER)


@pytest.fixture
def dan(db: None) -> User:
    """A stranger: owner of another workspace, member of none of ours."""
    return make_user("dan", Role.OWNER, workspace=make_workspace("elsewhere"))


@pytest.fixture
def client_of() -> Callable[[User], Client]:
    """Gives a client in which this person is signed in."""

    def sign_in(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture(autouse=True)
def _let_guarded_tables_be_flushed(request: pytest.FixtureRequest, _django_db_marker: None) -> Iterator[None]:
    """Tests with real transactions end with emptied tables, which properties and events would refuse."""
    marker = request.node.get_closest_marker("django_db")
    asked = {"transactional_db", "live_server"} & set(request.fixturenames)
    if not (asked or (marker and marker.kwargs.get("transaction"))):
        yield
        return
    request.getfixturevalue("_django_db_helper")  # so that it empties the tables after this fixture's end
    yield
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":  # no triggers from here on; the flush closes the connection
            cursor.execute("SET session_replication_role = replica")
            return
        cursor.execute("SELECT name, tbl_name, sql FROM sqlite_master WHERE name LIKE '%_never_delete'")
        for name, table, sql in cursor.fetchall():
            cursor.execute(f"DROP TRIGGER {name}")
            cursor.execute(f"DELETE FROM {table}")
            cursor.execute(sql)
