"""What tests do with programs on a terminal always ends."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.sdk.command_line import Shell
from tests.sdk.conftest import pass_interrupts_on
from tests.sdk.screen import Screen


@pytest.mark.parametrize(
    "read",
    [
        lambda screen: screen.read_until(lambda shown: "never" in shown, within_s=0.3),
        lambda screen: screen.rest(within_s=0.3),
    ],
)
@pytest.mark.parametrize("line", ["sleep 600", "yes"])
def test_a_program_that_does_not_do_what_is_awaited_fails_the_test(
    shell: Shell, line: str, read: Callable[[Screen], str]
) -> None:
    screen = Screen(shell, line, 80)
    with pytest.raises(pytest.fail.Exception, match=r"Not within 0\.3 s; the program has shown"):
        read(screen)
    assert screen.process.returncode is not None


def test_a_program_that_has_ended_is_not_waited_for(shell: Shell) -> None:
    with pytest.raises(pytest.fail.Exception, match="has ended; the program has shown 'a"):
        Screen(shell, "echo a", 80).read_until(lambda shown: "b" in shown)


def test_programs_can_be_interrupted_where_pytest_was_started_without_interrupts(shell: Shell) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        pass_interrupts_on()
        screen = Screen(shell, "sleep 600", 80)
        screen.process.send_signal(signal.SIGINT)
        screen.rest()
        signal.raise_signal(signal.SIGINT)  # this process ignores it as before
    finally:
        signal.signal(signal.SIGINT, before)
    assert screen.process.returncode == -signal.SIGINT
