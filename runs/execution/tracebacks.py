"""Lifting the last Python traceback out of a log, as a person would: without colours, with its causes."""

from __future__ import annotations

import re
from itertools import dropwhile, takewhile

TAIL_BYTES = 256 * 1024  # how much of a log's end is looked at
TRACEBACK_LETTERS = 64_000

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_HEADER = "Traceback (most recent call last):"
_GROUP_HEADER = "+ Exception Group " + _HEADER
_GROUP_LINE = re.compile(r"\s*[|+]")
_CAUSES = (
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)
_EXCEPTION = re.compile(r"[^\W\d][\w.]*(?::|$)")
_PLACE = re.compile(r'  File ".*", line \d+$')  # a syntax error of the script itself comes without a header


def last_traceback(log_tail: bytes) -> str:
    """The last traceback in the end of a log, together with those it was raised from; "" without one.

    A prefix that a launcher puts before each line ("[rank0]: ") is taken off.
    """
    text = _ANSI.sub("", log_tail[-TAIL_BYTES:].decode("utf-8", "replace")).replace("\0", "")
    lines = re.split(r"\r\n|\n|\r", text)
    headers = [number for number, line in enumerate(lines) if _HEADER in line]
    if not headers:
        return _cut(_syntax_error(lines))
    if lines[headers[-1]].lstrip().startswith(("|", "+")):
        return _cut(_group(lines, headers))
    first = last = headers.pop()
    while headers and _leads_to(lines[headers[-1] : first]):
        first = headers.pop()
    prefix = _prefix(lines, last)
    causes = [line.removeprefix(prefix) for line in lines[first:last]]
    if causes:
        causes[0] = _HEADER
    return _cut([*causes, *_block([line.removeprefix(prefix) for line in lines[last:]])])


def exception_line(traceback: str) -> str:
    """The line of a traceback that names the exception: `ValueError: bad lr`; "" if it is not there."""
    return next(iter(_raised(traceback)), "")


def exception_text(traceback: str) -> str:
    """That line, with the one below that says why if all of its text stands there, as with azureml's."""
    lines = _raised(traceback)
    if len(lines) < 2 or not lines[0].rstrip().endswith(":"):
        return "".join(lines[:1])
    reasons = [line.strip() for line in takewhile(lambda line: line.startswith((" ", "\t")), lines[1:])]
    named = (reason for reason in reasons if reason.startswith("Message:"))
    return f"{lines[0].rstrip()} {next(named, lines[1].strip())}".rstrip()


def _raised(traceback: str) -> list[str]:
    """The lines from the one that names the exception on."""
    lines = [re.sub(r"^\s*\| ?", "", line) for line in traceback.splitlines()]
    headers = [number for number, line in enumerate(lines) if _HEADER in line]
    start = headers[-1] + 1 if headers else 0
    if _GROUP_HEADER in traceback:  # the group itself says more than the last of its members
        start = next(number for number in headers if _GROUP_HEADER in lines[number]) + 1
    rest = list(dropwhile(lambda line: not line.strip() or line.startswith((" ", "\t")), lines[start:]))
    return rest if rest and _EXCEPTION.match(rest[0]) else []


def _block(lines: list[str]) -> list[str]:
    """One traceback: header, frames, exception, and those lines of its message that are indented."""
    end = 1
    while end < len(lines) and lines[end].startswith("  "):
        end += 1
    if end < len(lines) and _EXCEPTION.match(lines[end]):
        end += 1
        while end < len(lines) and lines[end].startswith((" ", "\t")):
            end += 1
    return [_HEADER, *lines[1:end]]


def _leads_to(lines: list[str]) -> bool:
    """Whether what stands before a header says that its traceback follows from the one above."""
    said = next((line for line in reversed(lines) if line.strip()), "")
    return said.rstrip().endswith(_CAUSES)


def _prefix(lines: list[str], header: int) -> str:
    """What stands before the header, if also before the line after it; a progress bar's remains do not."""
    prefix = lines[header].partition(_HEADER)[0]
    return prefix if lines[header + 1 : header + 2] and lines[header + 1].startswith(prefix) else ""


def _group(lines: list[str], headers: list[int]) -> list[str]:
    first = max((number for number in headers if _GROUP_HEADER in lines[number]), default=headers[-1])
    end = first + 1
    while end < len(lines) and _GROUP_LINE.match(lines[end]):
        end += 1
    return lines[first:end]


def _syntax_error(lines: list[str]) -> list[str]:
    places = [number for number, line in enumerate(lines) if _PLACE.match(line)]
    if not places:
        return []
    block = _block(lines[places[-1] :])
    return [lines[places[-1]], *block[1:]] if "Error" in block[-1] else []


def _cut(lines: list[str]) -> str:
    return "\n".join(lines).strip("\n")[-TRACEBACK_LETTERS:]
