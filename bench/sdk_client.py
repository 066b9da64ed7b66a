"""A client of the SDK, as scripts are, that logs and says how long things took.

    python -m bench.sdk_client scalars N | rows N COLUMNS | latency N

Waits for a line on standard input before it begins, and prints JSON. Whoever starts it sets PYTHONPATH,
STUDIO_URL and STUDIO_TOKEN.
"""

from __future__ import annotations

import json
import sys
import time

from azureml.core import Experiment, Run, Workspace


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


def main() -> None:
    """Make a run, wait for the signal, measure, and check that all of it came."""
    what, numbers = sys.argv[1], [int(word) for word in sys.argv[2:]]
    workspace = Workspace("bench", "bench", "default")
    run = Experiment(workspace, "bench").start_logging(snapshot_directory=None, outputs=None)
    run.log("first", 0.0)
    run.flush()
    print("ready", flush=True)
    sys.stdin.readline()
    measure = {"scalars": scalars, "rows": rows, "latency": latency}[what]
    print(json.dumps(measure(run, *numbers)), flush=True)
    stored = run.get_metrics()
    if what == "rows":
        assert sum(len(stored[f"table {n}"]["column 0"]) for n in range(3)) == numbers[0]
    else:
        assert stored["loss"] == [number * 0.5 for number in range(numbers[0])]
    run.complete()


if __name__ == "__main__":
    main()
