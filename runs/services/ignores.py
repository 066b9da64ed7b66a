"""Which files of a source a snapshot leaves out, and which line would leave out more.

Pure: names in, names out. The rules are those of gitignore; a root `.amlignore` replaces a root `.gitignore`,
and only the root's file counts.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from pathspec import GitIgnoreSpec

from runs.errors import InvalidSnapshot

#: Files that hold ignore rules, the one that wins first.
IGNORE_FILES = (".amlignore", ".gitignore")
IGNORE_FILE_MAX_BYTES = 64 * 1024

#: Names that never belong to a snapshot, at any depth.
ALWAYS_LEFT_OUT = frozenset({".git", "__pycache__", "__MACOSX", ".DS_Store"})
#: Caches that SDKs leave in a `.azureml` folder; its configuration files stay.
AZUREML_CACHES = frozenset({".cache", "cache"})

#: Folders that are put back by a tool and need not travel, so the first suggestion when a source is too big.
_REBUILT = ("venv", ".venv", "env", "node_modules", ".tox", ".mypy_cache", ".pytest_cache", "wandb", "mlruns")
_MATCHING_MAX_S = 5.0
_DEPTH = 4
_WAYS_MAX = 50_000_000


@dataclass(frozen=True)
class Sizes:
    """How much there is below one path."""

    files: int
    size_bytes: int


def always_left_out(path: str) -> bool:
    """Whether Studio leaves this path out whatever the ignore file says."""
    segments = path.split("/")
    if not ALWAYS_LEFT_OUT.isdisjoint(segments):
        return True
    return any(a == ".azureml" and b in AZUREML_CACHES for a, b in pairwise(segments))


def left_out(paths: Iterable[str], *, rules: str, rules_name: str) -> set[str]:
    """The paths that these ignore rules leave out.

    Raises InvalidSnapshot for rules that would take very long to match: wildcards multiply, and the rules
    come from whoever uploads.
    """
    paths = list(paths)
    try:
        spec = GitIgnoreSpec.from_lines(_readable_rules(paths, rules, rules_name))
    except ValueError as error:
        raise InvalidSnapshot(f"{rules_name} cannot be read: {error}", field="source") from None
    deadline = time.monotonic() + _MATCHING_MAX_S
    found: set[str] = set()
    for path in paths:
        if spec.match_file(path):
            found.add(path)
        if time.monotonic() > deadline:
            raise InvalidSnapshot(
                f"{rules_name} takes too long to apply to {len(paths):,} files.",
                field="source",
                hint="Use fewer lines, or fewer * in a line.",
            )
    return found


def _readable_rules(paths: list[str], rules: str, rules_name: str) -> list[str]:
    """The lines, once it is sure that matching all of them against one name ends soon."""
    longest = max(map(len, paths), default=1)
    deepest = max((path.count("/") for path in paths), default=0) + 1
    lines = rules.splitlines()
    ways = 0
    for number, line in enumerate(lines, 1):
        across, within = line.count("**"), line.replace("**", "").count("*")
        if not line.startswith("#"):
            ways += math.comb(max(longest, within), within) * math.comb(max(deepest, across), across)
        if ways > _WAYS_MAX:
            raise InvalidSnapshot(
                f"Up to line {number}, {rules_name} has too many wildcards for names of {longest} letters.",
                field="source",
                hint="Use fewer * in a line.",
            )
    return lines


def line_that_helps(sizes: Mapping[str, int], *, max_files: int, max_bytes: int) -> str:
    """The ignore line that brings a source under both limits at the least loss; "" if there is none.

    A folder that a tool can rebuild comes first. Of too many files it is the folder with most of them, of too
    much the smallest folder or file that is enough, else the largest one. Only folders of the first four
    levels are considered.
    """
    below = _below(sizes)
    whole = Sizes(len(sizes), sum(sizes.values()))
    need = Sizes(max(0, whole.files - max_files), max(0, whole.size_bytes - max_bytes))
    candidates = {path: size for path, size in below.items() if size != whole}
    if not candidates:
        return ""
    enough = [p for p, s in candidates.items() if s.files >= need.files and s.size_bytes >= need.size_bytes]
    for path in sorted(enough, key=len):
        if path.rstrip("/").rsplit("/", 1)[-1] in _REBUILT:
            return f"/{path}"

    if need.files:
        folders = {path: size.files for path, size in candidates.items() if path.endswith("/")}
        most = max(folders.values(), default=0)
        full = [path for path, files in folders.items() if 1.1 * files > most]
        return f"/{max(full, key=len)}" if full else ""

    def share(path: str) -> float:
        size = candidates[path]
        return size.files / whole.files + size.size_bytes / max(1, whole.size_bytes)

    best = min(enough, key=share) if enough else max(candidates, key=share)
    while (parent := _parent(best)) in candidates and share(parent) < 1.1 * share(best):
        best = parent
    return f"/{best}"


def _below(sizes: Mapping[str, int]) -> dict[str, Sizes]:
    """Every file, and every folder (with a / at its end), with all that is below it."""
    files: dict[str, int] = defaultdict(int)
    size_bytes: dict[str, int] = defaultdict(int)
    for path, size in sizes.items():
        parts = path.split("/")
        folders = ["/".join(parts[:depth]) + "/" for depth in range(1, min(len(parts), _DEPTH + 1))]
        for node in (path, *folders):
            files[node] += 1
            size_bytes[node] += size
    return {path: Sizes(files[path], size_bytes[path]) for path in files}


def _parent(path: str) -> str:
    head, slash, _ = path.rstrip("/").rpartition("/")
    return head + slash
