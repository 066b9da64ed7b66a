"""The page that shows the API's description to people; plain HTML out of the same document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.html import format_html, format_html_join
from django.views.decorators.http import require_safe

from runs.api.api import api
from studio.accounts.permissions import public


@public
@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """All operations by resource, and the shapes that they take and give."""
    described = api.get_openapi_schema()
    shapes = sorted(described["components"]["schemas"].items())
    context = {
        "groups": _groups(described),
        "shapes": [_shape(name, schema) for name, schema in shapes],
    }
    return render(request, "api/docs.html", context)


def _groups(described: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            groups.setdefault(operation["tags"][0], []).append(_operation(method, path, operation))
    return groups


def _operation(method: str, path: str, operation: dict[str, Any]) -> dict[str, Any]:
    content = operation.get("requestBody", {}).get("content", {})
    good = {code: answer for code, answer in operation["responses"].items() if int(code) < 400}
    return {
        "method": method.upper(),
        "path": path,
        "description": _prose(operation.get("description", "")),
        "needs_token": bool(operation.get("security")),
        "parameters": [
            {**one, "type": _type(one["schema"]), "text": _prose(one.get("description", ""))}
            for one in operation.get("parameters", [])
        ],
        "body": [(kind, _type(one["schema"])) for kind, one in content.items()],
        "answers": [(code, _answer(answer)) for code, answer in good.items()],
        "refusals": sorted(
            (code, answer["description"])
            for code, answer in operation["responses"].items()
            if code not in good
        ),
    }


def _answer(answer: dict[str, Any]) -> str:
    return _joined(", ", (_type(one["schema"]) for one in answer.get("content", {}).values())) or "nothing"


def _prose(text: str) -> str:
    """The text with its `code` as such."""
    parts = enumerate(text.split("`"))
    return _joined("", (format_html("<code>{}</code>", part) if at % 2 else part for at, part in parts))


def _joined(between: str, texts: Iterable[str]) -> str:
    return format_html_join(between, "{}", ((text,) for text in texts))


def _shape(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    required = schema.get("required", [])
    return {
        "name": name,
        "description": _prose(schema.get("description", "")),
        "fields": [
            {
                "name": field,
                "type": _type(one),
                "required": field in required,
                "text": _prose(one.get("description", "")),
            }
            for field, one in schema.get("properties", {}).items()
        ],
        "words": schema.get("enum", []),
    }


def _type(schema: dict[str, Any]) -> str:
    """A type of JSON Schema in a few words, `list of RunOut` or `string or null`; names lead to shapes."""
    return _joined(" or ", _types(schema)) or "any"


def _types(schema: dict[str, Any]) -> Iterator[str]:
    for key in ("anyOf", "allOf", "oneOf"):
        for one in schema.get(key, []):
            yield from _types(one)
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        yield format_html('<a href="#shape-{}">{}</a>', name, name)
    elif schema.get("type") == "array":
        yield format_html("list of {}", _type(schema.get("items", {})))
    elif "enum" in schema:
        yield " | ".join(map(str, schema["enum"]))
    elif schema.get("type") == "object":
        yield "object"
    elif "type" in schema:
        yield str(schema.get("format") or schema["type"])
