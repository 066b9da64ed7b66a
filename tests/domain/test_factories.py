"""Factories make rows that Studio itself could have made."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import connection

from runs.models import Property, Run, RunEvent
from runs.status import FOLLOWS, Kind, Status
from tests.factories import make_node, make_pipeline, make_run, make_snapshot
from tests.life_kit import assert_sound


@pytest.mark.django_db
@pytest.mark.parametrize("status", list(Status))
def test_a_run_of_each_status_keeps_the_constraints_and_has_its_events(status: Status) -> None:
    run = make_run(status=status, tags={"quality": "good", "seen": None}, metrics={"loss": 0.5})
    events = list(run.events.all())
    assert all(event.to_status in FOLLOWS[Status(event.from_status)] for event in events)
    assert_sound(run)


@pytest.mark.django_db
def test_a_pipeline_has_its_steps_and_their_order() -> None:
    pipeline = make_pipeline(statuses={"train": Status.FAILED, "evaluate": Status.CANCELED})
    steps = {step.step_name: step for step in Run.objects.filter(root=pipeline)}
    assert [step.number for step in steps.values()] == [2, 3, 4]
    assert steps["train"].status == Status.FAILED
    assert steps["evaluate"].dependencies.get().waits_for == steps["train"]
    assert steps["train"].kind == Kind.STEP
    assert pipeline.target is None


@pytest.mark.django_db
def test_snapshots_are_stored_in_the_folder_of_the_test(storage: Path) -> None:
    snapshot = make_snapshot({"a.py": "print(1)", "b/c.txt": b"x"})
    assert snapshot.file_count == 2
    assert (storage / snapshot.storage_name).is_file()
    assert make_node().slots == 2


@pytest.mark.django_db(transaction=True)
def test_properties_do_not_outlive_a_test_with_real_transactions() -> None:
    assert not connection.in_atomic_block
    make_run(properties={"author": "ana"})
    assert Property.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_test_with_real_transactions_begins_empty() -> None:
    assert not Property.objects.exists()
    assert not RunEvent.objects.exists()
