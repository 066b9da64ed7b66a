"""Snapshots: stored once, and given back as they were."""

from __future__ import annotations

import io
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import connection

from runs.errors import InvalidSnapshot, NotFound, SnapshotTooBig
from runs.models import Snapshot
from runs.services import snapshots
from runs.services.examples import list_examples

pytestmark = pytest.mark.django_db


def take(files: dict[str, str | bytes], *, unwrap: bool = True) -> Snapshot:
    uploads = [
        (name, io.BytesIO(data if isinstance(data, bytes) else data.encode())) for name, data in files.items()
    ]
    return snapshots.snapshot_from_files(uploads, by=None, unwrap=unwrap)


def stored(storage: Path) -> list[Path]:
    return [path for path in storage.rglob("*") if path.is_file()]


def test_equal_folders_are_stored_once(storage: Path) -> None:
    one = take({"train.py": "print(1)", "data/a.csv": "1,2"})
    again = take({"data/a.csv": "1,2", "train.py": "print(1)"})
    assert one == again
    assert Snapshot.objects.count() == 1
    assert [path.name for path in stored(storage)] == [f"{one.digest}.zip"]
    assert one.storage_name == f"snapshots/{one.digest[:2]}/{one.digest}.zip"


def test_the_row_lists_the_files() -> None:
    snapshot = take({"b/run.sh": "#!/bin/sh\n", "a.py": "1"})
    assert [(file["path"], file["size"], file["executable"]) for file in snapshot.files] == [
        ("a.py", 1, False),
        ("b/run.sh", 10, True),
    ]
    assert (snapshot.file_count, snapshot.size_bytes) == (2, 11)


def test_a_refused_source_leaves_nothing(storage: Path, settings: Any) -> None:
    settings.SNAPSHOT_MAX_FILES = 1
    with pytest.raises(SnapshotTooBig):
        take({"a.py": "1", "b.py": "2"})
    with pytest.raises(InvalidSnapshot):
        take({"../a.py": "1"})
    assert stored(storage) == []
    assert not Snapshot.objects.exists()


def test_a_browser_folder_loses_its_top_folder() -> None:
    assert [file["path"] for file in take({"proj/a.py": "", "proj/lib/b.py": ""}).files] == [
        "a.py",
        "lib/b.py",
    ]
    assert [file["path"] for file in take({"src/a.py": ""}, unwrap=False).files] == ["src/a.py"]


def test_a_pasted_script_has_unix_line_ends() -> None:
    snapshot = snapshots.snapshot_from_text("train.py", "a = 1\r\nprint(a)\r\n", by=None)
    assert snapshots.read_text(snapshot, "train.py").text == "a = 1\nprint(a)\n"


def test_zip_and_folder_give_the_same_snapshot(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    (folder / "lib").mkdir(parents=True)
    (folder / "train.py").write_text("import lib.a")
    (folder / "lib" / "a.py").write_text("")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.write(folder / "train.py", "source/train.py")
        archive.write(folder / "lib" / "a.py", "source/lib/a.py")
    assert snapshots.snapshot_from_zip(file, by=None) == snapshots.snapshot_from_folder(folder)


def test_a_stored_file_that_was_lost_is_put_back(storage: Path) -> None:
    snapshot = take({"a.py": "1"})
    default_storage.delete(snapshot.storage_name)
    assert snapshots.read_text(take({"a.py": "1"}), "a.py").text == "1"


def test_the_loser_of_a_race_removes_its_file(storage: Path) -> None:
    first = take({"a.py": "1"})
    with snapshots.archives.pack(
        snapshots.archives.file_entries([("a.py", io.BytesIO(b"1"))]), limits=snapshots.source_limits()
    ) as packed:
        late = default_storage.save("snapshots/late.zip", packed.file)
        assert snapshots._row(packed, late, by=None) == first
    assert [path.name for path in stored(storage)] == [f"{first.digest}.zip"]


@pytest.mark.django_db(transaction=True)
def test_eight_at_once_make_one_row_and_one_file(storage: Path) -> None:
    barrier = Barrier(8)

    def submit(_: int) -> int:
        barrier.wait()
        try:
            return take({"a.py": "x" * 100_000}).pk
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(submit, range(8)))) == 1
    assert len(stored(storage)) == 1
    with snapshots.open_member(Snapshot.objects.get(), "a.py") as member:
        assert len(member.read()) == 100_000


def test_unpack_gives_the_files_back(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "run.sh": "#!/bin/sh\necho",
        "日本/🚀.txt": "x",
        "data.bin": os.urandom(300_000),
    }
    snapshots.unpack(take(files), tmp_path / "code")
    found = {
        path.relative_to(tmp_path / "code").as_posix(): path.read_bytes()
        for path in (tmp_path / "code").rglob("*")
        if path.is_file()
    }
    assert found == {name: data if isinstance(data, bytes) else data.encode() for name, data in files.items()}
    assert os.access(tmp_path / "code" / "run.sh", os.X_OK)
    assert not (tmp_path / "code" / "data.bin").stat().st_mode & 0o111


def test_unpacking_can_be_left_off(tmp_path: Path) -> None:
    files = {"a.bin": os.urandom(3 << 18), "b.py": "1"}
    portions = iter([False, False, True])
    snapshots.unpack(take(files), tmp_path / "code", should_stop=lambda: next(portions))
    assert [path.name for path in (tmp_path / "code").iterdir()] == ["a.bin"]
    assert 0 < (tmp_path / "code" / "a.bin").stat().st_size < 3 << 18


def test_unpack_does_not_write_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").symlink_to(outside)
    with pytest.raises(InvalidSnapshot, match="cannot be unpacked"):
        snapshots.unpack(take({"a.py": "1"}), tmp_path / "code")
    assert not outside.exists()


def test_unpack_trusts_no_name_in_the_row(tmp_path: Path) -> None:
    snapshot = take({"a.py": "1"})
    snapshot.files[0]["path"] = "../a.py"
    with pytest.raises(InvalidSnapshot, match="leads out"):
        snapshots.unpack(snapshot, tmp_path / "code")
    assert not (tmp_path / "a.py").exists()


def test_a_damaged_file_cannot_be_unpacked(tmp_path: Path, storage: Path) -> None:
    snapshot = take({"a.py": "x" * 1000})
    (storage / snapshot.storage_name).write_bytes(b"PK junk")
    with pytest.raises(InvalidSnapshot, match="cannot be unpacked: its stored file is damaged"):
        snapshots.unpack(snapshot, tmp_path / "code")
    (storage / snapshot.storage_name).unlink()
    with pytest.raises(InvalidSnapshot, match=r"cannot be unpacked: its stored file is gone\.$"):
        snapshots.unpack(snapshot, tmp_path / "code")


def test_text_is_bounded_and_binary_files_have_none() -> None:
    snapshot = take({"long.txt": "é" * 400_000, "model.bin": b"\0\1", "a.py": "\ufeffprint()"})
    long = snapshots.read_text(snapshot, "long.txt", most=1001)
    assert (long.text, long.truncated, long.size_bytes) == ("é" * 500, True, 800_000)
    assert snapshots.read_text(snapshot, "model.bin").binary
    assert snapshots.read_text(snapshot, "a.py").text == "print()"


@pytest.mark.parametrize("path", ["nope.py", "../a.py", "", "/etc/passwd", "A.py", "%2e%2e/a.py"])
def test_only_what_the_row_lists_can_be_opened(path: str) -> None:
    snapshot = take({"a.py": "1"})
    with pytest.raises(NotFound), snapshots.open_member(snapshot, path):
        pass


def test_the_tree_lists_folders_first() -> None:
    snapshot = take({"train.py": "12", "a.py": "1", "lib/x/deep.py": "123", "lib/B.py": "", "lib/a.py": "4"})
    assert [(entry.depth, entry.name, entry.size_bytes) for entry in snapshots.tree(snapshot)] == [
        (0, "lib", 4),
        (1, "x", 3),
        (2, "deep.py", 3),
        (1, "a.py", 1),
        (1, "B.py", 0),
        (0, "a.py", 1),
        (0, "train.py", 2),
    ]


def test_a_diff_says_what_changed() -> None:
    before = take(
        {"same.py": "1", "a.py": "x = 1\ny = 2\n", "gone.py": "1\n", "m.bin": b"\0", "r": "#!/bin/sh"}
    )
    after = take(
        {"same.py": "1", "a.py": "x = 1\ny = 3\n", "new.py": "2\n", "m.bin": b"\0\0", "r": "#!/bin/sh"}
    )
    found = {file.path: file for file in snapshots.diff(before, after)}
    assert {path: file.change for path, file in found.items()} == {
        "a.py": "changed",
        "gone.py": "removed",
        "m.bin": "changed",
        "new.py": "added",
    }
    assert found["a.py"].diff.splitlines()[2:] == ["@@ -1,2 +1,2 @@", " x = 1", "-y = 2", "+y = 3"]
    assert found["m.bin"].note.startswith("Binary")
    assert "+2" in found["new.py"].diff
    assert snapshots.diff(after, after) == []


def test_a_diff_shows_a_missing_last_newline() -> None:
    (found,) = snapshots.diff(take({"a.py": "x\n"}), take({"a.py": "x"}))
    assert found.diff.splitlines()[-1] == "+\\ No newline at end of file"


def test_a_diff_compares_no_large_file() -> None:
    before = take({"big.txt": "x" * 300_000, "long.txt": "\n" * 3_000, "r": "#!/bin/sh"})
    after = take({"big.txt": "y" * 300_000, "long.txt": "\n" * 3_001, "r": "echo"})
    notes = {file.path: file.note for file in snapshots.diff(before, after)}
    assert notes == {
        "big.txt": "Larger than 256 KiB, so not compared line by line.",
        "long.txt": "More than 2,000 lines, so not compared line by line.",
        "r": "",
    }


def test_a_diff_names_every_file_but_compares_only_some() -> None:
    found = snapshots.diff(
        take({f"{n}.py": "1" for n in range(300)}), take({f"{n}.py": "2" for n in range(300)})
    )
    assert len(found) == 300
    assert sum(1 for file in found if file.diff) == snapshots.DIFF_MAX_FILES
    assert {file.note for file in found if not file.diff} == {
        "Too much changed to compare every file line by line."
    }


def test_each_bundled_example_is_a_snapshot_that_holds_its_scripts() -> None:
    for example in list_examples():
        snapshot = example.snapshot(by=None)
        assert example.snapshot(by=None) == snapshot
        paths = {file["path"] for file in snapshot.files}
        assert {step.script for step in example.steps} <= paths
        assert not any("__pycache__" in path or path.startswith("outputs") for path in paths)
