"""The bundled examples: `examples/<name>.json` says which steps of which folder beside it to submit."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings

from runs.errors import InvalidPipeline, NotFound
from runs.models import Snapshot
from runs.services.snapshots import snapshot_from_folder
from studio.accounts.models import User


@dataclass(frozen=True)
class ExampleStep:
    """One step as the example declares it; `after` names the steps that it waits for."""

    name: str
    script: str
    arguments: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Example:
    """A bundled example; `name` is its declaration's, and what `load_example` takes."""

    name: str
    title: str
    description: str
    experiment_name: str
    steps: list[ExampleStep]
    folder: Path

    def snapshot(self, *, by: User | None) -> Snapshot:
        """The example's folder as a snapshot, the same one each time."""
        return snapshot_from_folder(self.folder, by=by)

    def paths(self) -> list[str]:
        """The names of its files, sorted. Reads the folder."""
        files = (
            path for path in self.folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
        )
        return sorted(path.relative_to(self.folder).as_posix() for path in files)


def examples_folder() -> Path:
    """Where the bundled examples are."""
    return Path(settings.BASE_DIR) / "examples"


def list_examples() -> list[Example]:
    """Every bundled example, the ones with the fewest steps first. Reads a small file for each."""
    found = [_read(path) for path in examples_folder().glob("*.json")]
    return sorted(found, key=lambda example: (len(example.steps), len(example.description), example.name))


def load_example(name: str) -> Example:
    """The example of this name. Raises NotFound, and InvalidPipeline when its declaration cannot be read."""
    for path in examples_folder().glob("*.json"):
        if path.stem == name:
            return _read(path)
    raise NotFound(f"There is no example “{name[:100]}”.", field="example")


def _read(path: Path) -> Example:
    try:
        declared = json.loads(path.read_text())
        return Example(
            name=path.stem,
            title=declared["title"],
            description=declared["description"],
            experiment_name=declared["experiment"],
            steps=[ExampleStep(**step) for step in declared["steps"]],
            folder=path.parent / declared["folder"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidPipeline(f"{path.name} cannot be read: {error!r}") from error


def read_file(example: Example, path: str) -> str | None:
    """The text of one of the example's files (of `paths()`); None for one that is not text."""
    try:
        return (example.folder / path).read_text("utf-8")
    except UnicodeDecodeError:
        return None
