"""Artifacts that arrive one by one: kept once, never half, never past what a run may keep."""

from __future__ import annotations

import hashlib
import io
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from runs.errors import Conflict, InvalidInput, InvalidName, OutputsTooBig
from runs.models import Artifact, Run
from runs.services.artifact_uploads import put_artifact
from runs.services.artifacts import keep_outputs, open_artifact
from studio.accounts.models import User
from tests.factories import make_run

pytestmark = pytest.mark.django_db


def put(run: Run, path: str, data: bytes = b"x", **options: Any) -> tuple[Artifact, bool]:
    return put_artifact(run, path, io.BytesIO(data), by=options.pop("by", None), **options)


def data_of(artifact: Artifact) -> bytes:
    with open_artifact(artifact) as file:
        return file.read()


def stored(storage: Path) -> int:
    return sum(path.is_file() for path in storage.rglob("*"))


def test_an_artifact_is_kept_and_the_run_shows_it(ana: User) -> None:
    run = make_run()
    artifact, changed = put(run, "plots/é 1.png", b"data", by=ana)
    assert changed
    assert (artifact.path, artifact.size_bytes, artifact.content_type) == ("plots/é 1.png", 4, "image/png")
    assert artifact.sha256 == hashlib.sha256(b"data").hexdigest()
    assert artifact.created_by == ana
    assert data_of(artifact) == b"data"
    assert Run.objects.get(pk=run.pk).updated_at > run.updated_at


def test_the_same_again_changes_nothing(storage: Path, ana: User, ben: User) -> None:
    run = make_run()
    first, _ = put(run, "a.txt", b"same", by=ana)
    shown_at = Run.objects.get(pk=run.pk).updated_at
    again, changed = put(run, "a.txt", b"same", by=ben)
    assert (again, again.created_by, changed) == (first, ana, False)
    assert Run.objects.get(pk=run.pk).updated_at == shown_at
    assert stored(storage) == 1


def test_other_content_needs_to_be_told_to_overwrite(storage: Path, ana: User) -> None:
    run = make_run()
    put(run, "a.txt", b"old")
    with pytest.raises(Conflict, match=r"another file “a\.txt” already.*API, overwrite=true"):
        put(run, "a.txt", b"new")
    assert data_of(run.artifacts.get()) == b"old"
    artifact, changed = put(run, "a.txt", b"new!", overwrite=True, by=ana)
    assert (artifact.size_bytes, artifact.created_by, changed) == (4, ana, True)
    assert data_of(run.artifacts.get()) == b"new!"
    assert stored(storage) == 1


def test_an_empty_file_is_a_file() -> None:
    artifact, _ = put(make_run(), "empty", b"")
    assert (artifact.size_bytes, data_of(artifact)) == (0, b"")


@pytest.mark.parametrize(
    "path",
    ["", "/a", "../a", "a/../b", "a//b", "./a", "a/", "a\\b", "a\nb", "C:/a", "outputs", "logs", "x" * 256],
)
def test_a_name_that_is_no_file_everywhere_is_refused(path: str, storage: Path) -> None:
    run = make_run()
    with pytest.raises(InvalidName) as refusal:
        put(run, path)
    assert refusal.value.field == "path"
    assert stored(storage) == 0


def test_a_name_is_not_both_file_and_folder() -> None:
    run = make_run()
    put(run, "model/weights")
    for path in ("model", "model/weights/layer"):
        with pytest.raises(Conflict, match="both file and folder"):
            put(run, path)
    for path in ("models", "model/weights2", "MODEL"):
        put(run, path)


def test_a_body_that_was_cut_off_is_not_kept(storage: Path) -> None:
    run = make_run()
    with pytest.raises(InvalidInput, match="Only 3 of 10 bytes came"):
        put(run, "a", b"abc", announced=10)
    assert (run.artifacts.count(), stored(storage)) == (0, 0)


def test_a_run_keeps_no_more_than_it_may(settings: Any, storage: Path, tmp_path: Path) -> None:
    settings.OUTPUTS_MAX_FILES, settings.OUTPUTS_MAX_BYTES = 3, 1024
    run = make_run()
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "a").write_bytes(b"x" * 1000)
    keep_outputs(run, tmp_path)
    with pytest.raises(OutputsTooBig, match="A run may keep 1 KiB"):
        put(run, "b", b"x" * 25)
    put(run, "b", b"x" * 24)
    put(run, "b", b"y" * 20, overwrite=True)
    put(run, "c", b"")
    with pytest.raises(OutputsTooBig, match="3 files"):
        put(run, "d", b"")
    assert stored(storage) == 3


def test_what_the_run_leaves_counts_with_what_was_put(settings: Any, tmp_path: Path) -> None:
    settings.OUTPUTS_MAX_FILES = 2
    run = make_run()
    put(run, "a", by=run.submitter)
    put(run, "outputs/b", b"put", by=run.submitter)
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "b").write_bytes(b"left")
    (tmp_path / "outputs" / "c").write_bytes(b"left")
    kept = keep_outputs(run, tmp_path)
    assert (kept.files, kept.notes) == (2, ["Not kept, a run may keep 2 files: “outputs/c”."])
    replaced = run.artifacts.get(path="outputs/b")
    assert (data_of(replaced), replaced.created_by) == (b"left", None)


def test_memory_does_not_grow_with_the_file() -> None:
    class Endless:
        left = 64 * 2**20

        def read(self, size: int, /) -> bytes:
            piece = bytes(min(size, self.left))
            self.left -= len(piece)
            return piece

    run = make_run()
    tracemalloc.start()
    try:
        artifact, _ = put_artifact(run, "big.bin", Endless(), by=None)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()
    assert artifact.size_bytes == 64 * 2**20


@pytest.mark.django_db(transaction=True)
def test_of_two_at_once_one_wins_and_no_file_is_left_over(storage: Path) -> None:
    run = make_run()
    barrier = threading.Barrier(4)
    outcomes: list[object] = []

    def upload(data: bytes) -> None:
        barrier.wait()
        try:
            outcomes.append(put(run, "a", data)[1])
        except Conflict:
            outcomes.append("conflict")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=upload, args=(data,)) for data in (b"1", b"1", b"2", b"2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == ["False", "True", "conflict", "conflict"]
    assert data_of(run.artifacts.get()) in (b"1", b"2")
    assert stored(storage) == 1


def test_it_asks_the_same_number_of_queries_however_much_there_is(django_assert_num_queries: Any) -> None:
    run = make_run()
    for number in range(20):
        put(run, f"outputs/{number}", b"x")
    with django_assert_num_queries(8):  # clashes, sums, old; SAVEPOINT, insert, RELEASE, its date; run
        put(run, "outputs/new", b"x")
