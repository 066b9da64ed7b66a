"""How much room the compute targets of a workspace have right now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Count

from runs.models import ComputeTarget, Node, Run
from studio.accounts.models import Workspace


@dataclass
class Capacity:
    """One compute target: its nodes, the slots of those that take runs, and how many runs queue for it."""

    target: ComputeTarget
    nodes: int = 0
    nodes_alive: int = 0
    slots: int = 0
    free: int = 0
    queued: int = 0

    @property
    def short(self) -> str:
        """A few words for a list: "4 of 4 slots free"."""
        if not self.nodes_alive:
            return "no node alive"
        return (
            f"{self.free} of {self.slots} slot{'s' if self.slots != 1 else ''} free"
            if self.slots
            else "draining"
        )

    @property
    def words(self) -> str:
        """The same as a sentence: "3 of 4 nodes alive, 2 queued."."""
        if not self.nodes:
            return "No node serves it yet: runs wait until one does."
        queued = f", {self.queued} queued" if self.queued else ""
        return f"{self.nodes_alive} of {self.nodes} node{'s' if self.nodes != 1 else ''} alive{queued}."


def capacities(targets: Iterable[ComputeTarget], workspace: Workspace) -> dict[str, Capacity]:
    """The room on each of these targets by name. Four queries, whatever their number."""
    found = {target.pk: Capacity(target) for target in targets}
    alive = set(Node.objects.alive().filter(target__workspace=workspace).values_list("pk", flat=True))
    taken = (
        Run.objects.filter(holds_slot=True, node__target__workspace=workspace).order_by().values("node__name")
    )
    used = dict(taken.annotate(n=Count("pk")).values_list("node__name", "n"))
    for node in Node.objects.filter(target__workspace=workspace):
        one = found.get(node.target_id)
        if one is None:
            continue
        one.nodes += 1
        one.nodes_alive += node.pk in alive
        if node.pk in alive and node.drained_at is None:
            one.slots += node.slots
            one.free += max(node.slots - used.get(node.name, 0), 0)
    queued = (
        Run.objects.in_workspace(workspace).queued().order_by().values("target_id").annotate(n=Count("pk"))
    )
    for target_id, n in queued.values_list("target_id", "n"):
        if target_id in found:
            found[target_id].queued = n
    return {one.target.name: one for one in found.values()}
