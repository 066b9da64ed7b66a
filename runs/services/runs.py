"""What people do with a run that is not about its status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django.db import transaction
from django.db.models import Case, QuerySet, TextField, Value, When
from django.db.models.functions import Now

from runs.errors import Conflict, InvalidInput, RunFinished
from runs.folding import clean, control_in
from runs.models import Run, Snapshot, Tag
from runs.search.text import build_search_text
from runs.services.descriptions import check_description
from runs.services.edits import changed_fields
from runs.status import TERMINAL
from studio.accounts.changes import record
from studio.accounts.models import User

DISPLAY_NAME_LENGTH = 256
_SEARCHED_BY = (
    "display_name", "step_name", "number", "description", "run_id", "experiment__name", "submitter__username"
)  # fmt: skip


def check_display_name(name: str) -> str:
    """The name, white space as plain blanks. Raises InvalidInput if it has controls or is too long."""
    control = control_in(name)
    if control:
        raise InvalidInput(
            f"The display name has the control character {control} in it.",
            field="display_name",
            hint="Leave it out.",
        )
    name = clean(name).strip()
    if len(name) > DISPLAY_NAME_LENGTH:
        raise InvalidInput(
            f"A display name of {len(name):,} characters is too long.",
            field="display_name",
            hint=f"At most {DISPLAY_NAME_LENGTH} characters.",
        )
    return name


def edit_run(
    run: Run,
    *,
    by: User,
    display_name: str | None = None,
    description: str | None = None,
    opened: Mapping[str, str] | None = None,
) -> None:
    """Change what is given and differs from `opened`, what the person saw of it (else from what is there).

    Raises InvalidInput, RunFinished if the run is archived, Overtaken if somebody else changed the same.
    """
    typed = {"display_name": display_name, "description": description}
    with transaction.atomic():
        hold_unarchived([run], "name and description")
        run.refresh_from_db(fields=list(typed))
        now = {"display_name": run.display_name, "description": run.description}
        changes = changed_fields(typed, opened=opened or {}, now=now)
        for name, check in (("display_name", check_display_name), ("description", check_description)):
            if name in changes:
                changes[name] = check(changes[name])
        if not changes:
            return
        Run.objects.filter(pk=run.pk).update(**changes)
        refresh_search_texts([run])
        if "display_name" in changes:
            record_changes([run], f"named it “{changes['display_name']}”", by=by)
        if "description" in changes:
            record_changes([run], "changed the description", by=by)


def hold_unarchived(runs: Iterable[Run], what: str, *, field: str = "") -> None:
    """Keep others from changing these runs until the transaction ends, always in the same order.

    Raises RunFinished for one that is archived, naming what stays as it is.
    """
    rows = Run.objects.filter(pk__in=[run.pk for run in runs]).order_by("pk")
    rows = rows.select_for_update(no_key=True)  # child runs may be made below them meanwhile
    for run in rows.only("display_name", "step_name", "number", "archived_at"):
        if run.archived_at is not None:
            raise RunFinished(
                f"{run.name} is archived, so its {what} stay as they are.",
                field=field,
                hint="Unarchive it first.",
            )


def record_changes(runs: Iterable[Run], text: str, *, by: User | None) -> None:
    """Write down who did this to these runs. A query for each workspace, which is one."""
    by_workspace: dict[int, list[str]] = {}
    for run in runs:
        by_workspace.setdefault(run.workspace_id, []).append(about_run(run.run_id))
    for workspace, abouts in by_workspace.items():
        record(workspace, abouts, text, by=by)


def about_run(run_id: str) -> str:
    """What changes of this run are kept under."""
    return f"run:{run_id}"


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
    found = list(rows.order_by().only("run_id", "workspace_id"))
    text = "archived it" if archived else "brought it back"
    changed = 0
    for start in range(0, len(found), 500):
        some = found[start : start + 500]
        with transaction.atomic():
            batch = Run.objects.filter(pk__in=[run.pk for run in some], archived_at__isnull=archived)
            changed += batch.update_in_order(archived_at=Now() if archived else None, updated_at=Now())
            record_changes(some, text, by=by)
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


def refresh_search_texts(runs: Iterable[Run]) -> None:
    """Bring search texts and `updated_at` up to date after a change to what these runs are searched by.

    Three queries, however many they are, the write the last of them. Needs a transaction that holds the runs.
    """
    pks = [run.pk for run in runs]
    labels: dict[int, list[tuple[str, str | None]]] = {}
    for pk, key, value in Tag.objects.filter(run__in=pks).values_list("run_id", "key", "value"):
        labels.setdefault(pk, []).append((key, value))
    fresh = Run.objects.filter(pk__in=pks).select_related("experiment", "submitter").only(*_SEARCHED_BY)
    texts = [When(pk=run.pk, then=Value(search_text_of(run, labels.get(run.pk, [])))) for run in fresh]
    # One statement: a moment that is seen long after it may be older than a version that a page has shown.
    Run.objects.filter(pk__in=pks).update(
        search_text=Case(*texts, output_field=TextField()), updated_at=Now()
    )
