"""Who may import whom: the table, and every import of the server held against it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: The parts of `runs`, from the bottom up. A part imports from the layers below it, and from its own if that
#: makes no circle.
LAYERS: list[set[str]] = [
    {"status", "errors"},
    {
        "folding",
        "axes",
        "addresses",
        "formats",
        "log_gaps",
        "logtext",
        "markdown",
        "highlight",
        "charts",
        "timeline",
        "execution",
        "guards",
        "points",
        "lines",
        "json_size",
        "documents",
        "value_chart",
    },
    {"models", "wake"},
    {"lifecycle", "search"},
    {"services"},
    {
        "reporter",
        "script_environment",
        "hand_in",
        "graph",
        "filters",
        "forms",
        "submission",
        "prefill",
        "lists",
        "versions",
    },
    {
        "agent",
        "private_data",
        "sweeper",
        "web_answers",
        "web_threads",
        "embedded",
        "middleware",
        "downloads",
        "toasts",
        "context",
        "templatetags",
    },
    {"views", "api", "tasks", "management"},
    {"urls", "apps"},
]
#: What parts may import of ours, where that is less than their layer would allow.
ONLY: dict[str, set[str]] = {
    "runs.status": set(),
    "runs.errors": set(),
    "runs.execution": {"runs.status", "runs.errors"},
    "runs.wake": {"studio.celery"},
}
#: Imports inside a function that are not there to dodge a circle.
INSIDE_ALLOWED = {"studio.accounts.models.session"}  # Django asks a method for the class of the store


@dataclass(frozen=True)
class Import:
    """One import: the module that does it, what it imports, and whether a function does it."""

    module: str
    target: str
    inside: bool

    @property
    def source(self) -> str:
        return part(self.module)

    def __str__(self) -> str:
        return f"{self.module} imports {self.target}"


def part(module: str) -> str:
    """The part that a module belongs to: its first two names."""
    return ".".join(module.split(".")[:2])


def imports_of(path: Path) -> Iterator[Import]:
    """Every import of one file, with relative ones refused."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    tree = ast.parse(path.read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    inside = {id(child) for function in functions for child in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            for name in node.names:
                yield Import(module, f"{node.module}.{name.name}", id(node) in inside)
        elif isinstance(node, ast.Import):
            for name in node.names:
                yield Import(module, name.name, id(node) in inside)


@cache
def all_imports() -> list[Import]:
    """Every import of the server, migrations apart."""
    files = [path for top in ("runs", "studio") for path in sorted((ROOT / top).rglob("*.py"))]
    return [one for path in files if "migrations" not in path.parts for one in imports_of(path)]


def ours() -> list[Import]:
    """Imports from one part of ours to another."""
    return [
        one
        for one in all_imports()
        if one.target.split(".")[0] in ("runs", "studio") and part(one.target) != one.source
    ]


def layer(name: str) -> int:
    """The layer of a part of `runs`."""
    word = name.split(".")[1]
    found = [number for number, words in enumerate(LAYERS) if word in words]
    assert found, f"{name} has no place in LAYERS; give it one"
    return found[0]


def test_every_part_of_runs_has_a_place() -> None:
    parts = {path.stem for path in (ROOT / "runs").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert parts - {"__init__", "__pycache__", "migrations"} <= set().union(*LAYERS)


def test_nothing_imports_from_a_layer_above_its_own() -> None:
    inside_runs = [one for one in ours() if one.module.startswith("runs.") and one.target.startswith("runs.")]
    assert [str(one) for one in inside_runs if layer(part(one.target)) > layer(one.source)] == []


def test_no_circle_among_the_parts() -> None:
    graph: dict[str, set[str]] = {}
    for one in ours():
        graph.setdefault(one.source, set()).add(part(one.target))

    def reachable(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(graph.get(start, ()))
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += graph.get(name, ())
        return seen

    assert [name for name in graph if name in reachable(name) and name.startswith("runs.")] == []


@pytest.mark.parametrize("name", ONLY)
def test_some_parts_import_less_than_their_layer_allows(name: str) -> None:
    assert {part(one.target) for one in ours() if one.source == name} <= ONLY[name]


def test_the_words_import_nothing_and_the_shim_only_the_standard_library() -> None:
    for module in ("runs.status", "runs.errors", "runs.execution.shim"):
        targets = {one.target.split(".")[0] for one in all_imports() if one.module == module}
        assert targets <= sys.stdlib_module_names, module


def test_execution_knows_neither_django_nor_celery() -> None:
    targets = {one.target.split(".")[0] for one in all_imports() if one.source == "runs.execution"}
    assert targets <= sys.stdlib_module_names | {"runs"}


def test_accounts_know_nothing_of_runs() -> None:
    assert [
        str(one) for one in ours() if one.module.startswith("studio.accounts") and "runs." in one.target
    ] == []


def test_nothing_imports_inside_a_function_to_dodge_a_circle() -> None:
    inside = [one for one in all_imports() if one.inside and one.target.split(".")[0] in ("runs", "studio")]
    assert [str(one) for one in inside if one.module not in INSIDE_ALLOWED] == []


def test_the_server_imports_nothing_of_sdk_tests_or_benchmarks() -> None:
    others = {"sdk", "tests", "bench", "azureml", "studio_client"}
    assert [str(one) for one in all_imports() if one.target.split(".")[0] in others] == []


def test_the_sdk_imports_nothing_of_the_server_and_little_else() -> None:
    allowed = sys.stdlib_module_names | {"studio_client", "click", "jmespath", "ruamel", "IPython"}
    for distribution, more in (("client", set()), ("azureml", {"azureml"})):
        for path in sorted((ROOT / "sdk" / distribution).rglob("*.py")):
            targets = {one.target.split(".")[0] for one in imports_of(path)}
            assert targets <= allowed | more, path


def test_one_module_alone_writes_the_status_of_a_run() -> None:
    writers = []
    for path in sorted((ROOT / "runs").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            assigned = node.targets if isinstance(node, ast.Assign) else []
            sets = any(
                isinstance(target, ast.Attribute) and target.attr == "status" and _of_a_run(target.value)
                for target in assigned
            )
            updates = (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "update"
                and any(keyword.arg == "status" for keyword in node.keywords)
            )
            if sets or updates:
                writers.append(str(path.relative_to(ROOT)))
    assert set(writers) <= {"runs/lifecycle.py"}


def _of_a_run(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and value.id in ("run", "step", "pipeline", "parent", "child")
