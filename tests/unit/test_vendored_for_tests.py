"""The files of others that tests use are the ones that VENDORED.md names, byte for byte."""

from __future__ import annotations

import hashlib
from pathlib import Path

VENDOR = Path(__file__).resolve().parents[1] / "vendor"


def test_every_file_is_listed_with_its_hash() -> None:
    lines = (VENDOR / "VENDORED.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    listed = {row[2]: row[4] for row in cells[1:]}
    there = {path for path in VENDOR.iterdir() if path.name != "VENDORED.md"}
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in there} == listed
