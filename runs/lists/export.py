"""Runs as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

from runs.models import Run

Cell = str | float | None
COLUMNS = (
    "experiment", "number", "name", "status", "kind", "duration_s", "submitter", "compute target", "node",
    "tags", "command", "submitted", "started", "ended", "exit code", "error", "parent", "run_id",
    "description",
)  # fmt: skip
#: A spreadsheet takes a cell that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def safe_cell(text: str) -> str:
    """The text, with a quote before it if a spreadsheet would calculate it."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def csv_lines(rows: Iterable[tuple[Run, Sequence[Cell]]], heads: Sequence[str] = ()) -> Iterator[str]:
    """A head line, then one line for each run, which ends with the values for these `heads`."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    for cells in _cells(rows, heads):
        writer.writerow([safe_cell(cell) if isinstance(cell, str) else cell for cell in cells])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def _cells(rows: Iterable[tuple[Run, Sequence[Cell]]], heads: Sequence[str]) -> Iterator[list[Cell]]:
    yield [*COLUMNS, *heads]
    for run, more in rows:
        duration = run.duration
        yield [
            run.experiment.name,
            run.number,
            run.name,
            run.status,
            run.kind,
            f"{duration.total_seconds():.3f}" if duration is not None else "",
            run.submitter.username if run.submitter else "",
            run.target.name if run.target else "",
            run.node.name if run.node else "",
            " ".join(str(tag) for tag in run.labels),
            run.command,
            run.created_at.isoformat(),
            run.started_at.isoformat() if run.started_at else "",
            run.ended_at.isoformat() if run.ended_at else "",
            run.exit_code,
            run.error_message,
            run.parent.run_id if run.parent else "",
            run.run_id,
            run.description,
            *more,
        ]
