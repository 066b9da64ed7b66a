"""Which files of a folder a snapshot leaves out:
`.amlignore` of its root, else `.gitignore`, as git reads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

#: Files that hold the rules, the one that wins first. Only those of the root count.
IGNORE_FILES = (".amlignore", ".gitignore")
#: Names that never belong to a snapshot, at any depth, and caches below a folder `.azureml`.
ALWAYS_LEFT_OUT = frozenset({".git", "__pycache__", "__MACOSX", ".DS_Store"})
AZUREML_CACHES = frozenset({".cache", "cache"})


class Rules:
    """The lines of one ignore file. A later line wins; nothing below a folder that is left out comes back."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self._rules: list[tuple[re.Pattern[str], bool, bool]] = []
        for line in lines:
            rule = _rule(line)
            if rule is not None:
                self._rules.append(rule)

    def leaves_out(self, path: str, *, is_folder: bool) -> bool:
        """Whether the last line that fits this path, relative to the root and with /, leaves it out."""
        for pattern, only_folders, keeps in reversed(self._rules):
            if (is_folder or not only_folders) and pattern.fullmatch(path):
                return not keeps
        return False

    def leave_out_file(self, path: str) -> bool:
        """Whether they leave out this file, or a folder above it."""
        return any(self.leaves_out(above, is_folder=is_folder) for above, is_folder in ways_to(path))


def ways_to(path: str) -> Iterator[tuple[str, bool]]:
    """The folders above a file and the file itself, from the top, each with whether it is a folder."""
    at = path.find("/")
    while at >= 0:
        yield path[:at], True
        at = path.find("/", at + 1)
    yield path, False


def always_left_out(path: str) -> bool:
    """Whether this path stays behind whatever the rules say; for its folders that is asked before."""
    folder, _, name = path.rpartition("/")
    if name in ALWAYS_LEFT_OUT:
        return True
    return name in AZUREML_CACHES and folder.rpartition("/")[2] == ".azureml"


def _rule(line: str) -> tuple[re.Pattern[str], bool, bool] | None:
    """A line as (pattern, only folders, brings back);
    None for blank lines, comments and lines that fit nothing.
    """
    text = line.rstrip("\r\n")
    if text.startswith("#"):
        return None
    keeps = text.startswith("!")
    text = _without_blanks_at_the_end(text[1:] if keeps else text)
    only_folders = text.endswith("/")
    text = text[:-1] if only_folders else text
    if not text or text == "/":
        return None
    anchored = "/" in text
    try:
        pattern = _pattern(text[1:] if text.startswith("/") else text)
    except re.error:
        return None
    prefix = "" if anchored else "(?:.*/)?"
    return re.compile(prefix + pattern, re.DOTALL), only_folders, keeps


def _without_blanks_at_the_end(text: str) -> str:
    while text.endswith(" ") and not text.endswith("\\ "):
        text = text[:-1]
    return text


def _pattern(glob: str) -> str:
    """A pattern of git as a regular expression over the whole path."""
    parts = glob.split("/")
    out: list[str] = []
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == "**":
            if last:
                out.append(".+")
            else:
                out.append("(?:.*/)?")
            continue
        out.append(_segment(part))
        if not last:
            out.append("/")
    return "".join(out)


def _segment(part: str) -> str:
    """One name of a pattern: * ? [a-z] \\x, none of which fits a slash."""
    out: list[str] = []
    at = 0
    while at < len(part):
        char = part[at]
        at += 1
        if char == "*":
            while at < len(part) and part[at] == "*":
                at += 1
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "[":
            text, at = _letters(part, at)
            out.append(text)
        elif char == "\\" and at < len(part):
            out.append(re.escape(part[at]))
            at += 1
        else:
            out.append(re.escape(char))
    return "".join(out)


def _letters(part: str, at: int) -> tuple[str, int]:
    """A bracket from `at` on; as plain text where it is never closed."""
    end = at + 1 if part[at : at + 1] in ("!", "^") else at
    end = end + 1 if part[end : end + 1] == "]" else end
    while end < len(part) and part[end] != "]":
        end += 2 if part[end] == "\\" else 1
    if end >= len(part):
        raise re.error("a bracket is never closed")
    inside = part[at:end]
    negated = inside[:1] in ("!", "^")
    inside = inside[1:] if negated else inside
    inside = inside.replace("[", "\\[").replace("&&", "&\\&").replace("~~", "~\\~").replace("||", "|\\|")
    inside = f"\\{inside}" if inside.startswith(("]", "^")) else inside
    return f"(?!/)[{'^' if negated else ''}{inside}]", end + 1
