"""A run that waits for a child gives its slot back meanwhile, so that parents cannot starve their children.

Whoever waits says so again and again, and each time holds for `WAITS_FOR`: a parent that goes on, or is heard
of no more, has its slot back after that at the latest. It does not queue for it. For a moment a node may
so have more scripts than slots, and it claims nothing until that is over.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from runs.models import Node, Run
from runs.status import ON_NODE, Kind, Status
from runs.wake import wake

#: Longer than the longest wait of the API and the pause of a client between two.
WAITS_FOR = timedelta(seconds=40)
#: Who still looks when a run below it has been queued for so long has nothing else to do.
ASKED_AFTER = timedelta(seconds=5)
#: Parents whose children are looked for first.
MOST_PARENTS = 500


def wait_for_child(parent: Run, child: Run) -> None:
    """The parent's script waits for this run: its slot is free from now on. At most two queries.

    An interactive run needs no slot, and its process may be one of the parent's own: to wait for it is but a
    look at what is below.
    """
    if child.kind == Kind.INTERACTIVE:
        look_below(parent)
    else:
        _give_slot(parent, child)


def look_below(parent: Run) -> None:
    """The parent's script looks how what descends from it is: it waits for what has been queued for a while.

    It has its slot again at the first look when nothing is queued that could need it: on the targets that its
    node serves, whose slots are one pool. At most four queries, and for a run that has a parent one for each
    level of what is queued in its tree.
    """
    if parent.node_id is None:
        return
    served = Node.objects.filter(name__in=Node.objects.filter(pk=parent.node_id).values("name"))
    queued = Run.objects.queued().filter(root=parent.root_id or parent.pk, target__in=served.values("target"))
    if parent.root_id is not None:
        queued = queued.filter(parent__in=_parents_below({parent.pk}, queued))
    first = queued.annotate(is_late=Q(queued_at__lt=Now() - ASKED_AFTER)).first()
    if first is None:
        stop_waiting(parent)
    elif first.is_late:
        _give_slot(parent, first)


def awaited_parents(queued: QuerySet[Run]) -> set[int]:
    """The parents of those of the queued runs that descend from a run which waits, by their keys.

    A query, with a second one if any run waits, and one for each level between.
    """
    waiting = Run.objects.filter(waits_until__gte=Now()).values_list("pk", "root_id")[:MOST_PARENTS]
    roots = dict(waiting)
    family = {root or pk for pk, root in roots.items()}
    return _parents_below(set(roots), queued.filter(root__in=family)) if roots else set()


def _parents_below(tops: Collection[int], runs: QuerySet[Run]) -> set[int]:
    """Those parents of the runs that are one of `tops` or descend from one. A query, and one each level."""
    reached = {pk: pk for pk in runs.order_by().values_list("parent_id", flat=True).distinct() if pk}
    found: set[int] = set()
    while reached:
        found |= {pk for pk, above in reached.items() if above in tops}
        left = {pk: above for pk, above in reached.items() if above not in tops}
        rows = Run.objects.filter(pk__in=set(left.values()), parent__isnull=False)
        next_up = dict(rows.values_list("pk", "parent_id"))
        reached = {pk: next_up[above] for pk, above in left.items() if above in next_up}
    return found


def _give_slot(parent: Run, child: Run) -> None:
    rows = Run.objects.filter(pk=parent.pk, attempt=parent.attempt, status__in=sorted(ON_NODE))
    if rows.filter(holds_slot=True).update(holds_slot=False, waits_until=Now() + WAITS_FOR):
        if child.status == Status.QUEUED and child.target_id:
            wake(child.target_id)
    else:
        rows.filter(waits_until__isnull=False).update(waits_until=Now() + WAITS_FOR)


def stop_waiting(parent: Run) -> None:
    """The parent goes on: it has its slot again. One query."""
    rows = Run.objects.filter(pk=parent.pk, attempt=parent.attempt, waits_until__isnull=False)
    rows.filter(status__in=sorted(ON_NODE)).update(holds_slot=True, waits_until=None)


def take_slots_back() -> int:
    """Give their slots back to runs that said nothing more of waiting; how many. A query, and one if any."""
    late = Run.objects.filter(waits_until__lt=Now(), status__in=sorted(ON_NODE))
    return late.update_in_order(holds_slot=True, waits_until=None) if late.exists() else 0
