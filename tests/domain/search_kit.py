"""A small world of runs, each there for the questions that the search tests ask."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from runs.models import Run
from runs.search.parser import parse
from runs.search.query import Search
from runs.status import TERMINAL, Kind, Status
from studio.accounts.models import User, Workspace
from tests.factories import make_experiment, make_node, make_run, make_target, make_user, make_workspace

NOW = datetime(2026, 11, 21, 15, 30, tzinfo=UTC)


@dataclass
class World:
    """Makes runs in one workspace; people, experiments, targets and nodes come into being when named."""

    workspace: Workspace
    runs: dict[str, Run] = field(default_factory=dict)

    def person(self, name: str) -> User:
        """A member of this name."""
        return make_user(name, workspace=self.workspace)

    def run(
        self,
        name: str,
        *,
        experiment: str = "mnist",
        submitter: str = "ana",
        target: str = "",
        node: str = "",
        age: timedelta = timedelta(0),
        lasted: timedelta | None = timedelta(minutes=1),
        status: Status = Status.COMPLETED,
        parent: str = "",
        **over: Any,
    ) -> Run:
        """A run that was created `age` ago and, unless `lasted` is None, started at once."""
        where = make_target(target, workspace=self.workspace) if target else None
        created = NOW - age
        self.runs[name] = make_run(
            run_id=f"{experiment}_{self.workspace.pk:02x}{len(self.runs):02x}",
            experiment=make_experiment(experiment, workspace=self.workspace),
            display_name=name,
            submitter=self.person(submitter) if submitter else None,
            target=where,
            node=make_node(node, target=where) if node else None,
            status=status,
            parent=self.runs[parent] if parent else None,
            created_at=created,
            started_at=None if lasted is None else created,
            ended_at=created + (lasted or timedelta(0)) if status in TERMINAL else None,
            **{"kind": Kind.SCRIPT, "error_class": "", **over},
        )
        return self.runs[name]

    def search(self, text: str, *, person: str = "", **options: Any) -> Search:
        """A search of the whole workspace at NOW."""
        scope = Run.objects.in_workspace(self.workspace)
        who = self.person(person) if person else None
        return Search(scope, parse(text), person=who, now=NOW, **options)

    def found(self, text: str, *, person: str = "") -> str:
        """The names that a search finds, newest first; the same however it is found, and counted right."""
        search = self.search(text, person=person)
        names = " ".join(run.display_name for run in search.page(size=100).rows)
        assert search.count() == (len(names.split()), False)
        assert self.search(text, person=person).count() == (len(names.split()), False)
        far = self.search(text, person=person)
        far.window = 1
        page = far.page(size=100)
        assert " ".join(run.display_name for run in page.rows) == names
        assert far.count() == (len(names.split()), False)
        matching = self.search(text, person=person).matching().order_by("-pk")
        assert " ".join(matching.values_list("display_name", flat=True)) == names
        return names


def make_world(name: str = "ml-team") -> World:
    """An empty world."""
    return World(make_workspace(name))
