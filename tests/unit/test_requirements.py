"""What requirements.txt names is enough to run Studio: nothing leans on what only the tests bring."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
#: Beside all modules of Studio: what Celery and Django import when they are first used.
LATE = ("kombu.transport.redis", "kombu.transport.pyamqp", "celery.concurrency.thread", "celery.apps.worker",
        "django.db.backends.postgresql.base", "whitenoise.middleware")  # fmt: skip
IMPORT_ALL = """
import importlib, importlib.abc, sys
kept_out = set({kept_out!r})
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in kept_out:
            raise ModuleNotFoundError(f"{{name}} is not in requirements.txt", name=name)
sys.meta_path.insert(0, Finder())
import django
django.setup()
for name in {modules!r}:
    importlib.import_module(name)
"""


def distribution(name: str) -> str:
    """The name in its one spelling."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required() -> set[str]:
    """The distributions of requirements.txt and what those require, and so on."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    waiting = [Requirement(line) for line in lines if line and not line.startswith("#")]
    found: set[str] = set()
    while waiting:
        one = waiting.pop()
        if distribution(one.name) in found:
            continue
        found.add(distribution(one.name))
        for text in requires(one.name) or ():
            needed = Requirement(text)
            extras = one.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(needed)
    return found


def test_studio_imports_nothing_that_only_the_tests_bring() -> None:
    known = required()
    kept_out = {
        module
        for module, owners in packages_distributions().items()
        if not {distribution(owner) for owner in owners} & known
    }
    assert {"pytest", "mypy", "psutil"} <= kept_out
    files = [file for part in ("studio", "runs") for file in (ROOT / part).rglob("*.py")]
    modules = sorted(
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files
    )
    code = IMPORT_ALL.format(kept_out=sorted(kept_out), modules=[*modules, *LATE])
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_architecture_names_each_package_once() -> None:
    section = (
        (ROOT / "docs" / "architecture.md").read_text().split("## Dependencies", 1)[1].split("\n## ", 1)[0]
    )
    named = re.findall(r"[a-z0-9]+(?:[-.][a-z0-9]+)*", section.lower())
    for file in ("requirements.txt", "requirements-dev.txt"):
        lines = (ROOT / file).read_text().splitlines()
        wanted = {distribution(Requirement(line).name) for line in lines if line and line[0] not in "#-"}
        assert wanted <= {distribution(word) for word in named}
    firsts = [row.split("|")[1] for row in section.splitlines() if row.startswith("|")]
    packages = [name.strip() for first in firsts for name in first.split(",")]
    assert len(packages) == len(set(packages))
