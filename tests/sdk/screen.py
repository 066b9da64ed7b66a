"""A terminal of some width with a program on it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from typing import NoReturn

import pytest

from tests.sdk.command_line import Shell

_ESCAPE = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")
WITHIN_S = 60.0


class Screen:
    """A program on a terminal of this width, and all that it has written there."""

    def __init__(self, shell: Shell, line: str, columns: int) -> None:
        self._file, end = pty.openpty()
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        env = {name: value for name, value in shell.whole_env.items() if name != "COLUMNS"}
        self.process = subprocess.Popen(
            ["bash", "-c", f"exec {line}"], env=env, stdin=end, stdout=end, stderr=end, start_new_session=True
        )
        os.close(end)
        self._shown = b""

    def type(self, text: str) -> None:
        os.write(self._file, text.encode())

    def read_until(self, is_enough: Callable[[str], bool], *, within_s: float = WITHIN_S) -> str:
        """What is shown once it is enough; fails the test when that takes too long or never comes."""
        end = time.monotonic() + within_s
        while not is_enough(self._text):
            if not self._read_more(end, within_s):
                self._fail("The program has ended")
        return self._text

    def rest(self, *, within_s: float = WITHIN_S) -> str:
        """All of it, once the program has ended; fails the test when that takes too long."""
        end = time.monotonic() + within_s
        while self._read_more(end, within_s):
            pass
        self.process.wait(30)
        os.close(self._file)
        return self._text

    @property
    def _text(self) -> str:
        return self._shown.decode(errors="replace")

    def _read_more(self, end: float, within_s: float) -> bool:
        """False if the other side has closed the terminal."""
        left_s = end - time.monotonic()
        if left_s <= 0 or not select.select([self._file], [], [], left_s)[0]:
            self._fail(f"Not within {within_s} s")
        try:
            chunk = os.read(self._file, 4096)
        except OSError:
            return False
        self._shown += chunk
        return bool(chunk)

    def _fail(self, why: str) -> NoReturn:
        self.process.kill()
        self.process.wait(30)
        os.close(self._file)
        pytest.fail(f"{why}; the program has shown {self._text[-2_000:]!r}.")


def lines_of(shown: str) -> list[str]:
    return _ESCAPE.sub("", shown).replace("\r", "").splitlines()
