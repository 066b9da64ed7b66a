"""What is logged is in the files, and comes out of them in order, whole, and as the same batches."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from azureml import _metric_shapes
from hypothesis import given, settings
from hypothesis import strategies as st
from studio_client import segments, spool_folder
from studio_client.batches import Batch
from studio_client.image_entries import waiting_image
from studio_client.images import Image
from studio_client.segments import NO_STEP, SLOT_BYTES, Segment
from studio_client.sender import MetricSender
from studio_client.sending import send_next
from studio_client.spool_folder import Spool

from tests.sdk.conftest import SDK

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(), st.integers(-9, 9)
)
ENTRIES = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.sampled_from([None, 0, 7, 2**62]),
        st.one_of(
            SCALARS,
            st.lists(SCALARS, max_size=4).map(lambda values: {"": values}),
            st.lists(st.tuples(SCALARS, SCALARS), min_size=1, max_size=3).map(
                lambda rows: {"x": [row[0] for row in rows], "y": [row[1] for row in rows]}
            ),
        ),
    ),
    max_size=12,
)


class Nowhere:
    """Stands for an API that nothing is sent through."""

    url, written_by = "http://127.0.0.1:9", "person:ana"


@contextmanager
def folder() -> Iterator[Path]:
    """A spool's place; hypothesis keeps those of pytest from one example to the next."""
    before = os.environ.get("STUDIO_SPOOL_DIR")
    with tempfile.TemporaryDirectory() as place:
        os.environ["STUDIO_SPOOL_DIR"] = place
        yield Path(place)
        if before is None:
            del os.environ["STUDIO_SPOOL_DIR"]


def new_spool() -> Spool:
    return Spool.create("http://127.0.0.1:9", "run", "writer", 0, by="person:ana")


def log_all(entries: list[tuple[str, int | None, Any]]) -> MetricSender:
    sender = MetricSender(Nowhere(), "run", lambda is_much: None)  # type: ignore[arg-type]
    for name, step, value in entries:
        if isinstance(value, dict):
            sender.log(name, "list", value, step)
        else:
            sender.add(name, value, step)
    return sender


def batches_of(spool: Spool) -> list[tuple[int, list[dict[str, Any]]]]:
    found = []
    while (batch := spool.next_batch()) is not None:
        found.append((spool.seq, batch.series))
        spool.confirm()
    return found


def rows_of(series: list[dict[str, Any]]) -> dict[tuple[str, str], list[str]]:
    """Every value by name and column, with its type; None where another entry has the column."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in series:
        for column in one["columns"]:
            values = _metric_shapes._decoded(column)
            found.setdefault((one["name"], column["name"]), []).extend(map(same_number, values))
    return found


def same_number(value: Any) -> str:
    """Whole numbers among floats become floats where that loses nothing."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 2**53:
        value = float(value)
    return f"{type(value).__name__} {value!r}"


def logged(entries: list[tuple[str, int | None, Any]]) -> dict[tuple[str, str], list[str]]:
    columns: dict[str, dict[str, list[Any]]] = {}
    lengths: dict[str, int] = {}
    for name, _, value in entries:
        rows = value if isinstance(value, dict) else {"": [value]}
        had, count = lengths.get(name, 0), len(next(iter(rows.values())))
        known = columns.setdefault(name, {})
        for column, values in rows.items():
            known.setdefault(column, [None] * had).extend(values)
        for values in known.values():
            values.extend([None] * (had + count - len(values)))
        lengths[name] = had + count
    return {(name, c): list(map(same_number, v)) for name, all_ in columns.items() for c, v in all_.items()}


@given(ENTRIES)
def test_what_is_sent_is_what_was_logged_in_order(entries: list[tuple[str, int | None, Any]]) -> None:
    with folder():
        sender = log_all(entries)
        spool = sender._spool
        sent = batches_of(spool) if spool else []
        assert len(sent) <= 1
        assert rows_of(sent[0][1] if sent else []) == logged(entries)
        if spool:
            assert (spool.sent, spool.waiting) == (len(entries), 0)
            spool.delete()


@settings(max_examples=25)
@given(st.integers(1, 3_000), st.integers(0, 12), st.booleans())
def test_whoever_goes_on_sends_the_same_batches(count: int, confirmed: int, tried: bool) -> None:
    """A process is gone after some batches, perhaps while it was sending one more."""
    with folder() as place:
        spool, whole = new_spool(), new_spool()
        for one in (spool, whole):
            one._next_size = 4_096
            for number in range(count):
                assert one.add(("m", "scalar", ""), number * 0.5, number, 1.0)
        expected = batches_of(whole)
        whole.delete()
        confirmed = min(confirmed, len(expected))
        for _ in range(confirmed):
            batch = spool.next_batch()
            assert batch is not None
            spool.confirm()
        is_cut = tried and spool.next_batch() is not None
        spool.close()
        (left,) = place.iterdir()
        found = Spool.take(left)
        assert found is not None
        rest = batches_of(found)
        if not is_cut and rest and rest[0][0] == confirmed:  # the last one is sent again, as it was
            assert rest[0] == expected[confirmed - 1]
            rest = rest[1:]
        assert rest == expected[confirmed:]
        assert found.waiting == 0
        found.delete()
        assert list(place.iterdir()) == []


def test_a_slot_that_was_not_finished_ends_what_is_there(tmp_path: Path) -> None:
    segment = Segment.create(tmp_path / "one", 4_096)
    for number in range(10):
        segment.add(("m", "scalar", ""), float(number), NO_STEP, 1.0)
    segment.add(("t", "list", ""), b'{"":[1]}', NO_STEP, 1.0)
    segment.park()
    data = bytearray((tmp_path / "one").read_bytes())
    tag = 6 * SLOT_BYTES + 28  # a name comes first
    data[tag : tag + 4] = b"\0\0\0\0"
    (tmp_path / "one").write_bytes(data)
    found = Segment.found(tmp_path / "one")
    assert (found.count, found.end) == (5, 6 * SLOT_BYTES)
    assert Batch(found, 0, found.end).count == 5


def test_a_segment_whose_process_was_killed_as_it_made_it_hides_no_other() -> None:
    with folder() as place:
        spool = new_spool()
        spool.add(("m", "scalar", ""), 1.0, NO_STEP, 1.0)
        spool.close()
        (left,) = place.iterdir()
        (left / "00000002.entries").touch()
        found = Spool.take(left)
        assert found is not None
        assert [batch.count for batch in iter_batches(found)] == [1]
        found.delete()
        assert list(place.iterdir()) == []


def test_a_segment_that_is_full_to_the_last_byte_is_read_whole(tmp_path: Path) -> None:
    segment = Segment.create(tmp_path / "one", 4_096)
    label, count = ("m", "scalar", ""), 0
    while segment.add(label, b'{"": ["some longer text"]}', NO_STEP, 1.0):
        count += 1
    while segment.add(label, 1.0, NO_STEP, 1.0):
        count += 1
    segment.park()
    found = Segment.found(tmp_path / "one")
    assert found.count == count
    assert Batch(found, 0, found.end).count == count


def test_a_batch_that_is_refused_is_halved_under_its_number_until_one_entry_is_left() -> None:
    with folder():
        spool = new_spool()
        for number in range(100):
            spool.add(("m", "scalar", ""), number, NO_STEP, 1.0)
        assert spool.next_batch()
        sizes = []
        while spool.shorten():
            batch = spool.next_batch()
            assert batch is not None
            sizes.append(batch.count)
            assert spool.seq == 1
        assert sizes[-1] <= 1
        spool.skip()
        assert spool.seq == 0
        assert sum(batch.count for batch in iter_batches(spool)) + 1 >= 100
        spool.delete()


def iter_batches(spool: Spool) -> Iterator[Batch]:
    while (batch := spool.next_batch()) is not None:
        yield batch
        spool.confirm()


class Server:
    """Stands for the API: it keeps images, and each batch once, by its number."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self.batches: list[list[dict[str, Any]]] = []

    def patient(self, patience_s: float) -> Server:
        return self

    def put_artifact(self, run_id: str, path: str, file: IO[bytes], *, timeout_s: float) -> None:
        self.files.append(path)

    def send_metrics(self, run_id: str, body: bytes, *, patience_s: float, timeout_s: float) -> None:
        batch = json.loads(body)
        assert batch["seq"] <= len(self.batches) + 1
        if batch["seq"] > len(self.batches):
            self.batches.append(batch["series"])


@pytest.mark.parametrize(("before", "after"), [(6, 0), (0, 5), (6, 5)])
def test_a_kill_after_an_image_was_sent_loses_and_doubles_nothing(
    before: int, after: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with folder() as place:
        spool, server = new_spool(), Server()

        def add(start: int, end: int) -> None:
            for number in range(start, end):
                assert spool.add(("m", "scalar", ""), float(number), NO_STEP, 1.0)

        def send_all(one: Spool) -> None:
            while send_next(server, one):  # type: ignore[arg-type]
                pass

        image = Image(place, io.BytesIO(b"BM1"))
        add(0, before)
        assert spool.add_image(image)
        entry = segments.as_json({"": [waiting_image("a.png", "a_7", image.name)]})
        assert spool.add(("image", "image", ""), entry, NO_STEP, 1.0)
        send_all(spool)
        add(before, before + after)
        assert spool.folder is not None
        left = Spool.take(shutil.copytree(spool.folder, place / "left"))  # as kill leaves it
        assert left is not None
        assert left.waiting == after
        send_all(left)
        found = rows_of([series for batch in server.batches for series in batch if series["name"] == "m"])
        assert found.get(("m", ""), []) == [same_number(number) for number in range(before + after)]
        assert server.files == ["a.png"]
        assert capsys.readouterr().err == ""
        left.delete()
        spool.delete()


def test_nobody_takes_a_spool_that_is_in_use(tmp_path: Path) -> None:
    with folder() as place:
        spool = new_spool()
        spool.add(("m", "scalar", ""), 1.0, NO_STEP, 1.0)
        (mine,) = place.iterdir()
        assert Spool.take(mine) is None
        spool.close()
        other = Spool.take(mine)
        assert other is not None
        assert Spool.take(mine) is None
        other.delete()
        assert Spool.take(mine) is None


def test_what_somebody_sends_for_a_process_that_is_gone_is_not_taken_for_a_living_ones() -> None:
    with folder() as place:
        spool = new_spool()
        spool.add(("m", "scalar", ""), 1.0, NO_STEP, 1.0)
        (mine,) = place.iterdir()
        assert not spool_folder.is_abandoned(mine)
        spool.close()
        assert spool_folder.is_abandoned(mine)
        sending = Spool.take(mine)
        assert sending is not None
        assert spool_folder.is_abandoned(mine)
        assert Spool.take(mine) is None
        sending.delete()
        assert not spool_folder.is_abandoned(mine)


def test_of_a_deleted_file_only_what_was_not_sent_is_counted_as_lost() -> None:
    with folder() as place:
        spool = new_spool()
        spool.add(("m", "scalar", ""), 1.0, NO_STEP, 1.0)
        assert [batch.count for batch in iter_batches(spool)] == [1]
        spool.add(("m", "scalar", ""), 2.0, NO_STEP, 1.0)
        (mine,) = place.iterdir()
        (mine / "00000001.entries").unlink()
        spool._segments[0].park()
        assert spool.next_batch() is None
        assert isinstance(spool.lost, FileNotFoundError)
        assert spool.waiting == 0
        spool.add(("m", "scalar", ""), 1.0, NO_STEP, 1.0)
        assert [batch.count for batch in iter_batches(spool)] == [1]
        spool.delete()


def test_files_are_for_their_owner_alone() -> None:
    with folder() as place:
        spool = new_spool()
        spool.add(("m", "scalar", ""), 1.0, NO_STEP, 1.0)
        (mine,) = place.iterdir()
        assert mine.stat().st_mode & 0o777 == 0o700
        assert [one.stat().st_mode & 0o777 for one in sorted(mine.iterdir())] == [0o600, 0o600]
        spool.delete()


def test_what_waits_is_bounded_and_files_go_as_they_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_folder, "DISK_BYTES", 1 << 18)
    monkeypatch.setattr(spool_folder, "MEMORY_BYTES", 1 << 18)
    monkeypatch.setattr(spool_folder, "LARGEST_BYTES", 1 << 16)
    with folder() as place:
        spool = new_spool()
        taken = 0
        while spool.add(("m", "scalar", ""), 1.0, NO_STEP, 1.0):
            taken += 1
        (mine,) = place.iterdir()
        assert sum(one.stat().st_size for one in mine.iterdir()) <= (1 << 18) + 4_096
        assert taken <= (1 << 19) / SLOT_BYTES
        assert sum(batch.count for batch in iter_batches(spool)) == taken
        assert len(list(mine.iterdir())) <= 2
        assert spool.add(("m", "scalar", ""), 1.0, NO_STEP, 1.0)
        spool.delete()


def test_a_damaged_spool_is_told_and_left_alone() -> None:
    with folder() as place:
        spool = new_spool()
        spool.close()
        (mine,) = place.iterdir()
        (mine / "state.json").write_text("{")
        with pytest.raises(ValueError, match="cannot be read"):
            Spool.take(mine)
        shutil.rmtree(mine)


def test_names_are_made_storable() -> None:
    assert segments.clean_name("a\0b") == "ab"
    assert segments.clean_name("\ud800") == "?"
    assert len(segments.clean_name("x" * 300)) == 255


WITHOUT_DISK = """
import resource, sys
from studio_client import spool
class Nowhere:
    url, written_by = "http://127.0.0.1:9", "person:ana"
spool.EVERY_S = spool.EXIT_PATIENCE_S = 0
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # room for the first segment only
sender = spool.MetricSender(Nowhere(), "run", lambda is_much: None)
for number in range(50_000): sender.add("m", number * 0.5)
batches, count = 0, 0
while (batch := sender._spool.next_batch()) is not None:
    batches, count = batches + 1, count + batch.count
    sender._spool.confirm()
print(count, sum(one.path is None for one in sender._spool._segments))
"""


def test_a_full_disk_is_told_once_and_stops_nobody(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": ":".join(SDK), "STUDIO_SPOOL_DIR": str(tmp_path / "spool")}
    done = subprocess.run([sys.executable, "-c", WITHOUT_DISK], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "50000 1\n"), done.stderr
    assert done.stderr.count("wait in memory") == 1
    assert len(done.stderr.splitlines()) == 1


def test_a_folder_that_cannot_be_made_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("STUDIO_SPOOL_DIR", str(tmp_path / "file" / "spool"))
    sender = log_all([("m", None, number * 0.5) for number in range(5_000)])
    spool = sender._spool
    assert spool is not None
    assert sum(batch.count for batch in iter_batches(spool)) == 5_000
    assert capsys.readouterr().err.count("wait in memory") == 1
    spool.delete()
