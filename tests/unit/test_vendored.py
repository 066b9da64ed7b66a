"""The files of others are the ones that VENDORED.md names, byte for byte."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

VENDOR = Path(__file__).resolve().parents[2] / "static" / "vendor"
OURS = {"VENDORED.md", "make_icons.py"}


def rows() -> list[tuple[str, str]]:
    """File and sha256 of each row of the table."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (VENDOR / "VENDORED.md").read_text().splitlines()
        if line.startswith("| ") and not line.startswith("| Name")
    ]
    return [(row[2], row[4]) for row in cells]


@pytest.mark.parametrize(("name", "sha256"), rows())
def test_file_has_the_hash_of_its_row(name: str, sha256: str) -> None:
    assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == sha256


def test_every_file_of_the_folder_has_a_row() -> None:
    there = {path.name for path in VENDOR.iterdir() if path.is_file()} - OURS
    assert there == {name for name, _ in rows() if "/" not in name}


def test_every_icon_that_templates_name_is_in_the_sprite() -> None:
    root = VENDOR.parents[1]
    sprite = set(re.findall(r'<symbol id="([^"]+)"', (root / "static" / "icons.svg").read_text()))
    named = set()
    for template in (root / "templates").rglob("*.html"):
        named |= set(re.findall(r'{%\s*icon "([^"]+)"', template.read_text()))
    assert named <= sprite
