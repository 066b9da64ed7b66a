"""What a terminal shows while a large folder is read, packed and sent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.sdk.command_line import Shell
from tests.sdk.screen import Screen, lines_of
from tests.sdk.wire import Wire

SUBMIT = "studio run submit-script -e large --async -o none train.py"
STEPS = ("Reading the folder", "Packing the snapshot", "Uploading the snapshot", "Waiting for the server to")
SIZE_MB = 60


@pytest.fixture
def large(train: Path) -> Path:
    """A folder that takes a while, whose content the server has never seen."""
    (train.parent / "weights.bin").write_bytes(os.urandom(SIZE_MB << 20))
    return train.parent


@pytest.mark.parametrize("columns", [30, 40, 100])
def test_every_step_of_a_large_folder_moves_on_one_line(studio: Shell, large: Path, columns: int) -> None:
    shown = Screen(studio, SUBMIT, columns).rest()
    line, end, rest = shown.partition("Uploaded the snapshot.")
    assert (end, line.count("\n")) == ("Uploaded the snapshot.", 0), shown
    drawn = [text.rstrip() for text in line.split("\r")]
    begins = [next(at for at, text in enumerate(drawn) if text.startswith(step[:20])) for step in STEPS]
    assert begins == sorted(begins)
    assert max(map(len, drawn)) < columns
    for step in STEPS[:3]:
        said = [text for text in drawn if text.startswith(step)]
        assert said[0].endswith("  0 %" if columns == 30 else f"  0 % of {SIZE_MB} MB")
    assert any("█" in text for text in drawn) == (columns == 100)
    assert rest.lstrip(" ").startswith("\r\nSubmitted run "), rest


def test_of_what_the_server_has_nothing_is_left_on_the_terminal(studio: Shell, large: Path) -> None:
    assert studio(SUBMIT).code == 0
    shown = Screen(studio, SUBMIT, 100).rest()
    assert "Packing" not in shown
    assert shown.startswith("\rReading the folder")
    assert shown.splitlines()[-1].startswith("Submitted run ")


def test_who_does_not_look_and_who_sends_little_is_told_nothing(studio: Shell, large: Path) -> None:
    assert studio(SUBMIT).err.startswith("Submitted run ")
    (large / "weights.bin").write_bytes(os.urandom(SIZE_MB << 20))
    assert Screen(studio, f"{SUBMIT.replace(' train.py', '')} --only-show-errors train.py", 100).rest() == ""
    (large / "weights.bin").write_bytes(b"small")
    assert lines_of(Screen(studio, SUBMIT, 100).rest())[0].startswith("Submitted run ")


def test_a_server_that_goes_away_meanwhile_is_told_on_a_line_of_its_own(
    studio: Shell, large: Path, wire: Wire
) -> None:
    studio.env = {"STUDIO_URL": wire.url}
    screen = Screen(studio, SUBMIT, 100)
    screen.read_until(lambda shown: "Uploading" in shown)
    wire.cut()
    screen.read_until(lambda shown: f" \rWaiting for the server at {wire.url} ...\r\n" in shown)
    wire.mend()
    after = screen.rest().partition("...\r\n")[2]
    assert after.startswith("\rUploading the snapshot"), after
    assert "Uploaded the snapshot." in after
    assert screen.process.returncode == 0
