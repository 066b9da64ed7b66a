"""A terminal of some width with a program on it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Callable

from tests.sdk.command_line import Shell

_ESCAPE = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")


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

    def read_until(self, is_enough: Callable[[str], bool]) -> str:
        while not is_enough(self._shown.decode(errors="replace")):
            self._shown += os.read(self._file, 4096)
        return self._shown.decode(errors="replace")

    def rest(self) -> str:
        """All of it, once the program has ended."""
        try:
            while chunk := os.read(self._file, 4096):
                self._shown += chunk
        except OSError:
            pass  # the other side has closed the terminal
        self.process.wait(30)
        os.close(self._file)
        return self._shown.decode(errors="replace")


def lines_of(shown: str) -> list[str]:
    return _ESCAPE.sub("", shown).replace("\r", "").splitlines()
