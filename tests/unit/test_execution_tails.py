"""Following one log file: what is sent when, and where it goes on after trouble."""

from __future__ import annotations

from pathlib import Path

import pytest

from runs.execution.tails import CHUNK_BYTES, FAR_BEHIND_BYTES, Tail, end_of
from tests.execution_kit import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "std_log.txt"


@pytest.fixture
def store() -> Store:
    return Store()


def tail_of(path: Path, cap_bytes: int = 1 << 30) -> Tail:
    return Tail("log", path, cap_bytes=cap_bytes)


def held(store: Store) -> bytes:
    return bytes(store.logs.get("log", b""))


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_no_file_is_nothing_to_send(path: Path, store: Store) -> None:
    assert not tail_of(path).ship(store, 0.0)
    assert store.calls == []


def test_the_first_bytes_go_at_once_and_a_trickle_goes_five_times_a_second(path: Path, store: Store) -> None:
    tail = tail_of(path)
    for tick in range(200):  # ten seconds of a progress bar
        append(path, b"\r%d" % tick)
        tail.ship(store, tick * 0.05)
        assert tick or held(store) == b"\r0"
    assert 45 <= len(store.calls) <= 53


def test_much_does_not_wait_for_its_turn(path: Path, store: Store) -> None:
    tail = tail_of(path)
    for _ in range(20):
        append(path, b"x" * (300 << 10))
        tail.ship(store, 0.0)
    assert len(store.calls) == 20


def test_the_last_bytes_do_not_wait_either(path: Path, store: Store) -> None:
    tail = tail_of(path)
    for _ in range(20):
        append(path, b"x")
        tail.ship(store, 0.0, final=True)
    assert len(store.calls) == 20


def test_portions_grow_when_far_behind(path: Path, store: Store) -> None:
    append(path, b"x" * (3 * FAR_BEHIND_BYTES))
    tail = tail_of(path)
    while tail.ship(store, 0.0):
        pass
    sizes = [size for _, _, size in store.calls]
    assert sizes == [FAR_BEHIND_BYTES] * 2 + [CHUNK_BYTES] * 4


def test_a_new_tail_goes_on_where_the_store_ends(path: Path, store: Store) -> None:
    append(path, b"one two ")
    store.logs["log"] = bytearray(b"one ")
    tail_of(path).ship(store, 0.0)
    assert held(store) == b"one two "


def test_after_an_answer_that_was_lost_the_store_is_asked(path: Path, store: Store) -> None:
    def lose(method: str) -> None:
        store.after = lambda method: None
        raise ConnectionError

    store.after = lose
    append(path, b"one ")
    tail = tail_of(path)
    with pytest.raises(ConnectionError):
        tail.ship(store, 0.0)
    append(path, b"two ")
    tail.ship(store, 0.0, final=True)
    assert held(store) == b"one two "


@pytest.mark.parametrize("replace", [True, False])
def test_a_file_that_starts_anew_is_followed(path: Path, store: Store, replace: bool) -> None:
    append(path, b"the first life\n")
    tail = tail_of(path)
    tail.ship(store, 0.0)
    if replace:
        path.rename(path.with_suffix(".1"))
        append(path, b"the second life, longer\n")
    else:
        path.write_bytes(b"second\n")
    new = path.read_bytes()
    tail.ship(store, 0.0, final=True)
    append(path, b"and on\n")
    tail.ship(store, 0.0, final=True)
    assert held(store) == b"the first life\n" + new + b"and on\n"


def test_a_new_tail_of_a_file_that_had_started_anew_sends_what_comes(path: Path, store: Store) -> None:
    store.logs["log"] = bytearray(b"a long first life\n")
    append(path, b"short\n")
    tail = tail_of(path)
    tail.ship(store, 0.0)
    append(path, b"new\n")
    tail.ship(store, 0.0, final=True)
    assert held(store) == b"a long first life\nnew\n"


@pytest.mark.parametrize("content", [b"12345\n7890", b"1234567890"])
def test_the_cap_is_kept_and_announced_once(path: Path, store: Store, content: bytes) -> None:
    append(path, content)
    tail = tail_of(path, 6)
    while tail.ship(store, 0.0, final=True):
        pass
    expected = content[:6] + (b"" if content[5:6] == b"\n" else b"\n")
    assert held(store) == expected + b"[Studio] The log is cut here: it is longer than 6 bytes.\n"
    append(path, b"more")
    assert not tail.ship(store, 9.0, final=True)
    assert not tail_of(path, 6).ship(store, 9.0, final=True)
    assert held(store).count(b"[Studio]") == 1


def test_a_log_of_just_the_cap_is_whole(path: Path, store: Store) -> None:
    append(path, b"123456")
    tail = tail_of(path, 6)
    while tail.ship(store, 0.0, final=True):
        pass
    assert held(store) == b"123456"


def test_a_log_that_is_cut_is_kept_small_on_disk(path: Path, store: Store) -> None:
    tail = tail_of(path, 1000)
    for _ in range(100):
        append(path, b"x" * 500)
        tail.ship(store, 0.0, final=True)
        assert path.stat().st_size <= 2500


def test_links_are_not_followed(path: Path, store: Store) -> None:
    path.symlink_to("/etc/passwd")
    assert not tail_of(path).ship(store, 0.0)
    assert end_of(path, 100) == b""


def test_the_end_of_a_file_is_read_alone(path: Path) -> None:
    append(path, b"0123456789")
    assert end_of(path, 4) == b"6789"
    assert end_of(path, 40) == b"0123456789"
    assert end_of(path.with_name("none"), 4) == b""
