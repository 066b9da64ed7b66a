"""The embedded broker under several writers and takers: each message arrives whole, and once."""

import json
import multiprocessing
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Empty

import pytest
from django.conf import settings
from kombu import Connection

from runs.wake import EXPIRES_S, target_queue, wake
from studio import filesystem
from studio.celery import app
from tests.fixtures.processes import NodeProcess, empty_broker, wait_until

WRITERS, EACH, QUEUE = 4, 60, "target-1"


def _options(folder: Path) -> dict[str, str]:
    return {
        "data_folder_in": str(folder / "messages"),
        "data_folder_out": str(folder / "messages"),
        "control_folder": str(folder / "control"),
    }


def _write(folder: Path, writer: int) -> None:
    filesystem.install()
    with Connection("filesystem://", transport_options=_options(folder)) as connection:
        queue = connection.SimpleQueue(QUEUE)
        for number in range(EACH):
            queue.put({"writer": writer, "number": number})
        queue.close()


def _take(folder: Path, finished, found) -> None:
    filesystem.install()
    mine = []
    with Connection("filesystem://", transport_options=_options(folder)) as connection:
        channel = connection.channel()
        while True:
            done = finished.is_set()
            try:
                mine.append(channel._get(QUEUE)["body"])
            except Empty:
                if done:
                    break
    found.put(mine)


def test_each_message_arrives_whole_and_once(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    finished, found = spawn.Event(), spawn.Queue()
    takers = [spawn.Process(target=_take, args=(tmp_path, finished, found), daemon=True) for _ in range(2)]
    writers = [
        spawn.Process(target=_write, args=(tmp_path, number), daemon=True) for number in range(WRITERS)
    ]
    for process in takers + writers:
        process.start()
    for process in writers:
        process.join(60)
        assert process.exitcode == 0
    finished.set()
    taken = [body for _ in takers for body in found.get(timeout=60)]
    for process in takers:
        process.join(60)
        assert process.exitcode == 0
    assert len(taken) == len(set(taken)) == WRITERS * EACH


def test_a_message_that_cannot_be_read_is_left_out(tmp_path):
    filesystem.install()
    with Connection("filesystem://", transport_options=_options(tmp_path)) as connection:
        queue = connection.SimpleQueue(QUEUE)
        (tmp_path / "messages").mkdir(exist_ok=True)
        (tmp_path / "messages" / f"0_broken.{QUEUE}.msg").write_bytes(b"")
        queue.put({"number": 1})
        assert queue.get(timeout=5).payload == {"number": 1}
        queue.close()


def _sent(folder: Path, age_s: float, queue: str, *, before: str = "") -> Path:
    """A message as it lies in the folder so long after it was sent."""
    folder.mkdir(parents=True, exist_ok=True)
    sent = time.time_ns() // 1_000_000 - int(age_s * 1_000)
    path = folder / f"{before}{sent}_{uuid.uuid4()}.{queue}.msg"
    path.write_text(json.dumps({"age": age_s}))
    return path


def test_what_is_too_old_is_dropped_whoever_it_was_for(tmp_path):
    filesystem.install()
    old = [
        _sent(tmp_path / "messages", 61, QUEUE),
        _sent(tmp_path / "messages", 9_000, "target-99"),
        _sent(tmp_path / "messages", 9_000, "target-99", before="."),
    ]
    fresh = [_sent(tmp_path / "messages", 30, "target-99"), _sent(tmp_path / "messages", 30, QUEUE)]
    options = {**_options(tmp_path), "message_life_s": 60}
    with Connection("filesystem://", transport_options=options) as connection:
        channel = connection.channel()
        assert channel._size(QUEUE) == 1
        assert [path.exists() for path in old] == [False, False, False]
        assert [path.exists() for path in fresh] == [True, True]
        assert channel._get(QUEUE) == {"age": 30}
        with pytest.raises(Empty):
            channel._get(QUEUE)


def test_without_a_life_messages_wait_for_ever(tmp_path):
    filesystem.install()
    _sent(tmp_path / "messages", 9_000_000, QUEUE)
    with Connection("filesystem://", transport_options=_options(tmp_path)) as connection:
        assert connection.channel()._get(QUEUE) == {"age": 9_000_000}


@pytest.mark.worker
def test_a_node_clears_away_calls_for_a_target_that_nobody_serves(
    make_worker: Callable[..., NodeProcess], workspace: object
) -> None:
    folder = settings.BROKER_DIR / "messages"
    old = [_sent(folder, 3_600, "target-99") for _ in range(500)]
    make_worker(STUDIO_BROKER_URL="filesystem://").start()
    wait_until(lambda: not any(path.exists() for path in old))


def test_a_wake_up_call_expires():
    empty_broker()
    before = datetime.now(UTC)
    wake(99)
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue(target_queue(99))
        message = queue.get(timeout=10)
        message.ack()
        queue.close()
    expires = datetime.fromisoformat(message.headers["expires"])
    assert timedelta(0) < expires - before <= timedelta(seconds=EXPIRES_S + 10)
