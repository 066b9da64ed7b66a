"""Database and broker are killed while a whole Studio works with them, and started again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.fixtures.processes import StudioProcess, wait_until
from tests.servers import Server, postgresql_server, redis_server
from tests.web_kit import Visitor

pytestmark = pytest.mark.worker

COUNTING = "import time\nfor n in range(120):\n    print(n)\n    time.sleep(0.05)\n"
ALL_OF_IT = "".join(f"{n}\n" for n in range(120))


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
    broker: Server, make_studio: Callable[..., StudioProcess]
) -> None:
    studio = make_studio(STUDIO_BROKER_URL=broker.address)
    studio.start()
    person = Visitor(studio)
    counting = person.submit(COUNTING).location
    wait_until(lambda: "3\n" in person.log(counting))

    broker.kill()
    submitted = [person.submit(f"print({n})\n") for n in range(3)]
    assert [answer.status for answer in submitted] == [303] * 3
    assert max(answer.took_s for answer in submitted) < 1.5
    for path in ("/experiments/", "/runs/", "/compute/", counting, f"{counting}logs/"):
        assert person.get(path).status == 200
    assert person.ended(counting) == "Completed"
    assert person.log(counting) == ALL_OF_IT
    assert [person.ended(answer.location, within_s=40) for answer in submitted] == ["Completed"] * 3
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
        assert [person.ended(answer.location, within_s=60) for answer in submitted] == ["Completed"] * 3
    assert person.ended(person.submit("print('after')\n").location, within_s=60) == "Completed"


def test_a_killed_postgresql_costs_no_line(
    database: Server, make_studio: Callable[..., StudioProcess]
) -> None:
    studio = make_studio(STUDIO_DATABASE_URL=database.address)
    studio.start()
    person = Visitor(studio)
    counting = person.submit(COUNTING).location
    soon_over = person.submit("import time\nprint('ready')\ntime.sleep(1)\nprint('last words')\n").location
    wait_until(lambda: "3\n" in person.log(counting) and "ready" in person.log(soon_over))

    database.kill()
    assert person.get("/healthz").status == 503
    for answer in (person.get("/experiments/"), person.get(counting), person.submit("print('lost')\n")):
        assert answer.status == 503
        assert "The database of Studio does not answer." in answer.text
    wait_until(lambda: list((studio.data / "work").glob("*/1/ended.json")))

    database.start()
    assert person.ended(counting) == person.ended(soon_over) == "Completed"
    assert person.log(counting) == ALL_OF_IT
    assert person.log(soon_over) == "ready\nlast words\n"
    assert person.ended(person.submit("print('after')\n").location) == "Completed"
    assert [row["number"] for row in person.runs()] == ["1", "2", "3"]
