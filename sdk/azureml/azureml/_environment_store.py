"""Environments that were registered: kept in files of this machine, one per name, for each server and
workspace.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from azureml.core.workspace import Workspace


def keep(workspace: Workspace, name: str, content: dict[str, Any]) -> str:
    """Keep an environment; its version, which is the last one's if nothing differs."""
    versions = _versions(workspace, name)
    bare = {**content, "version": None}
    if versions and {**versions[-1], "version": None} == bare:
        return str(versions[-1]["version"])
    number = str(len(versions) + 1)
    versions.append({**content, "version": number})
    file = _file(workspace, name)
    os.makedirs(os.path.dirname(file), exist_ok=True, mode=0o700)
    with open(f"{file}.new", "w", encoding="utf-8") as target:
        json.dump(versions, target, indent=1)
    os.replace(f"{file}.new", file)
    return number


def find(workspace: Workspace, name: str, version: str | None = None) -> dict[str, Any] | None:
    """An environment in this version, or the last one; None if there is none."""
    for content in reversed(_versions(workspace, name)):
        if version is None or content["version"] == str(version):
            return content
    return None


def names(workspace: Workspace) -> list[str]:
    """The names of those that are kept."""
    try:
        files = sorted(os.listdir(_folder(workspace)))
    except FileNotFoundError:
        return []
    return [unquote(file[: -len(".json")]) for file in files if file.endswith(".json")]


def _versions(workspace: Workspace, name: str) -> list[dict[str, Any]]:
    try:
        with open(_file(workspace, name), encoding="utf-8") as file:
            return list(json.load(file))
    except (FileNotFoundError, ValueError):
        return []


def _folder(workspace: Workspace) -> str:
    from studio_client.config import config_folder

    server = re.sub(r"[^A-Za-z0-9.-]+", "_", workspace._api.url)
    return os.path.join(config_folder(), "environments", server, quote(workspace.name, safe=""))


def _file(workspace: Workspace, name: str) -> str:
    return os.path.join(_folder(workspace), f"{quote(name, safe='')}.json")
