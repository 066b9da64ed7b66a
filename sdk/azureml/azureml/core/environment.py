"""Environments: what a script wants around it. Kept with the run; the node's own Python runs the script."""

from __future__ import annotations

import builtins
import copy
import json
import os
from typing import TYPE_CHECKING, Any

from azureml import _yaml
from azureml._sections import Section, SectionWithVariables, section
from azureml._unsupported import unsupported
from azureml.core.conda_dependencies import CondaDependencies
from azureml.core.container_registry import ContainerRegistry
from azureml.exceptions import UserErrorException

if TYPE_CHECKING:
    from azureml.core.workspace import Workspace

DEFAULT_CPU_IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04"
DEFAULT_GPU_IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-cuda11.1-cudnn8-ubuntu20.04"
CURATED_PREFIXES = ("microsoft", "azureml")

DockerImagePlatform = section(
    "DockerImagePlatform", "What a container runs on.", os="Linux", architecture="amd64"
)
DockerBuildContext = section(
    "DockerBuildContext",
    "Where a container is built from.",
    location=None,
    location_type=None,
    dockerfile_path=None,
)
SparkPackage = section("SparkPackage", "A package for Spark.", group=None, artifact=None, version=None)
SparkSection = section(
    "SparkSection", "What Spark needs.", repositories=[], packages=[], precache_packages=True
)
RSection = section(
    "RSection",
    "What R needs.",
    r_version=None,
    user_managed=False,
    rscript_path=None,
    snapshot_date=None,
    cran_packages=None,
    github_packages=None,
    custom_url_packages=None,
    bioconductor_packages=None,
)
DatabricksSection = section(
    "DatabricksSection",
    "What Databricks needs.",
    maven_libraries=[],
    pypi_libraries=[],
    rcran_libraries=[],
    jar_libraries=[],
    egg_libraries=[],
)


DockerConfiguration = section(
    "DockerConfiguration",
    "Whether to run in a container. Accepted and remembered; Studio runs scripts as they are.",
    use_docker=False,
    shared_volumes=True,
    arguments=[],
    shm_size="2g",
)


class DockerSection(Section):
    """A container that the script would run in. Accepted and remembered; Studio runs scripts as they are."""

    _defaults = {
        "enabled": lambda: False,
        "base_image": lambda: None,
        "base_dockerfile": lambda: None,
        "build_context": lambda: None,
        "base_image_registry": ContainerRegistry,
        "arguments": list,
        "shared_volumes": lambda: True,
        "shm_size": lambda: "2g",
        "gpu_support": lambda: True,
        "platform": DockerImagePlatform,
    }


class PythonSection(Section):
    """The Python that the script would run with."""

    _defaults = {
        "user_managed_dependencies": lambda: False,
        "interpreter_path": lambda: "python",
        "conda_dependencies_file": lambda: None,
        "conda_dependencies": CondaDependencies,
    }

    def fill(self, content: Any) -> None:
        """Also read conda dependencies that stand in the mapping itself."""
        if not isinstance(content, dict):
            return
        inside = content.get("condaDependencies")
        super().fill({key: value for key, value in content.items() if key != "condaDependencies"})
        if isinstance(inside, dict):
            self.conda_dependencies = CondaDependencies(_underlying_structure=inside)


class Environment(SectionWithVariables):
    """What a script wants around it: Python packages, a container image, variables."""

    _defaults = {
        "name": lambda: None,
        "version": lambda: None,
        "asset_id": lambda: None,
        "python": PythonSection,
        "docker": DockerSection,
        "spark": SparkSection,
        "databricks": DatabricksSection,
        "r": lambda: None,
        "inferencing_stack_version": lambda: None,
    }
    _also = {"docker": DockerConfiguration}

    def __init__(self, name: str, **kwargs: Any) -> None:
        """Raises TypeError for a name that is not text."""
        if not isinstance(name, str):
            raise TypeError(f"The name of an environment is text, not {type(name).__name__}.")
        super().__init__()
        self.name = name
        self.environment_variables = kwargs.get("environment_variables") or {}

    def validate(self) -> None:
        """Raises UserErrorException for an image described in several ways at once."""
        docker = self.docker
        ways = [
            name for name in ("base_image", "base_dockerfile", "build_context") if getattr(docker, name, None)
        ]
        if len(ways) > 1:
            raise UserErrorException(
                f"The environment {self.name!r} sets docker.{' and docker.'.join(ways)}; only one of them "
                "can be."
            )

    def clone(self, new_name: str) -> Environment:
        """A copy under another name, without a version. Raises UserErrorException for a reserved name."""
        if not isinstance(new_name, str) or not new_name:
            raise TypeError("The name of an environment is text.")
        _refuse_curated(new_name)
        made = copy.deepcopy(self)
        made.name, made.version = new_name, None
        return made

    def register(self, workspace: Workspace) -> Environment:
        """Keep it under its name, as a new version if it differs from the last.

        It is kept on this machine.
        """
        _refuse_curated(self.name)
        self.validate()
        from azureml import _environment_store

        version = _environment_store.keep(workspace, self.name, self.to_dict())
        made = copy.deepcopy(self)
        made.version = version
        return made

    @staticmethod
    def get(
        workspace: Workspace, name: str, version: str | None = None, label: str | None = None
    ) -> Environment:
        """The environment that was registered. Raises UserErrorException if there is none, or both are
        given.
        """
        if version is not None and label is not None:
            raise UserErrorException("Give a version or a label of an environment, not both.")
        from azureml import _environment_store

        wanted = None if label == "latest" else version
        found = _environment_store.find(workspace, name, wanted)
        if found is not None:
            made = Environment(name)
            made.fill(found)
            return made
        if name.lower().startswith(CURATED_PREFIXES) and version is None:
            return Environment(name)  # one of Azure's: the node's Python takes its place
        wanted_text = f" in version {version}" if version else ""
        raise UserErrorException(
            f"No environment {name!r}{wanted_text} is registered in workspace {workspace.name!r}. "
            "Environments are kept on "
            "the machine that registered them: make it with Environment(name) and register(workspace)."
        )

    @staticmethod
    def list(workspace: Workspace) -> dict[str, Environment]:
        """Those that were registered on this machine, the last version of each, by name."""
        from azureml import _environment_store

        return {name: Environment.get(workspace, name) for name in _environment_store.names(workspace)}

    @staticmethod
    def from_conda_specification(name: str, file_path: str) -> Environment:
        """One with the packages of a conda file. Raises UserErrorException for a file that cannot be read."""
        made = Environment(name)
        made.python.conda_dependencies = CondaDependencies(file_path)
        return made

    @staticmethod
    def from_pip_requirements(name: str, file_path: str, pip_version: str | None = None) -> Environment:
        """One with the packages of a requirements file.

        Raises UserErrorException for a file that cannot be read.
        """
        try:
            with open(file_path, encoding="utf-8") as file:
                lines = [line.split(" #")[0].strip() for line in file]
        except OSError as error:
            raise UserErrorException(f"{file_path} cannot be read: {error.strerror}.") from None
        made = Environment(name)
        packages = [line for line in lines if line and not line.startswith("#")]
        made.python.conda_dependencies.set_pip_requirements(packages)
        if pip_version:
            made.python.conda_dependencies.add_conda_package(f"pip={pip_version}")
        return made

    @staticmethod
    def from_existing_conda_environment(name: str, conda_environment_name: str) -> Environment:
        """One with the packages of a conda environment of this machine.

        Raises UserErrorException without conda.
        """
        import subprocess

        command = ["conda", "env", "export", "--no-builds", "--name", conda_environment_name]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
        except (OSError, subprocess.CalledProcessError) as error:
            reason = getattr(error, "stderr", None) or error
            raise UserErrorException(f"conda cannot export {conda_environment_name!r}: {reason}") from None
        made = Environment(name)
        made.python.conda_dependencies = CondaDependencies(_underlying_structure=_yaml.loads(done.stdout))
        return made

    @staticmethod
    def from_dockerfile(
        name: str,
        dockerfile: str,
        conda_specification: str | None = None,
        pip_requirements: str | None = None,
    ) -> Environment:
        """One with a Dockerfile (its path or its text), which is remembered."""
        made = _with_packages(name, conda_specification, pip_requirements)
        if os.path.isfile(dockerfile):
            with open(dockerfile, encoding="utf-8") as file:
                dockerfile = file.read()
        made.docker.base_dockerfile = dockerfile
        return made

    @staticmethod
    def from_docker_image(
        name: str,
        image: str,
        container_registry: ContainerRegistry | None = None,
        conda_specification: str | None = None,
        pip_requirements: str | None = None,
    ) -> Environment:
        """One with a container image, which is remembered."""
        made = _with_packages(name, conda_specification, pip_requirements)
        made.docker.base_image = image
        made.docker.base_image_registry = container_registry or ContainerRegistry()
        return made

    @staticmethod
    def from_docker_build_context(name: str, docker_build_context: Any) -> Environment:
        """One with a folder that a container is built from, which is remembered."""
        made = Environment(name)
        made.docker.build_context = docker_build_context
        return made

    def save_to_directory(self, path: str, overwrite: bool = False) -> None:
        """Write `azureml_environment.json` and the conda file into a folder.

        Raises UserErrorException if they are there.
        """
        target = os.path.join(path, "azureml_environment.json")
        if os.path.exists(target) and not overwrite:
            raise UserErrorException(f"{target} is there already; overwrite=True replaces it.")
        os.makedirs(path, exist_ok=True)
        with open(target, "w", encoding="utf-8") as file:
            json.dump(self.to_dict(), file, indent=4)
        self.python.conda_dependencies.save_to_file(path)

    @staticmethod
    def load_from_directory(path: str) -> Environment:
        """The environment that `save_to_directory` wrote. Raises UserErrorException."""
        source = os.path.join(path, "azureml_environment.json")
        try:
            with open(source, encoding="utf-8") as file:
                content = json.load(file)
        except (OSError, ValueError) as error:
            raise UserErrorException(f"{source} cannot be read: {error}") from None
        made = Environment(str(content.get("name") or ""))
        made.fill(content)
        return made

    @staticmethod
    def label(workspace: Workspace, name: str, version: str, labels: builtins.list[str]) -> None:
        """Of Azure's registry, which Studio has not."""
        raise unsupported("Environment.label")

    @staticmethod
    def add_private_pip_wheel(workspace: Workspace, file_path: str, exist_ok: bool = False) -> str:
        """Of Azure's storage, which Studio has not."""
        raise unsupported("Environment.add_private_pip_wheel")

    def build(self, workspace: Workspace, image_build_compute: Any = None) -> Any:
        """Studio builds no images."""
        raise unsupported("Environment.build")

    def build_local(self, workspace: Workspace, platform: Any = None, **kwargs: Any) -> Any:
        """Studio builds no images."""
        raise unsupported("Environment.build_local")

    def get_image_details(self, workspace: Workspace) -> Any:
        """Studio builds no images."""
        raise unsupported("Environment.get_image_details")


def _with_packages(name: str, conda_specification: str | None, pip_requirements: str | None) -> Environment:
    if conda_specification and pip_requirements:
        raise UserErrorException("Give conda_specification or pip_requirements, not both.")
    if conda_specification:
        return Environment.from_conda_specification(name, conda_specification)
    if pip_requirements:
        return Environment.from_pip_requirements(name, pip_requirements)
    made = Environment(name)
    made.python.user_managed_dependencies = True
    return made


def _refuse_curated(name: str) -> None:
    if name.lower().startswith(CURATED_PREFIXES):
        raise UserErrorException(
            f'Environment name can not start with the prefix "Microsoft" or "AzureML", as {name!r} does; '
            "these are reserved. Use clone(new_name) for a copy under a name of your own."
        )
