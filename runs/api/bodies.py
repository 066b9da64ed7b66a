"""Bodies that are bytes, as the API's description names them, and as operations read them."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from runs.downloads import BYTES

_BINARY = {"type": "string", "format": "binary"}


def takes_bytes(*content_types: str) -> dict[str, Any]:
    """For `openapi_extra` of an operation whose body is raw; no body is one of no bytes."""
    content = {content_type: {"schema": _BINARY} for content_type in content_types or [BYTES]}
    return {"requestBody": {"required": False, "content": content}}


def gives_bytes(content_type: str = BYTES, *, parts: bool = False) -> dict[str, Any]:
    """For `openapi_extra` of an operation that answers with a file; `parts` if it heeds `Range`."""
    content = {content_type: {"schema": _BINARY}}
    answers: dict[int, Any] = {200: {"description": "OK", "content": content}}
    if parts:
        answers[206] = {"description": "Partial Content", "content": content}
        answers[304] = {"description": "Not Modified"}
    return {"responses": answers}


def announced_bytes(request: HttpRequest) -> int | None:
    """The size of the body as its sender gave it, if it did."""
    text = request.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None
