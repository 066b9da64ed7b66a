"""Interactive runs: made, started, and looked after by signs of life."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db.models import F
from django.db.models.functions import Now

from runs.errors import Conflict, RunFinished
from runs.lists.version import find_experiment
from runs.models import Experiment, Run, RunEvent
from runs.services import sweeps
from runs.services.cancel import cancel_run
from runs.services.ending import complete_run
from runs.services.interactive import beat, create_children, create_interactive, start_run
from runs.services.new_runs import NewRun
from runs.services.tags import set_tag
from runs.status import Kind, Status
from runs.versions import settled
from studio.accounts.models import User
from tests.factories import make_experiment, make_run, make_workspace
from tests.life_kit import assert_sound, at_once, held_up


def make(ana: User, **over: object) -> Run:
    place = make_experiment()
    run, made = create_interactive(place.workspace, place.name, NewRun(), by=ana, **over)  # type: ignore[arg-type]
    assert made
    return run


def silent(run: Run, **age: float) -> None:
    Run.objects.filter(pk=run.pk).update(heartbeat_at=Now() - timedelta(**age))


def status_of(run: Run) -> str:
    assert_sound(run)
    return Run.objects.get(pk=run.pk).status


@pytest.mark.django_db
class TestHeartbeat:
    def test_without_it_the_run_does_not_respond_and_then_fails(self, ana: User) -> None:
        run = make(ana)
        sweeps.sweep(timedelta(days=1))
        assert status_of(run) == Status.RUNNING
        silent(run, minutes=59)
        sweeps.mark_silent_runs()
        sweeps.end_lost_runs()
        assert status_of(run) == Status.NOT_RESPONDING
        silent(run, minutes=61)
        Run.objects.filter(pk=run.pk).update(updated_at=Now() - timedelta(minutes=61))
        sweeps.end_lost_runs()
        assert status_of(run) == Status.FAILED
        assert "No sign of life since" in Run.objects.get(pk=run.pk).error_message

    def test_it_brings_the_run_back(self, ana: User) -> None:
        run = make(ana)
        silent(run, minutes=20)
        sweeps.mark_silent_runs()
        beat(Run.objects.get(pk=run.pk))
        assert status_of(run) == Status.RUNNING

    def test_of_a_run_that_has_ended_it_is_refused(self, ana: User) -> None:
        run = make(ana)
        cancel_run(run, by=ana)
        with pytest.raises(RunFinished, match="is Canceled"):
            beat(run)

    def test_of_one_that_waits_for_its_start_nothing_is_expected(self, ana: User) -> None:
        run = make(ana, start=False)
        Run.objects.filter(pk=run.pk).update(created_at=Now() - timedelta(days=1))
        beat(run)
        sweeps.sweep(timedelta(days=1))
        assert status_of(run) == Status.NOT_STARTED

    def test_of_a_submitted_run_it_is_its_nodes(self) -> None:
        run = make_run(status=Status.RUNNING)
        silent(run, minutes=20)
        before = Run.objects.get(pk=run.pk).heartbeat_at
        beat(run)
        assert Run.objects.get(pk=run.pk).heartbeat_at == before


@pytest.mark.django_db
class TestStart:
    def test_once_and_again(self, ana: User) -> None:
        run = make(ana, start=False)
        start_run(run, by=ana)
        start_run(run, by=ana)
        assert status_of(run) == Status.RUNNING
        assert Run.objects.get(pk=run.pk).heartbeat_at is not None
        assert run.events.count() == 1

    def test_not_after_the_end_and_not_what_a_node_starts(self, ana: User) -> None:
        with pytest.raises(RunFinished):
            start_run(make_run(kind=Kind.INTERACTIVE, status=Status.COMPLETED), by=ana)
        with pytest.raises(Conflict, match="was submitted"):
            start_run(make_run(status=Status.QUEUED), by=ana)


@pytest.mark.django_db
class TestKnownIds:
    def test_one_of_another_place_or_kind_is_taken(self, ana: User) -> None:
        place, same_name = make_experiment("x"), make_experiment("x", workspace=make_workspace("second"))
        submitted = make_run(experiment=place, submitter=ana)
        create_interactive(place.workspace, "x", NewRun("mine"), by=ana)
        for experiment, run_id in ((same_name, "mine"), (place, submitted.run_id)):
            with pytest.raises(Conflict, match="another run"):
                create_interactive(experiment.workspace, "x", NewRun(run_id), by=ana)

    def test_children_of_another_request_or_kind_are_taken(self, ana: User) -> None:
        parent = Run.objects.select_related("experiment", "workspace").get(pk=make(ana).pk)
        submitted = make_run(experiment=parent.experiment, parent=parent, submitter=ana)
        one, other = (NewRun("mine", request_digest=uuid.UUID(int=at)) for at in (1, 2))
        create_children(parent, [one], by=ana)
        assert not create_children(parent, [one], by=ana)[1]
        for new in (other, NewRun("mine"), NewRun(submitted.run_id)):
            with pytest.raises(Conflict, match="is taken"):
                create_children(parent, [new], by=ana)


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_the_same_id_makes_one_run(self, ana: User) -> None:
        experiment = make_experiment()
        create = partial(create_interactive, experiment.workspace, experiment.name, NewRun("mine"), by=ana)
        made = at_once([create] * 6)
        assert [new for _, new in made].count(True) == 1
        assert Run.objects.count() == 1
        experiment.refresh_from_db()
        assert experiment.last_number == 1

    def test_of_two_requests_with_the_same_id_one_makes_its_run(self, ana: User) -> None:
        experiment = make_experiment()
        create = partial(create_interactive, experiment.workspace, experiment.name, by=ana)
        news = [NewRun("mine", request_digest=uuid.UUID(int=at)) for at in (1, 2)]
        made = at_once([partial(create, new) for new in news * 3])
        digest = Run.objects.get().request_digest
        of_loser = made[0::2] if news[1].request_digest == digest else made[1::2]
        assert all(isinstance(one, Conflict) for one in of_loser)
        assert [one[1] for one in made if one not in of_loser].count(True) == 1

    @pytest.mark.parametrize("start", [False, True])
    def test_the_same_batch_makes_its_children_once(self, ana: User, start: bool) -> None:
        parent = Run.objects.select_related("experiment", "workspace").get(pk=make(ana).pk)
        create = partial(create_children, parent, [NewRun()] * 5, by=ana, batch_id="b", start=start)
        made = at_once([create] * 4)
        assert len({tuple(run.run_id for run in runs) for runs, _ in made}) == 1
        assert [new for _, new in made].count(True) == 1
        children = Run.objects.filter(parent=parent)
        assert children.count() == 5
        assert {child.status for child in children} == {Status.RUNNING if start else Status.NOT_STARTED}
        assert RunEvent.objects.filter(run__in=children, seq=1).count() == (5 if start else 0)
        assert children.filter(started_at=F("created_at")).count() == (5 if start else 0)

    @pytest.mark.parametrize("start", [False, True])
    def test_no_child_survives_the_cancel_of_its_parent(self, ana: User, start: bool) -> None:
        parent = Run.objects.select_related("experiment", "workspace").get(pk=make(ana).pk)
        acts = [lambda: create_children(parent, [NewRun()] * 3, by=ana, start=start) for _ in range(4)]
        at_once([*acts, lambda: cancel_run(parent, by=ana)])
        assert set(Run.objects.values_list("status", flat=True)) == {Status.CANCELED}


@pytest.mark.django_db(transaction=True)
class TestMoment:
    """Pages that poll compare the latest moment, so what is written late may not have an older one."""

    @pytest.mark.parametrize("start", [False, True])
    def test_of_a_run_that_waited_for_its_number(self, ana: User, start: bool) -> None:
        experiment = make_experiment()
        create = partial(create_interactive, experiment.workspace, experiment.name, NewRun(), by=ana)
        self.assert_later(experiment, partial(create, start=start), create)

    def test_of_children_that_waited_for_their_numbers(self, ana: User) -> None:
        parent = Run.objects.select_related("experiment", "workspace").get(pk=make(ana).pk)
        create = partial(create_children, parent, [NewRun()] * 3, by=ana, start=True)
        self.assert_later(parent.experiment, create, lambda: make(ana))

    def test_of_a_change_that_waited_for_the_run(self, ana: User) -> None:
        run, other = make(ana), make(ana)
        with held_up(Run.objects.filter(pk=run.pk), [lambda: complete_run(run, by=ana)]):
            set_tag(run, "a", "1", by=ana)
            set_tag(other, "a", "1", by=ana)
            before = self.version_of(run.experiment)
        assert self.version_of(run.experiment) > before

    def test_of_numbers_that_many_ask_for(self, ana: User) -> None:
        at_once([lambda: [make(ana) for _ in range(5)]] * 8)
        self.assert_in_order()

    def assert_later(
        self, experiment: Experiment, create: Callable[[], Any], meanwhile: Callable[[], Any]
    ) -> None:
        with held_up(Experiment.objects.filter(pk=experiment.pk), [create]):
            meanwhile()
            before = self.version_of(experiment)
        assert self.version_of(experiment) > before
        self.assert_in_order()

    @staticmethod
    def version_of(experiment: Experiment) -> int:
        found = find_experiment(experiment.workspace, experiment.name)
        assert found
        return int(settled(found[1].version))

    @staticmethod
    def assert_in_order() -> None:
        moments = list(Run.objects.order_by("number").values_list("created_at", flat=True))
        assert moments == sorted(moments)
