"""Of a request that is refused nothing is saved, however much of it was right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.core import serializers
from django.db.models.functions import Now

from runs.status import Status
from studio.accounts.models import User
from tests.api_kit import Api, refusal
from tests.factories import make_run, make_snapshot, make_target

LONG_NAME, LONG_TEXT = "x" * 300, "x" * 60_000
NO_SNAPSHOT = "0" * 64
SCRIPT = {"script": "train.py"}


def everything() -> list[Any]:
    """All rows, without the times at which tokens and snapshots were named."""
    models = [one for label in ("runs", "accounts") for one in apps.get_app_config(label).get_models()]
    rows = [row for model in models for row in serializers.serialize("python", model.objects.order_by("pk"))]
    for row in rows:
        row["fields"].pop("last_used_at", None)
        row["fields"].pop("last_named_at", None)
    return rows


@pytest.fixture
def things(chi: User) -> dict[str, str]:
    """An archived run, one with a snapshot, and one that is active; all in the experiment mnist."""
    make_target(is_default=True)
    archived = make_run(submitter=chi, archived_at=Now())
    ended = make_run(submitter=chi, snapshot=make_snapshot(), properties={"author": "chi"})
    other = make_run(submitter=chi, snapshot=make_snapshot({"b.py": ""}))
    active = make_run(submitter=chi, status=Status.RUNNING)
    return {
        "archived": f"/runs/{archived.run_id}",
        "ended": f"/runs/{ended.run_id}",
        "active": f"/runs/{active.run_id}",
        "here": "/workspaces/default",
        "known": ended.snapshot.digest if ended.snapshot else "",
        "another": other.snapshot.digest if other.snapshot else "",
    }


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("patch", "{archived}", {"archived": False, "display_name": LONG_NAME}, 422),
        ("patch", "{archived}", {"archived": False, "snapshot": NO_SNAPSHOT}, 404),
        ("patch", "{ended}", {"display_name": "hi", "description": LONG_TEXT}, 422),
        ("patch", "{ended}", {"display_name": "hi", "snapshot": NO_SNAPSHOT}, 404),
        ("patch", "{ended}", {"display_name": "hi", "snapshot": "{another}", "archived": True}, 409),
        ("patch", "{active}", {"display_name": "hi", "archived": True}, 409),
        ("put", "{ended}/tags", {"good": None, "long": LONG_TEXT}, 422),
        ("put", "{archived}/tags", {"good": None}, 409),
        ("post", "{ended}/properties", {"new": "x", "author": "ana"}, 409),
        ("post", "{active}/children", {"children": [{"tags": {"a": "b"}}, {"display_name": LONG_NAME}]}, 422),
        ("post", "{here}/experiments", {"name": "new", "description": LONG_TEXT}, 422),
        ("patch", "{here}/experiments/mnist", {"description": "new", "tags": {"": "x"}}, 422),
        ("patch", "{here}/experiments/mnist", {"description": "new", "archived": True}, 409),
        ("post", "{here}/runs", {"experiment": "new", "snapshot": NO_SNAPSHOT}, 422),
        ("post", "{here}/runs", {"experiment": "new", "tags": {"k": LONG_TEXT}}, 422),
        ("post", "{here}/submissions", {"experiment": "new", "snapshot": "{known}", "script": "no.py"}, 422),
        (
            "post",
            "{here}/submissions",
            {
                "experiment": "new",
                "snapshot": "{known}",
                "steps": [{"name": "a", **SCRIPT}, {"name": "b", "after": ["c"], **SCRIPT}],
            },
            422,
        ),
        (
            "post",
            "{here}/compute-targets",
            {"name": "gpu", "description": LONG_TEXT, "is_default": True},
            422,
        ),
        ("patch", "{here}/compute-targets/local", {"description": "new", "is_default": False}, 409),
    ],
)
def test_nothing_is_half_saved(
    api_of: Callable[[User], Api],
    chi: User,
    things: dict[str, str],
    method: str,
    path: str,
    body: dict[str, Any],
    status: int,
) -> None:
    api = api_of(chi)
    before = everything()
    sent = {key: value.format(**things) if key == "snapshot" else value for key, value in body.items()}
    answer = api.call(method, path.format(**things), sent)
    assert (answer.status_code, bool(refusal(answer))) == (status, True)
    assert everything() == before
