"""Descriptions in Markdown as HTML that is safe to show to everybody."""

from __future__ import annotations

from functools import lru_cache

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

#: Longer texts are shown as they were typed: parsing time grows with the text.
MARKDOWN_MAX_LENGTH = 64 * 1024

_TAGS = {
    "a", "blockquote", "br", "code", "del", "em", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "s",
    "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
_ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}}
_SCHEMES = {"http", "https", "mailto"}

_parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")


def render_markdown(text: str) -> SafeString:
    """The text as HTML: CommonMark with tables and strike-through, without raw HTML and images.

    Headings start at the third level, because they stand inside a page that has its own.
    """
    if len(text) > MARKDOWN_MAX_LENGTH:
        return mark_safe(f"<pre>{nh3.clean_text(text)}</pre>")  # noqa: S308 (escaped by nh3)
    return _render(text)


@lru_cache(maxsize=256)
def _render(text: str) -> SafeString:
    tokens = _parser.parse(text)
    for token in tokens:
        _lower_heading(token)
    html = nh3.clean(
        _parser.renderer.render(tokens, _parser.options, {}),
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        url_schemes=_SCHEMES,
        link_rel="noopener nofollow",
    )
    return mark_safe(html)  # noqa: S308 (cleaned by nh3)


def _lower_heading(token: Token) -> None:
    if token.type in ("heading_open", "heading_close"):
        token.tag = f"h{min(6, int(token.tag[1]) + 2)}"
