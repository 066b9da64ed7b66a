"""The artifacts of a run: files of any size, put and got one by one."""

from __future__ import annotations

from typing import Annotated, Any

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header
from ninja import Router, Status
from pydantic import BaseModel, Field

from runs.api.access import ApiRequest, may_read_run, may_write_run
from runs.api.bodies import announced_bytes, gives_bytes, takes_bytes
from runs.api.errors import REFUSALS, REFUSALS_OF_PARTS
from runs.api.paging import Page, Paging, page_by
from runs.api.parameters import Query
from runs.api.schemas import Moment, Text
from runs.downloads import UNTRUSTED, download
from runs.models import Artifact
from runs.services.artifact_uploads import put_artifact
from runs.services.artifacts import find_artifact, list_artifacts, open_artifact, zip_stream

router = Router()

LISTED_MOST = 10_000


class ArtifactOut(BaseModel):
    """A file kept with a run."""

    path: str = Field(description="Its path, such as `outputs/model.json`.")
    size: int = Field(description="In bytes.")
    sha256: str = Field(description="Of its content, in hex.")
    content_type: str = Field(description="As its name tells it, such as `image/png`.")
    created_by: str | None = Field(description="A username; null for what the run left in its folder.")
    created_at: Moment = Field(description="When it was kept.")


class ArtifactsAsked(Paging):
    """Which artifacts are wanted: as a rule all, as many as a run may keep."""

    limit: int = Field(LISTED_MOST, ge=1, le=LISTED_MOST, description="At most so many entries.")
    prefix: Text = Field("", max_length=1024, description="What the path begins with.")


def artifact_out(artifact: Artifact) -> dict[str, Any]:
    """The answer for an artifact with `created_by` loaded."""
    return {
        "path": artifact.path,
        "size": artifact.size_bytes,
        "sha256": artifact.sha256,
        "content_type": artifact.content_type,
        "created_by": artifact.created_by.username if artifact.created_by else None,
        "created_at": artifact.created_at,
    }


@router.get("/runs/{run_id}/artifacts", auth=may_read_run(), response={200: Page[ArtifactOut], **REFUSALS})
def artifact_list(
    request: ApiRequest, run_id: str, asked: Annotated[ArtifactsAsked, Query()]
) -> dict[str, Any]:
    """The files kept with a run, by path."""
    found, onward = page_by(list_artifacts(request.run, prefix=asked.prefix), "path", asked)
    return {"items": [artifact_out(one) for one in found], "next_cursor": onward}


@router.get(
    "/runs/{run_id}/artifacts.zip",
    auth=may_read_run(),
    response=REFUSALS,
    openapi_extra=gives_bytes("application/zip"),
)
def artifact_zip(request: ApiRequest, run_id: str) -> HttpResponseBase:
    """All files kept with a run as one zip, made while it is sent."""
    name = f"{request.run.experiment.name}-{request.run.number}-outputs.zip"
    disposition = content_disposition_header(True, name) or "attachment"
    headers = UNTRUSTED | {"Content-Disposition": disposition}
    return StreamingHttpResponse(zip_stream(request.run), content_type="application/zip", headers=headers)


@router.get(
    "/runs/{run_id}/artifacts/{path:path}",
    auth=may_read_run(),
    response=REFUSALS_OF_PARTS,
    openapi_extra=gives_bytes(parts=True),
)
def artifact_read(request: ApiRequest, run_id: str, path: Text) -> HttpResponseBase:
    """One file as it is. Its sha256 is the ETag; `Range` is heeded, so a download can be taken up again."""
    artifact = find_artifact(request.run, path)
    return download(
        request,
        lambda: open_artifact(artifact),
        filename=path.rpartition("/")[2],
        sha256=artifact.sha256,
    )


@router.put(
    "/runs/{run_id}/artifacts/{path:path}",
    auth=may_write_run(),
    response={200: ArtifactOut, 201: ArtifactOut, **REFUSALS},
    openapi_extra=takes_bytes(),
)
def artifact_put(
    request: ApiRequest,
    run_id: str,
    path: Text,
    overwrite: Annotated[bool, Query(description="Whether other content at this path is replaced.")] = False,
) -> Status[dict[str, Any]]:
    """Keep the body, of any size, as a file of the run. 200 if it is there with the same content already.

    Other content is refused with 409 unless `overwrite` is true.
    """
    artifact, changed = put_artifact(
        request.run,
        path,
        request,
        by=request.auth.user,
        overwrite=overwrite,
        announced=announced_bytes(request),
    )
    return Status(201 if changed else 200, artifact_out(artifact))
