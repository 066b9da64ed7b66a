"""Each variable that Studio reads or hands to scripts has a row in docs/operations.md, and no row more."""

from __future__ import annotations

import re
from pathlib import Path

from studio.options import OPTIONS

ROOT = Path(__file__).parents[2]
NAME = re.compile(r"STUDIO_[A-Z_]*[A-Z]")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def rows() -> dict[str, list[str]]:
    """The cells of each row that begins with a variable."""
    found: dict[str, list[str]] = {}
    for line in OPERATIONS.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `STUDIO_"):
            found.setdefault(cells[0].strip("`"), cells)
    return found


def variables() -> set[str]:
    """Every variable that occurs in the code of the server as a text of its own."""
    quoted = re.compile(rf"""["']({NAME.pattern})["']""")
    files = [*(ROOT / "studio").rglob("*.py"), *(ROOT / "runs").rglob("*.py")]
    return {name for file in files for name in quoted.findall(file.read_text())}


def test_every_variable_of_the_code_has_a_row() -> None:
    assert variables() - rows().keys() == set()


def test_every_row_names_a_variable_of_the_code() -> None:
    assert rows().keys() - variables() == set()


def test_every_row_says_meaning_default_and_unit() -> None:
    settings = [cells for cells in rows().values() if len(cells) == 4]
    assert len(settings) > 15
    assert all(all(cells) for cells in settings)


def test_every_option_of_up_stands_in_the_row_of_its_variable() -> None:
    for option, (variable, _) in OPTIONS.items():
        assert f"`up --{option}`" in rows()[variable][1]
