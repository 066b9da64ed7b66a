"""Snapshots: taking a source, and giving it back as files, as text, as a tree and as a difference."""

from __future__ import annotations

import difflib
import io
import os
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from django.conf import settings
from django.core.files import File
from django.core.files.storage import default_storage

from runs.errors import InvalidSnapshot, NotFound
from runs.models import Snapshot
from runs.models.snapshot import SnapshotFile
from runs.services import archive_formats, archives
from runs.services.archives import Limits, Packed
from runs.services.unused_snapshots import keep
from studio.accounts.models import User

#: How much of a file the Snapshot tab shows, and the largest file whose difference it works out.
TEXT_MAX_BYTES = 512 * 1024
DIFF_FILE_MAX_BYTES = 256 * 1024
DIFF_FILE_MAX_LINES = 2_000
DIFF_MAX_FILES = 200
DIFF_MAX_S = 3.0


@dataclass(frozen=True)
class Text:
    """The start of a file as text; `binary` files have none."""

    text: str
    size_bytes: int
    truncated: bool = False
    binary: bool = False


@dataclass(frozen=True)
class TreeEntry:
    """A line of the file tree: folders come before what is in them, `depth` counts from 0."""

    path: str
    name: str
    depth: int
    is_folder: bool
    size_bytes: int
    executable: bool = False


@dataclass(frozen=True)
class FileDiff:
    """How one file differs: `change` is added, removed or changed; `note` says why there is no `diff`."""

    path: str
    change: str
    diff: str = ""
    note: str = ""


def source_limits() -> Limits:
    """What the server takes as a source."""
    return Limits(max_bytes=settings.SNAPSHOT_MAX_BYTES, max_files=settings.SNAPSHOT_MAX_FILES)


def snapshot_from_files(
    files: Iterable[tuple[str, BinaryIO]], *, by: User | None, unwrap: bool = True
) -> Snapshot:
    """The snapshot of uploaded files by their paths; a top folder that holds them all is dropped.

    Raises InvalidSnapshot or SnapshotTooBig, and has stored nothing then; so do the other three.
    """
    return _snapshot(
        archives.pack(archives.file_entries(files), limits=source_limits(), unwrap=unwrap), by=by
    )


def snapshot_from_zip(
    file: BinaryIO, *, by: User | None, unwrap: bool = True, whole: bool = False
) -> Snapshot:
    """The snapshot of an uploaded .zip, .tar or .tar.gz; a top folder that holds it all is dropped.

    `whole` keeps every file that is in it: whoever packed it has left out what ignore rules say.
    """
    limits, size = source_limits(), archive_formats.archive_size(file)
    with archive_formats.archive_entries(file, limits=limits) as entries:
        packed = archives.pack(entries, limits=limits, archive_bytes=size, unwrap=unwrap, whole=whole)
    return _snapshot(packed, by=by)


def snapshot_from_text(name: str, text: str, *, by: User | None) -> Snapshot:
    """The snapshot of one pasted script. Line ends become those of the server, as browsers send CRLF."""
    data = text.replace("\r\n", "\n").encode("utf-8", "replace")
    return snapshot_from_files([(name, io.BytesIO(data))], by=by, unwrap=False)


def snapshot_from_folder(folder: Path, *, by: User | None = None) -> Snapshot:
    """The snapshot of a folder on this machine."""
    return _snapshot(archives.pack(archives.folder_entries(folder), limits=source_limits()), by=by)


def _snapshot(packed: Packed, *, by: User | None) -> Snapshot:
    """The row of this content, made and stored if it is new.

    The file comes first and the row after it, so a row never lacks its file; whoever loses a race removes its
    own file. What a crash between the two leaves is a file that nobody names.
    """
    with packed:
        known = Snapshot.objects.filter(digest=packed.digest).first()
        if known is not None and not keep(known):
            known = None
        if known is not None and default_storage.exists(known.storage_name):
            return known
        stored = default_storage.save(
            f"snapshots/{packed.digest[:2]}/{packed.digest}.zip", File(packed.file, name="snapshot.zip")
        )
        if known is not None:
            Snapshot.objects.filter(pk=known.pk).update(storage_name=stored)
            known.storage_name = stored
            return known
        return _row(packed, stored, by=by)


def _row(packed: Packed, stored: str, *, by: User | None) -> Snapshot:
    files = [
        SnapshotFile(path=file.path, size=file.size, sha256=file.sha256, executable=file.executable)
        for file in packed.files
    ]
    snapshot, created = Snapshot.objects.get_or_create(
        digest=packed.digest,
        defaults={
            "size_bytes": packed.size_bytes,
            "file_count": len(files),
            "files": files,
            "storage_name": stored,
            "created_by": by,
        },
    )
    if not created:
        default_storage.delete(stored)
    return snapshot


def open_zip(snapshot: Snapshot) -> IO[bytes]:
    """The whole snapshot as a zip, to be closed by the caller. Raises NotFound when storage has lost it."""
    try:
        return default_storage.open(snapshot.storage_name)
    except FileNotFoundError:
        raise NotFound("The snapshot is missing in the storage.") from None


@contextmanager
def open_snapshot(snapshot: Snapshot) -> Iterator[IO[bytes]]:
    """The whole snapshot as a zip file."""
    with default_storage.open(snapshot.storage_name) as file:
        yield file


@contextmanager
def open_member(snapshot: Snapshot, path: str) -> Iterator[IO[bytes]]:
    """One file of the snapshot. Raises NotFound for a path that is not in it."""
    find_file(snapshot, path)
    with open_snapshot(snapshot) as file, zipfile.ZipFile(file) as archive, archive.open(path) as member:
        yield member


def iter_file(snapshot: Snapshot, path: str) -> Iterator[bytes]:
    """One file of the snapshot in portions. Raises NotFound at once, for a path that is not in it too."""
    find_file(snapshot, path)
    open_zip(snapshot).close()  # what is lost has to be said before an answer begins
    return _portions(snapshot, path)


def _portions(snapshot: Snapshot, path: str) -> Iterator[bytes]:
    with open_member(snapshot, path) as member:
        while portion := member.read(archives.CHUNK_BYTES):
            yield portion


def find_file(snapshot: Snapshot, path: str) -> SnapshotFile:
    """What is known of one file of the snapshot. Raises NotFound."""
    files: list[SnapshotFile] = snapshot.files
    for file in files:
        if file["path"] == path:
            return file
    raise NotFound(f"The snapshot has no file {archives.shown(path)}.", field="path")


def read_text(snapshot: Snapshot, path: str, *, most: int = TEXT_MAX_BYTES) -> Text:
    """The first `most` bytes of a file as text. Raises NotFound."""
    size = find_file(snapshot, path)["size"]
    with open_member(snapshot, path) as member:
        data = member.read(most)
    if b"\0" in data:
        return Text(text="", size_bytes=size, binary=True)
    truncated = size > most
    text = data.decode("utf-8-sig", "ignore" if truncated else "replace")
    return Text(text=text, size_bytes=size, truncated=truncated)


def tree(snapshot: Snapshot) -> list[TreeEntry]:
    """The files and folders in the order of a file tree: folders first, then files, by name."""
    sizes: dict[str, int] = {}
    for file in snapshot.files:
        for parent in PurePosixPath(file["path"]).parents:
            sizes[str(parent)] = sizes.get(str(parent), 0) + file["size"]
    entries = [
        TreeEntry(
            path=path, name=path.rsplit("/", 1)[-1], depth=path.count("/"), is_folder=True, size_bytes=size
        )
        for path, size in sizes.items()
        if path != "."
    ]
    entries += [
        TreeEntry(
            path=file["path"],
            name=file["path"].rsplit("/", 1)[-1],
            depth=file["path"].count("/"),
            is_folder=False,
            size_bytes=file["size"],
            executable=file["executable"],
        )
        for file in snapshot.files
    ]
    return sorted(entries, key=_tree_order)


def _tree_order(entry: TreeEntry) -> list[tuple[bool, str, str]]:
    parts = entry.path.split("/")
    last = len(parts) - 1
    return [(at == last and not entry.is_folder, part.casefold(), part) for at, part in enumerate(parts)]


def unpack(snapshot: Snapshot, folder: Path, *, should_stop: Callable[[], bool] = lambda: False) -> None:
    """Write the files into a folder, which is made if need be; they must not be there yet.

    Follows no link and leaves the executable bit as it was. Leaves off soon after `should_stop`, which is
    asked often, says so. Raises InvalidSnapshot when the stored file is damaged or a file is in the way.
    """
    made: set[str] = set()
    os.makedirs(folder, exist_ok=True)
    try:
        with open_snapshot(snapshot) as file, zipfile.ZipFile(file) as archive:
            for entry in snapshot.files:
                path = archives.check_name(entry["path"])
                parent = os.path.join(folder, os.path.dirname(path))
                if parent not in made:
                    os.makedirs(parent, exist_ok=True)
                    made.add(parent)
                mode = 0o755 if entry["executable"] else 0o644
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
                with (
                    archive.open(path) as member,
                    open(os.open(os.path.join(folder, path), flags, mode), "wb") as target,
                ):
                    if not archives.copy(member, target, should_stop):
                        return
    except (*archives.DAMAGE, KeyError) as error:
        raise InvalidSnapshot(f"The snapshot cannot be unpacked: {_why(error)}.") from error


def _why(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "its stored file is gone"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"its stored file is damaged ({error})"


def diff(before: Snapshot, after: Snapshot) -> list[FileDiff]:
    """What changed from one snapshot to another, by path; files whose content is the same are not in it.

    The lines of binary, large and very many files are not compared, and the whole takes at most some seconds.
    """
    old: dict[str, SnapshotFile] = {file["path"]: file for file in before.files}
    new: dict[str, SnapshotFile] = {file["path"]: file for file in after.files}
    changed = [path for path in sorted(old.keys() | new.keys()) if old.get(path) != new.get(path)]
    deadline = time.monotonic() + DIFF_MAX_S
    with (
        open_snapshot(before) as old_file,
        open_snapshot(after) as new_file,
        zipfile.ZipFile(old_file) as old_zip,
        zipfile.ZipFile(new_file) as new_zip,
    ):
        return [
            _file_diff(
                path,
                (old_zip, old.get(path)),
                (new_zip, new.get(path)),
                by_lines=at < DIFF_MAX_FILES and time.monotonic() < deadline,
            )
            for at, path in enumerate(changed)
        ]


_Side = tuple[zipfile.ZipFile, SnapshotFile | None]


class _NotComparedError(Exception):
    """Why the lines of a file are not compared."""


def _file_diff(path: str, before: _Side, after: _Side, *, by_lines: bool) -> FileDiff:
    old, new = before[1], after[1]
    change = "added" if old is None else "removed" if new is None else "changed"
    if old and new and old["sha256"] == new["sha256"]:
        became = "became executable" if new["executable"] else "is no longer executable"
        return FileDiff(path, change, note=f"The file {became}.")
    if not by_lines:
        return FileDiff(path, change, note="Too much changed to compare every file line by line.")
    try:
        lines = difflib.unified_diff(_lines(*before), _lines(*after), f"a/{path}", f"b/{path}", lineterm="")
        return FileDiff(path, change, diff="\n".join(lines))
    except _NotComparedError as reason:
        return FileDiff(path, change, note=f"{reason}, so not compared line by line.")


def _lines(archive: zipfile.ZipFile, file: SnapshotFile | None) -> list[str]:
    if file is None:
        return []
    if file["size"] > DIFF_FILE_MAX_BYTES:
        raise _NotComparedError(f"Larger than {archives.limit_text(DIFF_FILE_MAX_BYTES)}")
    data = archive.read(file["path"])
    if b"\0" in data:
        raise _NotComparedError("Binary")
    lines = data.decode("utf-8", "replace").split("\n")
    if len(lines) > DIFF_FILE_MAX_LINES:
        raise _NotComparedError(f"More than {DIFF_FILE_MAX_LINES:,} lines")
    if lines[-1]:
        lines.append("\\ No newline at end of file")
    else:
        lines.pop()
    return lines
