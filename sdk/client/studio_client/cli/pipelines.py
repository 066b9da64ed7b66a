"""`studio run submit-pipeline`: steps that a YAML file names become one pipeline run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import click

from studio_client import run_configs, snapshots, yaml_files
from studio_client.cli.completion import files
from studio_client.cli.frame import Failed, settings
from studio_client.cli.place import METADATA, Place, located
from studio_client.cli.runs import run
from studio_client.cli.shapes import run_rows
from studio_client.cli.submit import hand_in, submitted_and_watched

_OF_STEPS = frozenset(
    {"script", "command", "arguments", "target", "after", "source_directory", "environment_variables"}
    | {"time_limit_s", "max_retries"}
)
_OF_PIPELINES = frozenset({"steps", "display_name", "description", "tags", "continue_on_failure", "target"})


@run.command(
    "submit-pipeline",
    people=run_rows,
    examples=["studio run submit-pipeline -n digits -y pipeline.yml"],
)
@located(experiment=True)
@METADATA
@click.option(
    "-y",
    "--pipeline-yaml",
    required=True,
    metavar="FILE",
    shell_complete=files,
    help="The file that names the steps.",
)
@click.option("-n", "pipeline_experiment", metavar="NAME", help="The experiment, the same as -e.")
@click.option("--async", "is_async", is_flag=True, help="Do not wait for the end of the run.")
def submit_pipeline(
    place: Place,
    output_metadata_file: str | None,
    pipeline_yaml: str,
    pipeline_experiment: str | None,
    is_async: bool,
) -> dict[str, Any]:
    """Submit steps that run after one another, or side by side, as one pipeline run.

    The file maps the name of each step, below `steps`, to its script, arguments, target, source_directory
    (from where the file is), environment_variables, time_limit_s, max_retries, and the steps that it runs
    `after`.
    """
    place.typed_experiment = place.typed_experiment or pipeline_experiment
    content = _read(pipeline_yaml)
    root = os.path.dirname(os.path.abspath(pipeline_yaml))
    steps = [_step(root, str(name), step) for name, step in content.pop("steps").items()]

    def send() -> Any:
        workspace = place.workspace["name"]
        quiet = settings().only_show_errors
        digests = {folder: snapshots.take(place.api, workspace, folder, quiet=quiet) for folder, _ in steps}
        ready = [{**step, "snapshot": digests[folder]} for folder, step in steps]
        return hand_in(place, {**content, "steps": ready})

    return submitted_and_watched(place, send, output_metadata_file, is_async=is_async)


def _read(file: str) -> dict[str, Any]:
    content = yaml_files.load(file)
    steps = content.get("steps") if isinstance(content, dict) else None
    if not isinstance(steps, dict) or not steps:
        raise Failed(f"{file} names no steps.", hint="Below `steps:` each has a name, and a script.")
    _refuse_unknown(file, content, _OF_PIPELINES)
    return dict(content)


def _step(root: str, name: str, given: Any) -> tuple[str, dict[str, Any]]:
    """The folder to freeze, and what the server is told of a step."""
    if not isinstance(given, Mapping) or bool(given.get("script")) == bool(given.get("command")):
        raise Failed(f"Step {name!r} needs either a script or a command.")
    _refuse_unknown(f"step {name!r}", given, _OF_STEPS)
    folder = os.path.abspath(os.path.join(root, str(given.get("source_directory") or ".")))
    made = {key: value for key, value in given.items() if value is not None and key != "source_directory"}
    made["name"] = name
    if "script" in made:
        made["script"] = run_configs.script_in(folder, str(made["script"]))
        made["arguments"] = run_configs.texts(made.get("arguments"))
    else:
        made["command"] = run_configs.words(made["command"])
    after = made.get("after", [])
    made["after"] = [after] if isinstance(after, str) else list(after)
    variables = made.get("environment_variables") or {}
    made["environment_variables"] = {str(key): str(value) for key, value in variables.items()}
    return folder, made


def _refuse_unknown(place: str, given: Mapping[str, Any], known: frozenset[str]) -> None:
    unknown = ", ".join(sorted(str(name) for name in given if name not in known))
    if unknown:
        raise Failed(f"{place} has what is not known: {unknown}.", hint=f"Known: {', '.join(sorted(known))}.")


def _not_here(name: str) -> None:
    """A command that Azure ML has and Studio has not."""

    @run.command(name, hidden=True, context_settings={"ignore_unknown_options": True}, add_help_option=False)
    @click.argument("rest", nargs=-1, type=click.UNPROCESSED)
    def refuse(rest: tuple[str, ...]) -> None:
        raise Failed(f"{name!r} is not part of Studio.")


for _name in ("submit-hyperdrive", "monitor-tensorboard"):
    _not_here(_name)
