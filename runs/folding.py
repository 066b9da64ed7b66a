"""Text as searches compare it: what looks the same to a reader is the same string.

This module imports nothing of Studio, so that models may use it.
"""

from __future__ import annotations

import re
import unicodedata

#: Between the key and the value of a folded label. Folding removes control characters, so no text holds it.
LABEL_SEPARATOR = "\x1f"
#: A folded label is cut here, so that it fits into an index entry (values may be 5,000 letters long).
FOLDED_LABEL_LENGTH = 200

#: Invisible characters that change no meaning: soft hyphen, zero widths, marks of direction, variations.
_INVISIBLE = dict.fromkeys(
    [
        *map(ord, "\u00ad\u034f\u061c\u200b\u200e\u200f\u2060\ufeff"),
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
        *range(0xFE00, 0xFE10),
        *range(0xE0100, 0xE01F0),
    ]
)
_DOTTED = "i\u0307"  # what casefold makes of İ
_DOTLESS = {ord("ı"): "i"}

#: Control characters as a set of a pattern, but for those that are blanks to a person (pasted text has them).
CONTROLS = r"\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"
_CONTROL = re.compile(f"[{CONTROLS}]")


def clean(text: str) -> str:
    """The text with white space as plain blanks and without control characters and lone surrogates.

    PostgreSQL stores no NUL, and UTF-8 has no lone surrogates; a person means neither.
    """
    if text.isascii() and text.isprintable():
        return text
    blanks = "".join(" " if letter.isspace() else letter for letter in text)
    return "".join(letter for letter in blanks if unicodedata.category(letter) not in ("Cc", "Cs"))


def spelled_out(text: str) -> str:
    """The text with what cannot be seen written as Python would, such as \\x00."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def control_in(text: str) -> str:
    """The first control character that is no white space, such as U+001B; "" if there is none."""
    found = _CONTROL.search(text)
    return f"U+{ord(found[0]):04X}" if found else ""


def fold(text: str) -> str:
    """The text without case, compatibility forms and runs of white space (NFKC, casefold); idempotent.

    The four letters i of Turkish (i, İ, ı, I) are one, because I is the capital of i in other languages.
    """
    text = clean(text)
    if not text.isascii():
        text = text.translate(_INVISIBLE)
        for _ in range(4):  # a few letters need a second turn, such as those with a iota below
            folded = unicodedata.normalize("NFKC", text).casefold()
            folded = unicodedata.normalize("NFKC", folded.translate(_DOTLESS).replace(_DOTTED, "i"))
            if folded == text:
                break
            text = folded
    return " ".join(text.casefold().split())


def fold_label(key: str, value: str | None) -> str:
    """A tag or property as `tag:` and `property:` look it up; without a value only the key."""
    folded = fold(key) if value is None else f"{fold(key)}{LABEL_SEPARATOR}{fold(value)}"
    return folded[:FOLDED_LABEL_LENGTH]
