"""Descriptions of experiments and runs: Markdown as people type it."""

from __future__ import annotations

from runs.errors import InvalidInput

DESCRIPTION_LENGTH = 50_000


def check_description(text: str) -> str:
    """The description with line ends as newlines and without NUL. Raises InvalidInput when it is too long."""
    text = text.replace("\r\n", "\n").replace("\x00", "").strip()
    if len(text) > DESCRIPTION_LENGTH:
        raise InvalidInput(
            f"The description has {len(text):,} characters.",
            field="description",
            hint=f"At most {DESCRIPTION_LENGTH:,} are kept.",
        )
    return text
