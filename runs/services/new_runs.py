"""What all runs have in common when they are made: ids, numbers, labels, and the place below a parent."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from runs.errors import Conflict, InvalidInput, RunFinished
from runs.models import Experiment, Property, Run, Tag
from runs.services.descriptions import check_description
from runs.services.runs import check_display_name, search_text_of
from runs.services.tags import Labels, check_labels, check_properties
from runs.status import Kind, Status
from studio.accounts.models import User, Workspace
from studio.prepared import PreparedInsert

_new_tags = PreparedInsert(Tag)


@dataclass(frozen=True)
class NewRun:
    """What somebody says of a run that they make; `run_id` "" lets Studio choose one.

    A `run_id` that is known gives the run made before if the `request_digest` is the same, too. It stands for
    all that was asked for, because texts and labels of the run may have been changed since.
    """

    run_id: str = ""
    display_name: str = ""
    description: str = ""
    tags: Labels = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    request_digest: UUID | None = None


def check_new_run(new: NewRun) -> NewRun:
    """The same with every text cleaned. Raises InvalidInput, InvalidTag."""
    return NewRun(
        new.run_id,
        check_display_name(new.display_name),
        check_description(new.description),
        check_labels(new.tags),
        check_properties(new.properties),
        new.request_digest,
    )


def new_run_id(experiment: Experiment) -> str:
    """An id in the shape that Azure ML's had: `<experiment>_<unix seconds>_<8 hex>`."""
    return f"{experiment.name[:200]}_{int(time.time())}_{secrets.token_hex(4)}"


def fill(run: Run, new: NewRun) -> Run:
    """Give an unsaved run these texts, and the search text that follows from them."""
    run.run_id, run.request_digest = new.run_id, new.request_digest
    run.display_name, run.description = new.display_name, new.description
    run.search_text = search_text_of(run, list(new.tags.items()))
    return run


def place_below(run: Run, parent: Run | None) -> None:
    """Make an unsaved run a child of this parent."""
    run.parent = parent
    run.root_id = (parent.root_id or parent.pk) if parent else None


def hold_parent(parent: Run, experiment: Experiment) -> None:
    """Keep a parent from being canceled until the transaction ends, so that none of its children is missed.

    One query. Raises RunFinished if it is being canceled, InvalidInput if it cannot have such children.
    """
    columns = ("kind", "status", "display_name", "step_name", "number")
    now = Run.objects.select_for_update(no_key=True).only(*columns).get(pk=parent.pk)
    if parent.experiment_id != experiment.pk:
        raise InvalidInput("A child run belongs to the experiment of its parent.", field="experiment")
    if now.kind == Kind.PIPELINE:
        raise InvalidInput("The children of a pipeline run are its steps and no others.", field="parent")
    if now.status in (Status.CANCEL_REQUESTED, Status.CANCELED):
        raise RunFinished(f"{now.name} is canceled, so nothing new begins below it.", field="parent")


def insert_labels(runs: Sequence[tuple[Run, NewRun]]) -> None:
    """The tags and properties of new runs. Two queries, some more for thousands of labels."""
    tags = [Tag(run_id=run.pk, key=key, value=value) for run, new in runs for key, value in new.tags.items()]
    properties = [
        Property(run_id=run.pk, key=key, value=value)
        for run, new in runs
        for key, value in new.properties.items()
    ]
    if tags:
        _new_tags.run_all(tags)
    if properties:
        Property.objects.bulk_create(properties)


def earlier_run(
    new: NewRun,
    workspace: Workspace,
    experiment_name: str,
    kinds: Collection[Kind],
    *,
    by: User,
    parent: Run | None = None,
) -> Run | None:
    """The run that the same request made before; None if its id is free or for Studio to choose.

    Raises Conflict if the id belongs to a run of another place, person or kind, or was given other content.
    """
    run = Run.objects.select_related("experiment").filter(run_id=new.run_id).first() if new.run_id else None
    if run is None:
        return None
    place = (run.workspace_id, run.experiment.name, run.submitter_id, run.parent_id)
    asked = (workspace.pk, experiment_name.strip(), by.pk, parent.pk if parent else None)
    if place != asked or run.kind not in kinds:
        raise Conflict(
            f"There is another run {run.run_id} already.", field="run_id", hint="Choose another id."
        )
    if run.request_digest != new.request_digest:
        raise Conflict(
            f"The run {run.run_id} was made with other content.",
            field="run_id",
            hint="Choose another id; only the very same request again gives the run that it made.",
        )
    return run
