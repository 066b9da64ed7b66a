"""Run configurations: where and how a script is to run, in memory and as `.runconfig` files."""

from __future__ import annotations

import os
from typing import Any

from studio_client import run_configs
from studio_client.errors import ConfigError

from azureml import _yaml
from azureml._sections import SectionWithVariables, plain, section
from azureml.core.conda_dependencies import CondaDependencies
from azureml.core.container_registry import ContainerRegistry
from azureml.core.environment import (
    DEFAULT_CPU_IMAGE,
    DEFAULT_GPU_IMAGE,
    DockerConfiguration,
    DockerSection,
    Environment,
    PythonSection,
    SparkPackage,
    SparkSection,
)
from azureml.exceptions import UserErrorException

AZUREML_FOLDER = ".azureml"
OLD_FOLDER = "aml_config"
CONDA_FILE = "conda_dependencies.yml"
ENVIRONMENT_FILE = "environment.yml"
LOCAL = "local"

HistoryConfiguration = section(
    "HistoryConfiguration",
    "What is kept of a run.",
    output_collection=True,
    snapshot_project=True,
    directories_to_watch=["logs"],
)
MpiConfiguration = section(
    "MpiConfiguration", "Settings of MPI; kept.", process_count_per_node=1, node_count=1
)
PyTorchConfiguration = section(
    "PyTorchConfiguration",
    "Settings of distributed PyTorch; kept.",
    communication_backend="Nccl",
    process_count=None,
    node_count=1,
)
TensorflowConfiguration = section(
    "TensorflowConfiguration",
    "Settings of distributed TensorFlow; kept.",
    worker_count=1,
    parameter_server_count=1,
)
SparkConfiguration = section("SparkConfiguration", "Settings of Spark; kept.", configuration={})
HdiConfiguration = section("HdiConfiguration", "Settings of HDInsight; kept.", yarn_deploy_mode="Cluster")
AmlComputeConfiguration = section(
    "AmlComputeConfiguration",
    "Settings of a managed cluster; kept.",
    name=None,
    vm_size=None,
    vm_priority=None,
    retain_cluster=False,
    cluster_max_node_count=None,
)
KubernetesComputeConfiguration = section(
    "KubernetesComputeConfiguration", "Settings of Kubernetes; kept.", instance_type=None
)
ParallelTaskConfiguration = section(
    "ParallelTaskConfiguration",
    "Settings of parallel tasks; kept.",
    max_retries_per_worker=0,
    worker_count_per_node=1,
    terminal_exit_codes=None,
)
SourceDirectoryDataStore = section(
    "SourceDirectoryDataStore", "Of Azure's data stores.", source_directory_data_store=None
)


def arguments_of(arguments: Any) -> list[str]:
    """Arguments of a script as a list of texts. Raises UserErrorException for what is no list."""
    try:
        return run_configs.texts(arguments)
    except ConfigError as error:
        raise UserErrorException(str(error)) from None


class RunConfiguration(SectionWithVariables):
    """Where and how a script is to run. Attributes that do not exist cannot be set."""

    _defaults = {
        "script": lambda: None,
        "arguments": list,
        "framework": lambda: "Python",
        "communicator": lambda: "None",
        "command": lambda: "",
        "max_run_duration_seconds": lambda: None,
        "node_count": lambda: 1,
        "priority": lambda: None,
        "credential_passthrough": lambda: False,
        "environment": lambda: Environment("default-environment"),
        "history": HistoryConfiguration,
        "docker": DockerConfiguration,
        "spark": SparkConfiguration,
        "hdi": HdiConfiguration,
        "tensorflow": TensorflowConfiguration,
        "mpi": MpiConfiguration,
        "pytorch": PyTorchConfiguration,
        "paralleltask": ParallelTaskConfiguration,
        "amlcompute": AmlComputeConfiguration,
        "kubernetescompute": KubernetesComputeConfiguration,
        "auto_cluster_compute_specification": lambda: None,
        "services": dict,
        "data_references": dict,
        "data": dict,
        "output_data": dict,
        "datacaches": list,
        "source_directory_data_store": lambda: None,
    }

    def __init__(
        self,
        script: str | None = None,
        arguments: list[Any] | None = None,
        framework: str | None = None,
        communicator: str | None = None,
        conda_dependencies: CondaDependencies | None = None,
        _history_enabled: bool | None = None,
        _path: str | None = None,
        _name: str | None = None,
        command: str | list[str] | None = None,
    ) -> None:
        super().__init__()
        self._target = LOCAL
        self._name, self._path = _name, _path
        self.script = script
        self.arguments = arguments_of(arguments)
        self.framework = framework or "Python"
        self.communicator = communicator or "None"
        self.command = command or ""
        if conda_dependencies is not None:
            self.environment.python.conda_dependencies = conda_dependencies
        if _history_enabled is not None:
            self.history.output_collection = _history_enabled

    @property
    def target(self) -> str:
        """The name of the compute target."""
        return self._target

    @target.setter
    def target(self, value: Any) -> None:
        name = value if isinstance(value, str) else getattr(value, "name", None)
        if not isinstance(name, str) or not name.strip():
            raise UserErrorException(
                f"A target is the name of a compute target, or a ComputeTarget, not {value!r}. Leave it "
                "alone for "
                f"{LOCAL!r}."
            )
        self._target = name

    @property
    def auto_prepare_environment(self) -> bool:
        """Whether the environment is made by the service. Kept for scripts that set it; nothing is made."""
        return True

    @auto_prepare_environment.setter
    def auto_prepare_environment(self, value: bool) -> None:
        pass

    def to_dict(self) -> dict[str, Any]:
        """The whole configuration under camelCase keys."""
        body = super().to_dict()
        head = {key: body.pop(key) for key in ("script", "command", "arguments")}
        return {**head, "target": self.target, **body}

    def fill(self, content: Any) -> None:
        """Take over what a mapping says; a configuration without an environment has the default one."""
        if not isinstance(content, dict):
            raise UserErrorException("A run configuration is a mapping of names to values.")
        super().fill(content)
        if content.get("target"):
            self.target = content["target"]
        self.arguments = arguments_of(self.arguments)

    def all_environment_variables(self) -> dict[str, str]:
        """What the script's process gets: those of the environment, and over them those of its own."""
        both = {**self.environment.environment_variables, **self._environment_variables}
        return {str(name): str(value) for name, value in both.items()}

    def save(
        self, path: str | None = None, name: str | None = None, separate_environment_yaml: bool = False
    ) -> None:
        """Write `<path>/.azureml/<name>.runconfig` and `conda_dependencies.yml` beside it.

        The folder is made; where an old `aml_config` folder is there and no `.azureml`, that is used. Raises
        UserErrorException without a name.
        """
        name = name or self._name
        if not name:
            raise UserErrorException("A run configuration is saved under a name: save(path, name='train').")
        root = os.path.abspath(path or self._path or ".")
        folder = _folder_in(root)
        file = os.path.join(folder, name if name.endswith(".runconfig") else f"{name}.runconfig")
        below = os.path.basename(folder)
        content = self.to_dict()
        conda = self.environment.python.conda_dependencies
        _refer(content, f"{below}/{CONDA_FILE}" if conda is not None else None)
        try:
            os.makedirs(os.path.dirname(file), exist_ok=True)
            if conda is not None:
                _write(os.path.join(folder, CONDA_FILE), conda.serialize_to_string())
            if separate_environment_yaml:
                _write(os.path.join(folder, ENVIRONMENT_FILE), _yaml.dumps(content["environment"]))
                content["environment"] = f"{below}/{ENVIRONMENT_FILE}"
            _write(file, _yaml.dumps(content))
        except OSError as error:
            raise UserErrorException(f"{file} cannot be written: {error.strerror}.") from None

    @staticmethod
    def load(path: str, name: str | None = None) -> RunConfiguration:
        """The configuration of a file: `path` is the project's folder and `name` the configuration's, or
        path the file.

        Looks for `.azureml/<name>`, `.azureml/<name>.runconfig` and `<path>/<name>.runconfig`. Unknown keys
        are ignored, missing ones have their defaults. Raises UserErrorException that names the files looked
        for and those there are.
        """
        root, file = _find(os.path.abspath(path), name)
        content = _yaml.load(file)
        if not isinstance(content, dict):
            raise UserErrorException(f"{file} is no run configuration: it holds no names with values.")
        made = RunConfiguration(_path=root, _name=name)
        environment = content.get("environment")
        if isinstance(environment, str):
            content["environment"] = _yaml.load(os.path.join(root, environment))
        made.fill(content)
        _read_conda_file(made, root)
        return made

    @staticmethod
    def delete(path: str, name: str) -> None:
        """Delete the file of a configuration. Raises UserErrorException if there is none."""
        _, file = _find(os.path.abspath(path), name)
        os.unlink(file)


def _folder_in(root: str) -> str:
    ours, old = os.path.join(root, AZUREML_FOLDER), os.path.join(root, OLD_FOLDER)
    return old if os.path.isdir(old) and not os.path.isdir(ours) else ours


def _refer(content: dict[str, Any], conda_file: str | None) -> None:
    """Let the environment name its conda file instead of repeating it."""
    python = content["environment"]["python"]
    python.pop("condaDependencies", None)
    python["condaDependenciesFile"] = conda_file


def _write(file: str, text: str) -> None:
    with open(file, "w", encoding="utf-8") as target:
        target.write(text)


def _find(root: str, name: str | None) -> tuple[str, str]:
    """The project's folder and the file of a configuration. Raises UserErrorException."""
    try:
        return run_configs.find(root, name)
    except ConfigError as error:
        raise UserErrorException(str(error)) from None


def _read_conda_file(config: RunConfiguration, root: str) -> None:
    named = config.environment.python.conda_dependencies_file
    if not named:
        return
    file = os.path.join(root, named)
    if os.path.isfile(file):
        config.environment.python.conda_dependencies = CondaDependencies(file)


__all__ = [
    "DEFAULT_CPU_IMAGE",
    "DEFAULT_GPU_IMAGE",
    "AmlComputeConfiguration",
    "CondaDependencies",
    "ContainerRegistry",
    "DockerConfiguration",
    "DockerSection",
    "Environment",
    "HdiConfiguration",
    "HistoryConfiguration",
    "MpiConfiguration",
    "PyTorchConfiguration",
    "PythonSection",
    "RunConfiguration",
    "SparkConfiguration",
    "SparkPackage",
    "SparkSection",
    "TensorflowConfiguration",
    "plain",
]
