"""`studio folder attach`: a folder belongs to a workspace from then on."""

from __future__ import annotations

import os
import re
from typing import Any

import click

from studio_client import attachment
from studio_client.attachment import scope_of
from studio_client.cli.frame import Failed, Group, say
from studio_client.cli.place import Place, checked_name, located, metadata_file
from studio_client.ignore import IGNORE_FILES
from studio_client.records import TargetRecord
from studio_client.run_configs import ENDING
from studio_client.yaml_files import dumps

_LEFT_OUT = (".ipynb_checkpoints", "azureml-logs", ".azureml", ".git", "outputs", "azureml-setup", "docs")
_CONDA_FILE = "conda_dependencies.yml"
_PACKAGES = ("scikit-learn",)


@click.group("folder", cls=Group, examples=["studio folder attach -w default -e digits"])
def folder() -> None:
    """Attach folders to workspaces."""


@folder.command(
    "attach",
    examples=[
        "studio folder attach -w myworkspace",
        "studio folder attach -w myworkspace -e digits --path digits",
    ],
)
@located(experiment=True)
@metadata_file
def attach(place: Place) -> dict[str, Any]:
    """Write .azureml/ with config.json and examples of run configurations into the folder.

    The experiment is -e, else the folder's name. Run configurations that are there already are kept.
    """
    if place.typed_experiment is not None:
        checked_name(place.typed_experiment)
    workspace, root = place.workspace, place.path
    experiment = place.typed_experiment or _tidied(os.path.basename(root))
    group = place.typed_group or workspace["resource_group"]
    subscription = place.typed_subscription or workspace["subscription_id"]
    for text in (group, subscription):
        if "/" in text:
            raise Failed(f"{text!r} holds a slash, which no resource group and no subscription has.")
    targets = [*place.api.targets(workspace["name"])]
    scope = f"{scope_of(subscription, group, workspace['name'])}/experiments/{experiment}"
    try:
        os.makedirs(root, exist_ok=True)
        attachment.write(root, scope, experiment)
        _write_examples(root, targets)
    except OSError as error:
        raise Failed(f"{root} cannot be written: {error.strerror}.") from None
    say(f"{root} belongs to workspace {workspace['name']} at {place.api.url} now.")
    return {
        "Experiment name": experiment,
        "Project path": root,
        "Resource group": group,
        "Subscription id": subscription,
        "Workspace name": workspace["name"],
    }


def _tidied(name: str) -> str:
    """A folder's name as an experiment's, which is said if it has to be another one."""
    made = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[:255] or "experiment"
    if made != name:
        say(f"The experiment is named {made}, as {name!r} is not allowed as the name of one.")
    return made


def _write_examples(root: str, targets: list[TargetRecord]) -> None:
    """Run configurations for each target and the examples, none over one that is there."""
    default = next((target["name"] for target in targets if target["is_default"]), None)
    names = {"local": "local", "docker": "local", "sklearn": default or "local"}
    names.update({target["name"]: target["name"] for target in targets})
    below = os.path.join(root, ".azureml")
    for name, target in names.items():
        _write_new(os.path.join(below, name + ENDING), _example(target, use_docker=name == "docker"))
    conda = {
        "name": "project_environment",
        "dependencies": ["python", {"pip": list(_PACKAGES)}],
        "channels": ["conda-forge"],
    }
    _write_new(os.path.join(below, _CONDA_FILE), dumps(conda))
    if not os.path.exists(os.path.join(root, IGNORE_FILES[0])):
        _write_new(os.path.join(root, IGNORE_FILES[0]), "\n".join(_LEFT_OUT) + "\n")


def _example(target: str, *, use_docker: bool) -> str:
    return "# How to run a script of this folder: studio run submit-script -c NAME script.py\n" + dumps(
        {
            "script": None,
            "arguments": [],
            "target": target,
            "framework": "Python",
            "communicator": "None",
            "nodeCount": 1,
            "maxRunDurationSeconds": None,
            "environment": {
                "name": "project_environment",
                "python": {
                    "interpreterPath": "python",
                    "userManagedDependencies": not use_docker,
                    "condaDependenciesFile": f".azureml/{_CONDA_FILE}",
                },
                "environmentVariables": {},
            },
            "docker": {"useDocker": use_docker},
            "history": {"outputCollection": True, "snapshotProject": True, "directoriesToWatch": ["logs"]},
        }
    )


def _write_new(file: str, text: str) -> None:
    try:
        with open(file, "x", encoding="utf-8") as target:
            target.write(text)
    except FileExistsError:
        return
