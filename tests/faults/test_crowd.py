"""Many people at one embedded Studio at the same time: SQLite, one web process, and a node beside it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.fixtures.processes import REPOSITORY, StudioProcess
from tests.web_kit import Answer, Visitor

pytestmark = [pytest.mark.worker, pytest.mark.own_servers]

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


def test_sixteen_make_runs_over_the_api_and_each_twice(make_studio: Callable[..., StudioProcess]) -> None:
    studio = make_studio()
    studio.start()
    token = token_of(studio)
    barrier = threading.Barrier(PEOPLE)

    def make_several(person: int) -> list[tuple[int, dict[str, Any]]]:
        barrier.wait(20)
        pair = person // 2  # two of them send the same ids
        return [post_run(studio, token, f"run_{pair}_{number}") for number in range(EACH)]

    with ThreadPoolExecutor(PEOPLE) as pool:
        made = [one for several in pool.map(make_several, range(PEOPLE)) for one in several]

    numbers = [run["number"] for status, run in made if status == 201]
    assert sorted(numbers) == list(range(1, PEOPLE // 2 * EACH + 1))
    assert {run["number"] for status, run in made if status == 200} == set(numbers)
    assert len({(run["run_id"], run["number"]) for _, run in made}) == len(numbers)
    assert "Traceback" not in studio.text


def token_of(studio: StudioProcess) -> str:
    """A new token of the owner."""
    command = [sys.executable, str(REPOSITORY / "manage.py"), "token", "--user", "admin"]
    done = subprocess.run(command, env=studio.env, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[-1]


def post_run(studio: StudioProcess, token: str, run_id: str) -> tuple[int, dict[str, Any]]:
    """The status of the answer, and the run."""
    content = {"experiment": "crowd", "run_id": run_id, "tags": {"a": "b"}}
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    address = f"{studio.url}/api/v1/workspaces/default/runs"
    request = urllib.request.Request(address, json.dumps(content).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.status, json.load(answer)
