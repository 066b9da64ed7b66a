"""Log bytes as lines for a page: carriage returns, colours, links, levels and search hits, always escaped.

Pure. Each line depends on its own bytes alone, so any range of a log that starts at a line start gives the
same lines as the whole log does.
"""

from __future__ import annotations

import codecs
import colorsys
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

from django.utils.safestring import SafeString, mark_safe

from runs.log_gaps import lines_beside

#: So much of one line is shown; the file keeps all of it.
LINE_MAX_BYTES = 64 * 1024
TERM_MAX_LENGTH = 500

_LEVEL_SEEN_IN = 1_000
_LINK_MAX_LENGTH = 2_048

#: Escape sequences (colours and all others), backspaces, and control characters that have no place on a page.
_SPECIAL = re.compile(
    r"\x1b\[(?P<sgr>[0-9;:]*)m"
    r"|(?P<erase>\x1b\[[0-2]?K)"
    r"|\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"
    r"|\x1b\[[0-?]*[ -/]*\Z"
    r"|\x1b[ -/]*[0-Z\\^-~]?"
    r"|(?P<back>\x08+)"
    r"|[\x00-\x07\x0a-\x1a\x1c-\x1f\x7f-\x9f]+"
)
_URL = re.compile(r"https?://[^\s<>\"'`{}|\\^]+", re.IGNORECASE)
_CLOSERS = {")": "(", "]": "["}

_LEVEL_WORD = re.compile(
    r"(?<![\w.-])(?:(?P<error>ERROR|CRITICAL|FATAL)|(?P<warning>WARN(?:ING)?)|(?P<debug>DEBUG|TRACE)|INFO|NOTICE)(?![\w-])"
)
_ERROR = re.compile(
    r"^Traceback \(most recent call last\)"
    r"|^(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Interrupt)(?::|$)"
    r"|(?<![\w-])[Ee]rror: (?!\s*[-+]?[\d.])"
    r"|^(?:Segmentation fault|Killed|Aborted)(?: \(core dumped\))?$"
)
_WARNING = re.compile(r"\b[A-Z]\w*Warning:|(?<![\w-])[Ww]arning: ")

_HUES = ("red", "yellow", "green", "cyan", "blue", "magenta")
#: The eight colours of a terminal. Black and white would be unreadable on one of the themes: they are ink.
_NAMED = ("", "red", "green", "yellow", "blue", "magenta", "cyan", "")


@dataclass(frozen=True)
class LogLine:
    """One line as a page shows it.

    `offset` and `size` are its place in the file (its newline included), `text` what can be read, `html` the
    same with colours, links and hits, `level` is error, warning, debug or "", `is_cut` says that more was on
    the end. `is_open` lines have no newline yet: what comes next may still change them. `stands_for` says how
    many lines it is instead of: more than one where a part of the log is lost.
    """

    number: int
    offset: int
    size: int
    text: str
    html: SafeString
    level: str = ""
    matches: int = 0
    is_cut: bool = False
    is_open: bool = False
    stands_for: int = 1

    @property
    def note(self) -> str:
        """What is not shown, in words; "" for nothing."""
        return "The rest of this line is not shown; download the log to see it." if self.is_cut else ""


@dataclass(frozen=True)
class _Style:
    colour: str = ""
    bold: bool = False
    dim: bool = False

    @property
    def classes(self) -> str:
        names = [self.colour] if self.colour else []
        names += ["bold"] if self.bold else []
        names += ["dim"] if self.dim else []
        return " ".join(f"ansi-{name}" for name in names)


_PLAIN = _Style()


def render_lines(
    data: bytes, *, number: int = 1, offset: int = 0, find: str = "", complete: bool = False
) -> list[LogLine]:
    """The lines of a stretch of a log that starts at a line start, which has this number and offset.

    `find` marks each place where the term occurs, whatever its case. `complete` says that no byte will
    follow, so that half a character at the end is shown as broken rather than waited for. A line that was
    rewritten ten thousand times costs no more than its last 64 KiB.
    """
    return list(_lines(data, number, offset, find, complete))


def _lines(data: bytes, number: int, offset: int, find: str, complete: bool) -> Iterator[LogLine]:
    raws = data.split(b"\n")
    rest = raws.pop()
    for raw in raws:
        line = _line(raw, number, offset, find, is_open=False, whole=True)
        yield line
        number, offset = number + line.stands_for, offset + len(raw) + 1
    if rest:
        yield _line(rest, number, offset, find, is_open=True, whole=complete)


def _line(raw: bytes, number: int, offset: int, find: str, *, is_open: bool, whole: bool) -> LogLine:
    shown, hidden = _last_writing(raw)
    text, styles = _without_escapes(_decode(shown, whole=whole and not hidden))
    matches = find_matches(text, find)
    return LogLine(
        number=number,
        offset=offset,
        size=len(raw) + (not is_open),
        text=text,
        html=_markup(text, styles, matches),
        level=level_of(text),
        matches=len(matches),
        is_cut=hidden > 0,
        is_open=is_open,
        stands_for=1 + lines_beside(raw),
    )


def visible_text(raw: bytes) -> str:
    """What can be read of one line, given without its newline; what a search of a log looks in."""
    shown, hidden = _last_writing(raw)
    return _without_escapes(_decode(shown, whole=not hidden))[0]


def find_matches(text: str, term: str) -> list[tuple[int, int]]:
    """Where the term occurs in the text, as (start, end), whatever its case; [] for an empty term."""
    return [match.span() for match in _term_pattern(term[:TERM_MAX_LENGTH]).finditer(text)] if term else []


@lru_cache(maxsize=64)
def _term_pattern(term: str) -> re.Pattern[str]:
    return re.compile(re.escape(term), re.IGNORECASE)


def level_of(text: str) -> str:
    """The level that a line speaks of: error, warning, debug, or "" for anything else.

    The first level word in capitals decides; without one, tracebacks, exceptions and compilers' words do.
    Figures named "error" are none.
    """
    text = text[:_LEVEL_SEEN_IN]
    word = _LEVEL_WORD.search(text)
    if word:
        return word.lastgroup or ""
    if _ERROR.search(text):
        return "error"
    return "warning" if _WARNING.search(text) else ""


def _last_writing(raw: bytes) -> tuple[bytes, int]:
    """What the last carriage return left on the line, and how many bytes of it are too many to show.

    Programs write the return before or after the text, so an empty rest stands for the writing before it,
    unless it erased that.
    """
    end = len(raw)
    while True:
        start = raw.rfind(b"\r", 0, end) + 1
        writing = raw[start : min(end, start + LINE_MAX_BYTES)]
        if start == 0 or len(raw) - start > LINE_MAX_BYTES or _leaves_something(writing):
            return writing, max(0, end - start - len(writing))
        end = start - 1


def _leaves_something(writing: bytes) -> bool:
    if not writing:
        return False
    text = _decode(writing, whole=False)
    if any(match["erase"] for match in _SPECIAL.finditer(text)):
        return True
    return bool(_without_escapes(text)[0])


def _decode(raw: bytes, *, whole: bool) -> str:
    return codecs.getincrementaldecoder("utf-8")("replace").decode(raw, final=whole)


def _without_escapes(text: str) -> tuple[str, list[tuple[int, int, str]]]:
    """The readable text, and which stretches of it have which classes."""
    if not _SPECIAL.search(text):
        return text, []
    pieces: list[tuple[str, _Style]] = []
    style, at = _PLAIN, 0
    for match in _SPECIAL.finditer(text):
        if match.start() > at:
            pieces.append((text[at : match.start()], style))
        at = match.end()
        if match["sgr"] is not None:
            style = _styled(style, match["sgr"])
        elif match["back"]:
            _rub_out(pieces, len(match["back"]))
    if at < len(text):
        pieces.append((text[at:], style))
    styles, length = [], 0
    for piece, piece_style in pieces:
        if piece_style != _PLAIN:
            styles.append((length, length + len(piece), piece_style.classes))
        length += len(piece)
    return "".join(piece for piece, _ in pieces), styles


def _rub_out(pieces: list[tuple[str, _Style]], count: int) -> None:
    while count and pieces:
        text, style = pieces.pop()
        if len(text) > count:
            pieces.append((text[:-count], style))
        count = max(0, count - len(text))


def _styled(style: _Style, parameters: str) -> _Style:
    """The style after a "select graphic rendition" sequence; what is not on the list changes nothing."""
    groups = (";".join(part for part in group.split(":") if part) for group in parameters.split(";"))
    codes = iter([int(code[:4] or 0) for code in ";".join(groups).split(";")])
    for code in codes:
        if code == 0:
            style = _PLAIN
        elif code == 1:
            style = replace(style, bold=True)
        elif code == 2:
            style = replace(style, dim=True)
        elif code == 22:
            style = replace(style, bold=False, dim=False)
        elif code == 39:
            style = replace(style, colour="")
        elif 30 <= code <= 37 or 91 <= code <= 97:
            style = replace(style, colour=_NAMED[code % 10])
        elif code == 90:
            style = replace(style, colour="dim")
        elif code in (38, 48, 58):
            colour = _extended_colour(codes)
            style = replace(style, colour=colour) if code == 38 else style
    return style


def _extended_colour(codes: Iterator[int]) -> str:
    """The colour nearest to one of 256 (5;n) or to any (2;r;g;b); takes its parameters from `codes`."""
    kind = next(codes, 0)
    if kind == 2:
        red, green, blue = (min(255, next(codes, 0)) for _ in range(3))
        return _nearest(red, green, blue)
    if kind != 5:
        return ""
    number = next(codes, 0)
    if number < 16:
        return "dim" if number == 8 else _NAMED[number % 8]
    if number > 231:
        return "dim" if number < 246 else ""
    cube = number - 16
    red, green, blue = (level and 55 + 40 * level for level in (cube // 36, cube // 6 % 6, cube % 6))
    return _nearest(red, green, blue)


def _nearest(red: int, green: int, blue: int) -> str:
    hue, saturation, value = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
    if saturation < 0.25:
        return "dim" if 0.2 < value < 0.6 else ""
    return _HUES[round(hue * 6) % 6]


def _links(text: str) -> list[tuple[int, int]]:
    if "://" not in text:
        return []
    return [(match.start(), match.start() + _link_length(match.group())) for match in _URL.finditer(text)]


def _link_length(url: str) -> int:
    """Without the punctuation of the sentence around it."""
    url = url[:_LINK_MAX_LENGTH]
    while url[-1] in ".,;:!?*_~)]":
        opener = _CLOSERS.get(url[-1])
        if opener and url.count(opener) >= url.count(url[-1]):
            break
        url = url[:-1]
    return len(url)


def _markup(text: str, styles: list[tuple[int, int, str]], matches: list[tuple[int, int]]) -> SafeString:
    """The text escaped, then wrapped; every tag and class comes from this module."""
    links = _links(text)
    if not (styles or matches or links):
        return mark_safe(html.escape(text))  # noqa: S308
    stretches = [(start, end) for start, end, _ in styles] + matches + links
    edges = sorted({0, len(text), *(edge for stretch in stretches for edge in stretch)})
    link_at, link_ends = dict(links), {end for _, end in links}
    classes, marked = _Cursor(styles), _Cursor([(start, end, "mark") for start, end in matches])
    parts: list[str] = []
    for start, end in pairwise(edges):
        if start in link_at:
            address = html.escape(text[start : link_at[start]])
            parts.append(f'<a href="{address}" rel="noopener noreferrer nofollow" target="_blank">')
        piece = html.escape(text[start:end])
        if marked.at(start):
            piece = f"<mark>{piece}</mark>"
        names = classes.at(start)
        parts.append(f'<span class="{names}">{piece}</span>' if names else piece)
        if end in link_ends:
            parts.append("</a>")
    return mark_safe("".join(parts))  # noqa: S308


class _Cursor:
    """What covers a place, asked in rising order, of stretches that do not overlap."""

    def __init__(self, stretches: list[tuple[int, int, str]]) -> None:
        self._stretches = iter(stretches)
        self._now = next(self._stretches, None)

    def at(self, place: int) -> str:
        while self._now and self._now[1] <= place:
            self._now = next(self._stretches, None)
        return self._now[2] if self._now and self._now[0] <= place else ""
