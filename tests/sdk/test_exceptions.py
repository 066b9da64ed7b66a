"""What exceptions say, and which of them an error of the client becomes."""

from __future__ import annotations

import json

import pytest
from azureml._life_of_run import error_content
from azureml._translate import translate, translated
from azureml.core import Workspace
from azureml.core.experiment import Experiment
from azureml.exceptions import (
    ActivityFailedException,
    AuthenticationException,
    AzureMLAggregatedException,
    AzureMLException,
    ComputeTargetException,
    ServiceException,
    SnapshotException,
    UserErrorException,
)
from studio_client import errors


def test_the_text_is_that_of_the_reference() -> None:
    cause = ValueError("cause")
    lines = str(UserErrorException("Wrong.", cause)).splitlines()
    assert lines[:4] == [
        "UserErrorException:",
        "\tMessage: Wrong.",
        "\tInnerException cause",
        "\tErrorResponse ",
    ]
    assert json.loads("\n".join(lines[4:])) == {"error": {"code": "UserError", "message": "Wrong."}}


def test_a_run_that_fails_by_one_is_told_its_message_alone() -> None:
    content = error_content(ServiceException("There is no run x.", status_code=404), None)
    assert content["message"] == "User program failed with ServiceException: There is no run x."
    assert "ErrorResponse" in content["traceback"]


def test_a_failed_run_is_told_with_its_error() -> None:
    error = {"error": {"code": "UserError", "message": "No data."}}
    failed = ActivityFailedException(error_details=error)
    assert failed.message == "Activity Failed:\n" + json.dumps(error, indent=4)
    assert "No data." in str(failed)


def test_a_service_exception_has_a_status() -> None:
    refused = ServiceException("No.", status_code=404, details="not_found")
    assert refused.status_code == 404
    for word in ("Code: 404", "Message: No.", "Details: not_found", "Headers", "InnerException"):
        assert word in str(refused)


def test_several_errors_are_one() -> None:
    both = AzureMLAggregatedException([UserErrorException("one"), OSError("two")])
    assert both.message == "one\ntwo"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.ConfigError("x"), AuthenticationException),
        (errors.NotSignedIn("x", status=401), AuthenticationException),
        (errors.NotAllowed("x", status=403, code="permission_denied"), ServiceException),
        (errors.NotFound("x", status=404), ServiceException),
        (errors.Conflict("x", status=409, code="property_is_set"), UserErrorException),
        (errors.Conflict("x", status=409, code="run_finished"), UserErrorException),
        (errors.Conflict("x", status=409, code="conflict"), ServiceException),
        (errors.InvalidInput("x", status=422), UserErrorException),
        (errors.InvalidInput("x", status=422, code="unknown_target"), ComputeTargetException),
        (errors.TooBig("x", status=413), UserErrorException),
        (errors.SourceTooBig("x"), SnapshotException),
        (errors.Unreachable("x"), ServiceException),
        (errors.ServerFailed("x", status=503), ServiceException),
    ],
)
def test_each_error_of_the_client_has_its_exception(
    error: errors.StudioClientError, kind: type[AzureMLException]
) -> None:
    found = translate(error)
    assert type(found) is kind
    assert found.inner_exception is error
    with pytest.raises(kind), translated:
        raise error


def test_without_a_login_the_first_call_says_what_to_do() -> None:
    with pytest.raises(AuthenticationException, match="studio login"):
        Workspace("s", "g", "w")


@pytest.mark.parametrize("name", ["", "-x", "_x", "a b", "a/b", "ä", "aä", "a\n", "x" * 256])
def test_names_of_experiments_that_break_the_rule(name: str) -> None:
    with pytest.raises(UserErrorException, match="1-255 characters"):
        Experiment(Workspace("s", "g", "w", _disable_service_check=True), name)


@pytest.mark.parametrize("name", [None, 3])
def test_names_of_experiments_are_text(name: object) -> None:
    with pytest.raises(TypeError):
        Experiment(Workspace("s", "g", "w", _disable_service_check=True), name)  # type: ignore[arg-type]
