"""The exceptions of azureml.core, as scripts catch and print them."""

from __future__ import annotations

from typing import Any

from studio_client.masking import masked


class AzureMLException(Exception):
    """What all others are. `str()` is several lines:
    the class, the message, the inner exception, and JSON.
    """

    _error_code = "AzureMLError"

    def __init__(
        self, exception_message: str, inner_exception: BaseException | None = None, **kwargs: Any
    ) -> None:
        self._message = masked(str(exception_message))
        super().__init__(self._message)
        self._inner_exception = inner_exception
        self._code = kwargs.get("code") or self._error_code
        self._inner_error = kwargs.get("inner_error")

    @property
    def message(self) -> str:
        """What happened, and what would be right."""
        return self._message

    @message.setter
    def message(self, value: str) -> None:
        self._message = value

    @property
    def inner_exception(self) -> BaseException | None:
        """The exception that this one stands for, if there is one."""
        return self._inner_exception

    @inner_exception.setter
    def inner_exception(self, value: BaseException | None) -> None:
        self._inner_exception = value

    def _error_response(self) -> dict[str, Any]:
        error: dict[str, Any] = {"code": self._code, "message": self._message}
        if self._inner_error:
            error["inner_error"] = self._inner_error
        return {"error": error}

    def __str__(self) -> str:
        response = _json(self._error_response())
        return (
            f"{type(self).__name__}:\n\tMessage: {self._message}\n"
            f"\tInnerException {self._inner_exception}\n\tErrorResponse \n{response}"
        )

    def __repr__(self) -> str:
        return str(self)


class UserErrorException(AzureMLException):
    """Bad arguments, bad names, missing files, missing configuration."""

    _error_code = "UserError"


class ActivityFailedException(AzureMLException):
    """A run that was waited for ended Failed; `error_details` is the `error` of its details."""

    _error_code = "UserError"

    def __init__(
        self,
        error_details: Any = None,
        inner_exception: BaseException | None = None,
        **kwargs: Any,
    ) -> None:
        self.error_details = error_details
        super().__init__(f"Activity Failed:\n{_json(error_details)}", inner_exception, **kwargs)


class ServiceException(AzureMLException):
    """The server refused, or did not answer; `status_code` is its HTTP status, None without an answer."""

    _error_code = "ServiceError"

    def __init__(
        self,
        exception_message: str,
        inner_exception: BaseException | None = None,
        *,
        status_code: int | None = None,
        details: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(exception_message, inner_exception, **kwargs)
        self.status_code = status_code
        self.details = details

    def __str__(self) -> str:
        response = _json(self._error_response())
        return (
            f"{type(self).__name__}:\n\tCode: {self.status_code}\n\tMessage: {self._message}\n"
            f"\tDetails: {self.details}\n\tHeaders: {{}}\n"
            f"\tInnerException: {self._inner_exception}\n\tErrorResponse \n{response}"
        )


class AuthenticationException(AzureMLException):
    """Not signed in, or with a token that is no longer good."""

    _error_code = "AuthenticationError"


class ExperimentExecutionException(AzureMLException):
    """A submission that cannot be handed in, or watching one that was interrupted."""

    _error_code = "ExperimentExecutionError"


class ExperimentNotFoundException(AzureMLException):
    """There is no experiment of this name."""

    _error_code = "UserError"


class ProjectSystemException(AzureMLException):
    """A project folder cannot be used."""

    _error_code = "UserError"


class SnapshotException(ProjectSystemException):
    """A folder is too big for a snapshot, or the run has one already."""


class RunEnvironmentException(AzureMLException):
    """This process belongs to no run that was submitted."""

    _error_code = "UserError"

    def __init__(
        self, exception_message: str = "", inner_exception: BaseException | None = None, **kwargs: Any
    ) -> None:
        text = (
            "Could not load a submitted run, if outside of an execution context, use "
            "experiment.start_logging to "
            "initialize an azureml.core.Run."
        )
        super().__init__(exception_message or text, inner_exception, **kwargs)


class ComputeTargetException(AzureMLException):
    """A compute target is unknown, or cannot do what was asked."""

    _error_code = "UserError"


class RunConfigurationException(AzureMLException):
    """A run configuration does not make sense."""

    _error_code = "UserError"


class WorkspaceException(AzureMLException):
    """A workspace cannot be found or used."""

    _error_code = "UserError"


class ModelPathNotFoundException(AzureMLException):
    """The run has no file at the path of a model."""

    _error_code = "UserError"


class UnsupportedException(UserErrorException, NotImplementedError):
    """A part of Azure ML's SDK that Studio does not have."""

    _error_code = "NotSupported"


class AzureMLAggregatedException(AzureMLException):
    """Several errors of uploads or downloads; `exceptions` lists them."""

    def __init__(
        self, exceptions: list[BaseException] | str, inner_exception: BaseException | None = None
    ) -> None:
        self.exceptions = [] if isinstance(exceptions, str) else list(exceptions)
        text = (
            exceptions
            if isinstance(exceptions, str)
            else "\n".join(_short(error) for error in self.exceptions)
        )
        first = self.exceptions[0] if self.exceptions else None
        super().__init__(text, inner_exception or first)


def _json(content: Any) -> str:
    import json

    return json.dumps(content, indent=4, default=str)


def _short(error: BaseException) -> str:
    return str(getattr(error, "message", None) or error)


__all__ = [
    "ActivityFailedException",
    "AuthenticationException",
    "AzureMLAggregatedException",
    "AzureMLException",
    "ComputeTargetException",
    "ExperimentExecutionException",
    "ExperimentNotFoundException",
    "ModelPathNotFoundException",
    "ProjectSystemException",
    "RunConfigurationException",
    "RunEnvironmentException",
    "ServiceException",
    "SnapshotException",
    "UnsupportedException",
    "UserErrorException",
    "WorkspaceException",
]
