"""`studio run logs`, `monitor-logs` and `download-logs`: what runs print."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from studio_client.cli.completion import folders
from studio_client.cli.frame import Failed, is_typed, say, settings
from studio_client.cli.place import Place, located, metadata_file
from studio_client.cli.reader import end_with_reader
from studio_client.cli.runs import run
from studio_client.cli.shapes import run_json, run_rows
from studio_client.downloads import log_bytes, written_whole
from studio_client.errors import NotFound, StudioClientError
from studio_client.records import TERMINAL, RunRecord
from studio_client.run_errors import error_of
from studio_client.streaming import choose_log, follow, print_log, print_summary, wait_until_ended

_NAME = click.option("--name", metavar="LOG", help="Which log; else the one that the script itself writes.")


@run.command("logs", examples=["studio run logs -r RUN_ID -f", "studio run logs -r RUN_ID > log.txt"])
@located(run=True)
@_NAME
@click.option(
    "-f", "--follow", "is_followed", is_flag=True, help="Go on with what comes, until the run has ended."
)
def logs(place: Place, run_id: str, name: str | None, is_followed: bool) -> None:
    """Print the log of a run as it is now, on stdout; with -f, on stderr also why it is queued."""
    if is_typed("output") or settings().query is not None:
        raise click.UsageError("A log is printed as it is: -o and --query do not go with it.")
    place.run(run_id)
    if is_followed:
        end_with_reader()
        for _, text in follow(place.api, run_id, name, tell=say):
            sys.stdout.write(text)
            sys.stdout.flush()
        return
    names = [log["name"] for log in place.api.logs(run_id)]
    chosen = name or choose_log(place.api.logs(run_id))
    if chosen is None:
        say(f"Run {run_id} has no log yet.")
        return
    if names and chosen not in names:
        raise Failed(f"Run {run_id} has no log {chosen}.", hint=f"There are: {', '.join(sorted(names))}.")
    sys.stdout.flush()
    for data in log_bytes(place.api, run_id, chosen):
        sys.stdout.buffer.write(data)


@run.command(
    "monitor-logs",
    people=run_rows,
    examples=["studio run monitor-logs -r RUN_ID", "studio run monitor-logs -r RUN_ID --query status -o tsv"],
)
@located(run=True)
@metadata_file
def monitor_logs(place: Place, run_id: str) -> dict[str, Any]:
    """Follow the log of a run on stderr until it has ended, then print the run."""
    return run_json(watched(place, place.run(run_id)))


def watched(place: Place, record: RunRecord) -> RunRecord:
    """The run once it has ended, with its log on stderr meanwhile.

    Ctrl-C says that the run goes on, as does a server that gives no more of it.
    """
    run_id = record["run_id"]
    try:
        print_log(place.api, record, sys.stderr)
        record = wait_until_ended(place.api, run_id)
    except NotFound:
        raise
    except (KeyboardInterrupt, StudioClientError):
        if record["status"] in TERMINAL:
            raise
        click.echo(
            f"\nThe run goes on. To follow it: studio run monitor-logs -r {run_id}\n"
            f"To cancel it: studio run cancel -r {run_id}",
            err=True,
        )
        raise
    print_summary(record, sys.stderr)
    return record


def refuse_bad_end(record: RunRecord) -> None:
    """Raises Failed, with the reason, for a run that has not ended as Completed."""
    if record["status"] == "Canceled":
        raise Failed(f"Run {record['run_id']} was canceled.")
    if record["status"] == "Failed":
        found = error_of(record) or {"error": {"code": "", "message": "See its log."}}
        error = found["error"]
        raise Failed(
            f"Run {record['run_id']} failed: {error['code']}: {error['message']}", hint=f"See {record['url']}"
        )


@run.command("download-logs", examples=["studio run download-logs -r RUN_ID -d logs"])
@located(run=True)
@click.option(
    "-d",
    "--output-dir",
    required=True,
    metavar="FOLDER",
    shell_complete=folders,
    help="Where they go; made if it is new.",
)
def download_logs(place: Place, run_id: str, output_dir: str) -> None:
    """Write all logs of a run into a folder."""
    place.run(run_id)
    if os.path.exists(output_dir) and not os.path.isdir(output_dir):
        raise Failed(f"{output_dir} is a file; logs go into a folder.")
    names = {log["name"] for log in place.api.logs(run_id)}
    if not names:
        say(f"Run {run_id} has no logs.")
    root = os.path.abspath(output_dir)
    for name in sorted(names):
        target = os.path.abspath(os.path.join(root, name))
        if os.path.commonpath([root, target]) != root:
            raise Failed(f"The log {name!r} leads out of {output_dir}.")
        with written_whole(target) as file:
            for data in log_bytes(place.api, run_id, name):
                file.write(data)
        say(target)
