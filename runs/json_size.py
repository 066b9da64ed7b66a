"""How many parts JSON has, known before they are made: three bytes of it can cost 200 of memory."""

from __future__ import annotations

from runs.errors import TooBig

#: Each part but the outermost needs one of these; those inside texts count too.
_MARKS = b",:[{"


def check_json(body: bytes, most: int, *, hint: str = "Send less at once.") -> None:
    """Raises TooBig for JSON with more than `most` commas, colons and opening brackets."""
    if len(body) > most and len(body) - len(body.translate(None, _MARKS)) > most:
        raise TooBig(f"The JSON has more than {most:,} commas, colons and opening brackets.", hint=hint)
