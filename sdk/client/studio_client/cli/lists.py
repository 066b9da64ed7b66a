"""`studio experiment`, `computetarget`, `compute` and `workspace`."""

from __future__ import annotations

from typing import Any

import click

from studio_client.cli import completion
from studio_client.cli.frame import Failed, Group, settings
from studio_client.cli.place import Place, located, metadata_file
from studio_client.cli.shapes import (
    experiment_json,
    experiment_rows,
    target_json,
    target_rows,
    workspace_json,
)
from studio_client.errors import NotFound

_TARGETS_ARE_MADE = (
    "Compute targets are made on the page Compute, and served by `manage.py node --targets NAME`."
)


@click.group(
    "experiment", cls=Group, examples=["studio experiment list -o table", "studio experiment show -e digits"]
)
def experiment() -> None:
    """Find experiments."""


@experiment.command(
    "list",
    people=experiment_rows,
    examples=["studio experiment list -o table", "studio experiment list --query [].name -o tsv"],
)
@located()
@click.option("--archived", is_flag=True, help="Those that are archived, instead of the others.")
def list_experiments(place: Place, archived: bool) -> list[dict[str, Any]]:
    """List the experiments of a workspace."""
    view = "archived" if archived else "active"
    return [experiment_json(record) for record in place.api.experiments(place.workspace["name"], view=view)]


@experiment.command(
    "show",
    people=lambda result: experiment_rows([result]),
    examples=["studio experiment show -e digits", "studio experiment show -e digits --query tags"],
)
@located(experiment=True)
def show_experiment(place: Place) -> dict[str, Any]:
    """Show an experiment."""
    workspace, name = place.workspace["name"], place.experiment()
    try:
        return experiment_json(place.api.experiment(workspace, name))
    except NotFound:
        raise place.unknown_experiment(name) from None


@click.group("computetarget", cls=Group, examples=["studio computetarget list -o table"])
def computetarget() -> None:
    """Find compute targets."""


@click.group(
    "compute", cls=Group, examples=["studio compute list -o table", "studio compute show -n gpu-compute"]
)
def compute() -> None:
    """Find compute targets, with the nodes that serve them."""


@computetarget.command(
    "list",
    people=target_rows,
    examples=["studio computetarget list -o table", "studio computetarget list -v"],
)
@located()
def list_targets(place: Place) -> list[dict[str, Any]]:
    """List the compute targets of a workspace; -v gives everything that is known of each."""
    whole = settings().verbose
    return [target_json(record, whole=whole) for record in place.api.targets(place.workspace["name"])]


@compute.command(
    "list",
    people=target_rows,
    examples=["studio compute list -o table", 'studio compute list --query "[?isDefault].name" -o tsv'],
)
@located()
def list_compute(place: Place) -> list[dict[str, Any]]:
    """List the compute targets of a workspace, with their nodes."""
    return [target_json(record, whole=True) for record in place.api.targets(place.workspace["name"])]


@click.command(
    "show",
    cls=Group.command_class,
    people=target_rows,
    examples=["studio compute show -n gpu-compute", "studio computetarget show -n gpu-compute -o table"],
)
@located()
@metadata_file
@click.option(
    "-n",
    "--name",
    required=True,
    metavar="NAME",
    shell_complete=completion.targets,
    help="The compute target.",
)
def show_target(place: Place, name: str) -> dict[str, Any]:
    """Show a compute target and the nodes that serve it."""
    workspace = place.workspace["name"]
    try:
        return target_json(place.api.target(workspace, name), whole=True)
    except NotFound:
        names = ", ".join(record["name"] for record in place.api.targets(workspace)) or "none"
        raise Failed(
            f"ComputeTargetNotFound: workspace {workspace} has no compute target {name!r}.",
            hint=f"There are: {names}.",
        ) from None


computetarget.add_command(show_target)
compute.add_command(show_target)


def _not_here(group: click.Group, name: str, reason: str) -> None:
    """A command that Azure ML has and Studio has not: it says where to go instead."""

    @group.command(
        name, hidden=True, context_settings={"ignore_unknown_options": True}, add_help_option=False
    )
    @click.argument("rest", nargs=-1, type=click.UNPROCESSED)
    def refuse(rest: tuple[str, ...]) -> None:
        raise Failed(reason)


for _name in ("create", "attach", "detach", "delete", "update"):
    _not_here(computetarget, _name, _TARGETS_ARE_MADE)
    _not_here(compute, _name, _TARGETS_ARE_MADE)


@click.group(
    "workspace", cls=Group, examples=["studio workspace list -o table", "studio workspace show -w default"]
)
def workspace() -> None:
    """Find workspaces."""


@workspace.command("list", examples=["studio workspace list -o table"])
@click.option("-g", "--resource-group", metavar="NAME", help="Only those in this resource group.")
def list_workspaces(resource_group: str | None) -> list[dict[str, Any]]:
    """List the workspaces that you are a member of."""
    return [
        {
            "subscriptionId": record["subscription_id"],
            "resourceGroup": record["resource_group"],
            "workspaceName": record["name"],
        }
        for record in Place().api.workspaces()
        if resource_group in (None, record["resource_group"])
    ]


def _details(place: Place) -> dict[str, Any]:
    return workspace_json(
        place.workspace, url=place.api.url, group=place.group, subscription=place.subscription
    )


@workspace.command(
    "show", examples=["studio workspace show -w default", "studio workspace show --query url -o tsv"]
)
@located()
@metadata_file
def show_workspace(place: Place) -> dict[str, Any]:
    """Show a workspace."""
    return _details(place)


@workspace.command(
    "create",
    context_settings={"ignore_unknown_options": True},
    examples=["studio workspace create -w default --exist-ok"],
)
@located()
@click.option("--exist-ok", is_flag=True, help="Show the workspace if it is there.")
@click.argument("rest", nargs=-1, type=click.UNPROCESSED)
def create_workspace(place: Place, exist_ok: bool, rest: tuple[str, ...]) -> dict[str, Any]:
    """With --exist-ok, show a workspace that is there. New ones are made on the server."""
    if not exist_ok:
        raise Failed(
            "Workspaces are made by who runs the server.", hint="Give --exist-ok to use one that is there."
        )
    return _details(place)


for _name in ("update", "delete", "share", "sync-keys", "list-keys"):
    _not_here(
        workspace, _name, "Workspaces and their members are managed on the page Members, and on the server."
    )
