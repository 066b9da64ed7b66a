"""The packages that a script wants, as a conda file says it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from azureml import _yaml
from azureml.exceptions import UserErrorException

DEFAULT_SDK_ORIGIN = "https://"
PYTHON_PREFIX = "python"
PYTHON_DEFAULT_VERSION = "3.8.13"
CHANNELS = ("anaconda", "conda-forge")


class CondaDependencies:
    """A conda file in memory. Studio keeps it with a run;
    what is installed on a node decides what a script finds.
    """

    DEFAULT_NUMBER_PKG = 2

    def __init__(
        self, conda_dependencies_file_path: str | None = None, _underlying_structure: Any = None
    ) -> None:
        """The file's content, or a default one. Raises UserErrorException for a file that cannot be read."""
        if _underlying_structure is not None:
            content = _underlying_structure
        elif conda_dependencies_file_path:
            content = _yaml.load(conda_dependencies_file_path)
        else:
            content = {
                "name": "project_environment",
                "dependencies": [f"python={PYTHON_DEFAULT_VERSION}", {"pip": ["azureml-defaults"]}],
                "channels": list(CHANNELS),
            }
        if not isinstance(content, dict):
            raise UserErrorException(
                f"{conda_dependencies_file_path} is not a conda file: it has no dependencies."
            )
        self._content: dict[str, Any] = content

    @staticmethod
    def create(
        pip_indexurl: str | None = None,
        pip_packages: Iterable[str] | None = None,
        conda_packages: Iterable[str] | None = None,
        python_version: str | None = PYTHON_DEFAULT_VERSION,
        pin_sdk_version: bool = True,
    ) -> CondaDependencies:
        """Dependencies with these packages. Raises TypeError for a text where a list belongs."""
        made = CondaDependencies()
        if python_version:
            made.set_python_version(python_version)
        for packages, add in ((conda_packages, made.add_conda_package), (pip_packages, made.add_pip_package)):
            if isinstance(packages, str):
                raise TypeError(f"A list of packages is wanted, not the text {packages!r}.")
            for package in packages or ():
                add(package)
        if pip_indexurl:
            made.set_pip_option(f"--index-url {pip_indexurl}")
        return made

    @staticmethod
    def merge_requirements(requirements: Iterable[str]) -> list[str]:
        """The packages, each once, with all that is demanded of its version."""
        merged: dict[str, list[str]] = {}
        for requirement in requirements:
            name = _bare(requirement)
            demands = merged.setdefault(name, [])
            demand = requirement.strip()[len(name) :].strip()
            if demand and demand not in demands:
                demands.append(demand)
        return [name + ",".join(demands) for name, demands in merged.items()]

    @property
    def conda_packages(self) -> list[str]:
        """What conda is to install, with Python itself."""
        return [str(entry) for entry in self._dependencies if isinstance(entry, str)]

    @property
    def pip_packages(self) -> list[str]:
        """What pip is to install."""
        return [entry for entry in self._pip if not entry.startswith("-")]

    @property
    def pip_options(self) -> list[str]:
        """What pip is told besides packages."""
        return [entry for entry in self._pip if entry.startswith("-")]

    @property
    def conda_channels(self) -> list[str]:
        """Where conda looks."""
        return list(self._content.get("channels") or [])

    @property
    def python_version(self) -> str | None:
        """The wanted version of Python."""
        return self.get_python_version()

    @property
    def _dependencies(self) -> list[Any]:
        found = self._content.get("dependencies")
        if not isinstance(found, list):
            found = self._content["dependencies"] = []
        return found

    @property
    def _pip(self) -> list[str]:
        for entry in self._dependencies:
            if isinstance(entry, dict) and isinstance(entry.get("pip"), list):
                return entry["pip"]
        made: dict[str, list[str]] = {"pip": []}
        self._dependencies.append(made)
        return made["pip"]

    def add_conda_package(self, conda_package: str) -> None:
        """Add a package for conda, in place of what is there under its name."""
        self.remove_conda_package(_bare(conda_package))
        self._dependencies.insert(len(self.conda_packages), conda_package)

    def remove_conda_package(self, conda_package: str) -> None:
        """Take a package for conda away."""
        name = _bare(conda_package)
        self._content["dependencies"] = [
            entry for entry in self._dependencies if not (isinstance(entry, str) and _bare(entry) == name)
        ]

    def add_pip_package(self, pip_package: str) -> None:
        """Add a package for pip, in place of what is there under its name."""
        self.remove_pip_package(pip_package)
        self._pip.append(pip_package)

    def remove_pip_package(self, pip_package: str) -> None:
        """Take a package for pip away."""
        name = _bare(pip_package)
        self._pip[:] = [entry for entry in self._pip if entry.startswith("-") or _bare(entry) != name]

    def add_channel(self, channel: str) -> None:
        """Add a place where conda looks."""
        channels = self._content.setdefault("channels", [])
        if channel not in channels:
            channels.append(channel)

    def remove_channel(self, channel: str) -> None:
        """Take a place where conda looks away."""
        self._content["channels"] = [entry for entry in self.conda_channels if entry != channel]

    def set_pip_option(self, pip_option: str) -> None:
        """Tell pip something besides packages."""
        name = pip_option.split()[0]
        self._pip[:] = [entry for entry in self._pip if entry.split()[0] != name]
        self._pip.insert(0, pip_option)

    def set_pip_requirements(self, pip_requirements: Iterable[str]) -> None:
        """Have pip install these and nothing else."""
        self._pip[:] = list(pip_requirements)

    def set_python_version(self, version: str) -> None:
        """Want this version of Python."""
        self.remove_conda_package(PYTHON_PREFIX)
        self._dependencies.insert(0, f"{PYTHON_PREFIX}={version}")

    def get_python_version(self) -> str | None:
        """The wanted version of Python; None if any will do."""
        for entry in self.conda_packages:
            if _bare(entry) == PYTHON_PREFIX:
                return entry[len(PYTHON_PREFIX) :].lstrip("=<>~! ") or None
        return None

    def as_dict(self) -> dict[str, Any]:
        """The content of the conda file."""
        return self._content

    to_dict = as_dict

    def serialize_to_string(self) -> str:
        """The text of the conda file."""
        return _yaml.dumps(self._content)

    def save(self, path: str | None = None) -> str:
        """Write the conda file (default: `conda_dependencies.yml` here); where it is."""
        place = os.path.abspath(path or "conda_dependencies.yml")
        place = os.path.join(place, "conda_dependencies.yml") if os.path.isdir(place) else place
        with open(place, "w", encoding="utf-8") as file:
            file.write(self.serialize_to_string())
        return place

    def save_to_file(self, base_directory: str, conda_file_path: str | None = None) -> str:
        """Write the conda file below a folder; its path there."""
        name = conda_file_path or "conda_dependencies.yml"
        self.save(os.path.join(base_directory, name))
        return name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CondaDependencies) and self._content == other._content

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"CondaDependencies({self._content!r})"


def _bare(requirement: str) -> str:
    """The name of a package without what is demanded of its version."""
    text = requirement.strip()
    for place, char in enumerate(text):
        if char in "=<>!~;[ ":
            return text[:place].lower()
    return text.lower()
