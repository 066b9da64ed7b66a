"""Python source with its comments, strings, numbers and keywords marked, line by line. Pure, all escaped."""

from __future__ import annotations

import io
import keyword
import token
import tokenize
from collections import defaultdict

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

_KINDS = {token.COMMENT: "comment", token.STRING: "string", token.NUMBER: "number"}
_TEXTS = {
    getattr(token, name)
    for name in ("FSTRING_START", "FSTRING_MIDDLE", "FSTRING_END")
    if hasattr(token, name)
}

#: Longer files stay plain: reading tokens takes a second for a megabyte.
MARKED_MAX_LENGTH = 128 * 1024

Mark = tuple[int, int, str]


def highlight(path: str, text: str) -> list[SafeString]:
    """The lines of a file as HTML. What is not Python, or stops being it, stays plain from there on."""
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    is_python = path.endswith((".py", ".pyi")) and len(text) <= MARKED_MAX_LENGTH
    marks = _marks(text) if is_python else {}
    return [_line(line, marks.get(number, [])) for number, line in enumerate(lines, start=1)]


def _marks(text: str) -> dict[int, list[Mark]]:
    """Where what begins and ends, by line."""
    marks: dict[int, list[Mark]] = defaultdict(list)
    lines = text.split("\n")
    try:
        for each in tokenize.generate_tokens(io.StringIO(text, newline="\n").readline):
            kind = _kind(each)
            if not kind:
                continue
            (first, start), (last, end) = each.start, each.end
            for number in range(first, last + 1):
                stop = end if number == last else len(lines[number - 1])
                marks[number].append((start if number == first else 0, stop, kind))
    except (tokenize.TokenError, SyntaxError):
        return marks
    return marks


def _kind(each: tokenize.TokenInfo) -> str:
    if each.type == token.NAME:
        return "keyword" if keyword.iskeyword(each.string) else ""
    return "string" if each.type in _TEXTS else _KINDS.get(each.type, "")


def _line(line: str, marks: list[Mark]) -> SafeString:
    parts: list[str] = []
    at = 0
    for start, end, kind in marks:
        if start < at:
            continue
        parts.append(escape(line[at:start]))
        parts.append(format_html('<span class="code-{}">{}</span>', kind, line[start:end]))
        at = end
    parts.append(escape(line[at:]))
    return mark_safe("".join(parts))  # noqa: S308 (every part is escaped above)
