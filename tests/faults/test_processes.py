"""A real node runs a real script, and a whole Studio starts, answers, and ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from runs.models import Run
from runs.status import Status
from tests.factories import make_run, make_snapshot
from tests.fixtures.processes import NodeProcess, StudioProcess, processes_below, wait_until

pytestmark = pytest.mark.worker


def test_a_node_takes_a_queued_run_and_runs_its_script(worker: NodeProcess) -> None:
    run = make_run(status=Status.QUEUED, snapshot=make_snapshot({"train.py": "print('it works')"}))

    def status() -> str:
        return Run.objects.get(pk=run.pk).status

    wait_until(lambda: status() == Status.COMPLETED)
    assert worker.stop() == 0
    assert processes_below(worker.folder) == []


@pytest.mark.own_servers
def test_a_studio_starts_from_an_empty_folder_and_leaves_nothing_behind(
    make_studio: Callable[..., StudioProcess],
) -> None:
    studio = make_studio(is_new=True)
    studio.start()
    assert studio.sign_in_link.startswith(studio.url)
    studio.stop()
    assert processes_below(studio.folder) == []
