"""A cancel that was cut off after the pipeline and before its steps is finished by the next sweep."""

import pytest

from runs.lifecycle import move
from runs.models import Run
from runs.services.snapshots import snapshot_from_text
from runs.services.submit import StepSpec, submit
from runs.services.sweeps import resume_pipelines
from runs.status import Status
from tests.factories import make_target

pytestmark = pytest.mark.django_db


def test_the_steps_of_a_canceled_pipeline_are_ended(workspace, ana):
    snapshot = snapshot_from_text("train.py", "print()\n", by=ana)
    steps = [
        StepSpec("first", "train.py", snapshot),
        StepSpec("other", "train.py", snapshot),
        StepSpec("last", "train.py", snapshot, after=["first"]),
    ]
    target = make_target()
    pipeline, _ = submit(workspace, by=ana, experiment_name="mnist", steps=steps, default_target=target)
    running = Run.objects.get(step_name="other")
    move(running, to=Status.RUNNING, expect=[Status.QUEUED])
    move(pipeline, to=Status.CANCEL_REQUESTED, expect=[Status.QUEUED, Status.RUNNING], follow=False)
    resume_pipelines()
    statuses = dict(Run.objects.filter(parent=pipeline).values_list("step_name", "status"))
    assert statuses == {
        "first": Status.CANCELED,
        "other": Status.CANCEL_REQUESTED,
        "last": Status.CANCELED,
    }
