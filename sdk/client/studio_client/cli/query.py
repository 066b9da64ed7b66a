"""`--query`: JMESPath over what a command gives."""

from __future__ import annotations

import json
import re
from typing import Any, Callable

import click

from studio_client.errors import StudioClientError

#: What stands unquoted right of a comparison. JMESPath wants text there in quotes, which shells take away.
_UNQUOTED = re.compile(
    r"(?P<before>[=!]=\s*)(?P<value>[^\s'\"`@\[\]&|()][^'\"`\[\]&|()]*?)(?P<after>\s*(?:\]|&&|\|\|))"
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")


#: What JMESPath, and Python where it says so, calls a kind of value.
_KINDS = {
    **dict.fromkeys(("object", "dict"), "an object"),
    **dict.fromkeys(("array", "list"), "an array"),
    **dict.fromkeys(("string", "str"), "a string"),
    **dict.fromkeys(("number", "int", "float"), "a number"),
    **dict.fromkeys(("boolean", "bool"), "a boolean"),
    "array-number": "an array of numbers",
    "array-string": "an array of strings",
}


class Built(dict):
    """An object that a query has put together; its keys keep the order in which they are written."""


class QueryFailed(StudioClientError):
    """A query cannot be applied to what the command gave."""


class Query:
    """A query that parses. Raises click.UsageError with the place where it does not.

    `is_bare`: it stood on the command line by itself, where shells take quotes away that it needs; text that
    has lost them is understood all the same.
    """

    def __init__(self, text: str, *, is_bare: bool = False) -> None:
        self._typed = self._text = text
        self._is_bare = is_bare
        try:
            self._compiled = _compiled(text)
        except ValueError as error:
            mended = _quoted(text, fields=())
            if not is_bare or mended == text:
                raise click.UsageError(_help(text, error, mended)) from None
            try:
                self._compiled = _compiled(mended)
            except ValueError:
                raise click.UsageError(_help(text, error, mended)) from None
            self._text = mended

    def search(self, data: Any, say: Callable[[str], None]) -> Any:
        """What the query finds; a query that was mended is said. Raises QueryFailed."""
        import jmespath
        from jmespath.exceptions import JMESPathError, JMESPathTypeError

        if self._is_bare and data:
            self._mend(data)
        if self._text != self._typed:
            say(f'WARNING: the quotes of the query were lost; its exact spelling is --query "{self._text}"')
        try:
            return self._compiled.search(data, jmespath.Options(dict_cls=Built))
        except JMESPathTypeError as error:  # its own text holds the whole result
            wanted = " or ".join(_KINDS.get(kind, kind) for kind in error.expected_types)
            given = _KINDS.get(error.actual_type, error.actual_type)
            why = f"{error.function_name}() takes {wanted}, and was given {given}"
            raise QueryFailed(f"The query {self._text!r} fails on this result: {why}.") from None
        except (JMESPathError, ValueError, TypeError) as error:
            raise QueryFailed(f"The query {self._text!r} fails on this result: {error}.") from None

    def _mend(self, data: Any) -> None:
        """Take a bare word for text if none of the objects has a field of this name."""
        rows = data if isinstance(data, list) else [data]
        fields = {key for row in rows if isinstance(row, dict) for key in row}
        mended = _quoted(self._text, fields=fields)
        if mended != self._text:
            self._text, self._compiled = mended, _compiled(mended)


def _compiled(text: str) -> Any:
    """Raises ValueError."""
    import jmespath

    return jmespath.compile(text)


def _quoted(text: str, *, fields: Any) -> str:
    """The query with quotes around what has lost them; what is a name of a field stays."""

    def mend(match: re.Match[str]) -> str:
        value = match["value"]
        if _NAME.fullmatch(value) and value.partition(".")[0] in fields:
            return match[0]
        literal = f"`{value}`" if _is_literal(value) else f"'{value}'"
        return f"{match['before']}{literal}{match['after']}"

    return _UNQUOTED.sub(mend, text)


def _is_literal(text: str) -> bool:
    try:
        return not isinstance(json.loads(text), (dict, list, str))
    except ValueError:
        return False


def _help(text: str, error: ValueError, mended: str) -> str:
    place = getattr(error, "lex_position", None)
    if place is None:
        place = getattr(error, "lexer_position", None)
    where = "" if place is None or place < 0 else f" at position {place}"
    reason = getattr(error, "msg", "") or getattr(error, "message", "") or str(error).splitlines()[0]
    example = mended if mended != text and _parses(mended) else "[?properties.author=='azureml-user']"
    return (
        f"The query {text!r} is not JMESPath{where}: {reason}\n"
        f'Put the whole query in double quotes, and text in it in single ones: --query "{example}"'
    )


def _parses(text: str) -> bool:
    try:
        _compiled(text)
    except ValueError:
        return False
    return True
