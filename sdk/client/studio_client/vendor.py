"""Whether the vendor's package `azureml-core` is where Studio's own `azureml` is: only one of them can be."""

from __future__ import annotations

import os
import sys

REMEDY = (
    "pip uninstall azureml-core",
    "pip install --force-reinstall --no-deps ./sdk/azureml",
)
_OURS, _CORE = "_unsupported.py", os.path.join("core", "__init__.py")


def installed_in() -> str:
    """The folder in which `azureml-core` is installed; "" if it is not."""
    for place in sys.path:
        try:
            names = os.listdir(place or ".")
        except OSError:
            continue
        for name in names:
            if name.startswith("azureml_core-") and name.endswith((".dist-info", ".egg-info")):
                return os.path.abspath(place or ".")
    return ""


def warning() -> str:
    """What is wrong with the package that `import azureml.core` finds, with the remedy.

    "" if all is well, or studio-azureml is not installed.
    """
    packages = [os.path.join(place, "azureml") for place in sys.path]
    ours = next((package for package in packages if os.path.isfile(os.path.join(package, _OURS))), None)
    if ours is None:
        return ""
    imported = (package for package in packages if os.path.isfile(os.path.join(package, "__init__.py")))
    first = next(imported, ours)
    vendor, is_ours = installed_in(), _has_our_core(first)
    if not vendor and is_ours:
        return ""
    found = "Studio's" if is_ours else "not Studio's"
    there = f" The vendor's azureml-core is installed in {vendor}." if vendor else ""
    return (
        f"In {os.path.dirname(os.path.abspath(first))} `import azureml.core` is {found}.{there} Only one of "
        f"the two can be installed; to have Studio's: `{'`, then `'.join(REMEDY)}`."
    )


def _has_our_core(package: str) -> bool:
    try:
        with open(os.path.join(package, _CORE), encoding="utf-8") as file:
            return "azureml._unsupported" in file.read()
    except (OSError, ValueError):
        return False
