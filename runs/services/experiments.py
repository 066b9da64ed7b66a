"""What people do with experiments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import DEFAULT_DB_ALIAS, IntegrityError, transaction
from django.db.models import BigIntegerField, F, QuerySet
from django.db.models.functions import Now

from runs.errors import Conflict, InvalidName, NotFound
from runs.folding import spelled_out
from runs.models import Experiment
from runs.models.experiment import EXPERIMENT_NAME, EXPERIMENT_NAME_RULE
from runs.services.descriptions import check_description
from runs.services.edits import changed_fields
from runs.services.tags import check_labels
from studio.accounts.changes import record
from studio.accounts.models import User, Workspace
from studio.clock import NowAtRow
from studio.prepared import Given, Prepared, PreparedUpdate

_experiment = Prepared(lambda: Experiment.objects.filter(workspace=Given("workspace"), name=Given("name")))


def _counting(build: Callable[[], QuerySet[Experiment]]) -> PreparedUpdate:
    return PreparedUpdate(
        build,
        last_number=F("last_number") + Given("count", BigIntegerField()),
        updated_at=NowAtRow(),
        returning=(F("pk"), F("last_number"), NowAtRow()),
    )


_count_up = _counting(lambda: Experiment.objects.filter(pk=Given("experiment")))
_count_up_current = _counting(
    lambda: Experiment.objects.current().filter(workspace=Given("workspace"), name=Given("name"))
)


def check_experiment_name(name: str) -> str:
    """The name without surrounding blanks. Raises InvalidName with the rule when it breaks it."""
    name = name.strip()
    if not name:
        raise InvalidName("An experiment needs a name.", field="experiment", hint=EXPERIMENT_NAME_RULE)
    try:
        EXPERIMENT_NAME(name)
    except ValidationError:
        shown = spelled_out(name) if len(name) <= 60 else f"{spelled_out(name[:60])}…"
        raise InvalidName(
            f"“{shown}” cannot be an experiment's name.", field="experiment", hint=EXPERIMENT_NAME_RULE
        ) from None
    return name


def find_or_create_experiment(
    workspace: Workspace, name: str, *, by: User | None, description: str = ""
) -> tuple[Experiment, bool]:
    """The experiment of this name, archived or not, and whether it was made just now.

    One that is made has this description. Raises InvalidName, InvalidInput.
    """
    name = check_experiment_name(name)
    known = _experiment.first(workspace=workspace.pk, name=name)
    if known is None:
        new = {"name": name, "description": check_description(description), "created_by": by}
        try:
            with transaction.atomic():
                return Experiment.objects.create(workspace=workspace, **new), True
        except IntegrityError:  # another submitter made it just now
            known = Experiment.objects.get(workspace=workspace, name=name)
    known.workspace = workspace
    return known, False


def get_or_create_experiment(workspace: Workspace, name: str, *, by: User | None) -> Experiment:
    """The experiment of this name, made when it is new. Raises InvalidName; Conflict when it is archived."""
    experiment, _ = find_or_create_experiment(workspace, name, by=by)
    _refuse_archived(experiment)
    return experiment


def check_experiment(workspace: Workspace, name: str, *, is_new: bool = True) -> None:
    """Raise what `get_or_create_experiment` would, and make nothing. One query.

    Unless it may be a new one, also raises NotFound.
    """
    known = _experiment.first(workspace=workspace.pk, name=check_experiment_name(name))
    if known is None and not is_new:
        raise NotFound(
            f"There is no experiment {name.strip()}.",
            field="experiment",
            hint="Choose one that is there, or make it a new one.",
        )
    if known is not None:
        _refuse_archived(known)


def _refuse_archived(experiment: Experiment) -> None:
    if experiment.archived_at is not None:
        raise Conflict(
            f"The experiment {experiment.name} is archived.",
            field="experiment",
            hint="Unarchive it on its page, or choose another name.",
        )


def reserve_numbers(experiment: Experiment, count: int) -> tuple[int, datetime]:
    """The first of `count` run numbers, and the database's time, later for each later number. One query.

    Needs a transaction, and holds the experiment's row until it ends: numbers have no gap and no repeat.
    """
    ((_, last, now),) = _count_up.run(experiment=experiment.pk, count=count)
    return last - count + 1, now


def reserve_number_in(
    workspace: Workspace, name: str, *, by: User | None
) -> tuple[Experiment, int, datetime]:
    """`get_or_create_experiment`, then `reserve_numbers` of one: one query where the experiment is there.

    Of one that is there no more than key, name and workspace is loaded. Needs a transaction. Raises as the
    former.
    """
    name = check_experiment_name(name)
    for key, number, now in _count_up_current.run(workspace=workspace.pk, name=name, count=1):
        loaded = ["id", "workspace_id", "name"]  # in the order of the model
        known = Experiment.from_db(DEFAULT_DB_ALIAS, loaded, [key, workspace.pk, name])
        known.workspace = workspace
        return known, number, now
    experiment = get_or_create_experiment(workspace, name, by=by)
    return experiment, *reserve_numbers(experiment, 1)


def edit_experiment(
    experiment: Experiment,
    *,
    by: User,
    description: str | None = None,
    tags: dict[str, str | None] | None = None,
    opened: Mapping[str, Any] | None = None,
) -> None:
    """Change what is given and differs from `opened`, what the person saw of it (else from what is there).

    Raises InvalidInput, InvalidTag, Overtaken if somebody else changed the same.
    """
    typed = {"description": description, "tags": tags}
    with transaction.atomic():
        held = Experiment.objects.select_for_update(no_key=True).get(pk=experiment.pk)
        now = {"description": held.description, "tags": held.tags}
        changes = changed_fields(typed, opened=opened or {}, now=now)
        if "description" in changes:
            changes["description"] = check_description(changes["description"])
        if "tags" in changes:
            changes["tags"] = check_labels(changes["tags"])
        if changes:
            Experiment.objects.filter(pk=experiment.pk).update(updated_at=Now(), **changes)
        for name in changes:
            record(experiment.workspace_id, about_experiment(experiment), f"changed the {name}", by=by)


def about_experiment(experiment: Experiment) -> str:
    """What changes of this experiment are kept under."""
    return f"experiment:{experiment.name}"


def archive_experiment(experiment: Experiment, *, by: User, archived: bool = True) -> bool:
    """Archive it or bring it back; whether that changed anything. Raises Conflict while runs are active."""
    if archived and experiment.runs.active().exists():
        raise Conflict(
            f"{experiment.name} has active runs.", hint="Cancel them or wait for their end, then archive it."
        )
    rows = Experiment.objects.filter(pk=experiment.pk, archived_at__isnull=archived)
    changed = bool(rows.update(archived_at=Now() if archived else None, updated_at=Now()))
    if changed:
        text = "archived it" if archived else "brought it back"
        record(experiment.workspace_id, about_experiment(experiment), text, by=by)
    return changed
