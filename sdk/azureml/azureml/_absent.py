"""Modules of Azure ML's SDK that Studio does not have: they can be imported, and are refused when used."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

#: Packages of which every module can be imported. One that is installed is taken instead.
PARTS = (
    "azureml.automl",
    "azureml.contrib",
    "azureml.data",
    "azureml.datadrift",
    "azureml.explain",
    "azureml.interpret",
    "azureml.mlflow",
    "azureml.opendatasets",
    "azureml.pipeline",
    "azureml.train",
)


class _Absent:
    """Finds what nothing else has found, and makes an empty module of it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """For a module of one of the parts."""
        if not f"{name}.".startswith(tuple(f"{part}." for part in PARTS)):
            return None
        from importlib.machinery import ModuleSpec

        return ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """As of every module."""

    def exec_module(self, module: ModuleType) -> None:
        """Its names are placeholders."""
        from azureml._unsupported import placeholders

        module.__doc__ = f"{module.__name__} of Azure ML's SDK: importable, and refused at its first use."
        module.__dict__["__getattr__"] = placeholders(module.__name__)


def install() -> None:
    """Have these modules found, after all that are there."""
    sys.meta_path.append(_Absent())
