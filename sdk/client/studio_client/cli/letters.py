"""Letters that the encoding of standard output lacks: written otherwise, never an error."""

from __future__ import annotations

import codecs
import io
import os
import sys
import unicodedata
from collections.abc import Iterable

_ERRORS = "studio_client.escapes"


def escape_on_stdout() -> None:
    r"""From now on stdout writes what its encoding lacks as `\uXXXX`, which JSON reads back."""
    codecs.register_error(_ERRORS, _escaped)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=_ERRORS)


def unreadable(words: Iterable[str]) -> str:
    r"""The first of the process's words that is no text in the encoding of the shell, as 'x\xff', else ""."""
    for word in words:
        if any("\udc80" <= letter <= "\udcff" for letter in word):  # what Python makes of such a byte
            return ascii(os.fsencode(word).decode("latin-1"))
    return ""


def width_of(text: str) -> int:
    """In columns of a terminal."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(bool(unicodedata.combining(letter)) for letter in text)


def can_write(text: str) -> bool:
    """Whether stdout has all of these letters."""
    try:
        text.encode(_encoding())
    except UnicodeEncodeError:
        return False
    return True


def of_same_width(text: str) -> str:
    """The text with signs for what stdout lacks that take as much room, so that columns stay aligned."""
    if can_write(text):
        return text
    return "".join(letter if can_write(letter) else _sign(letter) for letter in text)


def _sign(letter: str) -> str:
    return "~" if letter == "…" else "?" * width_of(letter)


def _encoding() -> str:
    return getattr(sys.stdout, "encoding", None) or "utf-8"


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Two escapes for what is beyond U+FFFF, as JSON wants it."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)), error.end
