"""What Studio stands on goes away for a while: nothing is lost, and what waits starts afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Now

from runs.models import Run
from runs.reporter import LAUNCH_LOG
from runs.services.metrics import read_points
from runs.status import Status
from tests.factories import make_node, make_run
from tests.faults.conftest import Counting, ended, fresh, log_of, says
from tests.fixtures.processes import REPOSITORY, NodeProcess, wait_until
from tests.life_kit import assert_sound
from tests.servers import free_port

pytestmark = pytest.mark.worker


def hold_the_database(for_s: float) -> None:
    """Let nobody else write for so long."""
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("LOCK TABLE runs_logchunk, runs_run, runs_runevent IN EXCLUSIVE MODE")
        threading.Event().wait(for_s)


def test_a_busy_database_costs_no_line(
    worker: NodeProcess, send: Callable[..., Run], counting: Counting
) -> None:
    run = send(counting.script)
    says(run, "3\n")
    hold_the_database(2.5)
    counting.finish()
    assert ended(run).status == Status.COMPLETED
    counting.assert_whole(log_of(run))
    assert_sound(run)


def test_lost_connections_cost_no_line(
    worker: NodeProcess, send: Callable[..., Run], counting: Counting
) -> None:
    run = send(counting.script)
    says(run, "3\n")
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
    else:
        hold_the_database(1.0)
    counting.finish()
    assert ended(run).status == Status.COMPLETED
    counting.assert_whole(log_of(run))
    second = send("print('after')\n")
    assert ended(second).status == Status.COMPLETED


ENDS = {"killed": "os.kill(os.getpid(), 9)", "at its end": "", "completed": "run.complete()"}


@pytest.mark.parametrize("end", ENDS)
def test_without_a_web_server_no_metric_is_lost_and_no_slot_is_held(
    make_worker: Callable[..., NodeProcess], send: Callable[..., Run], end: str
) -> None:
    node = make_worker(STUDIO_URL=f"http://127.0.0.1:{free_port()}")
    node.start()
    run = send(
        "import os\nfrom azureml.core import Run\nrun = Run.get_context()\n"
        "for number in range(1000): run.log('m', number)\n"
        f"{ENDS[end]}\n"
    )
    ended(run, within_s=20)
    metric = run.metrics.get()
    assert list(read_points([metric])[metric.pk].columns[""]) == list(range(1000))
    if end != "killed":
        assert "The node of the run stores them" in log_of(run)
    assert "1000 metrics that the script had left were sent." in log_of(run, LAUNCH_LOG)
    wait_until(lambda: not (node.folder / "work" / run.run_id).exists())
    assert not (node.folder / "work" / ".set-aside").exists()


def test_a_broker_that_forgets_everything_delays_a_run_by_a_moment(
    worker: NodeProcess, send: Callable[..., Run], tmp_path: Path
) -> None:
    if settings.CELERY_BROKER_URL.startswith("filesystem:"):
        wait_until((settings.BROKER_DIR / "control" / "celery.pidbox.exchange").exists)  # the last at a start
        settings.BROKER_DIR.rename(tmp_path / "moved-away")
    else:
        with redis.Redis.from_url(settings.CELERY_BROKER_URL) as broker:
            broker.flushdb()
            broker.client_kill_filter(_type="normal", skipme=True)
    assert ended(send("print('here')\n"), within_s=20).status == Status.COMPLETED


def test_a_node_started_without_a_broker_takes_up_its_run_claims_and_sweeps(
    worker: NodeProcess, send: Callable[..., Run], counting: Counting
) -> None:
    run = send(counting.script)
    says(run, "3\n")
    assert worker.stop() == 0
    worker.env["STUDIO_BROKER_URL"] = f"redis://127.0.0.1:{free_port()}/0"
    worker.start()
    elsewhere = make_run(status=Status.RUNNING, node=make_node("elsewhere"))
    Run.objects.filter(pk=elsewhere.pk).update(heartbeat_at=Now() - timedelta(minutes=1))
    counting.finish()
    assert ended(run).status == Status.COMPLETED
    counting.assert_whole(log_of(run))
    assert ended(send("print('claimed')\n")).status == Status.COMPLETED
    wait_until(lambda: fresh(elsewhere).status == Status.NOT_RESPONDING, within_s=30)

    begin = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - begin < 10  # it does not wait for the broker


def without_a_broker(script: str, data: Path) -> subprocess.CompletedProcess[str]:
    """What this script says in a process of Studio whose broker is away."""
    broker = f"redis://127.0.0.1:{free_port()}/0"
    answer = subprocess.run(
        [sys.executable, str(REPOSITORY / "manage.py"), "shell", "-v0", "-c", script],
        env={**os.environ, "STUDIO_DATA": str(data), "STUDIO_BROKER_URL": broker},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.returncode == 0, answer.stderr
    return answer


def test_a_broker_that_takes_nothing_is_a_warning_at_most(tmp_path: Path) -> None:
    answer = without_a_broker(
        "from time import time; from runs.wake import wake; t = time(); wake(1); wake(1); print(time() - t)",
        tmp_path,
    )
    assert answer.stderr.count("the broker took no wake-up call") == 1  # and is left alone for a while
    assert float(answer.stdout) < 5  # who submits does not wait for it


def test_what_hinders_beat_is_one_line(tmp_path: Path) -> None:
    answer = without_a_broker(
        "from celery.beat import Scheduler; from studio.celery import app\n"
        "claim = {'task': 'runs.wake', 'schedule': 2.0, 'options': {'retry': False}}\n"
        "app.conf.beat_schedule = {'claim': claim}\n"
        "scheduler = Scheduler(app)\n"
        "for _ in range(3):\n"
        "    scheduler.apply_entry(scheduler.schedule['claim'])\n",
        tmp_path,
    )
    [line] = answer.stderr.splitlines()
    assert "ERROR celery.beat: Message Error: Couldn't apply scheduled task claim: " in line
    assert "refused" in line
