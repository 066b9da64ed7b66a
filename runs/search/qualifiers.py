"""The qualifiers of the search language: one table for the parser, the completions and the documentation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches

from runs.status import ErrorClass, Kind, Status

#: `is:` words, and what they claim of a run.
CLAIMS = {
    "active": "neither ended nor waiting for a step",
    "terminal": "ended: Completed, Failed or Canceled",
    "archived": "put away in the archive",
    "root": "has no parent",
    "child": "has a parent",
}

#: The words that a qualifier with a fixed list takes.
WORDS: dict[str, tuple[str, ...]] = {
    "status": tuple(status.value for status in Status),
    "kind": tuple(kind.value for kind in Kind),
    "error": tuple(error.value for error in ErrorClass),
    "is": tuple(CLAIMS),
}


@dataclass(frozen=True, slots=True)
class Qualifier:
    """What stands before a colon: what it looks at, and what it wants after the colon."""

    name: str
    meaning: str
    wants: str


_TIME = "a time such as 2026-11-01, today, 7d or >2026-11-01T10:30"

QUALIFIERS: dict[str, Qualifier] = {
    qualifier.name: qualifier
    for qualifier in (
        Qualifier("status", "where the run stands", "a status such as running or failed,canceled"),
        Qualifier("submitter", "who submitted it", "a user name such as ana, an* or @me"),
        Qualifier("experiment", "its experiment", "a name such as mnist or mni*"),
        Qualifier("tag", "has this tag", 'a tag such as quality or quality="fantastic run"'),
        Qualifier("target", "its compute target", "a name such as gpu-compute or gpu*"),
        Qualifier("kind", "script, pipeline, step or interactive", "a kind such as pipeline"),
        Qualifier("is", "active, terminal, archived, root or child", "a word such as active"),
        Qualifier("duration", "how long it ran", "a time such as >90s, >5m or <1h30m"),
        Qualifier("created", "when it was submitted", _TIME),
        Qualifier("started", "when it started", _TIME),
        Qualifier("ended", "when it ended", _TIME),
        Qualifier("metric", "the last value of a metric", "a metric such as accuracy or accuracy>0.9"),
        Qualifier("property", "has this property", "a property such as author or author=ana"),
        Qualifier("name", "text within its name", 'text such as sweep or "lr 0.1"'),
        Qualifier("description", "text within its description", 'text such as "learning rate"'),
        Qualifier("number", "its number in its experiment", "a number such as 12 or >10"),
        Qualifier("node", "the node it ran on", "a name such as box or box*"),
        Qualifier("error", "why it failed", "a word such as script or time_limit"),
        Qualifier("parent", "child runs of this run", "a run id"),
        Qualifier("id", "the run with this id", "a run id"),
    )
}

#: What people write when they mean one of ours.
_MEANT = {
    "user": "submitter", "by": "submitter", "author": "submitter", "owner": "submitter", "who": "submitter",
    "state": "status", "tags": "tag", "label": "tag", "exp": "experiment", "compute": "target",
    "machine": "node", "host": "node", "time": "duration", "took": "duration", "date": "created",
    "submitted": "created", "since": "created", "before": "created", "finished": "ended", "prop": "property",
    "type": "kind", "run": "id", "run_id": "id", "title": "name", "display_name": "name",
    "failure": "error",
}  # fmt: skip
_MEANT_WORDS = {
    "cancelled": "Canceled", "error": "Failed", "done": "Completed", "finished": "Completed",
    "succeeded": "Completed", "waiting": "Queued", "oom": "out_of_memory", "timeout": "time_limit",
}  # fmt: skip


def meant_qualifier(name: str) -> str:
    """The qualifier that was probably meant, or "" when there is no telling."""
    name = name.casefold()
    return _MEANT.get(name) or next(iter(get_close_matches(name, QUALIFIERS, n=1, cutoff=0.6)), "")


def find_word(qualifier: str, written: str) -> str:
    """The word of the list that was written, in any case; "" if there is none.

    Where a word is made of several, `-`, `_` or nothing may stand between them, and nowhere else.
    """
    spelled = written.casefold().replace("-", "_")
    return next((word for word in WORDS[qualifier] if spelled in (_plain(word), _parted(word))), "")


def meant_word(qualifier: str, written: str) -> str:
    """The word of the list that was probably meant, or ""."""
    plain = {_plain(word): word for word in WORDS[qualifier]}
    meant = _MEANT_WORDS.get(written.casefold(), "")
    if meant in WORDS[qualifier]:
        return meant
    return next((plain[match] for match in get_close_matches(_plain(written), plain, n=1, cutoff=0.6)), "")


def _parted(word: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", word).casefold()


def _plain(word: str) -> str:
    return word.casefold().replace("_", "").replace("-", "")
