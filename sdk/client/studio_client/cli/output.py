"""Results as text: JSON, tables, tab-separated values, YAML."""

from __future__ import annotations

import json
import re
import sys
from typing import Any, Callable

from studio_client.cli.letters import can_write
from studio_client.cli.query import Built
from studio_client.cli.tables import LEFT_OUT, painted, table

FORMATS = ("json", "jsonc", "table", "tsv", "yaml", "yamlc", "none")
_NOT_SHOWN = frozenset({"id", "type", "etag"})
#: Characters that a terminal may take for commands.
_CONTROL = re.compile(r"[\x7f-\x9f]")
_STRING = r'"(?:[^"\\]|\\.)*"'
_TOKEN = re.compile(
    rf"(?P<key>{_STRING})(?=: )|(?P<text>{_STRING})"
    r"|(?P<word>\b(?:true|false|null)\b)|(?P<number>-?\d[\d.eE+-]*)"
)
#: Each value of ours is on one line, behind its key if it has one.
_YAML_LINE = re.compile(
    rf"(?P<indent>(?:- | )*)(?:(?P<key>{_STRING}|'(?:''|[^'])*'|[^\s'\"].*?)(?P<colon>:(?: |$)))?"
    r"(?P<value>.*)"
)
_YAML_KINDS = {
    "word": re.compile(r"true|false|null"),
    "number": re.compile(r"[-+]?\.?\d[\d.eE+-]*|[-+]?\.inf|\.nan"),
    "text": re.compile(r"[^{[].*"),
}
_COLOURS = {"key": "blue", "text": "green", "word": "magenta", "number": "cyan"}


class Sentence:
    """A result that is a sentence for people, written as it is in every format but none."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


def rendered(
    result: Any, form: str, people: Callable[[Any], list[dict[str, Any]]] | None, *, room: int | None = None
) -> str:
    """The text of a result; "" for None and for nothing to show. Tables are no wider than `room`."""
    if result is None or form == "none":
        return ""
    if form == "table":
        rows = people(result) if people else [_row(item) for item in _items(result)]
        return table(rows, room=room, left_out=LEFT_OUT if people else ())
    if form == "tsv":
        return "\n".join(_line(item) for item in _items(result))
    if form in ("yaml", "yamlc"):
        from studio_client.yaml_files import dumps

        whole = _sorted(result)
        text = dumps(whole)
        text = (text if can_write(text) else dumps(whole, is_ascii=True)).rstrip("\n")
        return _coloured_yaml(text) if form == "yamlc" and sys.stdout.isatty() else text
    text = as_json(result)
    return _coloured(text) if form == "jsonc" and sys.stdout.isatty() else text


def as_json(result: Any) -> str:
    """JSON with sorted keys; letters of all scripts stay as they are."""
    text = json.dumps(result, indent=2, sort_keys=True, ensure_ascii=False)
    return _CONTROL.sub(_escape, text)


def as_lines(result: Any, form: str) -> str:
    """A line for each object of a result, as JSON or tsv; "" for None."""
    if form not in ("json", "jsonc"):
        return rendered(result, form, None)
    lines = (
        json.dumps(item, sort_keys=True, ensure_ascii=False) for item in _items(result) if result is not None
    )
    return "\n".join(_CONTROL.sub(_escape, line) for line in lines)


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def _items(result: Any) -> list[Any]:
    return result if isinstance(result, list) else [result]


def _keys(item: dict[str, Any]) -> list[str]:
    return list(item) if isinstance(item, Built) else sorted(item)


def _row(item: Any) -> dict[str, Any]:
    """One line of a table: what is neither null nor nested, by its capitalised name."""
    if isinstance(item, list):
        return {f"Column{place}": value for place, value in enumerate(item, 1)}
    if not isinstance(item, dict):
        return {"Result": item}
    return {
        key[:1].upper() + key[1:]: item[key]
        for key in _keys(item)
        if item[key] is not None and not isinstance(item[key], (dict, list)) and key not in _NOT_SHOWN
    }


def _line(item: Any) -> str:
    if isinstance(item, dict):
        return "\t".join("" if item[key] is None else _cell(item[key]) for key in _keys(item))
    if isinstance(item, list):
        return "\t".join(_cell(value) for value in item)
    return _cell(item)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return ""
    if isinstance(value, list):
        return str(len(value))
    return str(value)


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in _keys(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def _coloured(text: str) -> str:
    def paint(match: re.Match[str]) -> str:
        return painted(match[0], _COLOURS[match.lastgroup or "text"])

    return _TOKEN.sub(paint, text)


def _coloured_yaml(text: str) -> str:
    def paint(line: str) -> str:
        found = _YAML_LINE.fullmatch(line)
        if found is None:
            return line
        key, value = found["key"], found["value"]
        kind = next((kind for kind, form in _YAML_KINDS.items() if form.fullmatch(value)), None)
        name = f"{painted(key, _COLOURS['key'])}{found['colon']}" if key else ""
        return f"{found['indent']}{name}{painted(value, _COLOURS[kind]) if kind else value}"

    return "\n".join(map(paint, text.split("\n")))
