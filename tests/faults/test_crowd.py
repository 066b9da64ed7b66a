"""Many people at one embedded Studio at the same time: SQLite, one web process, and a node beside it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fixtures.processes import StudioProcess
from tests.web_kit import Answer, Visitor

pytestmark = pytest.mark.worker

PEOPLE = 16
EACH = 4
TALKATIVE = "import time\nfor n in range(100_000):\n    print(n)\n    time.sleep(0.005)\n"


def test_sixteen_submit_while_others_watch(make_studio: Callable[..., StudioProcess]) -> None:
    studio = make_studio()
    studio.start()
    person = Visitor(studio)
    watched = [person.submit(TALKATIVE).location for _ in range(2)]
    barrier, is_over = threading.Barrier(PEOPLE), threading.Event()

    def submit_several(_: int) -> list[Answer]:
        barrier.wait(20)
        return [person.submit("print(1)\n", experiment="crowd") for _ in range(EACH)]

    def watch(path: str) -> set[int]:
        seen = set()
        while not is_over.is_set():
            seen |= {person.get(path).status, person.get(f"{path}logs/").status}
        return seen

    with ThreadPoolExecutor(PEOPLE + len(watched)) as pool:
        watching = [pool.submit(watch, path) for path in watched]
        submitted = [answer for answers in pool.map(submit_several, range(PEOPLE)) for answer in answers]
        is_over.set()
        assert [one.result() for one in watching] == [{200}] * len(watched)

    assert {answer.status for answer in submitted} == {303}
    numbers = sorted(int(answer.location.strip("/").rpartition("/")[2]) for answer in submitted)
    assert numbers == list(range(1, PEOPLE * EACH + 1))
    assert [int(row["number"]) for row in person.runs("experiment:crowd")] == numbers
    assert "locked" not in studio.text
    assert "Traceback" not in studio.text
