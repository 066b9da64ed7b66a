"""What people do with a run that is not about its status."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from runs.errors import Conflict, InvalidInput
from runs.folding import clean
from runs.models import Run, Snapshot
from runs.search.text import build_search_text
from runs.services.descriptions import check_description
from runs.status import TERMINAL
from studio.accounts.models import User

DISPLAY_NAME_LENGTH = 256


def check_display_name(name: str) -> str:
    """The name cleaned of control characters. Raises InvalidInput when it is too long."""
    name = clean(name).strip()
    if len(name) > DISPLAY_NAME_LENGTH:
        raise InvalidInput(
            f"A display name of {len(name):,} characters is too long.",
            field="display_name",
            hint=f"At most {DISPLAY_NAME_LENGTH} characters.",
        )
    return name


def edit_run(run: Run, *, by: User, display_name: str | None = None, description: str | None = None) -> None:
    """Change what is given. Raises InvalidInput."""
    changes: dict[str, Any] = {}
    if display_name is not None:
        changes["display_name"] = check_display_name(display_name)
    if description is not None:
        changes["description"] = check_description(description)
    Run.objects.filter(pk=run.pk).update(**changes)
    refresh_search_text(run)


def freeze_source(run: Run, snapshot: Snapshot) -> None:
    """Give a run without a snapshot this one; the same again changes nothing. Raises Conflict for another."""
    rows = Run.objects.filter(pk=run.pk)
    won = rows.filter(snapshot=None).update(snapshot=snapshot, updated_at=Now())
    if not won and not rows.filter(snapshot=snapshot).exists():
        raise Conflict("The run has a snapshot already, and a run has one at most.", field="snapshot")


def archive_runs(runs: QuerySet[Run], *, by: User, archived: bool = True) -> int:
    """Archive ended runs or bring archived ones back; how many it changed. Open runs are left alone."""
    rows = runs.filter(archived_at__isnull=archived)
    if archived:
        rows = rows.filter(status__in=sorted(TERMINAL))
    pks = list(rows.order_by().values_list("pk", flat=True))
    changed = 0
    for start in range(0, len(pks), 500):
        batch = Run.objects.filter(pk__in=pks[start : start + 500], archived_at__isnull=archived)
        changed += batch.update(archived_at=Now() if archived else None, updated_at=Now())
    return changed


def search_text_of(run: Run, labels: list[tuple[str, str | None]]) -> str:
    """What free text finds this run by. `run` has its experiment and submitter loaded."""
    return build_search_text(
        name=run.name,
        description=run.description,
        experiment=run.experiment.name,
        submitter=run.submitter.username if run.submitter else "",
        run_id=run.run_id,
        tags=labels,
    )


def refresh_search_text(run: Run) -> None:
    """Bring a run's search text and `updated_at` up to date after a change to what it is searched by."""
    with transaction.atomic():
        # One at a time: of two people who change different things, the later one sees both changes.
        Run.objects.select_for_update().only("pk").get(pk=run.pk)
        fresh = Run.objects.select_related("experiment", "submitter").get(pk=run.pk)
        labels = list(fresh.tags.values_list("key", "value"))
        Run.objects.filter(pk=run.pk).update(search_text=search_text_of(fresh, labels), updated_at=Now())
