"""The embedded broker under several writers and takers: each message arrives whole, and once."""

import multiprocessing
from pathlib import Path
from queue import Empty

from kombu import Connection

from studio import filesystem

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
