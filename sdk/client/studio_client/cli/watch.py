"""`studio run watch`: a table of runs that stays up to date."""

from __future__ import annotations

import itertools
import shutil
import sys
import time
from collections.abc import Iterator
from typing import Any

import click

from studio_client.cli.place import Place, located
from studio_client.cli.runs import run
from studio_client.cli.shapes import run_json, run_row
from studio_client.cli.tables import LEFT_OUT, plain, table, terminal_width
from studio_client.errors import StudioClientError, is_away
from studio_client.records import TERMINAL, RunRecord

_NO_WRAP, _WRAP, _HIDE, _SHOW, _CLEAR_BELOW = "\x1b[?7l", "\x1b[?7h", "\x1b[?25l", "\x1b[?25h", "\x1b[J"


@run.command(
    "watch", examples=["studio run watch -e digits", "studio run watch -e digits --until-done | tee runs.txt"]
)
@located(experiment=True)
@click.option(
    "--last", type=click.IntRange(min=1), default=20, show_default=True, help="How many runs at most."
)
@click.option(
    "--interval",
    type=click.FloatRange(min=0.2),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How often the server is asked.",
)
@click.option("--include-children", is_flag=True, help="Child runs, too.")
@click.option("--until-done", is_flag=True, help="End as soon as none of the runs is active.")
def watch(place: Place, last: int, interval: float, include_children: bool, until_done: bool) -> None:
    """Show a live table of runs, of an experiment or of the whole workspace, until Ctrl-C.

    Where stdout is no terminal, a line is written whenever a run changes its status.
    """
    filters = [("experiment", place.typed_experiment), ("include_children", include_children)]
    looks = _looks(place, filters, last, interval)
    show = _Live() if sys.stdout.isatty() else _Lines()
    say_waiting = place.api.transport.when_away

    def away() -> None:
        if say_waiting is not None:
            say_waiting()
        show.begin_anew()

    place.api.transport.when_away = away
    with show:
        for records in looks:
            show.update(records)
            if until_done and all(record["status"] in TERMINAL for record in records):
                return


def _looks(
    place: Place, filters: list[tuple[str, Any]], last: int, interval: float
) -> Iterator[list[RunRecord]]:
    """The runs, again and again. A server that is away is waited for."""
    workspace = place.workspace["name"]
    while True:
        try:
            yield list(itertools.islice(place.api.runs(workspace, filters, limit=min(last, 500)), last))
        except StudioClientError as error:
            if not is_away(error):
                raise
        time.sleep(interval)


class _Live:
    """A table that is drawn over the one before."""

    def __init__(self) -> None:
        self._height = 0

    def __enter__(self) -> None:
        click.echo(_HIDE + _NO_WRAP, nl=False)

    def __exit__(self, *error: object) -> None:
        click.echo(_WRAP + _SHOW, nl=False)

    def begin_anew(self) -> None:
        """Leave what is drawn as it is: something else was written below."""
        self._height = 0

    def update(self, records: list[RunRecord]) -> None:
        """Draw it anew, as far as the window is high enough."""
        height = max(1, shutil.get_terminal_size().lines - 1)
        rows = [run_row(run_json(record)) for record in records]
        lines = (table(rows, room=terminal_width(), left_out=LEFT_OUT) or "There are no runs.").splitlines()[
            :height
        ]
        up = f"\x1b[{self._height}F" if self._height else ""
        click.echo(up + _CLEAR_BELOW + "\n".join(lines))
        self._height = len(lines)


class _Lines:
    """A line for every change of a status."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: object) -> None:
        return None

    def begin_anew(self) -> None:
        """Nothing is drawn, so nothing is in the way."""

    def update(self, records: list[RunRecord]) -> None:
        """Write what has changed, the oldest run first."""
        for record in reversed(records):
            run_id, status = record["run_id"], record["status"]
            if self._known.get(run_id) != status:
                self._known[run_id] = status
                row = run_row(run_json(record))
                words = (record["experiment"], row["Number"], status, row["Duration"], row["Name"], run_id)
                click.echo("  ".join(plain(word) for word in words if word not in (None, "")))
        sys.stdout.flush()
