"""Rows for tests, made with the plain ORM (metrics by their service), as Studio would have left them."""

from __future__ import annotations

import io
import math
import secrets
from array import array
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from runs.models import (
    ComputeTarget,
    Experiment,
    Node,
    Property,
    Run,
    RunDependency,
    RunEvent,
    Snapshot,
    Tag,
)
from runs.points import Points, Values, narrow_type
from runs.search.text import build_search_text
from runs.services.metrics import Series, write_metrics
from runs.services.snapshots import snapshot_from_files
from runs.status import ON_NODE, TERMINAL, ErrorClass, Kind, Status
from studio.accounts.models import Membership, Role, User, Workspace

_BEFORE: list[Status] = [Status.QUEUED, Status.PREPARING, Status.STARTING, Status.RUNNING]
_UNTIL: dict[Status, list[Status]] = {
    Status.NOT_STARTED: [],
    Status.QUEUED: _BEFORE[:1],
    Status.PREPARING: _BEFORE[:2],
    Status.STARTING: _BEFORE[:3],
    Status.RUNNING: _BEFORE,
    Status.FINALIZING: [*_BEFORE, Status.FINALIZING],
    Status.CANCEL_REQUESTED: [*_BEFORE, Status.CANCEL_REQUESTED],
    Status.NOT_RESPONDING: [*_BEFORE, Status.NOT_RESPONDING],
    Status.COMPLETED: [*_BEFORE, Status.FINALIZING, Status.COMPLETED],
    Status.FAILED: [*_BEFORE, Status.FINALIZING, Status.FAILED],
    Status.CANCELED: [*_BEFORE, Status.CANCEL_REQUESTED, Status.CANCELED],
}


def make_workspace(name: str = "default") -> Workspace:
    """The workspace of this name."""
    return Workspace.objects.get_or_create(name=name)[0]


def make_user(name: str, role: Role | None = Role.CONTRIBUTOR, *, workspace: Workspace | None = None) -> User:
    """The person of this name, a member of the workspace (`default`) unless `role` is None."""
    user = User.objects.get_or_create(username=name)[0]
    if role:
        where = workspace or make_workspace()
        Membership.objects.get_or_create(user=user, workspace=where, defaults={"role": role})
    return user


def make_experiment(name: str = "mnist", **over: Any) -> Experiment:
    """The experiment of this name in the workspace (`default`)."""
    workspace = over.pop("workspace", None) or make_workspace()
    return Experiment.objects.get_or_create(workspace=workspace, name=name, defaults=over)[0]


def make_target(name: str = "local", **over: Any) -> ComputeTarget:
    """The compute target of this name in the workspace (`default`)."""
    workspace = over.pop("workspace", None) or make_workspace()
    return ComputeTarget.objects.get_or_create(workspace=workspace, name=name, defaults=over)[0]


def make_node(name: str = "box", *, target: ComputeTarget | None = None, **over: Any) -> Node:
    """A node of the target (`local`) with two slots, seen just now."""
    now = datetime.now(UTC)
    facts = {"cpus": 2, "memory_bytes": 8 * 2**30, "gpus": [], "python": "3.11.7", "system": "Linux"}
    columns = {"slots": 2, "facts": facts, "started_at": now - timedelta(hours=1), "last_seen_at": now}
    return Node.objects.create(target=target or make_target(), name=name, **{**columns, **over})


def make_snapshot(files: Mapping[str, str | bytes] | None = None) -> Snapshot:
    """A snapshot of these files, really stored; of one script `train.py` unless told otherwise."""
    given = files or {"train.py": "print('hello')\n"}
    files_bytes = {path: data if isinstance(data, bytes) else data.encode() for path, data in given.items()}
    return snapshot_from_files([(path, io.BytesIO(data)) for path, data in files_bytes.items()], by=None)


def make_run(
    *,
    tags: Mapping[str, str | None] | None = None,
    properties: Mapping[str, str] | None = None,
    metrics: Mapping[str, float | None] | None = None,
    events: Sequence[Mapping[str, Any]] | None = None,
    **over: Any,
) -> Run:
    """A run, Completed unless told otherwise, with the stamps and events of its status.

    `experiment` may be a name or a row, `events` are columns of RunEvent, the last with the run's status; all
    other keywords are columns of Run. Without more it is run 1, 2,
    3 … of experiment `mnist`, submitted by ana ten minutes ago to the target `local`.
    """
    status = Status(over.pop("status", Status.COMPLETED))
    group = over.pop("experiment", "mnist")
    if isinstance(group, str):
        group = make_experiment(group, workspace=over.pop("workspace", None))
    run = Run(**{**_columns(group, status, over), **over})
    run.root = run.parent and (run.parent.root or run.parent)
    run.search_text = build_search_text(
        name=run.name,
        description=run.description,
        experiment=group.name,
        submitter=run.submitter.username if run.submitter else "",
        run_id=run.run_id,
        tags=(tags or {}).items(),
    )
    run.save(force_insert=True)
    _add_events(run, events)
    Tag.objects.bulk_create(Tag(run=run, key=key, value=value) for key, value in (tags or {}).items())
    Property.objects.bulk_create(Property(run=run, key=k, value=v) for k, v in (properties or {}).items())
    if metrics:
        log_metrics(run, {name: [math.nan if value is None else value] for name, value in metrics.items()})
    return run


def log_metrics(run: Run, metrics: Mapping[str, Sequence[Any]], *, kind: str = "scalar") -> None:
    """Store these values as `run.log` would send them, a second apart, with steps from 0."""
    series = [Series(name, points_of({"": values}, steps=True), kind) for name, values in metrics.items()]
    write_metrics(run, series, writer=secrets.token_hex(8), seq=1)


def log_rows(run: Run, name: str, columns: Mapping[str, Sequence[Any]], *, kind: str = "row") -> None:
    """Store these columns as `run.log_row` or `run.log_table` would send them."""
    write_metrics(run, [Series(name, points_of(columns), kind)], writer=secrets.token_hex(8), seq=1)


def points_of(columns: Mapping[str, Sequence[Any]], *, steps: bool = False) -> Points:
    """Points with these values, in the narrowest type that holds them."""
    typed: dict[str, Values] = {}
    for name, values in columns.items():
        kind = narrow_type(list(values))
        typed[name] = list(values) if kind == "json" else array("d" if kind == "f8" else "q", values)
    count = len(next(iter(typed.values())))
    times = array("d", [1_700_000_000.0 + second for second in range(count)])
    return Points(typed, times, array("q", range(count)) if steps else None)


def _columns(group: Experiment, status: Status, over: Mapping[str, Any]) -> dict[str, Any]:
    """What a run of this status holds when nothing else is said."""
    if "number" not in over:
        group.last_number += 1
        group.save(update_fields=["last_number"])
    kind = over.get("kind", Kind.STEP if over.get("parent") else Kind.SCRIPT)
    executes = kind in (Kind.SCRIPT, Kind.STEP)
    created = over.get("created_at") or datetime.now(UTC) - timedelta(minutes=10)
    started = status not in (Status.NOT_STARTED, Status.QUEUED, Status.PREPARING, Status.STARTING)
    failed = status == Status.FAILED
    return {
        "run_id": f"{group.name}_{over.get('number', group.last_number)}_{secrets.token_hex(4)}",
        "number": group.last_number,
        "workspace": group.workspace,
        "experiment": group,
        "kind": kind,
        "status": status,
        "submitter": None if "submitter" in over else make_user("ana", workspace=group.workspace),
        "target": make_target(workspace=group.workspace) if executes and "target" not in over else None,
        "script": "train.py" if executes else "",
        "attempt": int(executes and status not in (Status.NOT_STARTED, Status.QUEUED)),
        "holds_slot": executes and status in ON_NODE,
        "created_at": created,
        "updated_at": created,
        "queued_at": None if status == Status.NOT_STARTED else created,
        "started_at": created + timedelta(seconds=1) if started else None,
        "ended_at": created + timedelta(seconds=61) if status in TERMINAL else None,
        "heartbeat_at": datetime.now(UTC) if status in ON_NODE else None,
        "exit_code": 0 if status == Status.COMPLETED and executes else 1 if failed else None,
        "error_class": ErrorClass.SCRIPT if failed else "",
        "error_message": "The script ended with exit code 1." if failed else "",
    }


def _add_events(run: Run, given: Sequence[Mapping[str, Any]] | None) -> None:
    """Those given, or the way to the run's status."""
    events = [{"to_status": to} for to in _UNTIL[Status(run.status)]] if given is None else given
    before = [Status.NOT_STARTED, *(event["to_status"] for event in events)]
    RunEvent.objects.bulk_create(
        RunEvent(run=run, seq=seq, from_status=before[seq - 1], **{"attempt": run.attempt, **event})
        for seq, event in enumerate(events, start=1)
    )


def make_pipeline(
    steps: Mapping[str, Sequence[str]] | None = None,
    *,
    statuses: Mapping[str, Status] | None = None,
    **over: Any,
) -> Run:
    """A pipeline run with its steps; `steps` maps a name to the names it waits for.

    Steps have the pipeline's status unless `statuses` names another. They are `run.children`.
    """
    wanted = steps or {"prepare": [], "train": ["prepare"], "evaluate": ["train"]}
    pipeline = make_run(**{"kind": Kind.PIPELINE, "status": Status.COMPLETED, **over})
    made: dict[str, Run] = {}
    for name, after in wanted.items():
        made[name] = make_run(
            kind=Kind.STEP,
            parent=pipeline,
            experiment=pipeline.experiment,
            submitter=pipeline.submitter,
            step_name=name,
            status=(statuses or {}).get(name, pipeline.status),
        )
        RunDependency.objects.bulk_create(
            RunDependency(step=made[name], waits_for=made[other]) for other in after
        )
    return pipeline
