"""The Outputs tab: the files that a run kept, shown safely, given out whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Count
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe

from runs.downloads import UNTRUSTED, download
from runs.errors import NotFound
from runs.models import Artifact, Run
from runs.services.artifacts import find_artifact, open_artifact, zip_stream
from runs.services.previews import check_is_image, preview
from runs.status import Kind
from runs.views.parts import wants_part
from runs.views.run_frame import find_run, run_frame, run_url

#: Files that the list shows; with `?folder=` all are of that folder.
FILES_SHOWN = 500


@dataclass(frozen=True)
class Folder:
    """A folder of the list: names and files as far as they are shown; how many and how large all are."""

    path: str
    files: list[tuple[str, Artifact]]
    n_files: int
    size_bytes: int

    @property
    def n_hidden(self) -> int:
        """How many of its files are not in the list."""
        return self.n_files - len(self.files)


@require_safe
def run_outputs(request: HttpRequest, name: str, number: int) -> HttpResponse:
    """The tab with the file `?path=` open, else the first one; `?folder=` lists one folder."""
    run = find_run(request, name, number)
    files = sorted(run.artifacts.all(), key=_order)
    folder = request.GET.get("folder", "")
    shown = [file for file in files if _folder_of(file) == folder] if folder else files
    artifact = _chosen(run, files, shown, request.GET.get("path", ""))
    context: dict[str, Any] = {
        **run_frame(run, request, tab="outputs"),
        "folders": folders_of(shown),
        "folder": folder,
        "n_files": len(files),
        "size_bytes": sum(file.size_bytes for file in files),
        "artifact": artifact,
        "steps": [] if files else _steps_with_files(run),
        **(_shown(run, artifact) if artifact else {}),
        "outputs_url": run_url(run, "run-outputs"),
    }
    part = "run/_outputs.html" if wants_part(request, "run-outputs") else "run/run_outputs.html"
    return render(request, part, context)


def _steps_with_files(run: Run) -> list[Run]:
    """The steps of a pipeline run that kept files, each with their number as `n_files`."""
    if run.kind != Kind.PIPELINE:
        return []
    steps = run.children.annotate(n_files=Count("artifacts")).filter(n_files__gt=0)
    return list(steps.select_related("experiment").defer("search_text").order_by("number"))


def folders_of(files: list[Artifact]) -> list[Folder]:
    """Files by folder, in the order of their paths; at most `FILES_SHOWN` in all."""
    groups: dict[str, list[Artifact]] = {}
    for file in files:
        groups.setdefault(_folder_of(file), []).append(file)
    left, folders = FILES_SHOWN, []
    for path, group in groups.items():
        named = [(file.path.rpartition("/")[2], file) for file in group[:left]]
        folders.append(Folder(path, named, len(group), sum(file.size_bytes for file in group)))
        left -= len(folders[-1].files)
    return folders


def _order(artifact: Artifact) -> tuple[bool, str, str]:
    """Outputs before logs, and the files of a folder before its folders."""
    return (not artifact.path.startswith("outputs/"), _folder_of(artifact), artifact.path)


def _folder_of(artifact: Artifact) -> str:
    return artifact.path.rpartition("/")[0]


def _chosen(run: Run, files: list[Artifact], shown: list[Artifact], path: str) -> Artifact | None:
    """The file with this path, or the first one when no path is given. Raises NotFound."""
    if path:
        known = next((file for file in files if file.path == path), None)
        return known or find_artifact(run, path)
    return shown[0] if shown else None


def _shown(run: Run, artifact: Artifact) -> dict[str, Any]:
    file_url = run_url(run, "run-output-file", path=artifact.path)
    try:
        return {"preview": preview(artifact), "file_url": file_url}
    except NotFound as error:
        return {"preview_error": str(error), "file_url": file_url}


@require_safe
def run_output_file(request: HttpRequest, name: str, number: int, path: str) -> HttpResponseBase:
    """One file as it is, to be saved; `?show=1` gives an image in place. Nothing else is ever shown."""
    artifact = find_artifact(find_run(request, name, number), path)
    filename = path.rpartition("/")[2]
    if request.GET.get("show") == "1":
        content_type = check_is_image(artifact)
        file = open_artifact(artifact)
        return FileResponse(file, filename=filename, content_type=content_type, headers=UNTRUSTED)
    return download(request, lambda: open_artifact(artifact), filename=filename, sha256=artifact.sha256)


@require_safe
def run_outputs_zip(request: HttpRequest, name: str, number: int) -> HttpResponseBase:
    """All files of the run as one zip, made while it is sent."""
    run = find_run(request, name, number)
    response = StreamingHttpResponse(zip_stream(run), content_type="application/zip", headers=UNTRUSTED)
    response["Content-Disposition"] = content_disposition_header(True, f"{name}-{number}-outputs.zip") or ""
    return response
