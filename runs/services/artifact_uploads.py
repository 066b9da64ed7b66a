"""Artifacts that arrive one by one, from whoever may write to the run."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from django.conf import settings
from django.core.files import File
from django.core.files.storage import default_storage
from django.db import IntegrityError, transaction
from django.db.models import Count, Q, Sum
from django.db.models.functions import Now

from runs.errors import Conflict, InvalidName, InvalidSnapshot, OutputsTooBig
from runs.models import Artifact, Run
from runs.services import archives
from runs.services.artifacts import KEPT_FOLDERS, content_type_of
from runs.services.streams import Readable, Received, received
from studio.accounts.models import User

_TRIES = 8


def put_artifact(
    run: Run,
    path: str,
    stream: Readable,
    *,
    by: User | None,
    overwrite: bool = False,
    announced: int | None = None,
) -> tuple[Artifact, bool]:
    """Keep what the stream brings as the run's artifact of this path; whether that changed anything.

    The same content again changes nothing, so an upload may be repeated. Memory stays flat. Raises
    InvalidName, OutputsTooBig past what a run may keep, and Conflict when the path has other content and
    `overwrite` is not set, or is a folder of other artifacts; nothing is stored then.
    """
    _check_path(run, path)
    room = _room(run, path)
    with received(stream, most_bytes=room, too_big=_too_big, announced=announced) as body:
        for _ in range(_TRIES):
            old = run.artifacts.filter(path=path).first()
            if old is not None and (old.size_bytes, old.sha256) == (body.size_bytes, body.sha256):
                return old, False
            if old is not None and not overwrite:
                raise _is_taken(path)
            artifact = _written(run, path, body, old=old, by=by)
            if artifact is not None:
                Run.objects.filter(pk=run.pk).update(updated_at=Now())
                return artifact, True
    raise Conflict(f"Too many writers of {archives.shown(path)} at once.", field="path")


def _check_path(run: Run, path: str) -> None:
    """Refuse names that cannot be a file everywhere, or not beside what the run has. One query."""
    try:
        clean = archives.check_name(path)
    except InvalidSnapshot as error:
        raise InvalidName(error.message, field="path", hint="Give the artifact another name.") from None
    if clean != path or path in KEPT_FOLDERS:
        raise InvalidName(f"{archives.shown(path)} does not name a file.", field="path")
    parts = path.split("/")
    folders = ["/".join(parts[:length]) for length in range(1, len(parts))]
    near = run.artifacts.filter(Q(path__in=folders) | Q(path__startswith=f"{path}/"))
    for other in near.values_list("path", flat=True):
        if other in folders or other.startswith(f"{path}/"):  # SQLite also finds names in other case
            raise Conflict(
                f"The run has the artifact {archives.shown(other)}: a name cannot be both file and folder.",
                field="path",
            )


def _room(run: Run, path: str) -> int:
    """How many bytes may come. One query. Raises OutputsTooBig when the run has too many files."""
    others = run.artifacts.exclude(path=path).aggregate(files=Count("pk"), size=Sum("size_bytes"))
    if others["files"] >= settings.OUTPUTS_MAX_FILES:
        raise OutputsTooBig(f"A run may keep {settings.OUTPUTS_MAX_FILES:,} files.", field="path")
    return max(0, settings.OUTPUTS_MAX_BYTES - (others["size"] or 0))


def _too_big() -> OutputsTooBig:
    return OutputsTooBig(
        f"A run may keep {archives.limit_text(settings.OUTPUTS_MAX_BYTES)}.",
        field="body",
        hint="Whoever runs this server can raise STUDIO_OUTPUTS_MAX_BYTES.",
    )


def _is_taken(path: str) -> Conflict:
    return Conflict(
        f"The run has another file {archives.shown(path)} already.",
        field="path",
        hint="Choose another name. Over the API, overwrite=true replaces the file.",
    )


def _written(
    run: Run, path: str, body: Received, *, old: Artifact | None, by: User | None
) -> Artifact | None:
    """Store the file, then write its row; None, and nothing stored, when somebody else was faster.

    Every upload has a place of its own in the storage, so no loser removes a winner's file.
    """
    place = hashlib.sha256(f"{run.run_id}/{path}".encode()).hexdigest()
    name = f"artifacts/{place[:2]}/{place}-{secrets.token_hex(8)}"
    stored = default_storage.save(name, File(body.file, name=place))
    columns: dict[str, Any] = {
        "size_bytes": body.size_bytes,
        "sha256": body.sha256,
        "content_type": content_type_of(path),
        "storage_name": stored,
        "created_by": by,
    }
    if old is None:
        artifact = _inserted(Artifact(run=run, path=path, **columns))
    else:
        rows = Artifact.objects.filter(pk=old.pk, storage_name=old.storage_name)
        artifact = Artifact.objects.get(pk=old.pk) if rows.update(**columns) else None
    if artifact is None:
        default_storage.delete(stored)
    elif old is not None:
        default_storage.delete(old.storage_name)
    return artifact


def _inserted(artifact: Artifact) -> Artifact | None:
    try:
        with transaction.atomic():
            artifact.save(force_insert=True)
    except IntegrityError:
        return None
    artifact.refresh_from_db(fields=["created_at"])
    return artifact
