"""`manage.py node`: what it refuses to start on, in one line, and what it does beside its runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models.functions import Now

from runs.models import Node, Run, Snapshot
from runs.status import Status
from studio.accounts.models import Workspace
from tests.factories import make_run, make_snapshot, make_target
from tests.faults.conftest import Counting, ended, log_of, says
from tests.fixtures.processes import REPOSITORY, NodeProcess, wait_until
from tests.servers import free_port

pytestmark = pytest.mark.worker


def refusal(node: NodeProcess) -> str:
    """The one line of a node that has to be refused."""
    node.folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(REPOSITORY / "manage.py"), *node.words]
    answer = subprocess.run(command, env=node.env, capture_output=True, text=True, timeout=60)
    assert answer.returncode != 0
    assert answer.stdout == ""
    [line] = answer.stderr.strip().splitlines()
    return line


def test_another_machine_of_the_same_name_takes_no_runs(
    worker: NodeProcess,
    make_worker: Callable[..., NodeProcess],
    send: Callable[..., Run],
    counting: Counting,
) -> None:
    run = send(counting.script)
    says(run, "3\n")
    line = refusal(make_worker(slots=8))
    assert "Another node is called" in line
    assert "STUDIO_NODE" in line
    assert Node.objects.get().slots == 2
    counting.finish()
    assert ended(run).status == Status.COMPLETED
    counting.assert_whole(log_of(run))


def test_a_second_node_on_one_work_folder(
    worker: NodeProcess, make_worker: Callable[..., NodeProcess]
) -> None:
    second = make_worker()
    second.env["STUDIO_WORK"] = str(worker.folder / "work")
    line = refusal(second)
    assert f"Another node uses {worker.folder / 'work'} (process {worker.pid})." in line
    assert "set STUDIO_WORK and STUDIO_NODE" in line


def test_it_deletes_sources_that_nothing_uses(
    transactional_db: None, make_worker: Callable[..., NodeProcess]
) -> None:
    used, unused = make_snapshot({"a": "used"}), make_snapshot({"a": "unused"})
    make_run(snapshot=used)
    Snapshot.objects.update(last_named_at=Now() - timedelta(hours=25))
    make_worker().start()
    wait_until(lambda: not Snapshot.objects.filter(pk=unused.pk).exists())
    assert Snapshot.objects.get() == used


def test_a_database_that_is_not_there(make_worker: Callable[..., NodeProcess]) -> None:
    nowhere = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    assert "The database cannot be used" in refusal(make_worker(STUDIO_DATABASE_URL=nowhere))


def test_a_work_folder_that_cannot_be(make_worker: Callable[..., NodeProcess], tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    node = make_worker()
    node.env["STUDIO_WORK"] = str(in_the_way / "work")
    assert f"The work folder {in_the_way / 'work'} cannot be used: Not a directory." in refusal(node)


def test_a_node_started_by_hand_says_what_it_serves_and_where_scripts_report_to(
    make_worker: Callable[..., NodeProcess], workspace: Workspace
) -> None:
    make_target("local", is_default=True)
    node = make_worker(STUDIO_URL="")
    node.start()
    said = wait_until(lambda: "STUDIO_URL is not set." in node.text and node.text)
    assert "2 slots for local. Scripts reach Studio at http://127.0.0.1:" in said
