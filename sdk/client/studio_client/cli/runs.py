"""`studio run`: finding runs, showing them, ending them, labelling them."""

from __future__ import annotations

import itertools
from typing import Any

import click

from studio_client.cli import completion
from studio_client.cli.frame import AnyCase, Command, Failed, Group, Whole, key_value, say
from studio_client.cli.output import Sentence
from studio_client.cli.place import Place, all_experiments, located, metadata_file, not_empty
from studio_client.cli.shapes import LOCAL, minimal_json, run_json, run_rows
from studio_client.errors import Conflict, NotFound
from studio_client.records import STATUSES, TERMINAL, RunRecord
from studio_client.streaming import wait_until_ended

#: What Azure ML has and Studio never sets.
_NEVER = ("Provisioning",)
#: How long a run is waited for that was asked to stop: its grace of 10 s, and what its end takes.
STOPPED_WITHIN_S = 12.0


@click.group(
    "run",
    cls=Group,
    examples=[
        "studio run submit-script -e digits train.py --rate 0.1",
        "studio run list -e digits -o table",
        "studio run logs -r RUN_ID -f",
        "studio run cancel -r RUN_ID",
    ],
)
def run() -> None:
    """Submit runs, find them, watch them, end them, label them."""


@run.command(
    "list",
    people=run_rows,
    examples=[
        "studio run list --experiment-name digits -o table",
        "studio run list -e digits --last 50 --query \"[?properties.author=='ana'].run_id\" -o tsv",
        "studio run list -e digits --query \"[?tags.keys(@)[?starts_with(@, 'worth another look')]]\"",
    ],
)
@located(experiment=True)
@click.option(
    "--parent-run-id",
    metavar="RUN_ID",
    callback=not_empty,
    shell_complete=completion.run_ids,
    help="Only children of this run.",
)
@click.option(
    "--pipeline-run-id",
    metavar="RUN_ID",
    callback=not_empty,
    shell_complete=completion.run_ids,
    help="Only steps of this pipeline run; not with -e.",
)
@all_experiments
@click.option("--last", type=Whole(min=1), default=10, show_default=True, help="How many at most.")
@click.option(
    "--status",
    type=AnyCase([*STATUSES, *_NEVER]),
    help="Only runs with this status.",
)
@click.option(
    "--tags", multiple=True, metavar="KEY[=VALUE]", help="Only runs with this tag; repeat for more."
)
@click.option(
    "--compute-target-name",
    metavar="NAME",
    shell_complete=completion.targets,
    help="Only runs on this compute target.",
)
@click.option("--minimal", is_flag=True, help="Only the most important values of each.")
def list_runs(
    place: Place,
    parent_run_id: str | None,
    pipeline_run_id: str | None,
    last: int,
    status: str | None,
    tags: tuple[str, ...],
    compute_target_name: str | None,
    minimal: bool,
) -> list[dict[str, Any]]:
    """List runs of an experiment, or of a workspace, the newest first; children only with --parent-run-id.

    A query is applied after --last: it looks at no more runs than that.
    """
    if pipeline_run_id and place.typed_experiment:
        raise click.UsageError("--pipeline-run-id and -e cannot be used together.")
    for tag in tags:
        key_value(tag)
    parent = parent_run_id or pipeline_run_id
    if parent:
        place.typed_workspace = place.run(parent)["workspace"]
    filters = [
        ("experiment", place.typed_experiment if parent else place.experiment_or_all()),
        ("parent", parent),
        ("status", status),
        *_on_target(compute_target_name),
        *(("tag", tag) for tag in tags),
    ]
    if status in _NEVER:
        return []
    shape = minimal_json if minimal else run_json
    found = [shape(record) for record in itertools.islice(_found(place, filters, last), last)]
    if not found and compute_target_name:
        _tell_of_no_target(place, compute_target_name)
    return found


def _on_target(name: str | None) -> list[tuple[str, Any]]:
    """The filters for a compute target; a run without one counts as local, as it is shown."""
    if name != LOCAL:
        return [("target", name)]
    return [("q", f"target:{LOCAL} OR -target:*"), ("include_children", False)]


def _tell_of_no_target(place: Place, name: str) -> None:
    """Say so if there is no such compute target."""
    workspace = place.workspace["name"]
    try:
        place.api.target(workspace, name)
    except NotFound:
        names = ", ".join(record["name"] for record in place.api.targets(workspace)) or "none"
        say(f"WARNING: workspace {workspace} has no compute target {name!r}. There are: {names}.")


def _found(place: Place, filters: list[tuple[str, Any]], last: int) -> Any:
    """The runs; none on a target that is not there.

    The experiment that a folder was attached with may be missing yet; a typed one may not.
    """
    workspace = place.workspace["name"]
    try:
        yield from place.api.runs(workspace, filters, limit=min(last, 500))
    except NotFound as error:
        if error.field == "target":
            return
        if place.typed_experiment:
            raise place.unknown_experiment(place.typed_experiment) from None
        if not place.attached_experiment:
            raise
        say(f"Experiment {place.attached_experiment} of the attached folder has no runs yet.")


@run.command("show", people=run_rows, examples=["studio run show -r digits_1735689600_0a1b2c3d"])
@located(run=True)
@metadata_file
def show(place: Place, run_id: str) -> dict[str, Any]:
    """Show a run, whichever experiment it is in."""
    return run_json(place.run(run_id))


@run.command("cancel", examples=["studio run cancel -r digits_1735689600_0a1b2c3d"])
@located(run=True)
def cancel(place: Place, run_id: str) -> Sentence:
    """Cancel a run and all its children: their processes are stopped."""
    record = place.run(run_id)
    if record["status"] in TERMINAL:
        raise Failed(f"Run {run_id} has ended as {record['status']} already. Nothing was changed.")
    record = place.api.act(run_id, "cancel")["run"]
    if record["status"] not in TERMINAL:
        record = _stopped(place, run_id, "The cancel goes on")
    if record["status"] not in ("Canceled", "CancelRequested"):
        raise Failed(f"Run {run_id} has ended as {record['status']} before it could be canceled.")
    return Sentence("Experiment run canceled successfully.")


@run.command("complete", people=run_rows, examples=["studio run complete -r RUN_ID"])
@located(run=True)
@metadata_file
def complete(place: Place, run_id: str) -> dict[str, Any]:
    """End a run as Completed; what a node executes of it is stopped."""
    return run_json(_end(place, run_id, "complete", {}))


@run.command("fail", people=run_rows, examples=['studio run fail -r RUN_ID -m "The loss is not a number"'])
@located(run=True)
@metadata_file
@click.option("-m", "--error-details", "--message", default="", metavar="TEXT", help="What went wrong.")
@click.option("--error-code", default="UserError", show_default=True, metavar="WORD", help="A word for it.")
def fail(place: Place, run_id: str, error_details: str, error_code: str) -> dict[str, Any]:
    """End a run as Failed; what a node executes of it is stopped."""
    return run_json(_end(place, run_id, "fail", {"message": error_details, "code": error_code}))


def _end(place: Place, run_id: str, act: str, content: dict[str, Any]) -> RunRecord:
    place.run(run_id)
    try:
        place.api.act(run_id, act, content)
    except Conflict as error:
        status = place.run(run_id)["status"]
        if status not in TERMINAL:
            raise
        raise Failed(f"Run {run_id} has ended as {status} already. Nothing was changed.") from error
    return _stopped(place, run_id, "It is ended all the same")


def _stopped(place: Place, run_id: str, goes_on: str) -> RunRecord:
    """The run once its processes are stopped, as far as they are in time. Ctrl-C says what `goes_on`."""
    try:
        record = place.run(run_id)
        if record["status"] in TERMINAL:
            return record
        say(f"Waiting up to {STOPPED_WITHIN_S:.0f} s for run {run_id} to stop ...")
        return wait_until_ended(place.api, run_id, timeout_s=STOPPED_WITHIN_S)
    except KeyboardInterrupt:
        click.echo(f"\n{goes_on}. To see how it stands: studio run show -r {run_id}", err=True)
        raise


@run.command(
    "update",
    people=run_rows,
    examples=[
        "studio run update -r RUN_ID --add-tag quality='fantastic run'",
        "studio run update -r RUN_ID --add-tag 'worth another look' --remove-tag draft",
    ],
    cls=Command,
)
@located(run=True)
@metadata_file
@click.option(
    "--add-tag", multiple=True, metavar="KEY[=VALUE]", help="Set or replace a tag; repeat for more."
)
@click.option("--remove-tag", multiple=True, metavar="KEY", help="Take a tag away; repeat for more.")
@click.option(
    "--add-property",
    multiple=True,
    metavar="KEY=VALUE",
    help="Add a property, which can never be changed; repeat for more.",
)
@click.option("--display-name", metavar="TEXT", help="Give it another name.")
@click.option("--description", metavar="TEXT", help="Give it another description.")
def update(
    place: Place,
    run_id: str,
    add_tag: tuple[str, ...],
    remove_tag: tuple[str, ...],
    add_property: tuple[str, ...],
    **texts: str | None,
) -> dict[str, Any]:
    """Change tags, name or description of a run, or add properties; also of one that has ended."""
    changes = {name: text for name, text in texts.items() if text is not None}
    tags = dict(key_value(text) for text in add_tag)
    properties = dict(key_value(text) for text in add_property)
    if not (tags or remove_tag or properties or changes):
        raise click.UsageError("There is nothing to change: give --add-tag KEY[=VALUE], or another option.")
    for key, value in properties.items():
        if value is None:
            raise click.UsageError(f"The property {key!r} has no value: it is written as key=value.")
    place.run(run_id)
    if properties:
        place.api.add_properties(run_id, {key: str(value) for key, value in properties.items()})
    if tags:
        place.api.set_tags(run_id, tags)
    if remove_tag:
        place.api.remove_tags(run_id, remove_tag)
    if changes:
        place.api.change_run(run_id, **changes)
    return run_json(place.run(run_id))
