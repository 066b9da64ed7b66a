"""The base class of all exceptions, under the name that some scripts import it by."""

from __future__ import annotations

from azureml.exceptions import AzureMLException

__all__ = ["AzureMLException"]
