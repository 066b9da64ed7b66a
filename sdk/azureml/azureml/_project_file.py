"""Which workspace a folder belongs to, with the exceptions of azureml."""

from __future__ import annotations

from studio_client import attachment
from studio_client.attachment import PLACES, Attachment, scope_of
from studio_client.errors import ConfigError

from azureml.exceptions import UserErrorException

__all__ = ["PLACES", "Attachment", "find", "read", "scope_of", "write"]


def find(path: str | None, file_name: str | None) -> tuple[str, Attachment]:
    """As attachment.find. Raises UserErrorException."""
    try:
        return attachment.find(path, file_name)
    except ConfigError as error:
        raise UserErrorException(str(error)) from None


def read(file: str) -> Attachment:
    """As attachment.read. Raises UserErrorException."""
    try:
        return attachment.read(file)
    except ConfigError as error:
        raise UserErrorException(str(error)) from None


def write(folder: str, scope: str, file_name: str | None) -> None:
    """As attachment.write. Raises UserErrorException."""
    try:
        attachment.write(folder, scope, file_name=file_name or "config.json")
    except ConfigError as error:
        raise UserErrorException(str(error)) from None
