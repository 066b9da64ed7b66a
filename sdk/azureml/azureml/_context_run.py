"""The run that this process belongs to, made from its environment without asking the server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from azureml.exceptions import RunEnvironmentException

if TYPE_CHECKING:
    from azureml.core.run import Run

_OFFLINE = "offline"
_current: dict[str, Run] = {}


def context_run(allow_offline: bool) -> Run:
    """The submitted run, else an offline one; always the same object. Raises RunEnvironmentException."""
    run_id = os.environ.get("AZUREML_RUN_ID")
    if run_id and os.environ.get("AZUREML_RUN_TOKEN"):
        if run_id not in _current:
            _current[run_id] = _submitted(run_id)
        return _current[run_id]
    if not allow_offline:
        raise RunEnvironmentException()
    if _OFFLINE not in _current:
        from azureml._offline_run import OfflineRun

        _current[_OFFLINE] = OfflineRun()
    return _current[_OFFLINE]


def _submitted(run_id: str) -> Run:
    from azureml.core.experiment import Experiment
    from azureml.core.script_run import ScriptRun
    from azureml.core.workspace import Workspace

    workspace = Workspace(
        os.environ.get("AZUREML_ARM_SUBSCRIPTION", ""),
        os.environ.get("AZUREML_ARM_RESOURCEGROUP", ""),
        os.environ.get("AZUREML_ARM_WORKSPACE_NAME", ""),
        _disable_service_check=True,
    )
    name = os.environ.get("AZUREML_ARM_PROJECT_NAME", "")
    experiment = Experiment(workspace, name, _skip_name_validation=True, _create_in_cloud=False)
    return ScriptRun(experiment, run_id, _is_context=True)
