"""Tokens that were typed where none belongs, such as in the place of an address: never repeated."""

from __future__ import annotations

import io
import re
import sys

#: The token of a person, also cut a little, or nearly whole with letters before it; that of a run, whose
#: parts may be quoted for an address.
_TOKEN = re.compile(
    r"(?i:(?:(?<![a-z0-9_])|(?<=%[0-9a-f]{2})|(?<=%25[0-9a-f]{2})|(?<=\\[nrt]))"
    r"(?P<person>stu_)[a-z0-9]{8}[a-z0-9_-]{20,})"
    r"|(?i:(?P<whole>stu_)[a-z0-9]{8}[a-z0-9_-]{36,})"
    r"|(?P<run>eyJydW4iOi)[A-Za-z0-9_-]*(?:(?::|%(?:25)*3A)[A-Za-z0-9_-]+)*"
)


def masked(text: str) -> str:
    """The text with an ellipsis for all but the beginning of whatever looks like a token of Studio."""
    return _TOKEN.sub(lambda match: f"{match['person'] or match['whole'] or match['run']}…", text)


def mask_on_stderr() -> None:
    """From now on no token is written to stderr, be it by a prompt, a log or a traceback."""
    stderr = sys.stderr
    if isinstance(stderr, io.TextIOWrapper) and not isinstance(stderr, _Masked):
        sys.stderr = _Masked(
            stderr.buffer,
            encoding=stderr.encoding,
            errors=stderr.errors,
            line_buffering=stderr.line_buffering,
            write_through=stderr.write_through,
        )


class _Masked(io.TextIOWrapper):
    def write(self, text: str) -> int:
        super().write(masked(text))
        return len(text)
