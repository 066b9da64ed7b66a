"""Addresses of Studio as people copy them, into a browser, a chat or a script."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.http import HttpRequest
from django.utils.http import url_has_allowed_host_and_scheme


def whole_address(request: HttpRequest, path: str = "") -> str:
    """The address with host: below `STUDIO_URL` where that was set, else as this request reached Studio."""
    return (settings.PUBLIC_URL or request.build_absolute_uri("/").rstrip("/")) + path


def split_address(address: str) -> SplitResult:
    """The parts of an address that somebody sent; all are empty if it is none."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def wanted_next(request: HttpRequest) -> str:
    """The page of Studio that a request's `next` names, as a path that begins with /; "" if it names none."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    # The slash first: Django takes any other text for a part of this site, and `redirect` for a view's name.
    ours = wanted.startswith("/") and url_has_allowed_host_and_scheme(wanted, None)
    return wanted if ours else ""


def remember_address(address: str) -> None:
    """Keep where this Studio listens, for commands that run beside it. Raises OSError."""
    draft = address_file().with_suffix(f".{os.getpid()}")
    try:
        draft.write_text(address)
        draft.replace(address_file())
    finally:
        draft.unlink(missing_ok=True)


def address_of_this_studio() -> str:
    """Where people reach the Studio of this data folder: `STUDIO_URL`, or where it was last started."""
    try:
        return settings.PUBLIC_URL or address_file().read_text()
    except OSError:
        return settings.STUDIO_URL


def address_file() -> Path:
    """Where `remember_address` keeps it."""
    return Path(settings.DATA_DIR) / "address"
