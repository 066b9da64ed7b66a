"""How Studio's values look on a page. Formatting only: nothing here asks the database."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import Any
from zlib import crc32

from django import template
from django.contrib.messages.storage.base import Message
from django.template.defaultfilters import stringfilter
from django.templatetags.static import static
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from runs import charts
from runs.addresses import experiment_url, run_url
from runs.errors import unturned
from runs.formats import (
    DASH,
    ago_text,
    bytes_text,
    duration_text,
    exact_time,
    ticking_text,
)
from runs.status import ON_NODE, Status
from runs.toasts import Toast, toast_of
from runs.value_chart import value_chart_svg

register = template.Library()
register.simple_tag(experiment_url)
register.simple_tag(run_url)

STATUS_ICONS = {
    Status.NOT_STARTED: "circle-dashed",
    Status.QUEUED: "clock",
    Status.PREPARING: "progress-down",
    Status.STARTING: "progress-bolt",
    Status.RUNNING: "circle-dot",
    Status.FINALIZING: "progress-check",
    Status.CANCEL_REQUESTED: "progress-x",
    Status.NOT_RESPONDING: "progress-alert",
    Status.COMPLETED: "circle-check",
    Status.FAILED: "circle-x-filled",
    Status.CANCELED: "circle-minus",
}
TOAST_ICONS = {
    "success": "check",
    "info": "info-circle",
    "warning": "alert-triangle",
    "error": "alert-circle",
}
#: Pixels of a tag in a list: what is around its text, one letter of it, and "+12" behind the last.
_TAG_AROUND, _TAG_LETTER, _TAG_MORE = 16, 7.0, 28
_TAGS_SENT = 8
BREATHING = ON_NODE - {Status.NOT_RESPONDING}
DISC_COLOURS = 8


@cache
def _sprite() -> str:
    return static("icons.svg")


@register.simple_tag
@cache
def icon(name: str, title: str = "", css: str = "") -> SafeString:
    """An icon of the sprite; with a title it is an image with that name, without one it is decoration."""
    kind = f"icon {css}" if css else "icon"
    if title:
        return format_html(
            '<svg class="{}" role="img"><title>{}</title><use href="{}#{}"/></svg>',
            kind,
            title,
            _sprite(),
            name,
        )
    return format_html('<svg class="{}" aria-hidden="true"><use href="{}#{}"/></svg>', kind, _sprite(), name)


@register.simple_tag
@cache
def status(value: str, word: bool = True) -> SafeString:
    """A status as icon, word and colour; with word=False the word is the icon's title."""
    known = Status(value)
    kind = f"status-{known.lower()}"
    if known in BREATHING:
        kind += " is-live"
    if not word:
        return format_html('<span class="status {}">{}</span>', kind, icon(STATUS_ICONS[known], title=known))
    return format_html(
        '<span class="status {}">{}<span class="status-word">{}</span></span>',
        kind,
        icon(STATUS_ICONS[known]),
        known,
    )


@register.simple_tag
@cache
def status_icon(value: str) -> SafeString:
    """Only the icon of a status, in its colour: for chips and heads that say the word themselves."""
    known = Status(value)
    return format_html('<span class="status status-{}">{}</span>', known.lower(), icon(STATUS_ICONS[known]))


@register.filter(name="duration")
def duration_filter(value: timedelta | float | None) -> str:
    """A duration as text: "12m 04s"."""
    return duration_text(value)


@register.filter
@stringfilter
def file_name(name: str) -> str:
    """The name or path of a file, as scripts choose them, in which nothing turns the direction of writing."""
    return unturned(name)


@register.simple_tag
def duration(run: Any, since: datetime | None = None) -> SafeString:
    """How long a run takes; it ticks in the browser while the run is active. `since` replaces its start.

    It ticks no more once a cancel is requested, so that it does not go back when the end is known.
    """
    start = since or run.started_at
    if start is None:
        return format_html('<span class="duration dim">{}</span>', DASH)
    if run.ended_at is None and run.status == Status.CANCEL_REQUESTED:
        return format_html('<span class="duration">{}</span>', ticking_text(datetime.now(UTC) - start))
    if run.ended_at is None:
        return ticking(start)
    return format_html('<span class="duration">{}</span>', duration_text(run.ended_at - start))


@register.simple_tag
def ticking(since: datetime) -> SafeString:
    """The time since a moment, ticking."""
    from_now = datetime.now(since.tzinfo) - since
    return format_html(
        '<time class="duration" data-since="{}">{}</time>', since.isoformat(), ticking_text(from_now)
    )


@register.filter
def ago(moment: datetime | None) -> SafeString:
    """How long ago, kept true by the browser; the exact time is its title."""
    if moment is None:
        return mark_safe("never")
    return format_html(
        '<time datetime="{}" title="{}" data-ago>{}</time>',
        moment.isoformat(),
        exact_time(moment),
        ago_text(moment),
    )


@register.filter
def clock(moment: datetime | None) -> SafeString:
    """The time of day in the reader's own zone (UTC without script); the exact time is its title."""
    if moment is None:
        return format_html("{}", DASH)
    return format_html(
        '<time datetime="{}" title="{}" data-clock>{}</time>',
        moment.isoformat(), exact_time(moment), f"{moment:%H:%M:%S}",
    )  # fmt: skip


@register.filter
def whole(number: int) -> str:
    """A whole number as text: "1,000,000"."""
    return f"{number:,}"


@register.filter(name="bytes")
def bytes_filter(size: int | None) -> str:
    """A size as text: "1.9 MB"."""
    return bytes_text(size)


@register.simple_tag
def person(who: Any, name: bool = True) -> SafeString:
    """A person as a disc of initials and the name; Studio itself when there is nobody."""
    return _person(who.shown_name if who is not None else "Studio", name)


@lru_cache(1_000)
def _person(shown: str, name: bool) -> SafeString:
    words = re.split(r"[\W_]+", shown)
    initials = "".join(word[:1] for word in words[:2]) if len([w for w in words if w]) > 1 else shown[:2]
    disc = format_html(
        '<span class="person-disc person-{}" aria-hidden="true">{}</span>',
        crc32(shown.encode()) % DISC_COLOURS, initials.upper(),
    )  # fmt: skip
    if name:
        return format_html(
            '<span class="person" title="{}">{}<span class="cut">{}</span></span>', shown, disc, shown
        )
    return format_html(
        '<span class="person" title="{}">{}<span class="visually-hidden">{}</span></span>', shown, disc, shown
    )


@register.simple_tag
def tag(label: Any, is_hidden: bool = False) -> SafeString:
    """A tag as a chip: its key, and its value if it has one."""
    return _chip(label.key, label.value, is_hidden)


@lru_cache(4_000)
def _chip(key: str, value: str | None, is_hidden: bool) -> SafeString:
    hidden = mark_safe(" hidden") if is_hidden else ""
    if value is None:
        return format_html('<span class="tag"{}><span class="tag-text">{}</span></span>', hidden, key)
    return format_html(
        '<span class="tag" title="{k}={v}"{hidden}>'
        '<span class="tag-text"><span class="tag-key"><bdi>{k}</bdi>=</span><bdi>{v}</bdi></span></span>',
        k=key, v=value, hidden=hidden,
    )  # fmt: skip


@register.simple_tag
def tag_list(labels: Iterable[Any], width: int = 236) -> SafeString:
    """As many tags as fit into about `width` pixels, at least one; the rest is counted, all named on hover.

    What fits hangs on the reader's letters, so that js/tag-lists.js measures: some more tags come hidden.
    """
    labels = list(labels)
    fits, used = 0, 0.0
    for label in labels:
        used += _TAG_AROUND + _TAG_LETTER * len(str(label))
        if fits and used > width - (_TAG_MORE if fits + 1 < len(labels) else 0):
            break
        fits += 1
    sent = labels[: max(fits, _TAGS_SENT)]
    chips = mark_safe("".join(tag(label, at >= fits) for at, label in enumerate(sent)))  # noqa: S308
    more: SafeString | str = ""
    if len(labels) > 1:
        more = format_html(
            '<span class="hint" title="{}" data-tags="{}"{}>+{}</span>',
            ", ".join(str(label) for label in labels), len(labels),
            mark_safe(" hidden") if fits == len(labels) else "", len(labels) - fits,
        )  # fmt: skip
    return format_html('<span class="tags">{}{}</span>', chips, more)


@register.simple_tag(takes_context=True)
def kept_fields(context: Mapping[str, Any], names: str) -> SafeString:
    """Hidden fields with those of these words of the address that have a value, so that a form keeps them."""
    asked = context["request"].GET
    field = '<input type="hidden" name="{}" value="{}">'
    return format_html_join("", field, ((name, asked[name]) for name in names.split() if asked.get(name)))


@register.simple_tag
def strip(runs: Sequence[charts.BarRun], experiment_name: str) -> SafeString:
    """The last 20 runs of an experiment, oldest first, as a strip of bars that are links."""
    return charts.strip_svg(runs, experiment_url(experiment_name))


@register.simple_tag
def duration_chart(
    runs: Sequence[charts.BarRun], experiment_name: str, median: timedelta | None = None
) -> SafeString:
    """Duration by run number, oldest first, with the median as a dashed line."""
    return charts.duration_chart_svg(runs, experiment_url(experiment_name), median)


@register.simple_tag
def value_chart(
    runs: Sequence[charts.BarRun], values: Mapping[int, float], name: str, experiment_name: str
) -> SafeString:
    """The values of a metric by run number, oldest first."""
    return value_chart_svg(runs, values, name, experiment_url(experiment_name))


@register.filter
def as_toast(message: Message) -> Toast:
    """What `runs.toasts.toast` put into a message, or what Django's own messages say."""
    return toast_of(message)


@register.filter
def toast_icon(kind: str) -> str:
    """The icon of a kind of toast."""
    return TOAST_ICONS.get(kind, "info-circle")
