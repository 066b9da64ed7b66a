"""Workspaces, experiments and runs, as scripts written for Azure ML's SDK v1 import them."""

from __future__ import annotations

from azureml._unsupported import placeholder
from azureml.core.compute import ComputeTarget
from azureml.core.container_registry import ContainerRegistry
from azureml.core.environment import Environment
from azureml.core.experiment import Experiment
from azureml.core.run import Run, get_run
from azureml.core.runconfig import RunConfiguration
from azureml.core.script_run import ScriptRun
from azureml.core.script_run_config import ScriptRunConfig
from azureml.core.workspace import Workspace

#: The version of the vendor's package whose calls are understood.
VERSION = "1.61.0"
__version__ = VERSION

Dataset = placeholder(__name__, "Dataset")
Datastore = placeholder(__name__, "Datastore")
Image = placeholder(__name__, "Image")
Keyvault = placeholder(__name__, "Keyvault")
LinkedService = placeholder(__name__, "LinkedService")
Model = placeholder(__name__, "Model")
Webservice = placeholder(__name__, "Webservice")

__all__ = [
    "VERSION",
    "ComputeTarget",
    "ContainerRegistry",
    "Dataset",
    "Datastore",
    "Environment",
    "Experiment",
    "Image",
    "Keyvault",
    "LinkedService",
    "Model",
    "Run",
    "RunConfiguration",
    "ScriptRun",
    "ScriptRunConfig",
    "Webservice",
    "Workspace",
    "__version__",
    "get_run",
]
