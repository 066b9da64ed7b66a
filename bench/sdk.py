"""What it takes until metrics that a script logs are stored, with clients in processes of their own."""

from __future__ import annotations

import mmap
import sqlite3
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.processes import SDK, client_environment, run_clients
from bench.table import Figure

POINTS, ROWS, COLUMNS, CALLS, CLIENTS = 100_000, 3_000, 15, 3_000, 8
GOAL_MS = POINTS / 150_000 * 1000
ROUNDS = 5
IMPORTS = 15


def import_time() -> Figure:
    """What `import azureml.core` adds to the start of a Python, the shortest of several of each."""
    bare, whole = (min(_start_ms(code) for _ in range(IMPORTS)) for code in ("pass", "import azureml.core"))
    return Figure(
        "The SDK", "import azureml.core", whole - bare, "ms", 150, bare, "the start of a bare Python"
    )


def _start_ms(code: str) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": SDK})
    return (time.perf_counter() - begin) * 1000


def measure(section: str, env: dict[str, str], url: str, database: str = "") -> Iterator[Figure]:
    """Figures of one engine, whose Studio answers at `url`; `database` is the address of a PostgreSQL."""
    with client_environment(env, url) as (mine, folder):
        points = [seconds for _ in range(ROUNDS) for seconds in _clients(mine, 1, "scalars", POINTS)]
        rows = [seconds for _ in range(ROUNDS) for seconds in _clients(mine, 1, "rows", ROWS, COLUMNS)]
        many = max(_clients(mine, CLIENTS, "scalars", POINTS // 2)) / (CLIENTS / 2)
        (calls,) = run_clients(mine, 1, "latency", CALLS)
    one = statistics.median(points) * 1000
    plain = "the same bytes in one row"
    floors = [_stored_ms(bytes(16) * count, folder, database) for count in (POINTS, ROWS * COLUMNS)]
    yield Figure(section, f"{POINTS:,} × log until stored, median", one, "ms", GOAL_MS, floors[0], plain)
    name = f"the same from {CLIENTS} clients at once, for each {POINTS:,}"
    yield Figure(section, name, many * 1000, "ms", max(one, GOAL_MS), floors[0], plain)
    name = f"{ROWS:,} × log_row of {COLUMNS} columns until stored, median"
    yield Figure(section, name, statistics.median(rows) * 1000, "ms", 3_000, floors[1], plain)
    yield Figure(
        section,
        "one call of log, median",
        calls["p50"],
        "µs",
        50,
        _packed_us(),
        "32 bytes into mapped memory",
    )
    yield Figure(section, "one call of log, p99", calls["p99"], "µs")


def _clients(env: dict[str, str], count: int, *words: object) -> list[float]:
    return [float(result["seconds"]) for result in run_clients(env, count, *words)]


def _stored_ms(data: bytes, folder: Path, database: str) -> float:
    """The median time of one committed insert of these bytes."""
    times = []
    with tempfile.TemporaryDirectory(prefix="studio-bench-") as place:
        connection = connect(Path(place), database)
        mark = "%s" if database else "?"
        connection.execute(f"CREATE TABLE bench_floor (data {'bytea' if database else 'blob'})")
        connection.commit()
        for _ in range(ROUNDS):
            begin = time.perf_counter()
            connection.execute(f"INSERT INTO bench_floor VALUES ({mark})", (data,))
            connection.commit()
            times.append((time.perf_counter() - begin) * 1000)
        connection.execute("DROP TABLE bench_floor")
        connection.commit()
        connection.close()
    return statistics.median(times)


def connect(folder: Path, database: str) -> Any:
    """That PostgreSQL, or a new SQLite in the folder, without Django."""
    if database:
        import psycopg

        return psycopg.connect(database)
    connection = sqlite3.connect(folder / "floor.sqlite3")
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):  # as Studio has them
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _packed_us() -> float:
    """The median time of writing a slot."""
    slot, memory = struct.Struct("<ddqII"), mmap.mmap(-1, 32 * CALLS)
    times = []
    for number in range(CALLS):
        begin = time.perf_counter()
        slot.pack_into(memory, 32 * number, 0.5, 1.0, number, 0, 1)
        times.append((time.perf_counter() - begin) * 1e6)
    return statistics.median(times)
