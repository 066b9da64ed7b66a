"""A small world of runs, each there for the questions that the search tests ask."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from runs.models import ComputeTarget, Experiment, Metric, Node, Property, Run, Tag
from runs.search.parser import parse
from runs.search.query import Search
from runs.search.text import build_search_text
from runs.status import TERMINAL, Kind, Status
from studio.accounts.models import Membership, Role, User, Workspace

NOW = datetime(2026, 11, 21, 15, 30, tzinfo=UTC)


@dataclass
class World:
    """Makes runs in one workspace; people, experiments, targets and nodes come into being when named."""

    workspace: Workspace
    runs: dict[str, Run] = field(default_factory=dict)

    def person(self, name: str) -> User:
        """A member of this name."""
        user, made = User.objects.get_or_create(username=name)
        if made:
            Membership.objects.create(user=user, workspace=self.workspace, role=Role.CONTRIBUTOR)
        return user

    def experiment(self, name: str) -> Experiment:
        """The experiment of this name."""
        return Experiment.objects.get_or_create(workspace=self.workspace, name=name)[0]

    def target(self, name: str) -> ComputeTarget:
        """The compute target of this name."""
        return ComputeTarget.objects.get_or_create(workspace=self.workspace, name=name)[0]

    def run(
        self,
        name: str,
        *,
        experiment: str = "mnist",
        submitter: str = "ana",
        target: str = "",
        node: str = "",
        tags: dict[str, str | None] | None = None,
        properties: dict[str, str] | None = None,
        metrics: dict[str, float | None] | None = None,
        age: timedelta = timedelta(0),
        lasted: timedelta | None = timedelta(minutes=1),
        status: str = Status.COMPLETED,
        parent: str = "",
        **columns: Any,
    ) -> Run:
        """A run that was created `age` ago and, unless `lasted` is None, started at once."""
        group = self.experiment(experiment)
        group.last_number += 1
        group.save()
        created = NOW - age
        mother = self.runs[parent] if parent else None
        run = Run(
            run_id=f"{experiment}_{group.last_number}_{self.workspace.pk:02x}{len(self.runs):02x}",
            number=group.last_number,
            workspace=self.workspace,
            experiment=group,
            display_name=name,
            submitter=self.person(submitter) if submitter else None,
            target=self.target(target) if target else None,
            node=Node.objects.get_or_create(target=self.target(target), name=node, slots=1)[0]
            if node
            else None,
            status=status,
            parent=mother,
            root=mother and (mother.root or mother),
            created_at=created,
            started_at=None if lasted is None else created,
            ended_at=created + (lasted or timedelta(0)) if status in TERMINAL else None,
            **{"kind": Kind.SCRIPT, **columns},
        )
        run.search_text = build_search_text(
            name=run.name,
            description=run.description,
            experiment=experiment,
            submitter=submitter,
            run_id=run.run_id,
            tags=(tags or {}).items(),
        )
        run.save()
        for key, value in (tags or {}).items():
            Tag.objects.create(run=run, key=key, value=value)
        for key, text in (properties or {}).items():
            Property.objects.create(run=run, key=key, value=text)
        for metric, last in (metrics or {}).items():
            Metric.objects.create(run=run, name=metric, count=1, last=last, least=last, most=last)
        self.runs[name] = run
        return run

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
    return World(Workspace.objects.get_or_create(name=name)[0])
