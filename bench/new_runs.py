"""What it takes to make runs over HTTP and through the SDK, and until somebody who waits learns of an end."""

from __future__ import annotations

import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.processes import LAST_LINE, client_environment, run_clients
from bench.sdk import connect
from bench.table import Figure

RUNS, TAGS, CLIENTS, CHILDREN, ROUNDS = 1_000, 5, 16, 100, 5
#: 300 runs a second.
GOAL_MS = 1_000 * RUNS / 300
_LABELS = {f"key {number}": f"value {number}" for number in range(TAGS)}


class Client:
    """One connection that is kept open, as the SDK keeps its own."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def make_runs(self, count: int) -> None:
        """So many interactive runs with tags, one by one."""
        for _ in range(count):
            body = json.dumps({"experiment": "bench", "tags": _LABELS})
            self._ask("POST", "/api/v1/workspaces/default/runs", body, 201)

    def ask_nothing(self, count: int) -> None:
        """So many answers that the server has at hand."""
        for _ in range(count):
            self._ask("GET", "/healthz", None, 200)

    def _ask(self, method: str, path: str, body: str | None, expected: int) -> None:
        self._connection.request(method, path, body, self._headers)
        answer = self._connection.getresponse()
        said = answer.read()
        assert answer.status == expected, said


def measure(section: str, env: dict[str, str], url: str, database: str = "") -> Iterator[Figure]:
    """Figures of one engine, whose Studio answers at `url`; `database` is the address of a PostgreSQL."""
    with client_environment(env, url) as (mine, folder):
        token = mine["STUDIO_TOKEN"]
        Client(url, token).make_runs(10)
        one, many = _one_by_one(url, token)
        answers = _ms_of(Client(url, token).ask_nothing, RUNS)
        inserts = _inserts_ms(folder, database, RUNS)
        plain = "as many answers of /healthz, and bare INSERTs"
        name = f"{RUNS:,} runs with {TAGS} tags one by one over HTTP, median"
        yield Figure(section, name, one, "ms", GOAL_MS, answers + inserts, plain)
        yield Figure(section, f"the same by {CLIENTS} clients at once", many, "ms")
        (children,) = run_clients(mine, 1, "children", CHILDREN, 4 * ROUNDS)
        floor = _inserts_ms(folder, database, CHILDREN, at_once=True)
        name = f"create_children(count={CHILDREN}), median"
        yield Figure(section, name, children["ms"], "ms", 150, floor, "bare INSERTs in one transaction")
        (waits,) = run_clients(mine, 1, "waits", 2 * ROUNDS)
        yield Figure(
            section,
            f"last line of a script → wait_for_completion returns, longest of {2 * ROUNDS}",
            waits["longest_ms"],
            "ms",
            1_000,
            _end_ms(folder),
            "a bare process to its end",
            median=waits["ms"],
        )


def _one_by_one(url: str, token: str) -> tuple[float, float]:
    """Milliseconds for all runs by one client, the median, and by several at once."""
    client = Client(url, token)
    one = statistics.median(_ms_of(client.make_runs, RUNS) for _ in range(ROUNDS))

    def together(count: int) -> None:
        calls = [Client(url, token).make_runs for _ in range(CLIENTS)]
        threads = [threading.Thread(target=call, args=(count // CLIENTS,)) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return one, _ms_of(together, RUNS) * RUNS / (RUNS // CLIENTS * CLIENTS)


def _ms_of(call: Any, *words: Any) -> float:
    begin = time.perf_counter()
    call(*words)
    return (time.perf_counter() - begin) * 1000


def _inserts_ms(folder: Path, database: str, count: int, *, at_once: bool = False) -> float:
    """What the database alone takes for so many rows of a kilobyte with five small ones each."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        connection = connect(Path(place), database)
        mark = "%s" if database else "?"
        connection.execute("CREATE TABLE bench_run (id integer PRIMARY KEY, content text)")
        connection.execute("CREATE TABLE bench_tag (run integer, content text)")
        connection.commit()

        def insert() -> None:
            cursor = connection.cursor()
            for number in range(count):
                cursor.execute(f"INSERT INTO bench_run VALUES ({mark}, {mark})", (number, "x" * 1_000))
                tags = [(number, f"{key}{value}") for key, value in _LABELS.items()]
                cursor.executemany(f"INSERT INTO bench_tag VALUES ({mark}, {mark})", tags)
                if not at_once:
                    connection.commit()
            connection.commit()

        taken = _ms_of(insert)
        connection.execute("DROP TABLE bench_run")
        connection.execute("DROP TABLE bench_tag")
        connection.commit()
        connection.close()
    return taken


def _end_ms(folder: Path) -> float:
    """The median time from the last line of a bare script until who waits for its process knows."""
    times = []
    for number in range(ROUNDS):
        path = folder / f"end{number}"
        subprocess.run([sys.executable, "-c", LAST_LINE, str(path)], check=True)
        times.append((time.time() - float(path.read_text())) * 1000)
    return statistics.median(times)
