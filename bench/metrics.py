"""How long metrics take from a client to the database, and from there to a chart, over HTTP.

    python -m bench.metrics SECTION URL

Runs beside a Studio that answers at URL, with the same environment, and prints figures as JSON lines.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import threading
import time
from array import array
from base64 import b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import django

ROUNDS = 5
POINTS, BATCH = 100_000, 10_000
CLIENTS = 8
ROWS, COLUMNS = 3_000, 15
CHART_POINTS = 1_000_000
#: 150,000 points a second.
GOAL_MS = 1_000 * POINTS / 150_000


class Client:
    """One connection that speaks for one run."""

    def __init__(self, url: str, token: str, run_id: str) -> None:
        parts = urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        self.path = f"/api/v1/runs/{run_id}/metrics"
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self.seq = 0

    def send(self, series: list[dict[str, Any]]) -> None:
        """One batch, stored."""
        self.seq += 1
        body = json.dumps({"writer": "bench", "seq": self.seq, "series": series})
        self.connection.request("POST", self.path, body, self.headers)
        answer = self.connection.getresponse()
        said = answer.read()
        assert answer.status == 200, said

    def get(self, path: str) -> bytes:
        """What an address below the run's metrics answers."""
        self.connection.request("GET", f"{self.path}/{path}", headers=self.headers)
        return self.connection.getresponse().read()


def packed(values: array[float]) -> str:
    """A column as the API takes it."""
    return b64encode(values.tobytes()).decode()


def scalars(values: array[float], start: int) -> list[dict[str, Any]]:
    """Points of one metric as a batch."""
    times = array("d", range(start, start + len(values)))
    columns = [{"type": "f8", "data": packed(values)}]
    return [{"name": "loss", "columns": columns, "times": packed(times)}]


def send_points(client: Client, values: array[float]) -> None:
    """100,000 points of one metric, in batches."""
    for start in range(0, len(values), BATCH):
        client.send(scalars(values[start : start + BATCH], start))


def send_rows(client: Client) -> None:
    """3,000 rows of 15 columns, in six batches."""
    part = ROWS // 6
    for start in range(0, ROWS, part):
        data = packed(array("d", range(start, start + part)))
        columns = [{"name": f"c{at}", "type": "f8", "data": data} for at in range(COLUMNS)]
        client.send([{"name": "rows", "kind": "row", "columns": columns, "times": data}])


def ms_of(call: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    begin = time.perf_counter()
    call()
    return (time.perf_counter() - begin) * 1000


def together(calls: list[Callable[[], object]]) -> None:
    """All of them at once."""
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def bare_ms(size: int, rows: int) -> float:
    """What the database alone takes for so many bytes in so many rows, one transaction for each."""
    from django.db import connection

    kind = "bytea" if connection.vendor == "postgresql" else "blob"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE bench_bare (id integer PRIMARY KEY, data {kind})")
        data = os.urandom(size // rows)

        def insert() -> None:
            for number in range(rows):
                cursor.execute("INSERT INTO bench_bare VALUES (%s, %s)", [number, data])

        taken = ms_of(insert)
        cursor.execute("DROP TABLE bench_bare")
    return taken


def make_runs(count: int) -> tuple[str, list[str]]:
    """A token, and as many new interactive runs."""
    from runs.models import Experiment, Run
    from studio.accounts.models import User, Workspace
    from studio.accounts.services import make_token

    user, workspace = User.objects.get(username="admin"), Workspace.objects.get()
    group = Experiment.objects.get_or_create(workspace=workspace, name="bench")[0]
    first = group.last_number + 1
    group.last_number += count
    group.save(update_fields=["last_number"])
    runs = Run.objects.bulk_create(
        Run(run_id=f"bench_{number}", number=number, workspace=workspace, experiment=group,
            kind="interactive", submitter=user)
        for number in range(first, first + count)
    )  # fmt: skip
    return make_token(user, f"bench {first}")[1], [run.run_id for run in runs]


def main() -> None:
    """Measure and print."""
    from bench.table import Figure, percentile

    section, url = sys.argv[1], sys.argv[2]
    values = array("d", (1 / (place + 1) for place in range(POINTS)))
    token, run_ids = make_runs(ROUNDS * (2 + CLIENTS) + 1)
    fresh = (Client(url, token, run_id) for run_id in run_ids)
    next(fresh).send(scalars(values[:10], 0))
    floor = bare_ms(16 * POINTS, POINTS // BATCH)

    def figure(name: str, times: list[float], goal: float | None, floor: float, floor_name: str) -> None:
        print(
            Figure(section, name, percentile(times, 0.5), "ms", goal, floor, floor_name).to_json(), flush=True
        )

    bare = "bare INSERTs of the bytes"
    one = [ms_of(lambda client=client: send_points(client, values)) for client in take(fresh, ROUNDS)]
    figure("100,000 points by one client, stored", one, GOAL_MS, floor, bare)
    shared = []
    for _ in range(ROUNDS):
        sends = [lambda client=client: send_points(client, values) for client in take(fresh, CLIENTS)]
        shared.append(ms_of(lambda sends=sends: together(sends)) / CLIENTS)
    figure("the same by eight clients at once, each 100,000 of them", shared, GOAL_MS, floor, bare)
    rows = [ms_of(lambda client=client: send_rows(client)) for client in take(fresh, ROUNDS)]
    figure("3,000 rows of 15 columns, stored", rows, 3_000, bare_ms(8 * ROWS * (COLUMNS + 1), 6), bare)
    client = Client(url, token, run_ids[0])
    client.seq = 1
    for start in range(0, CHART_POINTS, POINTS):
        client.send(scalars(values, start))
    reads = [ms_of(lambda: client.get("chart?name=loss&width=1000")) for _ in range(ROUNDS)]
    figure("chart of a million points", reads, None, read_ms(), "bare SELECT of their blocks")
    size = len(client.get("chart?name=loss&width=1000")) / 1000
    print(Figure(section, "its answer", size, "kB", 100).to_json(), flush=True)


def take(clients: Any, count: int) -> list[Client]:
    """The next clients."""
    return [next(clients) for _ in range(count)]


def read_ms() -> float:
    """What the database alone takes to give the blocks of the largest metric."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM runs_metric ORDER BY count DESC LIMIT 1")
        (metric,) = cursor.fetchone()

        def read() -> None:
            cursor.execute(
                "SELECT start, data FROM runs_metricblock WHERE metric_id = %s ORDER BY start", [metric]
            )
            cursor.fetchall()

        return min(ms_of(read) for _ in range(ROUNDS))


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "studio.settings")
    django.setup()
    main()
