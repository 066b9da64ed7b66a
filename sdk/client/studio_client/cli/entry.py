"""Where the program `studio` begins and ends."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command of this process's words, and exit.

    Ctrl-C while Python loads the commands, or ends, ends the process without a word, by the signal itself.
    """
    heeds = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeds:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from studio_client.cli.main import run

    if heeds:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    code = run(sys.argv[1:])
    if heeds:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(code)
