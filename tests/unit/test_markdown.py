"""Descriptions: Markdown becomes HTML, and nothing in it can act."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.markdown import MARKDOWN_MAX_LENGTH, render_markdown

ALLOWED = {"a": {"href", "title", "rel"}, "ol": {"start"}}
TAGS = {
    *(
        "a",
        "blockquote",
        "br",
        "code",
        "del",
        "em",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "li",
        "ol",
        "p",
        "pre",
        "s",
    ),
    *("strong", "table", "tbody", "td", "th", "thead", "tr", "ul"),
}


class Seen(HTMLParser):
    """Every element with its attributes, as a browser would read them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


def assert_harmless(html: str) -> None:
    for tag, attributes in Seen(html).elements:
        assert tag in TAGS
        assert set(attributes) <= ALLOWED.get(tag, set())
        if tag == "a":
            assert set((attributes["rel"] or "").split()) == {"noopener", "nofollow"}
            address = attributes.get("href") or ""
            assert re.match(r"(https?:|mailto:|[^:]*$|[^:]*[/?#])", address, re.IGNORECASE)


ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<a href='javascript:alert(1)'>x</a>",
    "<div hx-get='/tokens/' hx-trigger='load'>x</div>",
    "<b data-hx-post='/runs/1/cancel/' data-hx-trigger=load>x</b>",
    "<p style='position:fixed;inset:0'>x</p>",
    "<form action=//evil><input name=q><button>go</button></form>",
    "<meta http-equiv=refresh content='0;url=//evil'>",
    "<base href=//evil>",
    "<!--><script>alert(1)</script>-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](&#x6A&#x61vascript:alert(1))",
    "[x](\x01javascript:alert(1))",
    "[x](vbscript:msgbox)",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](file:///etc/passwd)",
    "<javascript:alert(1)>",
    "[x]: javascript:alert(1)\n\n[x]",
    '[x](https://a "title\\" onmouseover=\\"alert(1)")',
    '[x](https://a" onclick="alert(1))',
    "![x](https://evil/beacon.png)",
    "![x](javascript:alert(1))",
    '```"><script>alert(1)</script>\ncode\n```',
    "``` onclick=alert(1) class=x\ncode\n```",
    "`<script>alert(1)</script>`",
    "# <script>alert(1)</script>",
    "| <script>a</script> | b |\n|---|---|\n| <img onerror=x> | 2 |",
    "| a |\n|:-:|\n| styled by its column |",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "\\<script>alert(1)\\</script>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<a href=\"https://ok\" target=_blank onclick='x()'>x</a>",
    "<details open ontoggle=alert(1)>x</details>",
    "\0<script\0>alert(1)</script>",
]


@pytest.mark.parametrize("text", ATTACKS)
def test_an_attack_stays_text(text: str) -> None:
    assert_harmless(render_markdown(text))


@given(st.text(alphabet=st.sampled_from("<>\"'&;:/()[]!#`*_~|-=\\ \n\tajsxhref0"), max_size=200))
def test_whatever_is_typed_stays_harmless(text: str) -> None:
    assert_harmless(render_markdown(text))


def test_text_is_set_as_it_was_meant() -> None:
    html = render_markdown(
        "# Baseline\n\n**bold** _em_ ~~old~~ `code`\n\n- one\n- two\n\n3. three\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\n"
    )
    for part in (
        "<h3>Baseline</h3>",
        "<strong>bold</strong>",
        "<em>em</em>",
        "<s>old</s>",
        "<code>code</code>",
    ):
        assert part in html
    assert "<li>one</li>" in html
    assert '<ol start="3">' in html
    assert "<td>2</td>" in html


def test_headings_go_no_deeper_than_six() -> None:
    assert render_markdown("##### deep\n\n###### deeper").split("\n")[:2] == [
        "<h6>deep</h6>",
        "<h6>deeper</h6>",
    ]


def test_links_do_not_hand_over_the_window() -> None:
    html = render_markdown("[docs](https://example.org/a?b=1&c=2 'T') and <https://example.org>")
    assert '<a href="https://example.org/a?b=1&amp;c=2" title="T" rel="noopener nofollow">docs</a>' in html
    assert html.count("<a ") == 2


@pytest.mark.parametrize("text", ["Run 60", "see Run 60 and #12", "www.example.org", "a@example.org", "@ana"])
def test_plain_words_become_no_links(text: str) -> None:
    assert render_markdown(text) == f"<p>{text}</p>\n"


def test_any_unicode_is_kept() -> None:
    assert render_markdown("مرحبا **עולם** 🚀") == "<p>مرحبا <strong>עולם</strong> 🚀</p>\n"


@pytest.mark.parametrize(
    "text",
    [
        "[" * 60_000,
        "*" * 60_000,
        "> " * 30_000,
        "- " * 30_000,
        "`" * 30_000 + "a" + "`" * 29_999,
        "<" * 60_000,
        "![" * 30_000,
        "a|" * 30_000 + "\n" + "-|" * 400,
        "_a " * 20_000,
        "[a](" * 15_000,
        "*a_ " * 15_000,
        "&" * 60_000,
        "[a]: b\n" * 8_000,
    ],
    ids=lambda text: text[:6],
)
def test_hostile_nesting_costs_little_time(text: str) -> None:
    started = time.process_time()
    assert_harmless(render_markdown(text))
    assert time.process_time() - started < 10


def test_a_text_past_the_limit_is_shown_as_typed() -> None:
    html = render_markdown("<b>" * MARKDOWN_MAX_LENGTH)
    assert html.startswith("<pre>&lt;b&gt;")
    assert_harmless(html)
