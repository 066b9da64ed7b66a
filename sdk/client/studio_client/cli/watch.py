"""`studio run watch`: a table of runs that stays up to date."""

from __future__ import annotations

import itertools
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import click

from studio_client.cli.frame import Seconds, Whole, is_typed, say, settings
from studio_client.cli.output import as_lines
from studio_client.cli.place import Place, all_experiments, located
from studio_client.cli.query import Query
from studio_client.cli.reader import end_with_reader
from studio_client.cli.runs import run
from studio_client.cli.shapes import run_json, run_row, run_rows
from studio_client.cli.tables import LEFT_OUT, is_dumb, plain, table, terminal_width
from studio_client.errors import NotFound, StudioClientError, is_away
from studio_client.records import TERMINAL, RunRecord

_NO_WRAP, _WRAP, _HIDE, _SHOW, _CLEAR_BELOW = "\x1b[?7l", "\x1b[?7h", "\x1b[?25l", "\x1b[?25h", "\x1b[J"
#: The values of -o that make a line of each change.
_BY_LINE = ("json", "jsonc", "tsv", "none")


@run.command(
    "watch", examples=["studio run watch -e digits", "studio run watch -e digits --until-done | tee runs.txt"]
)
@located(experiment=True)
@all_experiments
@click.option("--last", type=Whole(min=1), default=20, show_default=True, help="How many runs at most.")
@click.option(
    "--interval",
    type=Seconds(min=0.2),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How often the server is asked.",
)
@click.option("--include-children", is_flag=True, help="Child runs, too.")
@click.option("--until-done", is_flag=True, help="End as soon as none of the runs is active.")
def watch(place: Place, last: int, interval: float, include_children: bool, until_done: bool) -> None:
    """Show a live table of runs, of an experiment or of the whole workspace, until Ctrl-C.

    Where stdout is no terminal, or a dumb one, a line is written whenever a run changes its status; with -o
    json or tsv, or with --query, that line is the run, or what the query finds in the list of those that have
    changed.
    """
    show = _view()
    end_with_reader()
    experiment = None if place.is_whole_workspace else place.typed_experiment or place.attached_experiment
    filters = [("experiment", experiment or None), ("include_children", include_children)]
    looks = _looks(place, filters, last, interval)
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


def _view() -> _Live | _Lines:
    """What shows the runs as `-o` and `--query` ask for it. Raises click.UsageError."""
    asked = settings()
    form = asked.output if is_typed("output") else "table"
    if asked.query is not None and not is_typed("output"):
        form = asked.output if asked.output in _BY_LINE else "json"
    if form in _BY_LINE:
        return _Lines(_Results(form, asked.query))
    if form != "table" or asked.query is not None:
        raise click.UsageError(
            f"Runs are watched as a table, or with -o {', '.join(_BY_LINE)} and --query line by line, "
            f"and not with -o {form}{' and a query' if asked.query is not None else ''}."
        )
    return _Live() if sys.stdout.isatty() and not is_dumb() else _Lines(_write_change)


def _looks(
    place: Place, filters: list[tuple[str, Any]], last: int, interval: float
) -> Iterator[list[RunRecord]]:
    """The runs, again and again. A server that is away is waited for, and so is an experiment that a folder
    was attached with.
    """
    workspace = place.workspace["name"]
    is_told = False
    while True:
        try:
            yield list(itertools.islice(place.api.runs(workspace, filters, limit=min(last, 500)), last))
        except StudioClientError as error:
            if isinstance(error, NotFound) and place.attached_experiment and not place.typed_experiment:
                if not is_told:
                    say(f"Experiment {place.attached_experiment} of the attached folder has no runs yet.")
                is_told = True
                yield []
            elif isinstance(error, NotFound) and place.typed_experiment:
                raise place.unknown_experiment(place.typed_experiment) from None
            elif not is_away(error):
                raise
        time.sleep(interval)


class _Live:
    """A table that is drawn over the one before."""

    def __init__(self) -> None:
        self._height = 0

    def __enter__(self) -> None:
        click.echo(_HIDE, nl=False)

    def __exit__(self, *error: object) -> None:
        click.echo(_WRAP + _SHOW, nl=False)

    def begin_anew(self) -> None:
        """Leave what is drawn as it is: something else was written below."""
        self._height = 0

    def update(self, records: list[RunRecord]) -> None:
        """Draw it anew, as far as the window is high enough."""
        height = max(1, shutil.get_terminal_size().lines - 1)
        rows = run_rows([run_json(record) for record in records])
        lines = (table(rows, room=terminal_width(), left_out=LEFT_OUT) or "There are no runs.").splitlines()[
            :height
        ]
        up = f"\x1b[{self._height}F" if self._height else ""
        click.echo(up + _CLEAR_BELOW + _NO_WRAP + "\n".join(lines) + _WRAP)  # sentences in between do wrap
        self._height = len(lines)


class _Lines:
    """Something is written for every change of a status."""

    def __init__(self, write: Callable[[list[RunRecord]], None]) -> None:
        self._write = write
        self._known: dict[str, str] = {}

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: object) -> None:
        return None

    def begin_anew(self) -> None:
        """Nothing is drawn, so nothing is in the way."""

    def update(self, records: list[RunRecord]) -> None:
        """Write those that have changed, the oldest run first."""
        changed = [one for one in reversed(records) if self._known.get(one["run_id"]) != one["status"]]
        self._known.update((one["run_id"], one["status"]) for one in changed)
        if changed:
            self._write(changed)
            sys.stdout.flush()


def _write_change(records: list[RunRecord]) -> None:
    """A line for people for each."""
    for record in records:
        row = run_row(run_json(record))
        words = (record["experiment"], row["Number"], row["Status"], row["Duration"], row["Name"])
        click.echo("  ".join(plain(word) for word in (*words, row["Run id"]) if word not in (None, "")))


class _Results:
    """Lines for programs: runs, or what a query finds in a list of them."""

    def __init__(self, form: str, query: Query | None) -> None:
        self._form, self._query = form, query
        self._said: set[str] = set()

    def __call__(self, records: list[RunRecord]) -> None:
        """Write them."""
        result: Any = [run_json(record) for record in records]
        if self._query is not None:
            result = self._query.search(result, self._say)
        text = as_lines(result, self._form)
        if text:
            click.echo(text)

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            say(text)
