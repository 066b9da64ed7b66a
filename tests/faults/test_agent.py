"""The agent of a node, in the process of the test: what may hold it up, and what must not."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.backends.signals import connection_created
from django.db.models.functions import Now

from runs import agent
from runs.execution.folder import RunFolder
from runs.models import Run
from runs.services import nodes, sweeps
from runs.services.sweeps import now_with_sleep
from runs.status import Status
from tests.factories import make_node, make_run, make_target
from tests.faults.conftest import ended, fresh
from tests.fixtures.processes import wait_until

pytestmark = pytest.mark.worker


@pytest.fixture
def node(transactional_db: None, workspace: Any, tmp_path: Path) -> Iterator[agent.Agent]:
    """A node with two slots that is not started yet."""
    make_target("local", is_default=True)
    one = agent.Agent("box", ["local"], 2, tmp_path / "work")
    yield one
    one.stop()


@pytest.fixture
def asked() -> Iterator[list[tuple[str, str]]]:
    """Every statement of connections that are made from now on, with the thread that asked."""
    statements: list[tuple[str, str]] = []

    def note(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        statements.append((threading.current_thread().name, sql))
        return execute(sql, *rest)

    def listen(connection: Any, **_: Any) -> None:
        connection.execute_wrappers.append(note)

    connection_created.connect(listen)
    yield statements
    connection_created.disconnect(listen)


def while_it_hangs(table: str, work: Callable[[], object], *, for_s: float) -> float:
    """Do this in a thread, while nothing can be written into the table (on SQLite: into any) for so long.

    When that was over, by the clock of the agent.
    """

    def body() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=body)
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
        thread.start()
        threading.Event().wait(for_s)
        released = now_with_sleep()
    thread.join(60)
    assert not thread.is_alive()
    return released


@pytest.mark.parametrize("table", ["runs_node", "runs_run"])
def test_a_database_that_hung_leaves_others_time_to_return(
    node: agent.Agent, table: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.NOT_RESPONDING_AFTER_SECONDS, settings.LOST_AFTER_SECONDS = 30, 31
    for module in (agent, sweeps):
        monkeypatch.setattr(module, "NODE_ALIVE_FOR", timedelta(seconds=1))
    node.start()
    wait_until(node.beat)
    node.stop()  # of its own ticking; what it is told to do it still does
    run = make_run(status=Status.RUNNING, node=make_node("other"))
    Run.objects.filter(pk=run.pk).update(heartbeat_at=Now() - timedelta(minutes=1))
    assert node.beat()
    released = while_it_hangs(table, node.sweep, for_s=2.5)
    assert node.watching_for.total_seconds() <= now_with_sleep() - released
    assert fresh(run).status == Status.NOT_RESPONDING

    def is_lost_at_last() -> bool:
        node.sweep()
        return fresh(run).status == Status.FAILED

    wait_until(is_lost_at_last)


def test_what_an_attempt_left_is_removed_while_others_are_claimed(
    node: agent.Agent, send: Callable[..., Run]
) -> None:
    run = send("print('here')\n")
    [claimed] = nodes.claim(node.nodes, 1)
    folder = RunFolder(node.work, claimed.run_id, claimed.attempt)
    folder.create()
    may_go_on = threading.Event()

    def hold_up(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rmdir" and str(arguments[0]) == str(folder.path):
            may_go_on.wait(30)

    sys.addaudithook(hold_up)
    try:
        node.start()
        assert ended(run, within_s=15).status == Status.COMPLETED
        assert folder.path.exists()
    finally:
        may_go_on.set()
    wait_until(lambda: not folder.path.exists())


def test_claims_and_ends_are_on_the_disk_before_anything_follows_from_them(
    node: agent.Agent, send: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = send("print('here')\n")
    folder = RunFolder(node.work, run.run_id, 1)
    sync, taken = os.fsync, list[tuple[str, bool, bool]]()

    def note(descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("-wal"):
            taken.append((fresh(run).status, folder.launch_file.exists(), folder.path.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    node.start()
    assert ended(run).status == Status.COMPLETED
    wait_until(lambda: not folder.path.exists())
    by_hand = [(Status.STARTING, False, True), (Status.COMPLETED, True, True)]
    assert taken == (by_hand if connection.vendor == "sqlite" else [])


def test_what_is_looked_for_every_few_seconds_is_no_whole_run(
    node: agent.Agent,
    send: Callable[..., Run],
    asked: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(agent, "BEAT_S", 0.1)
    go_on = tmp_path / "go on"
    run = send(f"import os, time\nwhile not os.path.exists({str(go_on)!r}):\n    time.sleep(0.05)\n")
    node.start()
    try:
        wait_until(lambda: fresh(run).status == Status.RUNNING)
        before = len(asked)

        def ticks() -> list[str]:
            return [sql for thread, sql in asked[before:] if thread == "ticker"]

        wait_until(lambda: sum(sql.startswith("UPDATE") and "runs_node" in sql for sql in ticks()) >= 3)
        assert not [sql for sql in ticks() if "search_text" in sql]
    finally:
        go_on.touch()
        end = ended(run)
    assert end.status == Status.COMPLETED
