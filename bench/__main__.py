"""Every figure that the README quotes, measured on this machine.

    python -m bench [idle] [submission] [metrics] [sdk] [runs] [pages] [--runs N]

Takes about twelve minutes; naming parts runs only those.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import idle, new_runs, sdk
from bench.processes import environment, module, process_floor_ms, studio
from bench.table import Figure, render
from tests.servers import end_in_order, private_postgresql, private_redis

DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
PARTS = ("idle", "submission", "metrics", "sdk", "runs", "pages")


def submission() -> Iterator[Figure]:
    """Submit → first line, embedded and with PostgreSQL and Redis."""
    floor = f"{process_floor_ms():.2f}"
    with tempfile.TemporaryDirectory(prefix="studio-bench-") as folder:
        env = environment(Path(folder), STUDIO_SLOTS="2")
        with studio(env):
            yield from _measured(env, "bench.submission", "Embedded (SQLite, files as broker)", "400", floor)
    with (
        private_postgresql(**DURABLE) as database,
        private_redis() as broker,
        tempfile.TemporaryDirectory(prefix="studio-bench-") as folder,
    ):
        _create(database)
        more = {"STUDIO_DATABASE_URL": database, "STUDIO_BROKER_URL": broker, "STUDIO_SLOTS": "2"}
        env = environment(Path(folder), **more)
        with studio(env):
            yield from _measured(env, "bench.submission", "Team (PostgreSQL, Redis)", "250", floor)


def metrics() -> Iterator[Figure]:
    """Metrics over HTTP into the database and back, on both engines."""
    for engine, env, url, _ in _both_engines():
        yield from _measured(env, "bench.metrics", f"Metrics over HTTP, {engine}, median", url)


def metrics_of_scripts() -> Iterator[Figure]:
    """What a script logs until it is stored, on both engines, and what the SDK's import takes."""
    yield sdk.import_time()
    for engine, env, url, database in _both_engines():
        yield from sdk.measure(f"Metrics through the SDK, {engine}", env, url, database)


def runs_made() -> Iterator[Figure]:
    """Runs that are made over HTTP and through the SDK, and the end of one, on both engines."""
    # Nobody gives signs of life for them, and to look after that is not what is measured.
    for engine, env, url, database in _both_engines(STUDIO_NOT_RESPONDING_AFTER="300"):
        yield from new_runs.measure(f"Runs, {engine}", env, url, database)


def _both_engines(**more: str) -> Iterator[tuple[str, dict[str, str], str, str]]:
    """A Studio that is running, on SQLite and then on PostgreSQL.

    Its engine, its environment, where it answers, and the address of its PostgreSQL.
    """
    with tempfile.TemporaryDirectory(prefix="studio-bench-") as folder:
        env = environment(Path(folder), **more)
        with studio(env) as (url, *_):
            yield "SQLite", env, url, ""
    with (
        private_postgresql(**DURABLE) as database,
        tempfile.TemporaryDirectory(prefix="studio-bench-") as folder,
    ):
        _create(database)
        env = environment(Path(folder), STUDIO_DATABASE_URL=database, **more)
        with studio(env) as (url, *_):
            yield "PostgreSQL", env, url, database


def pages(runs: int) -> Iterator[Figure]:
    """Pages at a tenth of the runs and at all of them, on both engines, and how they grow."""
    for engine in ("SQLite", "PostgreSQL"):
        small = list(_pages(engine, runs // 10))
        large = list(_pages(engine, runs))
        yield from [*small, *large]
        for few, many in zip(small, large, strict=True):
            section = f"Growth from {runs // 10:,} to {runs:,} runs, {engine}, of the fastest answer"
            growth = (many.least or many.value) / (few.least or few.value)
            yield Figure(section, few.name, growth, "×", 1.5)


def _pages(engine: str, runs: int) -> Iterator[Figure]:
    section = f"Pages with {runs:,} runs, {engine}, p95 of server time"
    words = ("bench.pages", section, str(max(runs // 100, 1)), str(runs))
    with tempfile.TemporaryDirectory(prefix="studio-bench-") as folder:
        if engine == "SQLite":
            yield from _measured(environment(Path(folder), STUDIO_ALLOWED_HOSTS="testserver"), *words)
            return
        # What was filled in is vacuumed before it is measured, and not once more meanwhile.
        with private_postgresql(autovacuum="off") as database:
            _create(database)
            env = environment(Path(folder), STUDIO_DATABASE_URL=database, STUDIO_ALLOWED_HOSTS="testserver")
            yield from _measured(env, *words)


def _measured(env: dict[str, str], *words: str) -> list[Figure]:
    return [Figure.from_json(line) for line in module(env, *words) if line.startswith("{")]


def _create(address: str) -> None:
    """Make the database that the address names."""
    import psycopg

    server, _, name = address.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')


def main() -> int:
    """Measure, print the table; 1 if a goal was missed."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, []], help="what to measure; all of it by default"
    )
    parser.add_argument("--runs", type=int, default=100_000, help="runs in the large database")
    chosen = parser.parse_args()
    end_in_order()
    measured = {
        "idle": idle.measure,
        "submission": submission,
        "metrics": metrics,
        "sdk": metrics_of_scripts,
        "runs": runs_made,
        "pages": lambda: pages(chosen.runs),
    }
    figures: list[Figure] = []
    for part in chosen.parts or PARTS:
        for figure in measured[part]():
            figures.append(figure)
            print(
                f"{figure.section}: {figure.name}: {figure.value:.4g} {figure.unit}",
                file=sys.stderr,
                flush=True,
            )
    print(render(figures))
    return int(not all(figure.is_reached for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
