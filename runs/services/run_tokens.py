"""The tokens that runs get: what a script may use to speak to Studio while its attempt lasts."""

from __future__ import annotations

from typing import Any

from django.core import signing

from runs.models import Run
from runs.status import TERMINAL, Status

TOKEN_SALT = "studio.run-token"  # noqa: S105 (names a use, is no secret)
#: Before its claim a run has no attempt that a token could belong to.
_WITHOUT_TOKEN = [*sorted(TERMINAL), Status.NOT_STARTED, Status.QUEUED]


def run_token(run: Run) -> str:
    """The token of one attempt: valid for this run only, while it is active and at this attempt."""
    return signing.dumps({"run": run.run_id, "attempt": run.attempt}, salt=TOKEN_SALT)


def check_run_token(text: str) -> Run | None:
    """The run whose token this is, with its submitter, workspace and experiment; None if it is not valid.

    It is worth nothing once its submitter may not sign in any more.

    One query, and none for a text that Studio never signed.
    """
    signed = _signed(text)
    if signed is None:
        return None
    runs = Run.objects.select_related("submitter", "workspace", "experiment")
    runs = runs.defer("search_text", "error_traceback", "experiment__description")
    found = runs.filter(run_id=signed["run"], attempt=signed["attempt"], submitter__is_active=True)
    return found.exclude(status__in=_WITHOUT_TOKEN).first()


def why_refused(text: str) -> tuple[str, str] | None:
    """Why a run's own token is worth nothing, and what to do; None if it is none. One query."""
    signed = _signed(text)
    if signed is None:
        return None
    run = Run.objects.select_related("submitter").filter(run_id=signed["run"]).first()
    if run is None:
        return None
    if run.attempt == signed["attempt"] and run.status not in _WITHOUT_TOKEN:
        if run.submitter is not None and run.submitter.is_active:
            return None
        who = run.submitter.username if run.submitter else "a person who is gone"
        return (
            f"The account of {who}, who submitted this run, is deactivated, and the run's own token with it.",
            "The run goes on, and its node keeps what the script prints, logs and leaves. "
            "For all else, somebody else has to resubmit it.",
        )
    state = f"is {run.status}" if run.is_terminal else f"is at another attempt by now ({run.attempt})"
    if run.attempt == signed["attempt"] and not run.is_terminal:
        state = "waits for another attempt"
    return (
        f"The run {run.run_id} {state}, and its own token ended with its script.",
        "To go on with it from elsewhere, use a token of your own: `studio login`.",
    )


def newer_attempt(text: str) -> int | None:
    """The attempt that the run of this token is at, if it is a later one than the token's. One query."""
    signed = _signed(text)
    if signed is None:
        return None
    newer = Run.objects.filter(run_id=signed["run"], attempt__gt=signed["attempt"])
    return newer.values_list("attempt", flat=True).first()


def _signed(text: str) -> dict[str, Any] | None:
    try:
        signed: dict[str, Any] = signing.loads(text, salt=TOKEN_SALT)
    except signing.BadSignature:
        return None
    return signed
