"""A client of the SDK, as scripts are, that says how long things took.

    python -m bench.sdk_client scalars N | rows N COLUMNS | latency N | children COUNT N | waits N

Waits for a line on standard input before it begins, and prints JSON. Whoever starts it sets PYTHONPATH,
STUDIO_URL and STUDIO_TOKEN.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from azureml.core import Experiment, Run, ScriptRunConfig, Workspace

from bench.processes import LAST_LINE


def scalars(run: Run, count: int) -> dict[str, float]:
    """Seconds from the first value to the last one being stored."""
    begin = time.perf_counter()
    for number in range(count):
        run.log("loss", number * 0.5)
    run.flush()
    return {"seconds": time.perf_counter() - begin}


def rows(run: Run, count: int, columns: int) -> dict[str, float]:
    """The same of rows under three names."""
    content = {f"column {number}": number * 0.5 for number in range(columns)}
    begin = time.perf_counter()
    for number in range(count):
        run.log_row(f"table {number % 3}", **content)
    run.flush()
    return {"seconds": time.perf_counter() - begin}


def latency(run: Run, count: int) -> dict[str, float]:
    """Microseconds of single calls, with time in between for the sender to send."""
    taken = []
    for number in range(count):
        begin = time.perf_counter()
        run.log("loss", number * 0.5)
        taken.append(time.perf_counter() - begin)
        time.sleep(0.0005)
    taken.sort()
    return {"p50": taken[count // 2] * 1e6, "p99": taken[count * 99 // 100] * 1e6}


def children(run: Run, count: int, rounds: int) -> dict[str, float]:
    """Milliseconds of `create_children`, the median."""
    taken = []
    for _ in range(rounds):
        begin = time.perf_counter()
        made = run.create_children(count=count)
        taken.append(time.perf_counter() - begin)
        assert len(made) == count
    return {"ms": statistics.median(taken) * 1000}


def waits(run: Run, rounds: int) -> dict[str, float]:
    """Milliseconds from the last line of a script until `wait_for_completion` returns."""
    taken = []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "last_line.py").write_text(LAST_LINE)
        for number in range(rounds):
            left = Path(folder) / f"ended{number}"
            config = ScriptRunConfig(folder, "last_line.py", arguments=[str(left)], compute_target="local")
            submitted = run.experiment.submit(config)
            submitted.wait_for_completion()
            taken.append(time.time() - float(left.read_text()))
    return {"ms": statistics.median(taken) * 1000, "longest_ms": max(taken) * 1000}


MEASURES = {"scalars": scalars, "rows": rows, "latency": latency, "children": children, "waits": waits}


def main() -> None:
    """Make a run, wait for the signal, measure, and check that all of it came."""
    what, numbers = sys.argv[1], [int(word) for word in sys.argv[2:]]
    workspace = Workspace("bench", "bench", "default")
    run = Experiment(workspace, "bench").start_logging(snapshot_directory=None, outputs=None)
    run.log("first", 0.0)
    run.flush()
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(MEASURES[what](run, *numbers)), flush=True)
    stored = run.get_metrics()
    if what == "rows":
        assert sum(len(stored[f"table {n}"]["column 0"]) for n in range(3)) == numbers[0]
    elif what in ("scalars", "latency"):
        assert stored["loss"] == [number * 0.5 for number in range(numbers[0])]
    run.complete()


if __name__ == "__main__":
    main()
