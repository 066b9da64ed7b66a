"""The API fuzzed out of its own description: no answer that it does not declare, and no server error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from hypothesis import HealthCheck, settings
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)

from runs.api.api import api as studio_api
from runs.services.run_tokens import run_token
from runs.status import Kind, Status
from studio.accounts.models import Role
from studio.accounts.services import make_token
from studio.wsgi import application
from tests.factories import make_run, make_snapshot, make_target, make_user

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
#: Waits are cut short, also those that come by default: what they wait for is tested elsewhere.
NO_WAITING = ("timeout", "wait")

schemathesis.serializer.alias("application/zip", "application/octet-stream")
schema = schemathesis.openapi.from_dict(studio_api.get_openapi_schema(path_prefix="/api/v1/"))
schema.app = application
schema.config.phases.coverage.enabled = False  # its hundreds of calls for each operation take minutes
each_operation = schema.parametrize()
#: Its client leaves the files of answers to the garbage collector.
open_files = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
thorough = settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(autouse=True)
def _keep_connection() -> Iterator[None]:
    """Requests end without closing the connection that the test's own transaction is on."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def things(db: None) -> dict[str, str]:
    """What the addresses name, so that most calls reach what they are about."""
    owner = make_user("chi", Role.OWNER)
    make_target("local", is_default=True)
    snapshot = make_snapshot()
    run = make_run(
        kind=Kind.INTERACTIVE,
        status=Status.RUNNING,
        submitter=owner,
        snapshot=snapshot,
        tags={"a": "b"},
        properties={"c": "d"},
    )
    return {
        "workspace": "default",
        "run_id": run.run_id,
        "experiment": "mnist",
        "target": "local",
        "digest": snapshot.digest,
        "token": make_token(owner, "fuzz")[1],
    }


def call(case: Any, things: dict[str, str], token: str) -> None:
    for name in case.path_parameters or {}:
        if name in things and len(str(case.path_parameters[name])) % 3:
            case.path_parameters[name] = things[name]
    declared = {parameter.name for parameter in case.operation.query}
    case.query = {**(case.query or {}), **{name: 0 for name in NO_WAITING if name in declared}}
    case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, checks=CHECKS)


@open_files
@each_operation
@thorough
def test_every_answer_is_declared(case: Any, things: dict[str, str]) -> None:
    call(case, things, things["token"])


@open_files
@each_operation
@settings(thorough, max_examples=2)
def test_also_those_to_a_run(case: Any, things: dict[str, str]) -> None:
    run = make_run(status=Status.RUNNING)
    call(case, {**things, "run_id": run.run_id}, run_token(run))
