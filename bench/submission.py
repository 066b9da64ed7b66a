"""How long it takes from submitting a script to its first line in the database.

    python -m bench.submission SECTION GOAL_MS FLOOR_MS

Runs beside a Studio with a node, with the same environment, and prints figures as JSON lines.
"""

from __future__ import annotations

import os
import sys
import time

import django

ROUNDS = 25
SCRIPT = "print('first line')\n"


def one_round(number: int) -> float:
    """Milliseconds from calling `submit` to the first stored line; then waits for the end of the run."""
    from runs.models import ComputeTarget, LogChunk, Run
    from runs.services.snapshots import snapshot_from_text
    from runs.services.submit import StepSpec, submit
    from runs.status import TERMINAL
    from studio.accounts.models import User, Workspace

    user, workspace = User.objects.get(username="admin"), Workspace.objects.get()
    snapshot = snapshot_from_text("line.py", SCRIPT, by=user)
    target = ComputeTarget.objects.get()
    step = StepSpec(name="line", script="line.py", snapshot=snapshot)
    begin = time.perf_counter()
    run, _ = submit(workspace, by=user, experiment_name="bench", steps=[step], default_target=target)
    lines = LogChunk.objects.filter(run=run, name="user_logs/std_log.txt")
    while not lines.exists():
        time.sleep(0.002)
    taken = (time.perf_counter() - begin) * 1000
    while Run.objects.get(pk=run.pk).status not in TERMINAL:
        time.sleep(0.02)
    # Not in step with any poll of the node.
    time.sleep(0.1 + 0.013 * (number % 10))
    return taken


def main() -> None:
    """Measure and print."""
    from bench.table import Figure, percentile

    section, goal, floor = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    times = [one_round(number) for number in range(ROUNDS + 3)][3:]
    name = "submit → first line stored, median"
    print(
        Figure(
            section, name, percentile(times, 0.5), "ms", goal, floor, "a process to its first line"
        ).to_json()
    )
    print(Figure(section, "the same, p95", percentile(times, 0.95), "ms").to_json())


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "studio.settings")
    django.setup()
    main()
