"""Submitting: from what a person wants to run to runs that wait for a slot."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast
from uuid import UUID, uuid5

from django.conf import settings
from django.db import IntegrityError, transaction

from runs.errors import (
    Conflict,
    InvalidInput,
    InvalidPipeline,
    InvalidSnapshot,
    StudioError,
    SubmittedBefore,
    UnknownTarget,
)
from runs.folding import spelled_out
from runs.lifecycle import move
from runs.models import ComputeTarget, Run, RunDependency, Snapshot
from runs.services.experiments import get_or_create_experiment, reserve_numbers
from runs.services.new_runs import (
    NewRun,
    check_new_run,
    earlier_run,
    fill,
    hold_parent,
    insert_labels,
    new_run_id,
    place_below,
)
from runs.services.tags import Labels
from runs.status import Kind, Status
from studio.accounts.models import User, Workspace

MOST_STEPS = 100
MOST_ARGUMENTS = 1_000
ARGUMENTS_LENGTH = 100_000
MOST_RETRIES = 10
RETRIES_RULE = f"Retries are a number between 0 and {MOST_RETRIES}."
#: The kinds of runs that `submit` gives.
SUBMITTED = frozenset({Kind.SCRIPT, Kind.PIPELINE})
LONGEST_TIME_LIMIT_S = 60 * 24 * 3600
_FORMS = UUID("b0e6c1a4-52a7-4f0c-9d0e-3f9a7c1d8e64")
_STEP_NAME_LENGTH = 99
_STEP_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9 ._-]{{0,{_STEP_NAME_LENGTH - 1}}}")
_VARIABLE_LENGTH = 255
_VARIABLE = re.compile(rf"[A-Za-z_][A-Za-z0-9_]{{0,{_VARIABLE_LENGTH - 1}}}")
_RESERVED = re.compile(r"STUDIO_.*|AZUREML_.*")


@dataclass(frozen=True)
class StepSpec:
    """One step to run: a script of a snapshot with its arguments. `after` names the steps it waits for.

    `arguments` are a list, or text split as a shell would; `target` None means the default of the submission.
    `command` is for what is no script: program and arguments, run in the snapshot's folder.
    """

    name: str
    script: str
    snapshot: Snapshot
    arguments: str | Sequence[str] = ()
    target: ComputeTarget | None = None
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    time_limit_s: int | None = None
    max_retries: int = 0
    after: Sequence[str] = ()
    command: Sequence[str] = ()


@dataclass(frozen=True)
class _Checked:
    spec: StepSpec
    target: ComputeTarget
    arguments: list[str]


def submit(
    workspace: Workspace,
    *,
    by: User,
    experiment_name: str,
    steps: Sequence[StepSpec],
    default_target: ComputeTarget | None,
    display_name: str = "",
    description: str = "",
    tags: Labels | None = None,
    submission_key: str = "",
    resubmitted_from: Run | None = None,
    continue_on_failure: bool = True,
    run_id: str = "",
    properties: Mapping[str, str] | None = None,
    parent: Run | None = None,
    run_configuration: Mapping[str, Any] | None = None,
    request_digest: UUID | None = None,
) -> tuple[Run, bool]:
    """Create and queue a script run (one step) or a pipeline run with its step runs (several).

    Gives the run, and whether it is new: the same `submission_key` with the same content, or `run_id` with
    the same `request_digest`, again gives the run that it made before. All or nothing: on an error nothing is
    kept. Raises SubmittedBefore for a key with other content, and StudioError kinds whose `field` names the
    input, `steps-<i>-<name>` for one of a step. `run_configuration` is kept as it is.
    """
    checked = check_steps(workspace, steps, default_target)
    new = NewRun(run_id, display_name, description, tags or {}, properties or {}, request_digest)
    new = check_new_run(new)
    if submission_key:
        new = replace(new, request_digest=_digest_of_form(experiment_name, checked, new, resubmitted_from))
    known = _earlier(workspace, submission_key, by, new)
    if known:
        return known, False
    try:
        with transaction.atomic():
            experiment = get_or_create_experiment(workspace, experiment_name, by=by)
            if parent is not None:
                hold_parent(parent, experiment)
            first, _ = reserve_numbers(experiment, len(checked) + (len(checked) > 1))
            shared = {
                "workspace": workspace,
                "experiment": experiment,
                "submitter": by,
                "resubmitted_from": resubmitted_from,
                "grace_s": settings.GRACE_SECONDS,
            }
            head = Run(
                **shared,
                number=first,
                submission_key=submission_key or None,
                continue_on_failure=continue_on_failure,
                run_configuration=run_configuration,
            )
            place_below(head, parent)
            if len(checked) == 1:
                return _create_script(head, checked[0], new), True
            return _create_pipeline(head, checked, new, shared, default_target), True
    except IntegrityError:
        known = _earlier(workspace, submission_key, by, new)
        known = known or earlier_run(new, workspace, experiment_name, SUBMITTED, by=by, parent=parent)
        if known is None:
            raise
        return known, False


def _earlier(workspace: Workspace, key: str, by: User, new: NewRun) -> Run | None:
    run = Run.objects.filter(submission_key=key).first() if key else None
    if run and (run.workspace_id != workspace.pk or run.submitter_id != by.pk):
        raise Conflict("This form was submitted by somebody else.", hint="Open the submit page again.")
    # A run of an earlier version has no digest of its form.
    if run and run.request_digest not in (None, new.request_digest):
        raise SubmittedBefore(run.run_id, run.name)
    return run


def _digest_of_form(
    experiment_name: str, steps: Sequence[_Checked], new: NewRun, resubmitted_from: Run | None
) -> UUID:
    """Of all that a form says, as it was understood: how it was typed makes no other run."""
    said = [experiment_name.strip(), new.display_name, new.description, new.tags]
    work = [
        [
            step.spec.name,
            step.spec.script,
            step.spec.snapshot.digest,
            step.arguments,
            step.spec.command,
            step.target.pk,
            step.spec.environment_variables,
            step.spec.time_limit_s,
            step.spec.max_retries,
            step.spec.after,
        ]
        for step in steps
    ]
    origin = resubmitted_from.pk if resubmitted_from else None
    return uuid5(_FORMS, json.dumps([said, work, origin], sort_keys=True))


def _insert(run: Run, new: NewRun) -> Run:
    fill(run, new if new.run_id else replace(new, run_id=new_run_id(run.experiment)))
    run.save(force_insert=True)
    insert_labels([(run, new)])
    return run


def _fill(run: Run, step: _Checked) -> None:
    run.script, run.arguments, run.target = step.spec.script, step.arguments, step.target
    run.command_words = list(step.spec.command)
    run.snapshot, run.environment_variables = step.spec.snapshot, dict(step.spec.environment_variables)
    run.time_limit_s, run.max_retries = step.spec.time_limit_s, step.spec.max_retries


def _queue(run: Run) -> Run:
    move(run, to=Status.QUEUED, expect=(Status.NOT_STARTED,), by=run.submitter, why=_submitted_by(run))
    return run


def _submitted_by(run: Run) -> str:
    return f"submitted by {run.submitter.shown_name}" if run.submitter else "submitted"


def _create_script(run: Run, step: _Checked, new: NewRun) -> Run:
    run.kind, name = Kind.SCRIPT, step.spec.name
    run.step_name = name if _STEP_NAME.fullmatch(name) else ""  # of a step alone nobody has asked for a name
    _fill(run, step)
    return _queue(_insert(run, new))


def _create_pipeline(
    pipeline: Run,
    steps: list[_Checked],
    new: NewRun,
    shared: dict,
    default_target: ComputeTarget | None,
) -> Run:
    pipeline.kind, pipeline.target = Kind.PIPELINE, default_target
    _insert(pipeline, new)
    runs: dict[str, Run] = {}
    for offset, step in enumerate(steps, start=1):
        run = Run(
            **shared,
            number=pipeline.number + offset,
            kind=Kind.STEP,
            step_name=step.spec.name,
        )
        place_below(run, pipeline)
        _fill(run, step)
        runs[step.spec.name] = _insert(run, NewRun())
    RunDependency.objects.bulk_create(
        RunDependency(step=runs[step.spec.name], waits_for=runs[before])
        for step in steps
        for before in dict.fromkeys(step.spec.after)
    )
    _queue(pipeline)
    for step in steps:
        if not step.spec.after:
            _queue(runs[step.spec.name])
    return pipeline


def check_steps(
    workspace: Workspace, steps: Sequence[StepSpec], default_target: ComputeTarget | None
) -> list[_Checked]:
    """The steps, checked and completed. Raises as `submit` does."""
    for error in step_errors(workspace, steps, default_target):
        raise error
    return [
        _Checked(step, step.target or cast("ComputeTarget", default_target), split_arguments(step.arguments))
        for step in steps
    ]


def step_errors(
    workspace: Workspace, steps: Sequence[StepSpec], default_target: ComputeTarget | None
) -> Iterator[StudioError]:
    """Everything for which `submit` refuses steps; it raises the first."""
    if not steps:
        yield InvalidPipeline("There is nothing to run.", hint="Add a step with a source and a script.")
        return
    if len(steps) > MOST_STEPS:
        yield InvalidPipeline(
            f"{len(steps)} steps are too many.", field="steps", hint=f"At most {MOST_STEPS}."
        )
    if default_target and default_target.workspace_id != workspace.pk:
        yield UnknownTarget("This compute target belongs to another workspace.", field="target")
    for index, step in enumerate(steps):
        yield from _errors_of_step(workspace, f"steps-{index}-", step, step.target or default_target)
    if len(steps) > 1:
        yield from _errors_of_graph(steps)
    elif steps[0].after:
        yield InvalidPipeline(
            "There is no other step that this one could run after.",
            field="steps-0-after",
            hint="Add that step, or leave “after” empty.",
        )


def _errors_of_step(
    workspace: Workspace, prefix: str, step: StepSpec, target: ComputeTarget | None
) -> Iterator[StudioError]:
    if target is None:
        yield UnknownTarget(
            "There is no compute target to run this on.",
            field=prefix + "target",
            hint="Choose one, or a default for all steps.",
        )
    elif target.workspace_id != workspace.pk:
        yield UnknownTarget("This compute target belongs to another workspace.", field=prefix + "target")
    yield from _errors_of_command(step, prefix) if step.command else _errors_of_script(step, prefix)
    yield from _errors_of_variables(step, prefix)
    limit = step.time_limit_s
    if limit is not None and not 1 <= limit <= LONGEST_TIME_LIMIT_S:
        yield InvalidInput("A time limit is between 1 second and 60 days.", field=prefix + "time_limit")
    if not 0 <= step.max_retries <= MOST_RETRIES:
        yield InvalidInput(RETRIES_RULE, field=prefix + "retries")
    yield from _errors_of_words(step.arguments, prefix + "arguments")


def _errors_of_script(step: StepSpec, prefix: str) -> Iterator[StudioError]:
    paths = [entry["path"] for entry in step.snapshot.files]
    if not step.script:
        yield InvalidSnapshot(
            "No script is chosen.", field=prefix + "script", hint="Name a file of the source."
        )
    elif step.script not in paths:
        scripts = [path for path in paths if path.endswith((".py", ".sh"))][:5]
        hint = f"It has {', '.join(scripts)}." if scripts else "It has no .py or .sh file."
        yield InvalidSnapshot(
            f"{_short(step.script, 80)} is not in the source.", field=prefix + "script", hint=hint
        )


def _errors_of_command(step: StepSpec, prefix: str) -> Iterator[StudioError]:
    if step.script or step.arguments:
        yield InvalidInput(
            "There is a command and a script too.",
            field=prefix + "command",
            hint="Give a command, or a script with its arguments.",
        )
    yield from _errors_of_words(step.command, prefix + "command")
    if not step.command[0]:
        yield InvalidInput("The command names no program.", field=prefix + "command")


def _errors_of_variables(step: StepSpec, prefix: str) -> Iterator[StudioError]:
    for name, value in step.environment_variables.items():
        if not _VARIABLE.fullmatch(name):
            yield InvalidInput(
                f"“{_short(name)}” cannot be the name of an environment variable"
                f"{_too_long(name, _VARIABLE_LENGTH)}.",
                field=prefix + "env",
                hint=f"Up to {_VARIABLE_LENGTH} letters, digits and _, not a digit first.",
            )
        elif _RESERVED.fullmatch(name):
            yield InvalidInput(
                f"{name} is set by Studio itself.", field=prefix + "env", hint="Choose another name."
            )
        if "\0" in value:
            yield InvalidInput(f"The value of {name} holds a NUL character.", field=prefix + "env")


def _short(text: str, most: int = 40) -> str:
    return spelled_out(text) if len(text) <= most else f"{spelled_out(text[:most])}…"


def _too_long(name: str, most: int) -> str:
    return f": it has {len(name):,} characters" if len(name) > most else ""


def _errors_of_words(words: str | Sequence[str], field_name: str) -> Iterator[StudioError]:
    try:
        split_arguments(words, field_name=field_name)
    except InvalidInput as error:
        yield error


def split_arguments(arguments: str | Sequence[str], *, field_name: str = "arguments") -> list[str]:
    """The words of a command line. Raises InvalidInput for unbalanced quotes, NUL, or too many."""
    if isinstance(arguments, str):
        try:
            words = shlex.split(arguments)
        except ValueError as error:
            raise InvalidInput(
                f"The arguments cannot be read: {str(error).lower()}.",
                field=field_name,
                hint="Close the quotes, or put \\ before a quote that is meant as a letter.",
            ) from None
    else:
        words = [str(word) for word in arguments]
    if any("\0" in word for word in words):
        raise InvalidInput("The arguments hold a NUL character.", field=field_name)
    if len(words) > MOST_ARGUMENTS or sum(map(len, words)) > ARGUMENTS_LENGTH:
        raise InvalidInput(
            "The arguments are too long.",
            field=field_name,
            hint=f"At most {MOST_ARGUMENTS:,} words and {ARGUMENTS_LENGTH:,} characters.",
        )
    return words


def _errors_of_graph(steps: Sequence[StepSpec]) -> Iterator[StudioError]:
    names: dict[str, int] = {}
    for index, step in enumerate(steps):
        if not _STEP_NAME.fullmatch(step.name):
            yield InvalidPipeline(
                f"“{_short(step.name)}” cannot be a step's name{_too_long(step.name, _STEP_NAME_LENGTH)}."
                if step.name
                else "A step needs a name.",
                field=f"steps-{index}-name",
                hint=f"Up to {_STEP_NAME_LENGTH} letters, digits, blanks and . _ -, a letter or digit first.",
            )
        elif step.name in names:
            yield InvalidPipeline(
                f"Two steps are called {step.name}.",
                field=f"steps-{index}-name",
                hint="Each needs a name of its own.",
            )
        names.setdefault(step.name, index)
    for index, step in enumerate(steps):
        for before in step.after:
            if before not in names:
                yield InvalidPipeline(
                    f"{step.name} runs after {_short(before)}, which is no step of this pipeline.",
                    field=f"steps-{index}-after",
                    hint=f"The steps are {', '.join(list(names)[:10])}.",
                )
    cycle = find_cycle({step.name: [before for before in step.after if before in names] for step in steps})
    if cycle and len(names) == len(steps):
        yield InvalidPipeline(
            f"These steps wait for each other: {' → '.join(cycle)}.",
            field=f"steps-{names[cycle[0]]}-after",
            hint="Take one of these edges away.",
        )


def find_cycle(after: Mapping[str, Sequence[str]]) -> list[str]:
    """The names around one cycle, first and last the same; [] when there is none."""
    done: set[str] = set()
    for start in after:
        path: list[str] = []
        stack = [(start, iter(after[start]))] if start not in done else []
        while stack:
            name, rest = stack[-1]
            if len(path) < len(stack):
                path.append(name)
            following = next(rest, None)
            if following is None:
                done.add(name)
                stack.pop()
                path.pop()
            elif following in path:
                return [*path[path.index(following) :], following][::-1]
            elif following not in done:
                stack.append((following, iter(after[following])))
    return []
