"""Finding and reading the files that say which workspace a folder belongs to."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from studio_client.errors import ConfigError

#: In this order, each looked for from the folder up to the root before the next.
PLACES = (
    os.path.join(".azureml", "config.json"),
    os.path.join(".azureml", "project.json"),
    os.path.join("aml_config", "config.json"),
    os.path.join("aml_config", "project.json"),
    "config.json",
    "project.json",
)
_SCOPE = re.compile(
    r"/subscriptions/(?P<subscription_id>[^/]*)/resource[gG]roups/(?P<resource_group>[^/]*)"
    r"/providers/Microsoft\.MachineLearningServices/workspaces/(?P<workspace_name>[^/]+)"
    r"(?:/(?:experiments|projects)/(?P<experiment_name>[^/]+))?/?"
)


class Attachment(NamedTuple):
    """What such a file says; `experiment_name` is "" in most."""

    subscription_id: str
    resource_group: str
    workspace_name: str
    experiment_name: str = ""


def scope_of(subscription_id: str, resource_group: str, workspace_name: str) -> str:
    """The address that the Azure portal gives a workspace."""
    return (
        f"/subscriptions/{subscription_id}/resourceGroups/{resource_group}"
        f"/providers/Microsoft.MachineLearningServices/workspaces/{workspace_name}"
    )


def find(path: str | None, file_name: str | None) -> tuple[str, Attachment]:
    """The file in force and what it says; `path` is the file itself or where to begin.

    Raises ConfigError.
    """
    start = os.path.abspath(path or os.getcwd())
    if os.path.isfile(start):
        return start, read(start)
    if not os.path.isdir(start):
        raise ConfigError(f"There is no file or folder {start} to read a workspace's configuration from.")
    file = look(start, file_name)
    if file:
        return file, read(file)
    wanted = file_name or "config.json"
    raise ConfigError(
        f"We could not find {wanted} in: {start} or in its parent directories.",
        hint="Please provide the full path to the config file, or write one: "
        "`studio folder attach -w WORKSPACE`, or ws.write_config().",
    )


def look(start: str, file_name: str | None = None) -> str:
    """The file in force for a folder; "" if there is none."""
    return next((file for file in _candidates(start, file_name) if os.path.isfile(file)), "")


def write(folder: str, scope: str, name: str | None = None, *, file_name: str = "config.json") -> str:
    """Write `<folder>/.azureml/config.json`; the file. Raises ConfigError."""
    below = os.path.join(os.path.abspath(folder), ".azureml")
    file = os.path.join(below, file_name)
    try:
        os.makedirs(below, exist_ok=True)
        with open(file, "w", encoding="utf-8") as target:
            json.dump({"Id": name, "Scope": scope}, target, indent=4)
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}.") from None
    return file


def read(file: str) -> Attachment:
    """What one file says. Raises ConfigError."""
    try:
        with open(file, encoding="utf-8-sig") as handle:
            content = json.load(handle)
    except (OSError, ValueError) as error:
        raise ConfigError(f"The workspace configuration file {file} cannot be read: {error}") from None
    if isinstance(content, dict) and content.get("Scope"):
        match = _SCOPE.fullmatch(str(content["Scope"]))
        if match:
            found = match.groupdict()
            return Attachment(
                found["subscription_id"],
                found["resource_group"],
                found["workspace_name"],
                found["experiment_name"] or "",
            )
    names = ("subscription_id", "resource_group", "workspace_name")
    if isinstance(content, dict) and all(isinstance(content.get(name), str) for name in names):
        return Attachment(*(content[name] for name in names))
    raise ConfigError(
        f"The workspace configuration file {file} is missing a required property. It needs subscription_id, "
        "resource_group and workspace_name, or Scope."
    )


def _candidates(start: str, file_name: str | None) -> Iterator[str]:
    places = PLACES if file_name is None else (os.path.join(".azureml", file_name), file_name)
    for place in places:
        folder = start
        while True:
            yield os.path.join(folder, place)
            parent = os.path.dirname(folder)
            if parent == folder:
                break
            folder = parent
