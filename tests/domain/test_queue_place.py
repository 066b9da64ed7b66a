"""A queued run's place, with the times that the database itself wrote."""

import pytest

from runs.models import Run
from runs.services.compute import why_waiting
from runs.services.snapshots import snapshot_from_text
from runs.services.submit import StepSpec, submit
from tests.factories import make_target

pytestmark = pytest.mark.django_db


def test_the_first_is_next_and_each_later_one_waits_for_those_before(workspace, ana):
    target = make_target()
    step = StepSpec("train", "train.py", snapshot_from_text("train.py", "print()\n", by=ana))
    runs = [
        submit(workspace, by=ana, experiment_name="mnist", steps=[step], default_target=target)[0]
        for _ in range(3)
    ]
    queued = Run.objects.filter(pk__in=[run.pk for run in runs]).select_related("target").order_by("pk")
    assert [why_waiting(run).place for run in queued] == [1, 2, 3]
