"""The import package of Azure ML's SDK v1, provided by Studio."""

from __future__ import annotations

import os
import sys
import warnings


def _vendor_is_installed() -> str:
    """The folder in which the vendor's `azureml-core` is installed as well; "" if it is not."""
    for place in sys.path:
        try:
            names = os.listdir(place or ".")
        except OSError:
            continue
        for name in names:
            if name.startswith("azureml_core-") and name.endswith((".dist-info", ".egg-info")):
                return os.path.abspath(place or ".")
    return ""


_place = _vendor_is_installed()
if _place:
    warnings.warn(
        f"Both studio-azureml and the vendor's azureml-core are installed ({_place}). They provide the same "
        "package, and "
        "files of one may have replaced those of the other. Run `pip uninstall azureml-core`, then "
        "install studio-azureml again from where it came: "
        "`pip install --force-reinstall --no-deps ./sdk/azureml`.",
        stacklevel=2,
    )
