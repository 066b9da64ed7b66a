"""From the shim's facts to an outcome in words."""

from __future__ import annotations

from typing import Any

import pytest

from runs.execution.outcome import Outcome, lost, outcome_of
from runs.status import ErrorClass

RAISED = b'Traceback (most recent call last):\n  File "t.py", line 1, in <module>\nValueError: bad lr\n'
NO_MEMORY = RAISED.replace(b"ValueError: bad lr", b"MemoryError")
NO_GPU_MEMORY = RAISED.replace(b"ValueError: bad lr", b"torch.OutOfMemoryError: GPU")


def facts(**over: Any) -> dict[str, Any]:
    return {"reason": "exit", "exit_code": None, "signal": None, "out_of_memory": False, "killed": [], **over}


@pytest.mark.parametrize(
    ("ended", "log", "kind", "message"),
    [
        (facts(exit_code=0), RAISED, None, ""),
        (facts(exit_code=1), RAISED, ErrorClass.SCRIPT, "ValueError: bad lr"),
        (facts(exit_code=1), b"", ErrorClass.SCRIPT, "The script ended with exit code 1."),
        (facts(exit_code=3), RAISED, ErrorClass.SCRIPT, "The script ended with exit code 3."),
        (facts(exit_code=1), NO_MEMORY, ErrorClass.OUT_OF_MEMORY, "MemoryError"),
        (facts(exit_code=1), NO_GPU_MEMORY, ErrorClass.OUT_OF_MEMORY, "torch.OutOfMemoryError: GPU"),
        (
            facts(signal=9, out_of_memory=True),
            b"",
            ErrorClass.OUT_OF_MEMORY,
            "The system killed the script because memory ran out.",
        ),
        (
            facts(exit_code=137, out_of_memory=True),
            b"",
            ErrorClass.OUT_OF_MEMORY,
            "The system killed the script because memory ran out.",
        ),
        (facts(signal=11), b"", ErrorClass.SIGNAL, "The script was ended by SIGSEGV (segmentation fault)."),
        (facts(signal=40), b"", ErrorClass.SIGNAL, "The script was ended by signal 40."),
        (
            facts(reason="time_limit", exit_code=0, time_limit_s=5.0),
            b"",
            ErrorClass.TIME_LIMIT,
            "The script ran longer than 5 s.",
        ),
        (
            facts(reason="time_limit", signal=9, time_limit_s=3690),
            b"",
            ErrorClass.TIME_LIMIT,
            "The script ran longer than 1 h 1 min 30 s.",
        ),
        ({"reason": "launch", "message": "No such script."}, RAISED, ErrorClass.LAUNCH, "No such script."),
    ],
)
def test_each_end_has_its_words(
    ended: dict[str, Any], log: bytes, kind: ErrorClass | None, message: str
) -> None:
    outcome = outcome_of(ended, stop_requested=False, log_tail=log)
    assert (outcome.kind, outcome.message, outcome.canceled) == (kind, message, False)


@pytest.mark.parametrize(
    "ended",
    [
        facts(reason="stopped", exit_code=0),
        facts(exit_code=1),
        facts(reason="time_limit", signal=15),
    ],
)
def test_whoever_asked_for_a_stop_has_it(ended: dict[str, Any]) -> None:
    outcome = outcome_of(ended, stop_requested=True, log_tail=RAISED)
    assert (outcome.canceled, outcome.kind, outcome.message) == (True, None, "Stopped on request. It obeyed.")
    assert outcome.exit_code == ended["exit_code"]


def test_who_had_to_be_killed_and_who_could_not_be_is_said() -> None:
    ended = facts(reason="stopped", signal=9, killed=[7, 8], left=[9])
    outcome = outcome_of(ended, stop_requested=True, log_tail=b"")
    assert outcome.killed == (7, 8)
    assert outcome.message == (
        "Stopped on request. 2 of its processes had to be killed. Could not be killed: 9."
    )


def test_the_traceback_is_kept_also_when_the_exit_code_says_more() -> None:
    outcome = outcome_of(facts(exit_code=3), stop_requested=False, log_tail=RAISED)
    assert outcome.traceback == RAISED.decode().strip()


def test_a_lost_run_that_was_to_stop_is_canceled() -> None:
    assert lost("Gone.", stop_requested=False) == Outcome(ErrorClass.LOST, False, None, None, "Gone.")
    assert lost("Gone.", stop_requested=True).canceled
