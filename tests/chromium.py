"""Which Chromium tests and benchmarks drive."""

from __future__ import annotations

import shutil

#: The first renders the same pages as the others for half of their CPU time: it has no windows of its own.
_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str:
    """The path of the program."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    assert program, "no Chromium on this machine; `make test` installs it"
    return program
