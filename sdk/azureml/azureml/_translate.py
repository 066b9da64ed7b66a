"""What the client raises, as the exceptions that scripts written for azureml.core expect."""

from __future__ import annotations

from types import TracebackType

from studio_client import errors

from azureml.exceptions import (
    AuthenticationException,
    AzureMLException,
    ComputeTargetException,
    ServiceException,
    SnapshotException,
    UserErrorException,
)


class _Translated:
    """A `with` block in which errors of the client become exceptions of azureml. It holds nothing."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, errors.StudioClientError):
            raise translate(error) from error


translated = _Translated()


def translate(error: errors.StudioClientError) -> AzureMLException:
    """The exception of azureml for an error of the client."""
    text = str(error)
    if isinstance(error, (errors.NotSignedIn, errors.ConfigError)):
        return AuthenticationException(text, error)
    if isinstance(error, errors.InvalidSource):
        return SnapshotException(text, error)
    if not isinstance(error, errors.Refused):
        return ServiceException(text, error)
    if error.code == "unknown_target":
        return ComputeTargetException(f"ComputeTargetNotFound: {text}", error)
    if isinstance(error, errors.Conflict) and error.field == "experiment":  # it is archived
        text = f"{text} Here experiment.reactivate() brings it back."
    id_is_taken = isinstance(error, errors.Conflict) and error.field == "run_id"
    is_final = error.code in ("property_is_set", "run_finished")
    if id_is_taken or is_final or isinstance(error, (errors.InvalidInput, errors.TooBig)):
        return UserErrorException(text, error, code="UserError", inner_error={"code": error.code})
    return ServiceException(text, error, status_code=error.status, details=error.code, code=error.code)
