"""YAML as Azure ML's files have it, with the exceptions of azureml."""

from __future__ import annotations

import os
from typing import Any

from studio_client import yaml_files
from studio_client.errors import ConfigError
from studio_client.yaml_files import dumps, loads

from azureml.exceptions import UserErrorException

__all__ = ["dumps", "load", "loads"]


def load(path: str | os.PathLike[str]) -> Any:
    """What a YAML file says. Raises UserErrorException naming the file."""
    try:
        return yaml_files.load(path)
    except ConfigError as error:
        raise UserErrorException(str(error)) from None
