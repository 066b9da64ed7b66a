"""Looking into a file that a run kept, within bounds: as text, table, picture or prose.

Nothing here ever becomes active HTML.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from itertools import zip_longest

from django.utils.safestring import SafeString

from runs.errors import NotFound
from runs.markdown import render_markdown
from runs.models import Artifact
from runs.services.artifacts import open_artifact

TEXT_MAX_BYTES = 512 * 1024
MARKDOWN_MAX_BYTES = 64 * 1024
IMAGE_MAX_BYTES = 20 * 1024 * 1024
INDENTED_MAX_LETTERS = 4 * TEXT_MAX_BYTES
TABLE_MAX_ROWS = 200
TABLE_MAX_COLUMNS = 50
CELL_MAX_LENGTH = 500

#: Raster images that browsers draw, with how such a file begins. SVG is not one: it can hold script.
_IMAGES = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": (b"RIFF",),
    "image/bmp": (b"BM",),
}

_NO_HTML = SafeString("")


@dataclass(frozen=True)
class Preview:
    """What a page shows of a file.

    `kind` is text, image, csv, json, markdown or none. Text and JSON have `text`, a table has `rows` (the
    first is its head), Markdown has `html`; an image is shown from its own address as `image_type`. `note`
    says what is not shown.
    """

    kind: str
    text: str = ""
    rows: list[list[str]] = field(default_factory=list)
    html: SafeString = _NO_HTML
    image_type: str = ""
    note: str = ""

    @property
    def table(self) -> list[list[tuple[str, bool]]]:
        """The rows, each cell with whether its column holds numbers below the head, and nothing else."""
        columns = list(zip_longest(*self.rows[1:], fillvalue=""))
        numeric = [any(column) and all(map(_is_number, filter(None, column))) for column in columns]
        return [list(zip(row, numeric + [False] * len(row), strict=False)) for row in self.rows]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def preview_kind(artifact: Artifact) -> str:
    """Which kind of preview the name and size promise, without reading the file."""
    content_type, suffix = artifact.content_type, artifact.path.rsplit(".", 1)[-1].lower()
    if content_type in _IMAGES:
        return "image" if artifact.size_bytes <= IMAGE_MAX_BYTES else "none"
    if suffix in ("csv", "tsv"):
        return "csv"
    if suffix in ("json", "ipynb"):
        return "json"
    if content_type == "text/markdown":
        return "markdown"
    if content_type.startswith(("video/", "audio/", "font/")) or content_type in _NEVER_TEXT:
        return "none"
    return "text"


_NEVER_TEXT = frozenset({"application/zip", "application/gzip", "application/pdf", "application/x-tar"})


def preview(artifact: Artifact) -> Preview:
    """The start of the file in the best way there is. Reads at most `TEXT_MAX_BYTES`. Raises NotFound."""
    kind = preview_kind(artifact)
    if kind == "none":
        return Preview("none", note="There is no preview of this kind of file.")
    with open_artifact(artifact) as file:
        data = file.read(TEXT_MAX_BYTES)
    if kind == "image":
        if image_type(data):
            return Preview("image", image_type=image_type(data))
        return Preview("none", note="The file is not the image that its name says.")
    if b"\0" in data:
        return Preview("none", note="The file is binary.")
    cut = artifact.size_bytes > len(data)
    text = data.decode("utf-8-sig", "ignore" if cut else "replace")
    note = f"The first {TEXT_MAX_BYTES // 1024} KiB." if cut else ""
    if kind == "csv":
        return _table(text, "\t" if artifact.path.lower().endswith(".tsv") else ",", cut=cut)
    if kind == "json" and not cut:
        return _json(text)
    if kind == "markdown" and len(data) <= MARKDOWN_MAX_BYTES:
        return Preview("markdown", text=text, html=render_markdown(text))
    return Preview("text", text=text, note=note)


def image_type(head: bytes) -> str:
    """The content type of a raster image by how it begins, "" for anything else."""
    for content_type, starts in _IMAGES.items():
        if head.startswith(starts) and (content_type != "image/webp" or head[8:12] == b"WEBP"):
            return content_type
    return ""


def check_is_image(artifact: Artifact) -> str:
    """The type under which the file may be shown in place. Raises NotFound for all but raster images."""
    with open_artifact(artifact) as file:
        found = image_type(file.read(16))
    if not found:
        raise NotFound("This file cannot be shown as an image.", field="path")
    return found


def _json(text: str) -> Preview:
    pieces, length = [], 0
    try:
        for piece in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(json.loads(text)):
            pieces.append(piece)
            length += len(piece)
            if length > INDENTED_MAX_LETTERS:  # a few brackets a line, deep down, grow a thousandfold
                return Preview("text", text=text, note="The file is nested too deeply to be indented.")
    except (ValueError, RecursionError):
        return Preview("text", text=text, note="The file is not valid JSON.")
    # JSON can spell half of a pair of surrogates, which no page can hold: it stays as it was spelled.
    return Preview("json", text="".join(pieces).encode("utf-8", "backslashreplace").decode())


def _table(text: str, delimiter: str, *, cut: bool) -> Preview:
    rows: list[list[str]] = []
    wide = more = False
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            if len(rows) > TABLE_MAX_ROWS:
                more = True
                break
            wide = wide or len(row) > TABLE_MAX_COLUMNS
            rows.append([cell[:CELL_MAX_LENGTH] for cell in row[:TABLE_MAX_COLUMNS]])
    except csv.Error:
        return Preview("text", text=text, note="The file is not a table that can be read.")
    notes = [f"The first {TABLE_MAX_ROWS} rows."] if more or cut else []
    notes += [f"The first {TABLE_MAX_COLUMNS} columns."] if wide else []
    return Preview("csv", rows=rows, note=" ".join(notes))
