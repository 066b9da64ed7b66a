"""The import package of Azure ML's SDK v1, provided by Studio."""

from __future__ import annotations

import warnings

from studio_client import vendor

from azureml import _absent

_absent.install()

_place = vendor.installed_in()
if _place:
    warnings.warn(
        f"Both studio-azureml and the vendor's azureml-core are installed ({_place}). They provide the same "
        "package, and "
        f"files of one may have replaced those of the other. Run `{vendor.REMEDY[0]}`, then "
        f"install studio-azureml again from where it came: `{vendor.REMEDY[1]}`.",
        stacklevel=2,
    )
