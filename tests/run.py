"""All that has to hold: checks of the code, the suite on SQLite and on PostgreSQL with Redis, the browser.

    python -m tests.run [--only-checks]

Everything runs even if something before it failed; the last line counts, and 0 means that all passed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from tests.servers import end_in_order, private_postgresql, private_redis

REPOSITORY = Path(__file__).parents[1]
PYTHON = sys.executable
CHECKS: dict[str, list[str]] = {
    "ruff check": ["-m", "ruff", "check", "."],
    "ruff format": ["-m", "ruff", "format", "--check", "."],
    "mypy": ["-m", "mypy"],
    "mypy, SDK": ["-m", "mypy", "--config-file", "sdk/mypy.ini"],
    "migrations": ["manage.py", "makemigrations", "--check", "--dry-run"],
}
PARALLEL = ["-n", "2"]
#: For tests that mostly wait for real processes; who is done takes over what others have before them.
WAITING = ["-n", "4", "--dist", "worksteal"]
#: A step that takes longer has failed, and the next one begins; the longest takes five minutes, or half an
#: hour on a machine with much else to do.
MOST_S = 3_600


@dataclass(frozen=True)
class Result:
    """What became of one step."""

    name: str
    passed: int
    failed: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.name:<42} {self.passed:>5} passed  {self.failed:>3} failed  {self.seconds:>6.1f} s"


def _call(command: list[str], **env: str) -> int:
    """The exit code of a command; 124, as of `timeout`, for one that had to be ended."""
    try:
        return subprocess.call(command, cwd=REPOSITORY, env={**os.environ, **env}, timeout=MOST_S)
    except subprocess.TimeoutExpired:
        print(f"not done within {MOST_S} s", flush=True)
        return 124


def run_check(name: str, words: list[str]) -> Result:
    """One check of the code, counted as one test."""
    print(f"\n== {name}", flush=True)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="studio-check-") as data:
        code = _call([PYTHON, *words], STUDIO_DATA=data)
    return Result(name, int(code == 0), int(code != 0), time.monotonic() - begin)


def run_tests(name: str, words: list[str], **env: str) -> Result:
    """One call of pytest. Where it finds no tests, that is a failure."""
    print(f"\n== {name}", flush=True)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="studio-report-") as folder:
        report = Path(folder) / "report.xml"
        command = [PYTHON, "-m", "pytest", "-q", "--durations=5", f"--junitxml={report}", *words]
        code = _call(command, **env)
        passed, failed = _count(report)
    return Result(name, passed, failed or int(code != 0), time.monotonic() - begin)


def _count(report: Path) -> tuple[int, int]:
    """How many tests passed and how many did not, out of a JUnit report. A skipped test has not passed."""
    if not report.exists():
        return 0, 0
    suites = list(ET.parse(report).getroot().iter("testsuite"))
    total = sum(int(suite.get("tests", 0)) for suite in suites)
    bad = sum(int(suite.get(kind, 0)) for suite in suites for kind in ("failures", "errors", "skipped"))
    return total - bad, bad


def run_all_tests() -> list[Result]:
    """The suite: what needs no database once, the rest on both engines, the browser once."""
    shared = ["tests/domain", "tests/pages", "tests/api"]
    results = [
        run_tests("unit", ["tests/unit", *PARALLEL]),
        run_tests("domain, pages and API, SQLite", [*shared, *PARALLEL]),
        run_tests("faults, SQLite, files as broker", ["tests/faults", *WAITING]),
        run_tests("SDK", ["tests/sdk", *WAITING]),
    ]
    with private_postgresql() as database, private_redis() as broker:
        both = {"STUDIO_DATABASE_URL": database, "STUDIO_BROKER_URL": broker}
        results += [
            run_tests("domain, pages and API, PostgreSQL", [*shared, *PARALLEL], **both),
            run_tests(
                "faults, PostgreSQL, Redis as broker",
                ["tests/faults", "-m", "not own_servers", *WAITING],
                **both,
            ),
        ]
    return [*results, run_tests("browser, SQLite", ["tests/browser", *PARALLEL])]


def main() -> int:
    """Run it all and print the sums; 0 if everything passed."""
    end_in_order()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of processes would compile the same modules
    results = [run_check(name, words) for name, words in CHECKS.items()]
    if "--only-checks" not in sys.argv[1:]:
        with tempfile.TemporaryDirectory(prefix="studio-tests-") as folder:
            os.environ["STUDIO_TESTS_FOLDER"] = folder  # steps find there what one has made for all
            results += run_all_tests()
    print("\n" + "\n".join(map(str, results)))
    failed = sum(result.failed for result in results)
    print(f"\n{sum(result.passed for result in results)} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
