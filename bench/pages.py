"""Server time of pages over a database of a given size, each beside the bare query behind it.

    python -m bench.pages SECTION EXPERIMENTS RUNS

Migrates and fills the database of its environment first, and prints figures as JSON lines.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import django

ROUNDS = 40
GOAL_MS = 100.0
PAGE_NUMBER = 200
PAGE_SIZE = 50

_NEWEST = "SELECT * FROM runs_run WHERE workspace_id = %s ORDER BY id DESC LIMIT 50"
_EXPERIMENTS = "SELECT * FROM runs_experiment WHERE workspace_id = %s ORDER BY id DESC LIMIT 50"
_IN_EXPERIMENT = "SELECT * FROM runs_run WHERE experiment_id = %s ORDER BY id DESC LIMIT 50"
_ONE = "SELECT * FROM runs_run WHERE id = %s"
_TAGGED = (
    "SELECT r.* FROM runs_run r JOIN runs_tag t ON t.run_id = r.id "
    "WHERE r.workspace_id = %s AND t.folded = %s ORDER BY r.id DESC LIMIT 50"
)


@dataclass(frozen=True)
class Asked:
    """A page, its address, and the bare query that it stands on."""

    name: str
    address: str
    sql: str
    arguments: tuple[object, ...]


def timed(calls: Sequence[Callable[[], object]]) -> list[list[float]]:
    """Milliseconds of each call, after three that do not count; what they loaded is left alone, as `up` does.

    In turns, so that whatever else the machine does for a while slows a few rounds of all and not all of one.
    """
    for _ in range(3):
        for call in calls:
            call()
    times: list[list[float]] = [[] for _ in calls]
    gc.collect()
    gc.freeze()
    for _ in range(ROUNDS):
        for call, own in zip(calls, times, strict=True):
            begin = time.perf_counter()
            call()
            own.append((time.perf_counter() - begin) * 1000)
    return times


def questions() -> list[Asked]:
    """The pages that are measured, over what `bench.seed` has made."""
    from bench.seed import WORDS
    from runs.folding import fold_label
    from runs.models import Experiment, Run
    from studio.accounts.models import Workspace

    workspace = Workspace.objects.get(name="bench").pk
    group = Experiment.objects.filter(workspace=workspace).order_by("-last_number").first()
    run = Run.objects.filter(experiment=group, kind="script").order_by("-pk").first()
    assert group
    assert run
    rare, half = fold_label("golden", "yes"), fold_label("quality", "good")
    runs = "/runs/?q="
    newest = (_NEWEST, (workspace,))
    return [
        Asked("Experiments", "/experiments/", _EXPERIMENTS, (workspace,)),
        Asked("Experiment", f"/experiments/{group.name}/", _IN_EXPERIMENT, (group.pk,)),
        Asked("Runs", "/runs/", *newest),
        Asked("Pipelines", "/pipelines/", *newest),
        Asked("a run's page", f"/experiments/{group.name}/runs/{run.number}/", _ONE, (run.pk,)),
        Asked("search by a rare tag", f"{runs}tag:golden=yes", _TAGGED, (workspace, rare)),
        Asked("search by a tag that half have", f"{runs}tag:quality=good", _TAGGED, (workspace, half)),
        Asked("free text, few hits", f"{runs}{WORDS['rare']}", *newest),
        Asked("free text, many hits", f"{runs}{WORDS['common']}", *newest),
        Asked(f"page {PAGE_NUMBER} of Runs", f"/runs/?after={cursor_of_page()}", *newest),
        Asked("search by duration", f"{runs}duration:>5m", *newest),
        Asked("Runs by duration", "/runs/?order=-duration", *newest),
        Asked("Compute", "/compute/", *newest),
    ]


def cursor_of_page() -> str:
    """The cursor that leads to the page of this number, or to the last one."""
    from runs.models import Run
    from runs.search.parser import parse
    from runs.search.query import Search
    from studio.accounts.models import Workspace

    scope = Run.objects.in_workspace(Workspace.objects.get(name="bench"))
    cursor = ""
    for _ in range(PAGE_NUMBER - 1):
        page = Search(scope, parse(""), person=None).page(after=cursor, size=PAGE_SIZE)
        if not page.next_cursor:
            break
        cursor = page.next_cursor
    return cursor


def main() -> None:
    """Fill, measure and print."""
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client

    from bench.seed import seed
    from bench.table import Figure, percentile
    from studio.accounts.models import User

    section, experiments, runs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    call_command("migrate", verbosity=0)
    seed(experiments=experiments, runs=runs)
    client = Client()
    client.force_login(User.objects.get(username="ana-bench"))

    def page(asked: Asked) -> None:
        answer = client.get(asked.address, headers={"Accept-Encoding": "gzip"})  # as browsers do
        assert answer.status_code == 200, asked.address

    def bare(asked: Asked) -> None:
        with connection.cursor() as cursor:
            cursor.execute(asked.sql, asked.arguments)
            cursor.fetchall()

    pages = questions()
    times, floors = (timed([partial(call, asked) for asked in pages]) for call in (page, bare))
    for asked, own, floor in zip(pages, times, floors, strict=True):
        figure = Figure(
            section,
            asked.name,
            percentile(own, 0.95),
            "ms",
            goal=GOAL_MS,
            floor=percentile(floor, 0.95),
            floor_name="bare query",
            median=percentile(own, 0.5),
            least=min(own),
        )
        print(figure.to_json(), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "studio.settings")
    os.environ.setdefault("STUDIO_ALLOWED_HOSTS", "testserver")
    django.setup()
    main()
