"""Contents of submit forms that nobody typed: a fresh one, a run to submit again, a bundled example."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Mapping
from typing import Any

from django.http import QueryDict

from runs.errors import InvalidInput
from runs.forms import time_limit_text
from runs.models import ComputeTarget, Experiment, Run, RunDependency
from runs.services.drafts import OwnSnapshots
from runs.services.examples import Example
from runs.status import Kind
from runs.submission import hold
from studio.accounts.models import Membership
from studio.accounts.services import remember_choice

LAST_EXPERIMENT = "last_experiment"


def new_key() -> str:
    """A submission key: pressing Run twice on the same page is one submission."""
    return secrets.token_urlsafe(24)


def content_of(fields: Mapping[str, Any] | None = None) -> QueryDict:
    """A content with these fields, whose values are texts or lists of texts."""
    content = QueryDict(mutable=True)
    for field, value in (fields or {}).items():
        content.setlist(field, [str(text) for text in value] if isinstance(value, list) else [str(value)])
    return content


def fill(content: QueryDict, more: QueryDict) -> QueryDict:
    """The content with these fields set; one that it has already is replaced."""
    for field, texts in more.lists():
        content.setlist(field, texts)
    return content


def blank_step(index: int) -> QueryDict:
    """The fields of a step that is still to be filled in."""
    return content_of(
        {f"steps-{index}-source": "folder", f"steps-{index}-name": "", f"steps-{index}-retries": ""}
    )


def fresh(membership: Membership) -> QueryDict:
    """A form with one empty step, the workspace's default compute target, and the last experiment."""
    return fill(blank_step(0), _run_fields(membership))


def _run_fields(membership: Membership) -> QueryDict:
    targets = ComputeTarget.objects.filter(workspace_id=membership.workspace_id, is_default=True)
    any_yet = Experiment.objects.filter(workspace_id=membership.workspace_id, archived_at=None).exists()
    return content_of(
        {
            "target": targets.values_list("name", flat=True).first() or "",
            "experiment": _last_experiment(membership),
            "experiment_kind": "existing" if any_yet else "new",
        }
    )


def remember_experiment(membership: Membership, name: str) -> None:
    """Let the next form of this person offer this experiment first."""
    if _last_experiment(membership) != name:
        remember_choice(membership.user, LAST_EXPERIMENT, str(membership.workspace_id), name)


def _last_experiment(membership: Membership) -> str:
    return str(membership.user.preferences.get(LAST_EXPERIMENT, {}).get(str(membership.workspace_id), ""))


def example_content(example: Example, own: OwnSnapshots) -> QueryDict:
    """The steps of a bundled example."""
    snapshot = own.remember(example.snapshot(by=own.membership.user))
    content = _run_fields(own.membership)
    content["experiment_kind"], content["new_experiment"] = "new", example.experiment_name
    content["draft_name"] = example.title
    numbers = {step.name: index for index, step in enumerate(example.steps)}
    for index, step in enumerate(example.steps):
        fill(
            content,
            _step(
                index,
                name=step.name,
                source="example",
                example=example.name,
                script=step.script,
                arguments=shlex.join(step.arguments),
                after=[numbers[name] for name in step.after],
            ),
        )
        hold(content, index, source="example", snapshot=snapshot, label=example.title)
    return content


def run_content(run: Run) -> QueryDict:
    """The form that submits a run once more: its steps and edges, and all that was said of it.

    Four queries. Raises InvalidInput for a run that Studio did not start, as there is nothing to submit.
    """
    steps = _steps_of(run)
    if not steps or any(step.snapshot_id is None for step in steps):
        raise InvalidInput(
            f"{run.name} was not submitted to Studio, so it cannot be resubmitted.",
            hint="Fill in the form by hand, or run the script again where it ran.",
        )
    tags = "\n".join(str(tag) if tag.value is None else f"{tag.key}={tag.value}" for tag in run.tags.all())
    default = _default_target(run, steps)
    content = content_of(
        {
            "target": default.name if default else "",
            "experiment_kind": "existing" if run.experiment.archived_at is None else "new",
            "experiment": run.experiment.name,
            "display_name": run.display_name,
            "description": run.description,
            "tags": tags,
            "resubmitted_from": run.run_id,
        }
    )
    numbers = {step.pk: index for index, step in enumerate(steps)}
    for index, step in enumerate(steps):
        fill(content, _step_again(index, step, numbers, default))
        hold(
            content,
            index,
            source="run",
            snapshot=step.snapshot,  # type: ignore[arg-type]
            label=f"snapshot of {run.experiment.name} #{step.number}",
        )
    return content


def _steps_of(run: Run) -> list[Run]:
    if run.kind != Kind.PIPELINE:
        return [run] if run.script or run.command_words else []
    steps = run.children.filter(kind=Kind.STEP).select_related("target", "snapshot").order_by("number")
    return list(steps.prefetch_related("dependencies"))


def _default_target(run: Run, steps: list[Run]) -> ComputeTarget | None:
    return run.target or next((step.target for step in steps if step.target), None)


def _step_again(index: int, step: Run, numbers: dict[int, int], default: ComputeTarget | None) -> QueryDict:
    edges: list[RunDependency] = list(step.dependencies.all()) if len(numbers) > 1 else []
    own_target = step.target if step.target_id != (default.pk if default else None) else None
    return _step(
        index,
        name=step.step_name,
        source="run",
        from_run=step.run_id,
        script=step.script,
        arguments=shlex.join(step.arguments),
        command=shlex.join(step.command_words),
        target=own_target.name if own_target else "",
        env_name=list(step.environment_variables),
        env_value=list(step.environment_variables.values()),
        time_limit=time_limit_text(step.time_limit_s),
        retries=step.max_retries or "",
        after=[numbers[edge.waits_for_id] for edge in edges if edge.waits_for_id in numbers],
    )


def _step(index: int, **fields: Any) -> QueryDict:
    return content_of({f"steps-{index}-{field}": value for field, value in fields.items()})
