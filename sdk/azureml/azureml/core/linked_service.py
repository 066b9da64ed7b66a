"""azureml.core.linked_service of Azure ML's SDK: importable, and refused at its first use."""

from __future__ import annotations

from azureml._unsupported import placeholders

__getattr__ = placeholders(__name__)
