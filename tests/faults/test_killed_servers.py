"""Database and broker are killed while a whole Studio works with them, and started again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.faults.conftest import Counting
from tests.fixtures.processes import StudioProcess, wait_until
from tests.servers import Server, postgresql_server, redis_server
from tests.web_kit import Visitor

pytestmark = [pytest.mark.worker, pytest.mark.own_servers]


@pytest.fixture
def broker() -> Iterator[Server]:
    """A Redis of the test's own."""
    with redis_server() as server:
        yield server


@pytest.fixture
def database() -> Iterator[Server]:
    """A PostgreSQL of the test's own that keeps what it has confirmed."""
    with postgresql_server(synchronous_commit="on") as server:
        with psycopg.connect(f"{server.address.rpartition('/')[0]}/postgres", autocommit=True) as connection:
            connection.execute("CREATE DATABASE studio")
        yield server


def test_a_killed_redis_stops_no_run_and_no_page(
    broker: Server, make_studio: Callable[..., StudioProcess], counting: Counting
) -> None:
    studio = make_studio(STUDIO_BROKER_URL=broker.address)
    studio.start()
    person = Visitor(studio)
    counts = person.submit(counting.script).location
    wait_until(lambda: "3\n" in person.log(counts))

    broker.kill()
    submitted = [person.submit(f"print({n})\n") for n in range(3)]
    assert [answer.status for answer in submitted] == [303] * 3
    assert min(answer.took_s for answer in submitted) < 1.5  # all would take as long, were it waited for
    for path in ("/experiments/", "/runs/", "/compute/", counts, f"{counts}logs/"):
        assert person.get(path).status == 200
    counting.finish()
    assert person.ended(counts) == "Completed"
    counting.assert_whole(person.log(counts))
    assert [person.ended(answer.location) for answer in submitted] == ["Completed"] * 3
    idle = person.submit("print('to a node with nothing to do')\n").location
    assert person.ended(idle) == "Completed"

    broker.start()
    assert [person.log(answer.location) for answer in submitted] == ["0\n", "1\n", "2\n"]
    assert person.ended(person.submit("print('after')\n").location) == "Completed"
    assert "Traceback" not in studio.text


def test_a_redis_that_hangs_holds_nobody_up_for_long(
    broker: Server, make_studio: Callable[..., StudioProcess]
) -> None:
    studio = make_studio(STUDIO_BROKER_URL=broker.address)
    studio.start()
    person = Visitor(studio)
    assert person.ended(person.submit("print('before')\n").location) == "Completed"
    with broker.stopped():
        submitted = [person.submit(f"print({n})\n") for n in range(3)]
        assert [answer.status for answer in submitted] == [303] * 3
        assert sorted(answer.took_s for answer in submitted)[1] < 3  # after one that has waited, none does
        assert [person.ended(answer.location) for answer in submitted] == ["Completed"] * 3
    assert person.ended(person.submit("print('after')\n").location) == "Completed"


def test_a_killed_postgresql_costs_no_line(
    database: Server, make_studio: Callable[..., StudioProcess], tmp_path: Path
) -> None:
    counting, soon_over = Counting(tmp_path / "one"), Counting(tmp_path / "two")
    studio = make_studio(STUDIO_DATABASE_URL=database.address)
    studio.start()
    person = Visitor(studio)
    counts, ends = (person.submit(each.script).location for each in (counting, soon_over))
    wait_until(lambda: "3\n" in person.log(counts) and "3\n" in person.log(ends))

    database.kill()
    assert person.get("/healthz").status == 503
    for answer in (person.get("/experiments/"), person.get(counts), person.submit("print('lost')\n")):
        assert answer.status == 503
        assert "The database of Studio does not answer." in answer.text
    soon_over.finish()
    wait_until(lambda: list((studio.data / "work").glob("*/1/ended.json")))

    database.start()
    counting.finish()
    assert person.ended(counts) == person.ended(ends) == "Completed"
    counting.assert_whole(person.log(counts))
    soon_over.assert_whole(person.log(ends))
    assert person.ended(person.submit("print('after')\n").location) == "Completed"
    assert [row["number"] for row in person.runs()] == ["1", "2", "3"]
    assert studio.stop() == 0
    assert "Studio has stopped." in studio.text


def test_studio_stops_in_order_without_its_postgresql(
    database: Server, make_studio: Callable[..., StudioProcess], counting: Counting
) -> None:
    studio = make_studio(STUDIO_DATABASE_URL=database.address)
    studio.start()
    person = Visitor(studio)
    counts = person.submit(counting.script).location
    wait_until(lambda: "3\n" in person.log(counts))

    database.kill()
    assert studio.stop() == 0
    told = studio.text.partition("The database does not answer: ")[2].splitlines()
    assert told[0].endswith("What runs goes on.")
    assert told[-1] == "Studio has stopped."

    database.start()
    studio.start()
    counting.finish()
    assert person.ended(counts) == "Completed"
    counting.assert_whole(person.log(counts))
