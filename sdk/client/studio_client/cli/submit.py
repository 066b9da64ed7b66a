"""`studio run submit-script`: a folder and a script in it become a run."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from studio_client import config, run_configs, snapshots, yaml_files
from studio_client.cli import completion
from studio_client.cli.frame import say, settings
from studio_client.cli.logs import refuse_bad_end, watched
from studio_client.cli.place import METADATA, Place, checked_name, located, refuse_existing, write_metadata
from studio_client.cli.runs import run
from studio_client.cli.shapes import run_json, run_rows
from studio_client.git import git_properties
from studio_client.records import RunRecord


@run.command(
    "submit-script",
    people=run_rows,
    context_settings={"allow_interspersed_args": False},
    examples=[
        "studio run submit-script -e digits train.py --rate 0.1",
        "studio run submit-script -c sklearn -e digits train.py",
        "studio run submit-script -c gpu-compute -e digits --async -t run.json train.py",
    ],
)
@located(experiment=True)
@METADATA
@click.option(
    "-c",
    "--run-configuration-name",
    metavar="NAME",
    shell_complete=completion.configurations,
    help="A file .azureml/NAME.runconfig or NAME.runconfig of the project, named without its ending.",
)
@click.option(
    "--source-directory",
    type=click.Path(file_okay=False),
    metavar="FOLDER",
    help="The folder that is frozen; else --path.",
)
@click.option("--async", "is_async", is_flag=True, help="Do not wait for the end of the run.")
@click.option(
    "-d",
    "--conda-dependencies",
    type=click.Path(),
    metavar="FILE",
    help="A conda file to keep with the run, in place of that of the configuration.",
)
@click.option(
    "--target",
    "--ct",
    metavar="NAME",
    shell_complete=completion.targets,
    help="The compute target to run on.",
)
@click.argument("script", required=False, shell_complete=completion.files)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, shell_complete=completion.files)
def submit_script(
    place: Place,
    output_metadata_file: str | None,
    run_configuration_name: str | None,
    source_directory: str | None,
    is_async: bool,
    conda_dependencies: str | None,
    target: str | None,
    script: str | None,
    arguments: tuple[str, ...],
) -> dict[str, Any]:
    """Freeze the folder, run SCRIPT of it with ARGUMENTS, follow its log on stderr, and print the run.

    Everything after SCRIPT goes to the script, options too. Without -c the run goes to the default compute
    target.
    """
    folder = os.path.abspath(source_directory or place.path)
    content = _configuration(place.path, run_configuration_name)
    if conda_dependencies:
        _environment(content)["condaDependencies"] = yaml_files.load(conda_dependencies)
    given = {"script": script, "arguments": list(arguments), "target": target}
    content.update({name: value for name, value in given.items() if value})

    def send() -> RunRecord:
        told = run_configs.submission(content, folder)
        if warning := run_configs.warning(content):
            say(f"WARNING: {warning}")
        checked_name(place.experiment())
        source = told.get("script") or ""
        digest = snapshots.take(
            place.api, place.workspace["name"], folder, script=source, quiet=settings().only_show_errors
        )
        return hand_in(place, {**told, "snapshot": digest, "properties": git_properties(folder) or None})

    return submitted_and_watched(place, send, output_metadata_file, is_async=is_async)


def submitted_and_watched(
    place: Place, send: Callable[[], RunRecord], metadata: str | None, *, is_async: bool
) -> dict[str, Any]:
    """Send a run, follow it unless `is_async`, and write what became of it to the file `metadata`."""
    if metadata:
        refuse_existing(metadata)
    record = send()
    where = f"on {record['target']}" if record["target"] else "as a pipeline"
    say(f"Submitted run {record['run_id']} to {record['experiment']} {where}: {record['url']}")
    try:
        if not is_async:
            record = watched(place, record)
    finally:
        if metadata:
            write_metadata(metadata, run_json(record))
    refuse_bad_end(record)
    return run_json(record)


def _configuration(root: str, name: str | None) -> dict[str, Any]:
    """What the file says, with its conda file read in; {} without a name."""
    if not name:
        return {}
    content = run_configs.load(root, name)
    file = _environment(content).get("condaDependenciesFile")
    if file and os.path.isfile(os.path.join(root, file)):
        _environment(content)["condaDependencies"] = yaml_files.load(os.path.join(root, file))
    return content


def _environment(content: dict[str, Any]) -> dict[str, Any]:
    """The part of a configuration that is about Python, made if it is not there."""
    found: dict[str, Any] = content
    for name in ("environment", "python"):
        if not isinstance(found.get(name), dict):
            found[name] = {}
        found = found[name]
    return found


def hand_in(place: Place, content: dict[str, Any]) -> RunRecord:
    """Hand in what is to be executed; below the run that this process belongs to, if it does."""
    experiment = checked_name(place.experiment())
    in_run = config.in_run() and not os.environ.get("STUDIO_TOKEN")
    given = {
        **content,
        "experiment": experiment,
        "run_id": run_configs.new_run_id(experiment),
        "parent": os.environ["AZUREML_RUN_ID"] if in_run else None,
    }
    return place.api.submit(place.workspace["name"], given)
