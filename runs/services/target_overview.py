"""The compute targets of a workspace as the Compute page shows them: nodes, slots, what runs, what waits."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from operator import attrgetter
from statistics import median
from typing import Any

from django.conf import settings
from django.db.models import (
    BooleanField,
    Count,
    ExpressionWrapper,
    Max,
    Min,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
)
from django.db.models.functions import Now

from runs.errors import NotFound
from runs.folding import spelled_out
from runs.models import ComputeTarget, Node, Run
from runs.models.compute import NODE_ALIVE_FOR
from studio.accounts.models import Workspace

#: Of so many started runs the median wait is taken, the newest ones.
WAITS_LOOKED_AT = 500
WAITS_WITHIN = timedelta(days=7)
SQUARES_MOST = 16
RUNS_NAMED = 3


def facts_text(facts: list[dict[str, Any]], *, with_python: bool = False) -> str:
    """What machines have, added up: "16 CPU, 64 GB, 2 × A4000". Machines with GPUs of one kind say those."""
    cpus = sum(int(one.get("cpus") or 0) for one in facts)
    memory = sum(int(one.get("memory_bytes") or 0) for one in facts)
    gpus = Counter(_short(name) for one in facts for name in one.get("gpus") or [])
    words = [f"{cpus} CPU"] if cpus else []
    words += [f"{round(memory / 2**30)} GB"] if memory else []
    words += [f"{n} × {name}" for name, n in gpus.items()]
    if with_python and not gpus and facts and facts[0].get("python"):
        words.append(f"Python {facts[0]['python']}")
    return ", ".join(words)


def _short(gpu: str) -> str:
    """A GPU's name without its maker: "NVIDIA RTX A4000" is "A4000"."""
    return gpu.removeprefix("NVIDIA ").removeprefix("RTX ").removeprefix("Tesla ")


@dataclass
class NodeRow:
    """One node of one target. `used` counts what takes its machine's slots, whichever target that is for."""

    node: Node
    is_alive: bool
    used: int = 0
    runs: list[Run] = field(default_factory=list)

    @property
    def state(self) -> str:
        """alive, draining or not-seen."""
        if not self.is_alive:
            return "not-seen"
        return "draining" if self.node.drained_at else "alive"

    @property
    def offered(self) -> int:
        """Slots that take runs."""
        return self.node.slots if self.state == "alive" else 0

    @property
    def squares(self) -> list[str]:
        """One word a slot: used, free, or off for one that is not offered."""
        rest = "free" if self.state == "alive" else "off"
        words = ["used"] * min(self.used, self.node.slots)
        return (words + [rest] * (self.node.slots - len(words)))[:SQUARES_MOST]

    @property
    def named(self) -> list[Run]:
        """The runs that are named, as far as there is room."""
        return self.runs[:RUNS_NAMED]

    @property
    def unnamed(self) -> int:
        """How many more there are."""
        return max(len(self.runs) - RUNS_NAMED, 0)

    @property
    def has(self) -> str:
        """What the machine has."""
        return facts_text([self.node.facts], with_python=True)


@dataclass
class TargetRow:
    """One compute target with its nodes. `command` starts one; it is there for targets that have none."""

    target: ComputeTarget
    command: str = ""
    nodes: list[NodeRow] = field(default_factory=list)
    queued: int = 0

    @property
    def alive(self) -> int:
        """Nodes that were seen lately."""
        return sum(row.is_alive for row in self.nodes)

    @property
    def slots(self) -> int:
        """Slots that take runs."""
        return sum(row.offered for row in self.nodes)

    @property
    def used(self) -> int:
        """Slots of those that are taken."""
        return sum(min(row.used, row.node.slots) for row in self.nodes if row.offered)

    @property
    def squares(self) -> list[str]:
        """One word a slot, those that are taken first."""
        free = self.slots - self.used
        return (["used"] * self.used + ["free"] * free)[:SQUARES_MOST]

    @property
    def has(self) -> str:
        """What its nodes have together, those alive if any is; only the GPUs where there are any."""
        facts = [row.node.facts for row in self.nodes if row.is_alive or not self.alive]
        whole = facts_text(facts)
        gpus = [word for word in whole.split(", ") if "×" in word]
        return ", ".join(gpus) or whole

    @property
    def last_seen_at(self) -> datetime | None:
        """The last sign of life of any node."""
        return max((row.node.last_seen_at for row in self.nodes if row.node.last_seen_at), default=None)


@dataclass
class Overview:
    """All of it, with the sums. A machine that serves several targets counts once."""

    targets: list[TargetRow]
    longest_wait_since: datetime | None
    median_wait: timedelta | None

    def _machines(self) -> dict[str, NodeRow]:
        rows = [row for target in self.targets for row in target.nodes]
        return {row.node.name: row for row in sorted(rows, key=lambda row: row.offered)}

    @property
    def nodes(self) -> int:
        """Machines that are known."""
        return len(self._machines())

    @property
    def alive(self) -> int:
        """Machines that were seen lately."""
        return sum(row.is_alive for row in self._machines().values())

    @property
    def slots(self) -> int:
        """Slots that take runs."""
        return sum(row.offered for row in self._machines().values())

    @property
    def used(self) -> int:
        """Slots of those that are taken."""
        return sum(min(row.used, row.node.slots) for row in self._machines().values() if row.offered)

    @property
    def queued(self) -> int:
        """Runs that wait for a slot."""
        return sum(row.queued for row in self.targets)


def target_overview(workspace: Workspace) -> Overview:
    """The whole page. Five queries: those of `target_rows`, and how long runs have waited."""
    rows, longest_wait_since = target_rows(workspace)
    for row in rows:
        row.command = "" if row.nodes else start_command(row.target, workspace)
    return Overview(rows, longest_wait_since, _median_wait(workspace))


def target_rows(workspace: Workspace) -> tuple[list[TargetRow], datetime | None]:
    """All targets, the default first, and since when the run that waits longest waits.

    Four queries: targets, nodes, what they run, what waits.
    """
    targets = ComputeTarget.objects.filter(workspace=workspace).order_by("-is_default", "name")
    rows = {target.pk: TargetRow(target) for target in targets}
    alive = ExpressionWrapper(Q(last_seen_at__gte=Now() - NODE_ALIVE_FOR), output_field=BooleanField())
    nodes = Node.objects.filter(target__workspace=workspace).select_related("drained_by").order_by("name")
    by_pk: dict[int, NodeRow] = {}
    for node in nodes.annotate(is_alive=alive):
        by_pk[node.pk] = NodeRow(node, bool(node.is_alive))
        rows[node.target_id].nodes.append(by_pk[node.pk])
    _add_runs(workspace, by_pk)
    return list(rows.values()), _add_queued(workspace, rows)


def target_row(workspace: Workspace, name: str) -> TargetRow:
    """One of these by its name. Raises NotFound."""
    row = next((row for row in target_rows(workspace)[0] if row.target.name == name), None)
    if row is None:
        raise NotFound(f"There is no compute target {spelled_out(name[:40])}.", field="target")
    return row


def _add_runs(workspace: Workspace, by_pk: dict[int, NodeRow]) -> None:
    """Put what is on a node into its row, and what takes a slot into all rows of its machine."""
    runs = Run.objects.in_workspace(workspace).on_node().filter(node__isnull=False)
    shown = runs.select_related("experiment").only(
        "number", "display_name", "step_name", "node_id", "holds_slot", "status", "experiment__name"
    )
    taken: Counter[str] = Counter()
    # Sorted here: SQLite would walk through all runs in the order of their keys.
    for run in sorted(shown.order_by(), key=attrgetter("pk")):
        row = by_pk.get(run.node_id or 0)
        if row is not None:
            row.runs.append(run)
            taken[row.node.name] += run.holds_slot
    for row in by_pk.values():
        row.used = taken[row.node.name]


def _add_queued(workspace: Workspace, rows: dict[int, TargetRow]) -> datetime | None:
    """Put the number of queued runs into the rows; since when the longest waiting one waits."""
    queued = Run.objects.in_workspace(workspace).queued().order_by().values("target_id")
    since = []
    for target_id, n, first in queued.annotate(n=Count("pk"), first=Min("queued_at")).values_list(
        "target_id", "n", "first"
    ):
        if target_id in rows:
            rows[target_id].queued = n
            since.append(first)
    return min((moment for moment in since if moment), default=None)


def _median_wait(workspace: Workspace) -> timedelta | None:
    """How long runs of the last days have waited from Queued to Running, in the middle."""
    newest: QuerySet[Run] = Run.objects.in_workspace(workspace).order_by("-id")
    after = datetime.now(UTC) - WAITS_WITHIN
    rows = newest.values_list("created_at", "queued_at", "started_at", "target_id")[:WAITS_LOOKED_AT]
    waits = [
        (started - queued).total_seconds()
        for created, queued, started, target in islice(rows, WAITS_LOOKED_AT)
        if queued and started and target and created >= after
    ]
    return timedelta(seconds=max(median(waits), 0)) if waits else None


def _versions() -> QuerySet[Any]:
    nodes = Node.objects.filter(target__workspace=OuterRef("pk")).order_by().values("target__workspace")
    targets = ComputeTarget.objects.filter(workspace=OuterRef("pk")).order_by().values("workspace")
    newest = Run.objects.filter(workspace=OuterRef("pk")).order_by("-updated_at")
    return Workspace.objects.values_list(
        Subquery(targets.annotate(n=Count("pk")).values("n")),
        Subquery(targets.annotate(n=Max("updated_at")).values("n")),
        Subquery(nodes.annotate(n=Count("pk")).values("n")),
        Subquery(nodes.annotate(n=Count("drained_at")).values("n")),
        Subquery(nodes.annotate(n=Max("last_seen_at")).values("n")),
        Subquery(nodes.filter(last_seen_at__gte=Now() - NODE_ALIVE_FOR).annotate(n=Count("pk")).values("n")),
        Subquery(newest.values("updated_at")[:1]),
    )


_VERSIONS = _versions()  # once: for each poll anew that would take longer than the query itself


def overview_version(workspace: Workspace) -> str:
    """A word that differs whenever the page would. One query."""
    parts = _VERSIONS.get(pk=workspace.pk)
    words = [f"{part.timestamp():.3f}" if isinstance(part, datetime) else str(part or 0) for part in parts]
    return "-".join(words)


def start_command(target: ComputeTarget, workspace: Workspace) -> str:
    """What a person types on the machine that is to serve this target. No password is in it."""
    name = f"{workspace.name}/{target.name}"
    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        targets = ",".join(dict.fromkeys([*settings.NODE_TARGETS, name]))
        folder = settings.DATA_DIR
        data = "" if folder == settings.BASE_DIR / "var" else f"STUDIO_DATA={shlex.quote(str(folder))} "
        port = "" if settings.STUDIO_PORT == 8000 else f"STUDIO_PORT={settings.STUDIO_PORT} "
        return f"{data}{port}STUDIO_TARGETS={targets} make run"
    where = f"{database['HOST']}:{database['PORT']}".rstrip(":")
    return (
        f"STUDIO_DATABASE_URL=postgresql://USER:PASSWORD@{where}/{database['NAME']} STUDIO_BROKER_URL=… "
        f"STUDIO_SECRET_KEY=… STUDIO_STORAGE=… python manage.py node --targets {name} --slots 2"
    )
