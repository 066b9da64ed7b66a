"""Artifacts: keeping what a run leaves behind, handing it to the steps after it, and giving it out.

Artifacts are found by run and path in the database and stored under a hash, so a path that a script or a
request made up never reaches the file system of the server.
"""

from __future__ import annotations

import hashlib
import mimetypes
import os
import stat
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import IO

from django.conf import settings
from django.core.files import File
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Left

from runs.errors import NotFound, StaleAttempt
from runs.models import Artifact, Run, RunDependency
from runs.services import archives

#: The folders below the script's working folder whose files are kept.
KEPT_FOLDERS = ("outputs", "logs")
INPUTS_FOLDER = "inputs"

_CHUNK_BYTES = 1024 * 1024
_BATCH = 100
_EXAMPLES = 3
_TYPES = mimetypes.MimeTypes()
for _suffix, _type in {
    ".csv": "text/csv",
    ".ipynb": "application/x-ipynb+json",
    ".jsonl": "application/x-ndjson",
    ".log": "text/plain",
    ".md": "text/markdown",
    ".npy": "application/octet-stream",
    ".toml": "text/plain",
    ".webp": "image/webp",
    ".yaml": "text/plain",
    ".yml": "text/plain",
}.items():
    _TYPES.add_type(_type, _suffix)

#: Content that is already compressed, or too large to be worth the time.
_STORED_AS_IT_IS = (
    "image/",
    "video/",
    "audio/",
    "application/octet-stream",
    "application/zip",
    "application/gzip",
)


@dataclass
class Kept:
    """What `keep_outputs` did: how much the run has now, and in words what was not kept and why."""

    files: int = 0
    size_bytes: int = 0
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def leave_out(self, path: str, why: str) -> None:
        """Remember a file that is not kept."""
        self.left_out[why].append(path)

    @property
    def notes(self) -> list[str]:
        """One sentence for each reason, with the first names."""
        return [
            f"Not kept, {why}: {', '.join(archives.shown(path) for path in paths[:_EXAMPLES])}"
            + (f" and {len(paths) - _EXAMPLES:,} more." if len(paths) > _EXAMPLES else ".")
            for why, paths in self.left_out.items()
        ]


def keep_outputs(run: Run, folder: Path) -> Kept:
    """Keep every regular file under `outputs/` and `logs/` of the script's working folder as an artifact.

    Can be repeated, also after a crash in the middle: what is kept already is left alone, and a file that
    has changed replaces its older self. Links are not followed. Past the limits, for which what the run has
    already counts, files are left out in the order of their paths, and `notes` say so. A few queries for each
    hundred files. Raises StaleAttempt, and whatever the storage raises that refuses a file; those before it
    are kept.
    """
    known = {artifact.path: artifact for artifact in run.artifacts.all()}
    kept = Kept(len(known), sum(artifact.size_bytes for artifact in known.values()))
    batch: list[Artifact] = []
    replaced: list[str] = []
    for path, file in _kept_files(folder, kept):
        with file:
            size = os.fstat(file.fileno()).st_size
            old = known.get(path)
            if not _takes(kept, path, size, old):
                continue
            try:
                new = _keep_file(run, path, file, size=size, old=old)
            except Exception:
                _write_rows(run, batch, replaced)
                raise
        if new is not None:
            batch.append(new)
            replaced.extend([old.storage_name] if old else [])
        if len(batch) >= _BATCH:
            _write_rows(run, batch, replaced)
    _write_rows(run, batch, replaced)
    return kept


def _keep_file(
    run: Run, path: str, file: BufferedReader, *, size: int, old: Artifact | None
) -> Artifact | None:
    """Store one file; returns the row to write, or None when `old` has the same content already."""
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if old is not None and (old.size_bytes, old.sha256) == (size, sha256):
        return None
    file.seek(0)
    place = hashlib.sha256(f"{run.run_id}/{run.attempt}/{path}".encode()).hexdigest()
    name = f"artifacts/{place[:2]}/{place}"
    if old is None:
        default_storage.delete(name)  # what a crash between a file and its row has left
    return Artifact(
        run=run,
        path=path,
        size_bytes=size,
        sha256=sha256,
        content_type=content_type_of(path),
        storage_name=default_storage.save(name, File(file, name=place)),
    )


def _takes(kept: Kept, path: str, size: int, old: Artifact | None) -> bool:
    """Count a file that takes the place of `old`; False, and a note, when there is no room for it."""
    files = kept.files + (old is None)
    size_bytes = kept.size_bytes + size - (old.size_bytes if old else 0)
    if files > settings.OUTPUTS_MAX_FILES:
        kept.leave_out(path, f"a run may keep {settings.OUTPUTS_MAX_FILES:,} files")
        return False
    if size_bytes > settings.OUTPUTS_MAX_BYTES:
        kept.leave_out(path, f"a run may keep {archives.limit_text(settings.OUTPUTS_MAX_BYTES)}")
        return False
    kept.files, kept.size_bytes = files, size_bytes
    return True


def _kept_files(folder: Path, kept: Kept) -> Iterator[tuple[str, BufferedReader]]:
    """The files to keep, open for reading, by path. Folders are held open: no link is followed."""
    for top in KEPT_FOLDERS:
        mode = _mode_of(folder / top)
        if not stat.S_ISDIR(mode):
            if mode:
                kept.leave_out(top, "links are not followed" if stat.S_ISLNK(mode) else "not a folder")
            continue
        walk = os.fwalk(folder / top, follow_symlinks=False, onerror=partial(_unreadable, kept))
        for here, folders, files, descriptor in walk:
            prefix = Path(here).relative_to(folder).as_posix()
            folders[:] = [
                name for name in sorted(folders) if _may_enter(f"{prefix}/{name}", kept, descriptor)
            ]
            for name in sorted(files):
                path = f"{prefix}/{name}"
                if wrong := archives.wrong_with(path):
                    kept.leave_out(path, f"the name {wrong}")
                    continue
                try:
                    yield path, _open_regular(name, descriptor)
                except _NotRegularError:
                    kept.leave_out(path, "not a regular file")
                except OSError as error:
                    kept.leave_out(path, (error.strerror or "unreadable").lower())


class _NotRegularError(Exception):
    """The name stands for a link, a device, a pipe or a socket."""


def _unreadable(kept: Kept, error: OSError) -> None:
    kept.leave_out(str(error.filename), (error.strerror or "unreadable").lower())


def _mode_of(path: Path) -> int:
    """0 where there is nothing."""
    try:
        return path.lstat().st_mode
    except OSError:
        return 0


def _may_enter(path: str, kept: Kept, descriptor: int) -> bool:
    try:
        mode = os.stat(path.rsplit("/", 1)[-1], dir_fd=descriptor, follow_symlinks=False).st_mode
    except OSError as error:
        kept.leave_out(path, (error.strerror or "unreadable").lower())
        return False
    if stat.S_ISLNK(mode):
        kept.leave_out(path, "not a regular file")
        return False
    if wrong := archives.wrong_with(path):
        kept.leave_out(path, f"the name {wrong}")
    return not wrong


def _open_regular(name: str, descriptor: int) -> BufferedReader:
    """Open without following a link and without waiting for the other end of a pipe."""
    if not stat.S_ISREG(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
        raise _NotRegularError
    opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=descriptor)
    return os.fdopen(opened, "rb")


def _write_rows(run: Run, batch: list[Artifact], replaced: list[str]) -> None:
    """Rows after their files, and older files gone after that; both lists are emptied."""
    if not batch:
        return
    with transaction.atomic():
        if not Run.objects.select_for_update(no_key=True).filter(pk=run.pk, attempt=run.attempt).exists():
            raise StaleAttempt("Another attempt of this run has begun, and these files are not its own.")
        Artifact.objects.bulk_create(
            batch,
            update_conflicts=True,
            unique_fields=["run", "path"],
            update_fields=["size_bytes", "sha256", "content_type", "storage_name", "created_by"],
        )
    for name in replaced:
        default_storage.delete(name)
    batch.clear()
    replaced.clear()


def content_type_of(path: str) -> str:
    """The content type that the name suggests; what is unknown or encoded is plain bytes."""
    kind, encoding = _TYPES.guess_type(path.rsplit("/", 1)[-1])
    return (
        "application/gzip"
        if encoding == "gzip"
        else "application/octet-stream"
        if encoding or not kind
        else kind
    )


def list_artifacts(run: Run, *, prefix: str = "") -> QuerySet[Artifact]:
    """The run's artifacts, with who put them there; those whose path begins so, in just this spelling."""
    rows = run.artifacts.select_related("created_by")
    if not prefix:
        return rows
    return rows.alias(beginning=Left("path", len(prefix))).filter(beginning=prefix)


def find_artifact(run: Run, path: str) -> Artifact:
    """The run's artifact of exactly this path. Raises NotFound."""
    artifact = None if "\0" in path else run.artifacts.filter(path=path).first()
    if artifact is None:
        raise NotFound(f"The run has no artifact {archives.shown(path)}.", field="path")
    return artifact


def open_artifact(artifact: Artifact) -> IO[bytes]:
    """The artifact's bytes, to be closed by the caller. Raises NotFound when storage has lost them."""
    try:
        return default_storage.open(artifact.storage_name)
    except FileNotFoundError:
        raise NotFound(f"The file of {archives.shown(artifact.path)} is gone from storage.") from None


def place_inputs(run: Run, folder: Path, *, should_stop: Callable[[], bool] = lambda: False) -> int:
    """Put what earlier steps kept under `outputs/` into `inputs/<step name>/` of the working folder.

    Every step that this one waits for counts, also through others. Copies, because the script may write to
    them. What the snapshot has at the same path is replaced. Returns the number of files; 2 queries.
    Leaves off soon after `should_stop`, which is asked often, says so.
    """
    placed = 0
    artifacts = Artifact.objects.filter(run__in=_upstream(run), path__startswith="outputs/").select_related(
        "run"
    )
    for artifact in artifacts.order_by("run_id", "path"):
        within = archives.check_name(
            f"{INPUTS_FOLDER}/{artifact.run.step_name}/{artifact.path[len('outputs/') :]}"
        )
        target = folder / within
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        with open_artifact(artifact) as source, open(target, "xb") as copy:
            if not archives.copy(source, copy, should_stop):
                break
        placed += 1
    return placed


def _upstream(run: Run) -> set[int]:
    """The keys of all step runs that this one waits for, directly or through others."""
    if run.parent_id is None:
        return set()
    waits_for: dict[int, list[int]] = defaultdict(list)
    edges = RunDependency.objects.filter(step__parent_id=run.parent_id)
    for step, other in edges.values_list("step_id", "waits_for_id"):
        waits_for[step].append(other)
    found: set[int] = set()
    ahead = [run.pk]
    while ahead:
        new = set(waits_for[ahead.pop()]) - found
        found |= new
        ahead.extend(new)
    return found


class _Outlet:
    """What zipfile writes to; it cannot seek, and what was written is taken away piece by piece."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


def zip_stream(run: Run) -> Iterator[bytes]:
    """All artifacts of a run as one zip, made while it is sent. Close it if you stop early.

    A file of it says which of them are missing in the storage, if any are.
    """
    outlet, missing = _Outlet(), []
    with zipfile.ZipFile(outlet, "w") as archive:  # type: ignore[call-overload]
        for artifact in run.artifacts.order_by("path"):
            info = zipfile.ZipInfo(artifact.path, date_time=artifact.created_at.timetuple()[:6])
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            info.compress_type = _compression_for(artifact)
            try:
                file = open_artifact(artifact)
            except NotFound:
                missing.append(artifact.path)
                continue
            with closing(file) as source, archive.open(info, "w", force_zip64=True) as member:
                while chunk := source.read(_CHUNK_BYTES):
                    member.write(chunk)
                    yield outlet.take()
        if missing:
            archive.writestr(
                f"MISSING {run.run_id}.txt", "\n".join(["Missing in the storage:", *missing, ""])
            )
    yield outlet.take()


def _compression_for(artifact: Artifact) -> int:
    if artifact.content_type.startswith(_STORED_AS_IT_IS) or artifact.size_bytes > 256 * 2**20:
        return zipfile.ZIP_STORED
    return zipfile.ZIP_DEFLATED
