"""Files that a run left, given out whole or in part so that nothing in them can act in a browser."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import IO

from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header

from studio.accounts.refusals import refuse

#: What a run wrote never acts on this origin: no script, no frame, no request, no guessing of types.
UNTRUSTED = {"Content-Security-Policy": "sandbox; default-src 'none'", "X-Content-Type-Options": "nosniff"}

BYTES = "application/octet-stream"
_CHUNK_BYTES = 256 * 1024
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class _Stretch:
    """So many bytes of a file from a place on; closed with the answer, also if nobody reads it."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self.file, self.left = file, size
        file.seek(start)

    def __iter__(self) -> Iterator[bytes]:
        while self.left and (chunk := self.file.read(min(self.left, _CHUNK_BYTES))):
            self.left -= len(chunk)
            yield chunk

    def close(self) -> None:
        self.file.close()


def download(
    request: HttpRequest,
    open_file: Callable[[], IO[bytes]],
    *,
    filename: str,
    sha256: str,
    content_type: str = BYTES,
) -> HttpResponseBase:
    """The answer that saves a file, or the part of it that the request's `Range` asks for.

    304 for content that the client says it has, 416 for a part past the end. What `open_file` gives is
    closed with the answer; it has to be seekable.
    """
    etag = f'"{sha256}"'
    headers = {**UNTRUSTED, "ETag": etag, "Accept-Ranges": "bytes"}
    if etag in request.headers.get("If-None-Match", "").replace(" ", "").split(","):
        return HttpResponse(status=304, headers=headers)
    file = open_file()
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    part = _part(request, size, etag)
    if part is None:
        return FileResponse(
            file, as_attachment=True, filename=filename, content_type=content_type, headers=headers
        )
    start, end = part
    if start >= end:
        file.close()
        return _past_the_end(request, size)
    headers |= {
        "Content-Range": f"bytes {start}-{end - 1}/{size}",
        "Content-Length": str(end - start),
        "Content-Disposition": content_disposition_header(True, filename) or "attachment",
    }
    stretch = _Stretch(file, start, end - start)
    return StreamingHttpResponse(stretch, status=206, content_type=content_type, headers=headers)


def _past_the_end(request: HttpRequest, size: int) -> HttpResponse:
    response = refuse(
        request,
        416,
        f"The file has {size:,} bytes, and none of those that were asked for.",
        code="range_not_satisfiable",
        field="Range",
        hint="Ask without Range for the whole file.",
    )
    response["Content-Range"] = f"bytes */{size}"
    return response


def _part(request: HttpRequest, size: int, etag: str) -> tuple[int, int] | None:
    """From where to before where; None for everything, which is also the answer to what cannot be read."""
    asked = _RANGE.fullmatch(request.headers.get("Range", ""))
    if asked is None or request.headers.get("If-Range", etag) != etag:
        return None
    first, last = asked.groups()
    if first:
        return int(first), min(size, int(last) + 1) if last else size
    return (max(0, size - int(last)), size) if last else None
