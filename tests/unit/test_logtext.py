"""Log bytes as lines: what terminals do is followed, what pages must not do cannot happen."""

from __future__ import annotations

import html
import re
import time
import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.logtext import LINE_MAX_BYTES, LogLine, find_matches, level_of, render_lines, visible_text


def one(data: bytes | str, **options: object) -> LogLine:
    (line,) = render_lines(data.encode() if isinstance(data, str) else data, **options)  # type: ignore[arg-type]
    return line


class Seen(HTMLParser):
    """Elements and text, as a browser would read them."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def assert_harmless(line: LogLine) -> None:
    for tag, attributes in Seen(line.html).elements:
        if tag == "span":
            assert re.fullmatch(
                r"ansi-(red|yellow|green|cyan|blue|magenta|dim|bold)( ansi-(bold|dim))*",
                attributes.pop("class") or "",
            )
        elif tag == "a":
            assert re.match(r"https?://", attributes.pop("href") or "", re.IGNORECASE)
            assert attributes.pop("rel") == "noopener noreferrer nofollow"
            assert attributes.pop("target") == "_blank"
        else:
            assert tag == "mark"
        assert not attributes


def test_lines_have_their_numbers_and_places() -> None:
    lines = render_lines(b"one\ntwo\r\n\nlast", number=7, offset=100)
    assert [(line.number, line.offset, line.size, line.text, line.is_open) for line in lines] == [
        (7, 100, 4, "one", False),
        (8, 104, 5, "two", False),
        (9, 109, 1, "", False),
        (10, 110, 4, "last", True),
    ]
    assert render_lines(b"") == []


def test_ten_thousand_updates_are_one_line_and_little_work() -> None:
    data = b"".join(
        b"\repoch 1: %3d%%|%-40s| %d/10000" % (n // 100, b"#" * (n // 250), n) for n in range(10_001)
    )
    started = time.process_time()
    lines = render_lines(data)
    assert time.process_time() - started < 0.05
    assert [line.text for line in lines] == ["epoch 1: 100%|" + "#" * 40 + "| 10000/10000"]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("10%\r20%\r30%", "30%"),
        ("10%\r20%\r", "20%"),
        ("10%\r\r\r", "10%"),
        ("\r\r", ""),
        ("100% done\rok", "ok"),
        ("working\r\x1b[K", ""),
        ("working\r\x1b[2Kdone", "done"),
        ("50%\r\x08\x08", "50%"),
        ("50%\x08\x08\x0851%", "51%"),
        ("a\x1b[31mbc\x1b[0md\x08\x08\x08X", "aX"),
        ("\x08\x08a", "a"),
        ("a\tb", "a\tb"),
        ("nul\0bell\a\x7f", "nulbell"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]0;title\x1b\\text", "text"),
        ("\x1b]8;;https://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPdevice\x1b\\text", "text"),
        ("\x1b[2J\x1b[1;1H\x1b[?25lx\x1b[5A", "x"),
        ("\x1b(Bx\x1b=y", "xy"),
        ("\x1b", ""),
        ("x\x1b[", "x"),
        ("x\x1b[3", "x"),
        ("\x9b31mx", "31mx"),
    ],
)
def test_the_line_reads_as_on_a_terminal(data: str, text: str) -> None:
    assert one(data).text == text


def test_a_line_without_newline_is_there_and_waits_for_half_a_character() -> None:
    euro = "€".encode()
    assert one(b"5 " + euro[:2]).text == "5 "
    assert one(b"5 " + euro).text == "5 €"
    assert one(b"5 " + euro[:2], complete=True).text == "5 \ufffd"
    assert one(b"5 " + euro[:2] + b"\n").text == "5 \ufffd"


def test_broken_bytes_are_replaced_and_the_rest_stays() -> None:
    assert one(b"a\xffb\xc3(\n").text == "a\ufffdb\ufffd("


@pytest.mark.parametrize(
    ("data", "markup"),
    [
        ("\x1b[31mred\x1b[0m x", '<span class="ansi-red">red</span> x'),
        ("\x1b[1;32mok\x1b[m", '<span class="ansi-green ansi-bold">ok</span>'),
        ("\x1b[2mdim\x1b[22m x", '<span class="ansi-dim">dim</span> x'),
        ("\x1b[91mx\x1b[39my", '<span class="ansi-red">x</span>y'),
        ("\x1b[90mx", '<span class="ansi-dim">x</span>'),
        ("\x1b[38;5;196mx", '<span class="ansi-red">x</span>'),
        ("\x1b[38;5;34mx", '<span class="ansi-green">x</span>'),
        ("\x1b[38;2;30;60;250mx", '<span class="ansi-blue">x</span>'),
        ("\x1b[38:2::255:0:255mx", '<span class="ansi-magenta">x</span>'),
        ("\x1b[48;5;196mx", "x"),
        ("\x1b[48;2;255;0;0;33mx", '<span class="ansi-yellow">x</span>'),
        ("\x1b[30mx\x1b[37my", "xy"),
        ("\x1b[4;5;7;53mx", "x"),
        ("\x1b[999999999999999mx", "x"),
        ("\x1b[38mx\x1b[38;5mx", "xx"),
    ],
)
def test_colours_become_classes_of_a_short_list(data: str, markup: str) -> None:
    assert one(data).html == markup


@pytest.mark.parametrize(
    "data",
    [
        "<script>alert(1)</script>",
        "\x1b[31m<img src=x onerror=alert(1)>\x1b[0m",
        "<scr\x1b[31mipt>alert(1)</scr\x1b[0mipt>",
        "<scr\0ipt>alert(1)</script>",
        "<scr\x08\x08\x08\x08<script>alert(1)",
        'https://x/"onmouseover="alert(1)',
        "https://x/'onmouseover='alert(1)",
        "https://x/<script>alert(1)</script>",
        'https://x/\x1b[31m" onclick=alert(1)',
        "javascript:alert(1) data:text/html,x file:///etc/passwd",
        '\x1b[31;"><script>m',
        "&lt;script&gt; &amp; &#60;",
        "<mark><a href=x></a>",
    ],
)
@pytest.mark.parametrize("find", ["", "script", "<", "&", "a"])
def test_markup_in_a_log_stays_text(data: str, find: str) -> None:
    line = one(data, find=find)
    assert_harmless(line)
    assert Seen(line.html).text == line.text


def test_links_are_links_without_the_sentence_around_them() -> None:
    line = one("see (https://example.org/a_(b)?x=1&y=2). Or HTTP://A.B/c, or ftp://no")
    assert [attributes["href"] for _, attributes in Seen(line.html).elements] == [
        "https://example.org/a_(b)?x=1&y=2",
        "HTTP://A.B/c",
    ]
    assert 'href="https://example.org/a_(b)?x=1&amp;y=2" rel="noopener noreferrer nofollow"' in line.html


def test_a_link_goes_through_colours_and_hits() -> None:
    line = one("\x1b[32mhttps://exa\x1b[0mmple.org/loss x", find="loss")
    assert line.html.count("<a ") == line.html.count("</a>") == 1
    assert '<span class="ansi-green">https://exa</span>mple.org/<mark>loss</mark></a> x' in line.html


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("14:23:10 ERROR could not write", "error"),
        ("[CRITICAL] x", "error"),
        ("ERROR:root:x", "error"),
        ("Traceback (most recent call last):", "error"),
        ("ValueError: bad", "error"),
        ("torch.cuda.OutOfMemoryError: CUDA out of memory.", "error"),
        ("KeyboardInterrupt", "error"),
        ("main.c:3:1: error: expected", "error"),
        ("Segmentation fault (core dumped)", "error"),
        ("14:22:31 WARN data/loader.py:61", "warning"),
        ("train.py:3: UserWarning: slow", "warning"),
        ("warning: unused", "warning"),
        ("14:22:09 DEBUG grad norm", "debug"),
        ("14:22:02 INFO retry after ERROR 500", ""),
        ("mean error: 0.12", ""),
        ("Test error: 3", ""),
        ("val_error=0.2 error_rate 0.1", ""),
        ("0 errors, 3 warnings", ""),
        ("ERROR_RATE 3", ""),
        ("epoch 3 train_loss 0.1", ""),
        ("", ""),
    ],
)
def test_the_level_is_what_the_line_speaks_of(text: str, level: str) -> None:
    assert level_of(text) == level
    assert one("\x1b[33m" + text + "\n").level == level


def test_a_very_long_line_is_cut_with_a_note() -> None:
    line = one(b"x" * 1_000_000 + b"\n")
    assert len(line.text) == LINE_MAX_BYTES
    assert line.note.startswith("The rest of this line is not shown")
    assert one("short").note == ""
    cut = one("é" * 1_000_000)
    assert set(cut.text) == {"é"}


@pytest.mark.parametrize(
    "data",
    [
        b"\r" * 5_000_000,
        b"\x08\r" * 2_000_000,
        b"\x1b[\r" * 1_000_000,
        b"\x1b[31mx" * 500_000,
        b"https://" * 500_000,
        b"\x1b]" * 1_000_000,
        b"a" * 60_000 + b"\x08" * 60_000,
        b"a.b_" * 1_000_000 + b"Error",
        b"\x1b[" + b"1;" * 1_000_000 + b"m",
        b"(https://x/" + b"(" * 60_000 + b")" * 60_000,
        b"\xff" * 5_000_000,
    ],
    ids=range(11),
)
def test_hostile_lines_cost_little_time(data: bytes) -> None:
    started = time.process_time()
    (line,) = render_lines(data, find="a")
    assert time.process_time() - started < 3
    assert len(line.text) <= LINE_MAX_BYTES


def test_hits_are_marked_whatever_their_case() -> None:
    line = one("Val_Loss val_loss VAL", find="val_loss")
    assert line.html == "<mark>Val_Loss</mark> <mark>val_loss</mark> VAL"
    assert line.matches == 2
    assert find_matches("a.b", ".") == [(1, 2)]
    assert find_matches("ÄÖÜ äöü", "äöü") == [(0, 3), (4, 7)]
    assert find_matches("abc", "") == []


def test_a_hit_is_looked_for_in_what_can_be_read() -> None:
    assert one("val_\x1b[1mloss\x1b[0m", find="val_loss").matches == 1
    assert visible_text(b"10%\rval_\x1b[1mloss\x1b[0m \xff") == "val_loss \ufffd"


PIECES = [
    *(
        b"\r",
        b"\n",
        b"\x08",
        b"\x1b[31m",
        b"\x1b[0m",
        b"\x1b[K",
        b"\x1b]",
        b"\x07",
        b"\x1b",
        b"\0",
        b"\xc2\x9b",
    ),
    *(
        b"<b>",
        b"&amp;",
        b'"',
        b"https://a.b/",
        b"(",
        b")",
        b"c",
        b"ERROR",
        b" ",
        b"\xe2\x82\xac",
        b"\xe2\x82",
        b"\xff",
    ),
]
LOGS = st.lists(st.sampled_from(PIECES), max_size=60).map(b"".join)


@given(LOGS)
def test_any_log_is_harmless_and_says_the_same_as_its_text(data: bytes) -> None:
    for line in render_lines(data, find="c"):
        assert_harmless(line)
        assert Seen(line.html).text == line.text == html.unescape(re.sub("<[^>]*>", "", line.html))
        assert not any(unicodedata.category(c) == "Cc" for c in line.text)


@given(LOGS, LOGS)
def test_lines_do_not_depend_on_what_was_read_with_them(before: bytes, after: bytes) -> None:
    before += b"\n"
    parts = render_lines(before)
    parts += render_lines(after, number=len(parts) + 1, offset=len(before))
    assert parts == render_lines(before + after)
    assert sum(line.size for line in parts) == len(before + after)
