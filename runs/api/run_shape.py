"""The shape of a run in every answer of the API."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from ninja import Field
from pydantic import BaseModel

from runs.api.schemas import Moment, page_url
from runs.models import Run
from runs.services.new_runs import NewRun
from runs.status import ErrorClass, Kind, Status
from runs.versions import version_word

#: Of `RunOut.version`.
_VERSION = "Another whenever the run has changed, and once more a moment later; `since` of `/wait` takes it."


class RunErrorOut(BaseModel):
    """Why a run failed."""

    kind: str = Field(serialization_alias="class", description=f"One of {', '.join(ErrorClass)}.")
    code: str = Field(description='A word of whoever reported the failure; "" for none.')
    message: str = Field(description="The reason as people read it.")
    traceback: str = Field(description='Of the exception that ended the script; "" if none is known.')


class RunOut(BaseModel):
    """A run."""

    run_id: str = Field(description="Unique on this server.")
    number: int = Field(description="1, 2, 3 and so on in its experiment.")
    workspace: str = Field(description="The name of its workspace.")
    experiment: str = Field(description="The name of its experiment.")
    experiment_id: int = Field(description="The `id` of its experiment.")
    parent_run_id: str | None = Field(description="Null for a run without a parent.")
    root_run_id: str = Field(description="Of the topmost run above it; its own for a run without a parent.")
    kind: str = Field(description=f"One of {', '.join(Kind)}.")
    status: str = Field(description=f"One of {', '.join(Status)}.")
    status_reason: str | None = Field(description="Why a run read alone is Queued or Canceled; else null.")
    display_name: str = Field(description='The name that people gave it; "" for none.')
    name: str = Field(
        description="On pages: its display name, else that of the step, else Run and its number."
    )
    description: str = Field(description="Markdown.")
    submitter: str | None = Field(description="The username of who made it; null if that account is gone.")
    target: str | None = Field(description="The name of its compute target; null for none.")
    node: str | None = Field(description="The node that has it, or had it last; null for none.")
    script: str = Field(description='A path in the snapshot; "" if it executes something else or nothing.')
    arguments: list[str] = Field(description="What the script is called with, word by word.")
    command: list[str] = Field(description="Program and arguments that are executed instead of a script.")
    run_configuration: dict[str, Any] | None = Field(description="As it was submitted; null for none.")
    snapshot: str | None = Field(description="The digest of its source; null for none.")
    tags: dict[str, str | None] = Field(description="Key to value, or to null for a tag without one.")
    properties: dict[str, str] = Field(description="Key to value; they never change.")
    attempt: int = Field(description="1 for the first; 0 before it, and of runs that no node executes.")
    max_retries: int = Field(description="How often it is tried again if an attempt fails.")
    time_limit_s: int | None = Field(description="Seconds that an attempt may take; null for no limit.")
    created_at: Moment = Field(description="When it was made.")
    queued_at: Moment | None = Field(description="When it last began to wait for a slot; null if never.")
    started_at: Moment | None = Field(description="When its current attempt became Running; null before.")
    ended_at: Moment | None = Field(description="When it became Completed, Failed or Canceled; null before.")
    heartbeat_at: Moment | None = Field(description="The last sign of life of this attempt; null before.")
    archived_at: Moment | None = Field(description="Null unless it is archived.")
    error: RunErrorOut | None = Field(description="Why it failed; null if it did not.")
    exit_code: int | None = Field(description="Of its process; null if a signal ended it, and before.")
    has_children: bool = Field(description="Whether it is the parent of other runs.")
    url: str = Field(description="The address of its page.")
    version: str = Field(description=_VERSION)


class RunDetailOut(RunOut):
    """A run with what is told of it alone."""

    environment_variables: dict[str, str] = Field(description="Name to value, as they were submitted.")
    after: list[str] = Field(description="The names of the steps that it waits for; empty for all but steps.")


_SAME = (
    "run_id",
    "number",
    "experiment_id",
    "kind",
    "status",
    "display_name",
    "name",
    "description",
    "script",
    "arguments",
    "run_configuration",
    "attempt",
    "max_retries",
    "time_limit_s",
    "created_at",
    "queued_at",
    "started_at",
    "ended_at",
    "heartbeat_at",
    "archived_at",
    "exit_code",
)


_Labels = tuple[dict[str, str | None], dict[str, str]]


def run_out(run: Any, *, status_reason: str | None = None, labels: _Labels | None = None) -> dict[str, Any]:
    """The answer for a run out of `Run.objects.for_api()`; no query. `labels` are its tags and properties."""
    tags, properties = labels or (
        {tag.key: tag.value for tag in run.tags.all()},
        {one.key: one.value for one in run.properties.all()},
    )
    path = reverse("run-detail", args=[run.experiment.name, run.number])
    return {
        **{name: getattr(run, name) for name in _SAME},
        "workspace": run.workspace.name,
        "experiment": run.experiment.name,
        "parent_run_id": run.parent_run_id,
        "root_run_id": run.root_run_id,
        "status_reason": status_reason,
        "submitter": run.submitter.username if run.submitter else None,
        "target": run.target.name if run.target else None,
        "node": run.node.name if run.node else None,
        "snapshot": run.snapshot_digest,
        "tags": tags,
        "properties": properties,
        "command": run.command_words,
        "error": _error(run),
        "has_children": run.has_children,
        "url": page_url(path, run.workspace.name),
        "version": run_version(run),
    }


def run_detail_out(run: Run, *, status_reason: str | None) -> dict[str, Any]:
    """The answer for a run alone. Two queries more than `run_out`, three for a step."""
    before = Run.objects.filter(dependents__step=run.pk).order_by("number")
    return run_out(run, status_reason=status_reason) | {
        "environment_variables": run.environment_variables,
        "after": list(before.values_list("step_name", flat=True)) if run.kind == Kind.STEP else [],
    }


def new_run_out(run: Run, new: NewRun, parent: Any | None) -> dict[str, Any]:
    """The answer for a run that was made just now out of this, below this parent; no query."""
    fresh: Any = run
    fresh.parent_run_id = parent.run_id if parent else None
    fresh.root_run_id = parent.root_run_id if parent else run.run_id
    fresh.snapshot_digest = run.snapshot.digest if run.snapshot else None
    fresh.has_children = False
    return run_out(fresh, labels=(dict(new.tags), dict(new.properties)))


def _error(run: Run) -> dict[str, str] | None:
    if not run.error_class:
        return None
    return {
        "kind": run.error_class,
        "code": run.error_code,
        "message": run.error_message,
        "traceback": run.error_traceback,
    }


def run_version(run: Run) -> str:
    """A text that changes whenever the run does; of one that has just changed, at every look."""
    return version_word(run.updated_at)
