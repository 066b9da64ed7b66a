"""What the dialogs share that edit several fields at once: what each was opened with, and what came between.

A dialog sends each field as it is now and, hidden as `was-<field>`, as the dialog was opened with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

from runs.errors import Overtaken, StudioError
from runs.services.edits import who_changed


def opened_with(request: HttpRequest, now: Mapping[str, str]) -> dict[str, str]:
    """The texts that the dialog was opened with; those of `now` for what it does not say."""
    return {field: request.POST.get(f"was-{field}", text) for field, text in now.items()}


def refused_context(
    request: HttpRequest, error: StudioError, opened: Mapping[str, str], *, about: str
) -> dict[str, Any]:
    """For the dialog that comes again: `error`, or `meanwhile` with who changed which field to what.

    After the latter the dialog counts as opened with what is there now: saved once more, it replaces that.
    """
    if not isinstance(error, Overtaken):
        return {"error": error, "opened": opened}
    workspace = request.membership.workspace_id  # type: ignore[attr-defined]
    meanwhile = {
        field: {"now": text, "by": who_changed(workspace, about, field)} for field, text in error.now.items()
    }
    return {"meanwhile": meanwhile, "opened": {**opened, **error.now}}
