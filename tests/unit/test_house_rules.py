"""Sizes, names and other habits of the code that a program can check."""

from __future__ import annotations

import ast
import inspect
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.urls import URLResolver, get_resolver

from runs.api.api import api

ROOT = Path(__file__).parents[2]
SERVER = sorted(
    path
    for top in ("runs", "studio")
    for path in (ROOT / top).rglob("*.py")
    if "migrations" not in path.parts
)
SDK = sorted(path for path in (ROOT / "sdk").rglob("*.py") if "build" not in path.parts)
ALL_OF_OURS = [
    *SERVER,
    *SDK,
    *sorted((ROOT / "tests").rglob("*.py")),
    *sorted((ROOT / "bench").rglob("*.py")),
]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))

#: Functions that tell one story, where splitting would hide the order.
LONG_STORIES: dict[str, int] = {}


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name and lines of the body of each function of a file, without docstrings."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.FunctionDef):
            continue
        body = node.body[1:] if ast.get_docstring(node) else node.body
        lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
        yield f"{path.relative_to(ROOT)}:{node.name}", lines


def test_no_file_is_longer_than_500_lines() -> None:
    long = [(str(path.relative_to(ROOT)), len(path.read_text().splitlines())) for path in ALL_OF_OURS]
    assert [entry for entry in long if entry[1] > 500] == []


def test_no_function_is_longer_than_40_lines() -> None:
    sizes = [entry for path in (*SERVER, *SDK) for entry in functions(path)]
    assert [(name, lines) for name, lines in sizes if lines > LONG_STORIES.get(name, 40)] == []


def views(under: URLResolver | None = None) -> Iterator[str]:
    """Each view that has an address, as file:name."""
    for entry in (under or get_resolver()).url_patterns:
        if isinstance(entry, URLResolver):
            yield from views(entry)
        else:
            view = inspect.unwrap(entry.callback)
            yield address_of(getattr(view, "func", view))


def operations() -> Iterator[str]:
    """Each operation of the API, as file:name."""
    for bound in api._get_bound_routers():
        for path in bound.path_operations.values():
            yield from (address_of(operation.view_func) for operation in path.operations)


def address_of(view: Callable[..., Any]) -> str:
    return f"{view.__module__.replace('.', '/')}.py:{view.__name__}"


def test_no_view_is_longer_than_25_lines() -> None:
    sizes = dict(entry for path in SERVER for entry in functions(path))
    assert {name: sizes[name] for name in (*views(), *operations()) if sizes.get(name, 0) > 25} == {}


def test_no_file_is_called_after_nothing() -> None:
    refused = {"utils.py", "helpers.py", "common.py", "misc.py", "base.py"}
    assert [str(path) for path in ALL_OF_OURS if path.name in refused] == []


def test_nothing_is_left_to_do() -> None:
    words = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")  # as words of comments, not of texts
    found = []
    for path in ALL_OF_OURS:
        for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
            if token.type == tokenize.COMMENT and words.search(token.string):
                found.append(f"{path.relative_to(ROOT)}:{token.start[0]}")
    assert found == []


def test_public_modules_and_classes_say_what_they_are() -> None:
    silent = []
    for path in (*SERVER, *SDK):
        tree = ast.parse(path.read_text())
        if tree.body and not ast.get_docstring(tree):
            silent.append(str(path.relative_to(ROOT)))
        for node in tree.body:
            named = isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
            if named and not ast.get_docstring(node):
                silent.append(f"{path.relative_to(ROOT)}:{node.name}")
    assert silent == []


def test_no_test_is_skipped() -> None:
    marks = re.compile(r"pytest\.(?:mark\.)?(?:skip|skipif|xfail|importorskip)\b")
    here = Path(__file__)
    tests = [path for path in (ROOT / "tests").rglob("*.py") if path != here]
    assert [str(path.relative_to(ROOT)) for path in tests if marks.search(path.read_text())] == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_a_template_is_short_and_lets_the_strict_policy_be(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 150
    assert not re.search(r"<script(?![^>]*\bsrc=)", text), "a script in the page"
    assert not re.search(r"<style\b", text), "a style in the page"
    assert not re.search(r"\sstyle\s*=", text), "a style on an element"
    assert not re.search(r"\son[a-z]+\s*=\s*[\"']", text), "a handler on an element"
    assert not re.search(r"hx-on|javascript:|hx-vals=[\"']js:", text), "script in an attribute"


def test_no_file_names_a_package_registry() -> None:
    hosts = re.compile("|".join(["pypi" + r"\.org", "python" + r"hosted\.org", "registry\\.npm" + "js"]))
    kinds = (".py", ".toml", ".txt", ".md", ".sh", ".html", ".js", ".css")
    parts = {".venv", ".git", "var", "vendor", "node_modules", ".mypy_cache"}
    files = [path for path in ROOT.rglob("*") if path.suffix in kinds and not parts & set(path.parts)]
    named = [path for path in [*files, ROOT / "Makefile"] if hosts.search(path.read_text(errors="replace"))]
    assert [str(path.relative_to(ROOT)) for path in named] == []
