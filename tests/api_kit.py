"""A client that speaks to the API with a token, and what its tests say about answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.test import Client

API = "/api/v1"


@dataclass
class Api:
    """The API as whoever has this token sees it: `api.get("/me")`. Bodies are JSON; `raw` are bytes."""

    token: str = ""

    def __post_init__(self) -> None:
        self.client = Client(enforce_csrf_checks=True)

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> HttpResponse:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        raw = options.pop("raw", None)
        if raw is not None:
            options |= {"data": raw, "content_type": "application/octet-stream"}
        elif body is not None:
            options |= {"data": body, "content_type": "application/json"}
        headers |= options.pop("headers", {})
        return getattr(self.client, method)(API + path, headers=headers, **options)

    def get(self, path: str, query: dict[str, Any] | None = None, **options: Any) -> HttpResponse:
        return self.call("get", path, query_params=query, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> HttpResponse:
        return self.call("post", path, body, **options)

    def put(self, path: str, body: Any = None, **options: Any) -> HttpResponse:
        return self.call("put", path, body, **options)

    def patch(self, path: str, body: Any = None, **options: Any) -> HttpResponse:
        return self.call("patch", path, body, **options)


def refusal(answer: HttpResponse) -> dict[str, Any]:
    """The error of an answer, whose shape is checked."""
    error = answer.json()["error"]
    assert {"code", "message", "field", "hint"} <= set(error)
    assert error["message"]
    return error
