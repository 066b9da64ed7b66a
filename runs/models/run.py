"""Runs, their events and their dependencies."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, models, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Coalesce, Now

from runs.models.compute import ComputeTarget, Node
from runs.models.experiment import Experiment
from runs.models.label import Tag
from runs.models.snapshot import Snapshot
from runs.status import ACTIVE, ON_NODE, OPEN, TERMINAL, ErrorClass, Kind, Status, choices
from studio.accounts.models import Workspace

_TERMINAL = sorted(TERMINAL)
_ACTIVE = sorted(ACTIVE)
#: What a row of a table of runs reads, whichever columns a person has chosen.
_ROW = (
    "run_id", "number", "parent", "root", "kind", "display_name", "step_name", "status", "script",
    "arguments", "command_words", "created_at", "started_at", "ended_at", "archived_at", "error_message",
    "experiment__name", "submitter__username", "target__name", "node__name",
)  # fmt: skip


class RunQuerySet(models.QuerySet["Run"]):
    """Runs by their use."""

    def in_workspace(self, workspace: Workspace) -> RunQuerySet:
        """Those of one workspace."""
        return self.filter(workspace=workspace)

    def active(self) -> RunQuerySet:
        """Neither terminal nor NotStarted."""
        return self.filter(status__in=_ACTIVE)

    def open(self) -> RunQuerySet:
        """Not terminal: what can still be cancelled."""
        return self.filter(status__in=sorted(OPEN))

    def on_node(self) -> RunQuerySet:
        """Those that have, or may still have, a process on a node."""
        return self.filter(status__in=sorted(ON_NODE))

    def queued(self) -> RunQuerySet:
        """Those that wait for a slot, the longest waiting first."""
        return self.filter(status=Status.QUEUED, kind__in=[Kind.SCRIPT, Kind.STEP]).order_by(
            "queued_at", "id"
        )

    def roots(self) -> RunQuerySet:
        """Those without a parent."""
        return self.filter(parent=None)

    def update_in_order(self, **changes: Any) -> int:
        """As `update`, holding the rows in the order of their keys first, as all do who change several runs.

        PostgreSQL updates rows in whatever order it finds them: two who do so may wait for each other.
        """
        if not connection.features.has_select_for_update:  # nor does anybody else write meanwhile
            return self.update(**changes)
        with transaction.atomic():
            held = self.order_by("pk").select_for_update(no_key=True).values_list("pk", flat=True)
            return Run.objects.filter(pk__in=list(held)).update(**changes)

    def for_table(self, *more: str) -> RunQuerySet:
        """With all that a table row shows and `more` columns: 2 queries (rows; their tags, as `labels`)."""
        return (
            self.select_related("experiment", "submitter", "target", "node")
            .only(*_ROW, *more)
            .prefetch_related(models.Prefetch("tags", to_attr="labels"))
        )

    def for_api(self) -> RunQuerySet:
        """With all that an answer of the API shows: 3 queries (rows, their tags, their properties).

        Each row also gets `parent_run_id`, `root_run_id`, `snapshot_digest` and `has_children`.
        """
        return (
            self.select_related("workspace", "experiment", "submitter", "target", "node")
            .defer(
                "search_text",
                "environment_variables",
                "request_digest",
                "workspace__description",
                "experiment__description",
            )
            .prefetch_related("tags", "properties")
            .annotate(
                parent_run_id=F("parent__run_id"),
                root_run_id=Coalesce("root__run_id", "run_id"),
                snapshot_digest=F("snapshot__digest"),
                has_children=Exists(Run.objects.filter(parent=OuterRef("pk"))),
            )
        )


class Run(models.Model):
    """One execution of something, or a group of such (a pipeline run).

    `status` is written by runs.lifecycle alone; the database refuses to change that of a run that has ended,
    and `run_id`, `number` and `experiment` of any (runs/guards.py). `workspace` repeats the experiment's, and
    `root` the topmost parent's id (null for a run without parent), so that lists can be read from one index.
    """

    run_id = models.CharField(max_length=256, unique=True)
    number = models.PositiveBigIntegerField()
    # Both have indexes that begin with them, below.
    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="runs", db_index=False)
    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="runs", db_index=False)
    parent = models.ForeignKey(
        "self", null=True, on_delete=models.PROTECT, related_name="children", db_index=False
    )
    root = models.ForeignKey(
        "self", null=True, on_delete=models.PROTECT, related_name="descendants", db_index=False
    )
    kind = models.CharField(max_length=20, choices=choices(Kind))
    display_name = models.CharField(max_length=256, blank=True, default="")
    description = models.TextField(blank=True, default="")
    status = models.CharField(max_length=20, choices=choices(Status), default=Status.NOT_STARTED)
    submitter = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="submitted_runs"
    )

    # What to execute, and where
    target = models.ForeignKey(
        ComputeTarget, null=True, on_delete=models.PROTECT, related_name="runs", db_index=False
    )
    # Not sparse as the other keys are: SQLite would count what a node does out of all runs that ever had one.
    node = models.ForeignKey(Node, null=True, on_delete=models.SET_NULL, related_name="runs")
    holds_slot = models.BooleanField(default=False)
    # Its script waits for a child and has given its slot back, until then at the latest.
    waits_until = models.DateTimeField(null=True)
    step_name = models.CharField(max_length=100, blank=True, default="")
    script = models.CharField(max_length=1024, blank=True, default="")
    arguments = models.JSONField(default=list, blank=True)  # list[str]
    # Instead of script and arguments, list[str].
    command_words = models.JSONField(
        default=list, blank=True, db_default=models.Value([], models.JSONField())
    )
    run_configuration = models.JSONField(null=True, blank=True)  # of whoever submitted it; kept as it came
    environment_variables = models.JSONField(default=dict, blank=True)  # str -> str
    time_limit_s = models.PositiveIntegerField(null=True)
    grace_s = models.PositiveIntegerField(default=10)
    max_retries = models.PositiveIntegerField(default=0)
    attempt = models.PositiveIntegerField(default=0)  # raised by every claim; the first attempt is 1
    # Of those, claims whose script never began.
    unstarted_attempts = models.PositiveIntegerField(default=0, db_default=0)
    continue_on_failure = models.BooleanField(default=True)  # of a pipeline: independent branches go on
    snapshot = models.ForeignKey(
        Snapshot, null=True, on_delete=models.PROTECT, related_name="runs", db_index=False
    )
    resubmitted_from = models.ForeignKey(
        "self", null=True, on_delete=models.SET_NULL, related_name="resubmissions", db_index=False
    )
    submission_key = models.CharField(max_length=64, null=True, unique=True)  # noqa: DJ001 (many have none)
    # Of the request that made it, where a client may send that again; null where nobody knows it.
    request_digest = models.UUIDField(null=True)

    # When
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    queued_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)  # of what pages show, not heartbeats
    archived_at = models.DateTimeField(null=True)

    # How it ended
    cancel_requested_at = models.DateTimeField(null=True)
    cancel_requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    # What it ends as once it has stopped as asked: Completed, Failed, or "" for Canceled.
    ends_as = models.CharField(max_length=20, blank=True, default="", db_default="")
    error_class = models.CharField(max_length=20, choices=choices(ErrorClass), blank=True, default="")
    error_code = models.CharField(
        max_length=100, blank=True, default="", db_default=""
    )  # the reporter's word
    error_message = models.TextField(blank=True, default="")
    error_traceback = models.TextField(blank=True, default="")
    exit_code = models.IntegerField(null=True)

    search_text = models.TextField(blank=True, default="")  # normalised by runs.search.text

    labels: list[Tag]  # only with `for_table`

    objects = RunQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["experiment", "number"], name="run_number_once"),
            models.CheckConstraint(condition=Q(number__gte=1), name="run_number_from_1"),
            models.CheckConstraint(
                condition=Q(status__in=[s.value for s in Status]), name="run_status_known"
            ),
            models.CheckConstraint(condition=Q(kind__in=[k.value for k in Kind]), name="run_kind_known"),
            models.CheckConstraint(
                condition=Q(error_class__in=["", *(c.value for c in ErrorClass)]),
                name="run_error_class_known",
            ),
            models.CheckConstraint(
                condition=Q(status__in=_TERMINAL, ended_at__isnull=False)
                | Q(ended_at=None) & ~Q(status__in=_TERMINAL),
                name="run_ended_if_terminal",
            ),
            models.CheckConstraint(
                condition=Q(started_at=None) | Q(ended_at=None) | Q(started_at__lte=F("ended_at")),
                name="run_starts_before_it_ends",
            ),
            models.CheckConstraint(
                condition=Q(parent=None) | ~Q(parent=F("id")), name="run_not_its_own_parent"
            ),
            models.CheckConstraint(
                condition=Q(parent=None, root=None) | Q(parent__isnull=False, root__isnull=False),
                name="run_root_if_parent",
            ),
            models.CheckConstraint(condition=~Q(run_id=""), name="run_id_not_empty"),
            models.CheckConstraint(
                condition=Q(ends_as__in=["", Status.COMPLETED.value, Status.FAILED.value]),
                name="run_ends_as_known",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=_TERMINAL) | Q(holds_slot=False), name="run_slot_freed_at_end"
            ),
        ]
        indexes = [
            # Runs page: newest of a workspace; the keyset is (workspace, id). Here and below, archived_at at
            # the end lets lists count what is not archived without reading 10,000 rows of the table.
            models.Index(fields=["workspace", "-id", "archived_at"], name="run_workspace_listed"),
            # Experiment page: newest of an experiment.
            models.Index(fields=["experiment", "-id"], name="run_experiment_newest"),
            # Top-level rows of a workspace and of an experiment.
            models.Index(
                fields=["workspace", "-id", "archived_at"],
                name="run_workspace_roots_listed",
                condition=Q(parent=None),
            ),
            models.Index(
                fields=["experiment", "-id", "archived_at"],
                name="run_experiment_roots_listed",
                condition=Q(parent=None),
            ),
            # Version of a list that polls: max(updated_at) of its scope.
            models.Index(fields=["workspace", "updated_at"], name="run_workspace_version"),
            models.Index(fields=["experiment", "updated_at"], name="run_experiment_version"),
            models.Index(
                fields=["root", "updated_at"], name="run_root_version", condition=Q(root__isnull=False)
            ),
            # Counts per status, capped, and chips.
            models.Index(fields=["experiment", "status", "-id"], name="run_experiment_status"),
            models.Index(fields=["workspace", "status", "-id"], name="run_workspace_status"),
            # Search `created:` from a time on, and the panel's dates.
            models.Index(fields=["workspace", "created_at"], name="run_workspace_created"),
            # Pipelines page and search `kind:pipeline`; search `is:archived`. Both are few among the runs.
            models.Index(
                fields=["workspace", "-id", "archived_at"],
                name="run_pipelines_listed",
                condition=Q(kind=Kind.PIPELINE.value),
            ),
            models.Index(
                fields=["workspace", "-id"],
                name="run_workspace_archived",
                condition=Q(archived_at__isnull=False),
            ),
            # Active runs, counted on every page; few rows whatever the age of the database.
            models.Index(
                fields=["workspace", "experiment", "target"],
                name="run_active",
                condition=Q(status__in=_ACTIVE),
            ),
            # Parents that wait for a child, whose children are claimed first; slots to be taken back.
            models.Index(fields=["waits_until"], name="run_waits", condition=Q(waits_until__isnull=False)),
            # Claim: what holds a slot of a machine, or gave it back for a while.
            models.Index(
                fields=["node"], name="run_slots", condition=Q(holds_slot=True) | Q(waits_until__isnull=False)
            ),
            # Claim: the longest waiting of a target.
            models.Index(
                fields=["target", "queued_at", "id"],
                name="run_queue",
                condition=Q(status=Status.QUEUED.value),
            ),
            # Foreign keys that most runs lack: an entry for each null would cost every new run a write.
            *(
                models.Index(fields=[name], name=f"run_{name}", condition=Q(**{f"{name}__isnull": False}))
                for name in (
                    "parent",
                    "root",
                    "target",
                    "snapshot",
                    "resubmitted_from",
                    "cancel_requested_by",
                )
            ),
        ]

    def __str__(self) -> str:
        return self.run_id

    @property
    def name(self) -> str:
        """What pages call the run."""
        return self.display_name or self.step_name or f"Run {self.number}"

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended for good."""
        return self.status in TERMINAL

    @property
    def is_active(self) -> bool:
        """Whether it counts as active."""
        return self.status in ACTIVE

    @property
    def may_cancel(self) -> bool:
        """Whether cancelling it would change anything; a cancel that was asked already would not."""
        return self.status in OPEN and self.status != Status.CANCEL_REQUESTED

    @property
    def duration(self) -> timedelta | None:
        """From start to end, or to now while it runs; None when it never started."""
        if self.started_at is None:
            return None
        return (self.ended_at or max(datetime.now(UTC), self.started_at)) - self.started_at

    @property
    def command(self) -> str:
        """What it executes as a shell would take it."""
        if self.command_words:
            return shlex.join(self.command_words)
        return shlex.join([self.script, *self.arguments]) if self.script else ""


class RunEvent(models.Model):
    """One change of status: the audit trail, and the timeline on the run's page.

    `seq` counts from 1 without gaps per run; `from_status` is the `to_status` of the event before (NotStarted
    first). Events are never changed nor taken away: the database refuses that, and gaps (runs/guards.py).
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="events", db_index=False)
    seq = models.PositiveIntegerField()
    at = models.DateTimeField(db_default=Now(), editable=False)
    from_status = models.CharField(max_length=20, blank=True, default="")
    to_status = models.CharField(max_length=20, choices=choices(Status))
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    attempt = models.PositiveIntegerField(default=0)
    why = models.TextField(blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "seq"], name="run_event_gapless"),
            models.UniqueConstraint(
                fields=["run"], condition=Q(to_status__in=_TERMINAL), name="run_event_one_end"
            ),
            models.CheckConstraint(condition=Q(seq__gte=1), name="run_event_from_1"),
            models.CheckConstraint(
                condition=Q(to_status__in=[s.value for s in Status]), name="run_event_status_known"
            ),
            models.CheckConstraint(
                condition=~Q(from_status__in=_TERMINAL), name="run_event_nothing_after_end"
            ),
        ]
        ordering = ["seq"]

    def __str__(self) -> str:
        return f"{self.from_status} → {self.to_status}"


class RunDependency(models.Model):
    """An edge of a pipeline: `step` waits for `waits_for`."""

    step = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="dependencies")
    waits_for = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="dependents")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["step", "waits_for"], name="run_dependency_once"),
            models.CheckConstraint(condition=~Q(step=F("waits_for")), name="run_dependency_not_on_itself"),
        ]

    def __str__(self) -> str:
        return f"{self.step_id} waits for {self.waits_for_id}"
