"""Snapshots: source folders, sent once and named by their digest; and the source that a run was made from."""

from __future__ import annotations

from typing import Any

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header
from ninja import Router, Status
from pydantic import BaseModel, Field

from runs.api.access import ApiRequest, may_contribute, may_look, may_read_run
from runs.api.bodies import announced_bytes, gives_bytes, takes_bytes
from runs.api.errors import REFUSALS, REFUSALS_OF_PARTS
from runs.api.schemas import Text
from runs.downloads import BYTES, UNTRUSTED, download
from runs.errors import NotFound
from runs.models import Run, Snapshot
from runs.services.snapshot_uploads import find_snapshot, upload_snapshot
from runs.services.snapshots import iter_file, open_zip

router = Router()

ZIP = "application/zip"
#: What a source may be packed as; told apart by its bytes.
PACKED = (ZIP, "application/x-tar", "application/gzip")


class SnapshotOut(BaseModel):
    """A snapshot."""

    digest: str = Field(description="What stands for it, 64 hex digits.")
    size: int = Field(description="Of its files, unpacked, in bytes.")
    files: int = Field(description="How many it has.")


class SnapshotFileOut(BaseModel):
    """A file of a snapshot."""

    path: str = Field(description="In the source folder, with slashes.")
    size: int = Field(description="In bytes.")
    sha256: str = Field(description="Of its content, in hex.")
    executable: bool = Field(description="Whether its mode is 755, not 644.")


class SnapshotFiles(BaseModel):
    """A snapshot with its files, by path."""

    digest: str = Field(description="What stands for it, 64 hex digits.")
    size: int = Field(description="Of its files, unpacked, in bytes.")
    items: list[SnapshotFileOut] = Field(description="Its files.")


def snapshot_out(snapshot: Snapshot) -> dict[str, Any]:
    """The answer for a snapshot."""
    return {"digest": snapshot.digest, "size": snapshot.size_bytes, "files": snapshot.file_count}


def _snapshot_of(run: Run) -> Snapshot:
    if run.snapshot is None:
        raise NotFound("This run has no snapshot.", field="run_id")
    return run.snapshot


@router.post(
    "/workspaces/{workspace}/snapshots",
    auth=may_contribute(run_token=True),
    response={201: SnapshotOut, **REFUSALS},
    openapi_extra=takes_bytes(*PACKED),
)
def snapshot_upload(request: ApiRequest, workspace: str) -> Status[dict[str, Any]]:
    """Keep a .zip, .tar or .tar.gz, every file in it; its digest now stands for it in this workspace.

    The digest is the sha256 of one line a file, `<sha256> <644 or 755> <size> <path>` and a newline, sorted
    by path, so it can be known before anything is sent.
    """
    snapshot = upload_snapshot(
        request, workspace=request.workspace, by=request.auth.user, announced=announced_bytes(request)
    )
    return Status(201, snapshot_out(snapshot))


@router.get(
    "/workspaces/{workspace}/snapshots/{digest}",
    auth=may_look(run_token=True),
    response={200: SnapshotOut, **REFUSALS},
)
def snapshot_detail(request: ApiRequest, workspace: str, digest: Text) -> dict[str, Any]:
    """Whether this workspace has a snapshot: one that a run of it has, or that the caller has sent to it."""
    return snapshot_out(find_snapshot(request.workspace, digest, by=request.auth.user))


@router.get(
    "/runs/{run_id}/snapshot",
    auth=may_read_run(),
    response=REFUSALS_OF_PARTS,
    openapi_extra=gives_bytes(ZIP, parts=True),
)
def run_snapshot(request: ApiRequest, run_id: str) -> HttpResponseBase:
    """The source that a run was made from, as a zip."""
    snapshot = _snapshot_of(request.run)
    return download(
        request,
        lambda: open_zip(snapshot),
        filename=f"{snapshot.digest}.zip",
        sha256=snapshot.digest,
        content_type=ZIP,
    )


@router.get("/runs/{run_id}/snapshot/files", auth=may_read_run(), response={200: SnapshotFiles, **REFUSALS})
def run_snapshot_files(request: ApiRequest, run_id: str) -> dict[str, Any]:
    """The files of the source that a run was made from."""
    snapshot = _snapshot_of(request.run)
    return {"digest": snapshot.digest, "size": snapshot.size_bytes, "items": snapshot.files}


@router.get(
    "/runs/{run_id}/snapshot/files/{path:path}",
    auth=may_read_run(),
    response=REFUSALS,
    openapi_extra=gives_bytes(),
)
def run_snapshot_file(request: ApiRequest, run_id: str, path: Text) -> HttpResponseBase:
    """One file of the source that a run was made from."""
    portions = iter_file(_snapshot_of(request.run), path)
    disposition = content_disposition_header(True, path.rpartition("/")[2]) or "attachment"
    headers = UNTRUSTED | {"Content-Disposition": disposition}
    return StreamingHttpResponse(portions, content_type=BYTES, headers=headers)
