"""The exception of compute targets, and ComputeTarget, under the module's older name."""

from __future__ import annotations

from azureml.core.compute import ComputeTarget
from azureml.exceptions import ComputeTargetException

__all__ = ["ComputeTarget", "ComputeTargetException"]
