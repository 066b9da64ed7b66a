"""Lifting tracebacks: from what Python really prints, and from what launchers and bars make of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from runs.execution.tracebacks import exception_line, exception_text, last_traceback


def stderr_of(code: str) -> bytes:
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    return done.stderr


def test_there_may_be_none() -> None:
    assert last_traceback(b"epoch 1\nValueError: not a traceback\n") == ""
    assert exception_line("") == ""


def test_the_last_of_several_is_taken_without_what_surrounds_it() -> None:
    first, second = stderr_of("raise KeyError('first')"), stderr_of("raise ValueError('bad lr')")
    found = last_traceback(b"start\n" + first + b"epoch 2\n" + second + b"atexit says bye\n")
    assert found.startswith("Traceback (most recent call last):\n")
    assert found.endswith("\nValueError: bad lr")
    assert "first" not in found
    assert exception_line(found) == "ValueError: bad lr"


@pytest.mark.parametrize("cause", [" from error", ""])
def test_causes_belong_to_it(cause: str) -> None:
    code = f"try:\n  1/0\nexcept Exception as error:\n  raise KeyError('x'){cause}"
    found = last_traceback(stderr_of("raise OSError('earlier')") + stderr_of(code))
    assert found.count("Traceback (most recent call last):") == 2
    assert "ZeroDivisionError: division by zero" in found
    assert "earlier" not in found
    assert exception_line(found) == "KeyError: 'x'"


def test_a_group_is_taken_whole() -> None:
    code = "raise ExceptionGroup('several', [ValueError('a'), OSError('b')])"
    found = last_traceback(b"x\n" + stderr_of(code) + b"bye\n")
    assert found.lstrip().startswith("+ Exception Group Traceback")
    assert "OSError: b" in found
    assert exception_line(found) == "ExceptionGroup: several (2 sub-exceptions)"


def test_a_script_that_does_not_parse_has_one_without_a_header() -> None:
    found = last_traceback(stderr_of("def f(:"))
    assert found.startswith('  File "<string>", line 1')
    assert exception_line(found) == "SyntaxError: invalid syntax"


def test_indented_lines_of_a_message_belong_to_it() -> None:
    found = last_traceback(stderr_of(r"raise RuntimeError('missing keys:\n\tconv1\n\tconv2')") + b"bye\n")
    assert found.endswith("RuntimeError: missing keys:\n\tconv1\n\tconv2")


@pytest.mark.parametrize(
    "log",
    [
        b'\r 5%|#   | 5/100\rTraceback (most recent call last):\n  File "a", line 1\nValueError: z\n',
        b' 5%|#   | 5/100Traceback (most recent call last):\r\n  File "a", line 1\r\nValueError: z\r\n',
        b'[rank0]: Traceback (most recent call last):\n[rank0]:   File "a", line 1\n'
        b"[rank0]: \x1b[1;31mValueError\x1b[0m: z\n",
    ],
)
def test_bars_prefixes_and_colours_are_taken_off(log: bytes) -> None:
    assert last_traceback(log) == 'Traceback (most recent call last):\n  File "a", line 1\nValueError: z'


@pytest.mark.parametrize(
    "log",
    [
        b"Traceback (most recent call last):",
        b"Traceback (most recent call last):\n  File",
        b'\xff\xfe\0Traceback (most recent call last):\n  File "\xc3", line 1\n\xe2\x82',
        b"  | Traceback (most recent call last):\n",
        b'  File "x", line 3',
        b"\x1b[" * 1000,
    ],
)
def test_a_torn_log_raises_nothing(log: bytes) -> None:
    exception_line(last_traceback(log))


def test_a_text_that_begins_on_the_next_line_belongs_to_the_exception() -> None:
    text = "azureml.exceptions.ComputeTargetException: ComputeTargetException:\n\tMessage: no gpu-compute"
    log = f'Traceback (most recent call last):\n  File "a.py", line 1\n{text}\n\tInnerException None\n'
    assert exception_text(last_traceback(log.encode())) == (
        "azureml.exceptions.ComputeTargetException: ComputeTargetException: Message: no gpu-compute"
    )


def test_the_reason_is_found_below_a_code() -> None:
    text = (
        "azureml.exceptions.ServiceException: ServiceException:\n\tCode: None\n\tMessage: It does not answer."
    )
    log = f'Traceback (most recent call last):\n  File "a.py", line 1\n{text}\n\tDetails: \n\tHeaders: {{}}\n'
    assert exception_text(last_traceback(log.encode())) == (
        "azureml.exceptions.ServiceException: ServiceException: Message: It does not answer."
    )
