"""`search_text`: what the free text of a search looks in, one folded line per run.

    name ‹1e› description ‹1d› experiment ‹1f› submitter ‹1f› run_id ‹1f› key=value ‹1f› key …

The control characters between the parts occur nowhere else (folding removes them), so a phrase never matches
across two parts, and `name:` and `description:` are LIKE patterns on this same column.
"""

from __future__ import annotations

from collections.abc import Iterable

from runs.folding import fold

NAME_END = "\x1e"
DESCRIPTION_END = "\x1d"
PART_END = "\x1f"

#: Letters of one part, and of all, that free text can find; the index holds no more.
PART_LENGTH = 5_000
TAG_LENGTH = 1_000
TEXT_LENGTH = 30_000

#: A trigram index knows nothing of shorter terms.
TRIGRAM = 3


def build_search_text(
    *,
    name: str,
    description: str,
    experiment: str,
    submitter: str,
    run_id: str,
    tags: Iterable[tuple[str, str | None]],
) -> str:
    """The search text of one run. `name` is what pages call it, `tags` are its (key, value or None)."""
    parts = [experiment, submitter, run_id]
    labels = [key if value is None else f"{key}={value}" for key, value in tags]
    folded = [
        fold(name[:PART_LENGTH]),
        NAME_END,
        fold(description[:PART_LENGTH]),
        DESCRIPTION_END,
        PART_END.join([*map(fold, parts), *(fold(label[:TAG_LENGTH]) for label in labels)]),
    ]
    return "".join(folded)[:TEXT_LENGTH]


def like_pattern(term: str, *, before: str = "%", after: str = "%") -> str:
    r"""A LIKE pattern, for ESCAPE '\', that finds a folded term as it is written."""
    escaped = term.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return f"{before}{escaped}{after}"


def trigram_match(terms: Iterable[str]) -> str:
    """What FTS5's MATCH takes for all of these folded terms: each a phrase in quotes."""
    return " AND ".join('"' + term.replace('"', '""') + '"' for term in terms)
