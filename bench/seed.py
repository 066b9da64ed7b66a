"""Fill an empty database with as many runs as a busy team makes in a year: quickly, and always the same.

    python manage.py shell -c "from bench.seed import seed; seed(experiments=1000, runs=100_000, tags=5)"

`WORDS` and `TAGS` say what is in it how often, for benchmarks to ask for.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.core.management.color import no_style
from django.db import connection, transaction

from runs.models import ComputeTarget, Experiment, Metric, Node, Run, Tag
from runs.points import Points
from runs.search.index import rebuilt_after
from runs.search.text import build_search_text
from runs.services.metrics import Series, write_metrics
from runs.status import TERMINAL, ErrorClass, Kind, Status
from studio.accounts.models import Membership, Role, User, Workspace

#: Words of descriptions: 20 % of the runs, 1 %, twenty runs, the oldest 5 %, none.
WORDS = {"common": "baseline", "medium": "ablation", "rare": "zebrafish", "old": "legacy", "absent": "quagga"}
#: Tags: half of the runs, twenty runs, one run, none.
TAGS = {"half": "quality=good", "rare": "golden=yes", "single": "seed=77", "absent": "quality=nobody"}

_PEOPLE = ("ana", "ben", "chi", "dan", "eva", "finn", "gül", "hao", "ines", "jürgen")
_TARGETS = ("local", "gpu-compute", "cpu-cluster")
_NOUNS = (
    "mnist",
    "digits",
    "churn",
    "fraud",
    "speech",
    "sentiment",
    "traffic",
    "weather",
    "protein",
    "cells",
)
_FILLER = (
    "after changing the learning rate schedule this run looks at how far dropout and weight decay help when "
    "the validation split is drawn by patient and not by image with early stopping on the averaged loss"
)
_CHUNK = 2_000
_METRICS = ["accuracy", "loss", "epoch", "lr"]
#: So many of the newest runs have points, and so many of each metric.
_WITH_POINTS, _POINTS = 300, 200
_SPAN = timedelta(days=365)


@dataclass(frozen=True)
class Seeded:
    """What was made."""

    workspace: Workspace
    experiments: list[Experiment]
    first_id: int
    runs: int


def seed(experiments: int = 1_000, runs: int = 100_000, tags: int = 5, metrics: int = 2) -> Seeded:
    """Make a workspace `bench` with this many of each; about 100 s for 100,000 runs with 5 tags."""
    rng = random.Random(57)
    workspace = Workspace.objects.create(name="bench")
    people = [User.objects.create(username=f"{name}-bench") for name in _PEOPLE]
    Membership.objects.bulk_create(Membership(user=p, workspace=workspace, role=Role.OWNER) for p in people)
    targets = [ComputeTarget.objects.create(workspace=workspace, name=name) for name in _TARGETS]
    nodes = [Node.objects.create(target=target, name="bench-node", slots=4) for target in targets]
    groups = Experiment.objects.bulk_create(
        Experiment(workspace=workspace, name=f"{rng.choice(_NOUNS)}-{number:04}", created_by=people[0])
        for number in range(experiments)
    )
    first = (Run.objects.order_by("-id").values_list("id", flat=True).first() or 0) + 1
    maker = _Maker(rng, people, nodes, groups, first, runs, tags, metrics)
    with rebuilt_after():
        for chunk in maker.chunks():
            with transaction.atomic():
                Run.objects.bulk_create([row.run for row in chunk])
                Tag.objects.bulk_create([tag for row in chunk for tag in row.tags])
                Metric.objects.bulk_create([metric for row in chunk for metric in row.metrics])
        _log_points(first + max(0, runs - _WITH_POINTS), _METRICS[:metrics], rng)
        Experiment.objects.bulk_update(groups, ["last_number"], batch_size=400)
    _settle()
    return Seeded(workspace, groups, first, runs)


def _summed_up(run: Run, name: str, value: float) -> Metric:
    """A metric as lists read it, without points."""
    sums = {"last": value, "least": value, "most": value}
    return Metric(
        run_id=run.pk, name=name, count=10, columns=[{"name": "", "type": "f8", **sums, "text": ""}], **sums
    )


def _log_points(first: int, names: list[str], rng: random.Random) -> None:
    """Give the newest runs real curves, for charts to draw; older ones have only their sums."""
    for run in Run.objects.filter(pk__gte=first).only("pk", "experiment_id"):
        series = []
        for name in names:
            values = array("d", (1 / (step + 1) + rng.random() / 20 for step in range(_POINTS)))
            points = Points({"": values}, array("d", range(_POINTS)), array("q", range(_POINTS)))
            series.append(Series(name, points))
        write_metrics(run, series, writer="seed", seq=1)


def _settle() -> None:
    """Let the database go on from the ids that were given here, and know what it holds."""
    with connection.cursor() as cursor:
        for sql in connection.ops.sequence_reset_sql(no_style(), [Run]):
            cursor.execute(sql)
        if connection.vendor == "postgresql":  # as its autovacuum would; nothing does so on SQLite
            cursor.execute("VACUUM ANALYZE")


@dataclass(frozen=True)
class _Row:
    run: Run
    tags: list[Tag]
    metrics: list[Metric]


@dataclass
class _Maker:
    """Makes the rows in the order of their age; keys are given here, so that children can name parents."""

    rng: random.Random
    people: list[User]
    nodes: list[Node]
    experiments: list[Experiment]
    first: int
    runs: int
    n_tags: int
    n_metrics: int
    parent: Run | None = None
    steps_left: int = 0

    def __post_init__(self) -> None:
        self.rare = set(self.rng.sample(range(self.runs), min(20, self.runs)))
        self.begin = datetime.now(UTC) - _SPAN

    def chunks(self) -> Iterator[list[_Row]]:
        """All rows, oldest first."""
        for start in range(0, self.runs, _CHUNK):
            yield [self.row(index) for index in range(start, min(start + _CHUNK, self.runs))]

    def row(self, index: int) -> _Row:
        """The run of this index with what hangs on it."""
        run = self.run(index)
        pairs = self.tag_pairs(index)
        run.search_text = build_search_text(
            name=run.name,
            description=run.description,
            experiment=run.experiment.name,
            submitter=run.submitter.username,
            run_id=run.run_id,
            tags=pairs,
        )
        tags = [Tag(run_id=run.pk, key=key, value=value) for key, value in pairs]
        names = _METRICS[: self.n_metrics]
        values = [self.rng.random() for _ in names]
        if index >= self.runs - _WITH_POINTS:
            return _Row(run, tags, [])
        return _Row(run, tags, [_summed_up(run, *pair) for pair in zip(names, values, strict=True)])

    def run(self, index: int) -> Run:
        """One run; every sixth opens a pipeline whose three steps follow."""
        kind, parent = self.kind()
        experiment = parent.experiment if parent else self.rng.choice(self.experiments)
        experiment.last_number += 1
        status = self.status(index)
        created = self.begin + _SPAN * (index / self.runs)
        ended = created + timedelta(seconds=self.rng.lognormvariate(5, 1.5)) if status in TERMINAL else None
        run = Run(
            id=self.first + index,
            run_id=f"{experiment.name}_{index:08x}",
            number=experiment.last_number,
            workspace=experiment.workspace,
            experiment=experiment,
            parent=parent,
            root=parent,
            kind=kind,
            display_name=f"{self.rng.choice(('lr', 'width', 'fold', 'sweep'))} {self.rng.random():.3f}",
            description=self.description(index),
            status=status,
            submitter=self.rng.choice(self.people),
            target=(node := self.rng.choice(self.nodes)).target,
            node=node if ended else None,
            script="train.py",
            arguments=["--lr", "0.1"],
            attempt=1,
            created_at=created,
            updated_at=ended or created,
            queued_at=created,
            started_at=None if status == Status.QUEUED else created,
            ended_at=ended,
            error_class=ErrorClass.SCRIPT if status == Status.FAILED else "",
            exit_code=1 if status == Status.FAILED else None,
        )
        if kind == Kind.PIPELINE:
            self.parent = run
        return run

    def kind(self) -> tuple[Kind, Run | None]:
        """The kind of the next run, and its parent."""
        if self.steps_left:
            self.steps_left -= 1
            return Kind.STEP, self.parent
        if self.rng.random() < 0.06:
            self.steps_left = 3
            return Kind.PIPELINE, None
        return Kind.SCRIPT, None

    def status(self, index: int) -> Status:
        """Mostly Completed; a few of the newest are still on their way."""
        if index >= self.runs - 200 and self.rng.random() < 0.1:
            return self.rng.choice((Status.RUNNING, Status.QUEUED))
        return self.rng.choices((Status.COMPLETED, Status.FAILED, Status.CANCELED), (82, 10, 8))[0]

    def description(self, index: int) -> str:
        """Ten words, and those of WORDS where they belong."""
        holds = {
            "common": self.rng.random() < 0.2,
            "medium": self.rng.random() < 0.01,
            "rare": index in self.rare,
            "old": index < self.runs / 20,
        }
        special = [WORDS[word] for word, here in holds.items() if here]
        return " ".join([*self.rng.sample(_FILLER.split(), 10), *special])

    def tag_pairs(self, index: int) -> list[tuple[str, str | None]]:
        """As many tags as were asked for, those of TAGS among them."""
        rng = self.rng
        quality = "good" if rng.random() < 0.5 else rng.choice(("bad", "fantastic run", "diverged"))
        pairs: list[tuple[str, str | None]] = [("quality", quality), ("seed", str(index))]
        pairs += [("golden", "yes")] if index in self.rare else [("stage", rng.choice(("draft", "final")))]
        pairs += [("dataset", rng.choice(_NOUNS)), ("reviewed", None)]
        pairs += [(f"note-{extra}", str(rng.randrange(1000))) for extra in range(max(0, self.n_tags - 5))]
        return pairs[: self.n_tags]
