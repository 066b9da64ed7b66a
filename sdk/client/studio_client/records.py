"""What the server answers, as typed dictionaries. Times are ISO 8601 text in UTC; what is absent is None."""

from __future__ import annotations

from typing import Any, TypedDict


class ErrorRecord(TypedDict):
    """Why a run failed."""

    code: str
    message: str
    traceback: str


class RunRecord(TypedDict):
    """One run."""

    run_id: str
    number: int
    workspace: str
    experiment: str
    experiment_id: Any
    parent_run_id: str | None
    root_run_id: str
    kind: str
    status: str
    display_name: str | None
    name: str | None
    description: str | None
    submitter: str | None
    target: str | None
    node: str | None
    script: str | None
    arguments: list[str]
    command: list[str]
    run_configuration: dict[str, Any] | None
    snapshot: str | None
    tags: dict[str, str | None]
    properties: dict[str, str]
    attempt: int
    max_retries: int
    time_limit_s: int | None
    created_at: str
    queued_at: str | None
    started_at: str | None
    ended_at: str | None
    heartbeat_at: str | None
    archived_at: str | None
    error: ErrorRecord | None
    exit_code: int | None
    has_children: bool
    status_reason: str | None
    url: str
    version: str


class ExperimentRecord(TypedDict):
    """One experiment."""

    id: Any
    name: str
    workspace: str
    description: str
    tags: dict[str, str | None]
    archived_at: str | None
    created_at: str
    last_number: int
    url: str


class WorkspaceRecord(TypedDict):
    """One workspace, with the Azure names that its configuration files carry."""

    name: str
    description: str
    subscription_id: str
    resource_group: str
    location: str
    url: str
    created_at: str


class TargetRecord(TypedDict):
    """One compute target and the nodes that serve it."""

    name: str
    description: str
    is_default: bool
    created_at: str
    slots: int
    used: int
    queued: int
    nodes: list[dict[str, Any]]


class LogRecord(TypedDict):
    """One log file of a run."""

    name: str
    size: int
    attempt: int
    updated_at: str


class ArtifactRecord(TypedDict):
    """One file kept with a run."""

    path: str
    size: int
    sha256: str
    content_type: str
    created_at: str


#: All that Studio sets, in the order of a run's life.
STATUSES = (
    "NotStarted",
    "Queued",
    "Preparing",
    "Starting",
    "Running",
    "Finalizing",
    "CancelRequested",
    "NotResponding",
    "Completed",
    "Failed",
    "Canceled",
)
QUEUED = "Queued"
TERMINAL = frozenset({"Completed", "Failed", "Canceled"})
