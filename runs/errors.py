"""Everything that Studio refuses, as exceptions with a code, a message, a field and a hint.

They know nothing of HTTP: pages, the API and the commands each map them to what their readers see.
A `StudioError` is safe to show; any other exception is not.
"""

from __future__ import annotations

import errno
import typing

#: What turns the direction of writing: a name that begins with U+202E is read from its end.
_TURNING = {code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}


def unturned(text: str) -> str:
    """A name, or a text that has one, in which what would turn the direction of writing is spelled out."""
    return text.translate(_TURNING)


class StudioError(Exception):
    """Something that a person can understand and put right.

    `code` names the kind of error for programs, `message` says what was wrong, `field` names the input it
    belongs to ("" for none), `hint` says what would be right.
    """

    code = "error"

    def __init__(self, message: str, *, field: str = "", hint: str = "") -> None:
        self.message = unturned(message)
        super().__init__(self.message)
        self.field = field
        self.hint = unturned(hint)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class NotFound(StudioError):
    """There is no such thing, or the person may not know of it."""

    code = "not_found"


class PermissionDenied(StudioError):
    """The person's role does not allow this."""

    code = "permission_denied"


class InvalidInput(StudioError):
    """A value is missing, malformed or out of range."""

    code = "invalid_input"


class InvalidName(InvalidInput):
    """A name breaks the naming rule of its kind."""

    code = "invalid_name"


class InvalidTag(InvalidInput):
    """A tag or property key or value is empty or too long."""

    code = "invalid_tag"


class InvalidPipeline(InvalidInput):
    """The steps do not make a pipeline: a cycle, a missing step, a repeated name."""

    code = "invalid_pipeline"


class UnknownTarget(InvalidInput):
    """No compute target has this name in the workspace."""

    code = "unknown_target"


class InvalidSnapshot(InvalidInput):
    """A source cannot be taken as a snapshot: unreadable, unsafe, or the script is not in it."""

    code = "invalid_snapshot"


class SnapshotTooBig(InvalidSnapshot):
    """A source has more bytes or files than the server takes."""

    code = "snapshot_too_big"


class OutputsTooBig(InvalidInput):
    """A run would keep more bytes or files than the server takes of one run."""

    code = "outputs_too_big"


class TooBig(InvalidInput):
    """A body has more bytes than the server takes."""

    code = "too_big"


class Conflict(StudioError):
    """The request was right when it was made, and no longer is."""

    code = "conflict"


class SubmittedBefore(Conflict):
    """The form made a run before, of other content: `run_id` and `run_name` say which."""

    def __init__(self, run_id: str, run_name: str) -> None:
        super().__init__(
            f"This form was submitted before with other content, as {run_name}.",
            hint="Open the page again to submit another run.",
        )
        self.run_id, self.run_name = run_id, run_name


class Overtaken(Conflict):
    """Others changed the same fields since the form was opened; `now` has what those fields hold."""

    code = "overtaken"

    def __init__(self, now: dict[str, typing.Any]) -> None:
        names = " and ".join(field.replace("_", " ") for field in now)
        super().__init__(f"The {names} changed meanwhile.", field=next(iter(now)))
        self.now = now


class PropertyIsSet(Conflict):
    """A property already has another value; properties never change."""

    code = "property_is_set"


class RunFinished(Conflict):
    """The run has ended, so this can no longer be done to it."""

    code = "run_finished"


class StaleAttempt(Conflict):
    """The writer belongs to an attempt of the run that is over."""

    code = "stale_attempt"


class OffsetMismatch(Conflict):
    """Log bytes were sent for an offset that is not the end of the log; `expected` is the right one."""

    code = "offset_mismatch"

    def __init__(self, message: str, *, expected: int) -> None:
        super().__init__(message, field="offset")
        self.expected = expected


class OutOfOrder(Conflict):
    """A batch of metrics came before the one that it follows; `expected` is the number that has to come."""

    code = "out_of_order"

    def __init__(self, message: str, *, expected: int) -> None:
        super().__init__(message, field="seq")
        self.expected = expected


class SearchError(InvalidInput):
    """A query cannot be read; `position` is the letter, counted from 1, at which reading stopped."""

    code = "invalid_query"

    def __init__(self, message: str, *, position: int, hint: str = "") -> None:
        super().__init__(message, field="q", hint=hint)
        self.position = position


def is_disk_full(error: BaseException | None) -> bool:
    """Whether it was raised because a disk is full, that of the database included."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    cause = getattr(error, "__cause__", None)
    name = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None)
    return name in ("SQLITE_FULL", "53100")
