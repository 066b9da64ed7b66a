"""What all runs have in common when they are made: ids, numbers, labels, and the place below a parent."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runs.errors import Conflict, InvalidInput, RunFinished
from runs.models import Experiment, Property, Run, Tag
from runs.services.descriptions import check_description
from runs.services.runs import check_display_name, search_text_of
from runs.services.tags import Labels, check_labels, check_properties
from runs.status import Kind, Status
from studio.accounts.models import User


@dataclass(frozen=True)
class NewRun:
    """What somebody says of a run that they make; `run_id` "" lets Studio choose one."""

    run_id: str = ""
    display_name: str = ""
    description: str = ""
    tags: Labels = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)


def check_new_run(new: NewRun) -> NewRun:
    """The same with every text cleaned. Raises InvalidInput, InvalidTag."""
    return NewRun(
        new.run_id,
        check_display_name(new.display_name),
        check_description(new.description),
        check_labels(new.tags),
        check_properties(new.properties),
    )


def new_run_id(experiment: Experiment) -> str:
    """An id in the shape that Azure ML's had: `<experiment>_<unix seconds>_<8 hex>`."""
    return f"{experiment.name[:200]}_{int(time.time())}_{secrets.token_hex(4)}"


def fill(run: Run, new: NewRun) -> Run:
    """Give an unsaved run these texts, and the search text that follows from them."""
    run.run_id = new.run_id
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
    """The tags and properties of new runs. Two queries at most."""
    tags = [Tag(run=run, key=key, value=value) for run, new in runs for key, value in new.tags.items()]
    properties = [
        Property(run=run, key=key, value=value) for run, new in runs for key, value in new.properties.items()
    ]
    if tags:
        Tag.objects.bulk_create(tags)
    if properties:
        Property.objects.bulk_create(properties)


def earlier_run(run_id: str, experiment_name: str, *, by: User, parent: Run | None = None) -> Run | None:
    """The run that this person made before under an id of their choice; None if nobody did.

    Raises Conflict if the id belongs to a run of another experiment, person or parent.
    """
    run = Run.objects.select_related("experiment").filter(run_id=run_id).first() if run_id else None
    if run is None:
        return None
    same = (run.experiment.name, run.submitter_id, run.parent_id)
    if same != (experiment_name, by.pk, parent.pk if parent else None):
        raise Conflict(f"There is another run {run_id} already.", field="run_id", hint="Choose another id.")
    return run
