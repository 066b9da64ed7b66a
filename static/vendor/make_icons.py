"""Writes static/icons.svg: one symbol for each Tabler icon that Studio shows.

    npm pack @tabler/icons@3.51.0
    python static/vendor/make_icons.py tabler-icons-3.51.0.tgz

Add a name to OUTLINE or FILLED, run it, and commit the sprite and its new hash in VENDORED.md.
"""

from __future__ import annotations

import re
import sys
import tarfile
from pathlib import Path

SPRITE = Path(__file__).resolve().parent.parent / "icons.svg"
HEAD = "<!-- Tabler icons 3.51.0, MIT licence: static/vendor/tabler-icons-3.51.0.LICENSE.txt -->"

# fmt: off
OUTLINE = [
    "adjustments-horizontal", "alert-circle", "alert-triangle", "archive", "archive-off", "arrow-back-up",
    "arrow-down", "arrow-left", "arrow-right", "arrow-up", "arrow-up-right", "arrows-diff",
    "arrows-maximize", "binary-tree", "bookmark", "box", "calendar", "chart-line", "check", "chevron-down",
    "chevron-left", "chevron-right", "chevron-up", "circle-check", "circle-dashed", "circle-dot",
    "circle-minus", "circle-plus", "clipboard", "clock", "columns-3", "copy", "cpu", "device-desktop",
    "device-floppy", "dots", "dots-vertical", "download", "eraser", "external-link", "eye", "eye-off",
    "file", "file-code", "file-diff", "file-text", "file-zip", "filter", "flag", "flask", "folder",
    "folder-open", "git-compare", "grip-vertical", "help-circle", "history", "info-circle", "key",
    "keyboard", "layers-subtract", "link", "list-details", "lock", "logout", "menu-2", "minus", "moon",
    "pencil", "photo", "player-pause", "player-play", "player-stop", "plus", "point", "progress",
    "progress-alert", "progress-bolt", "progress-check", "progress-down", "progress-x", "refresh",
    "restore", "rotate-clockwise", "search", "selector", "send", "server-2", "settings", "sitemap",
    "square", "stack-2", "sun", "tag", "terminal-2", "text-wrap", "trash", "upload", "user", "user-plus",
    "users", "wifi-off", "x", "zoom-in", "zoom-out",
]
# fmt: on
FILLED = ["circle-x", "player-play"]


def symbol(svg: str, name: str, *, filled: bool) -> str:
    """One `<symbol>` with the drawing of an icon file; colour and stroke come from the page's CSS."""
    body = re.search(r"<svg[^>]*>(.*)</svg>", svg, re.DOTALL)
    if body is None:
        raise ValueError(f"{name} is not an SVG file.")
    paths = [
        re.sub(r"\s+", " ", element).replace(" />", "/>")
        for element in re.findall(r"<[a-z]+ [^>]*/>", body.group(1))
        if 'd="M0 0h24v24H0z"' not in element
    ]
    paint = ' fill="currentColor" stroke="none"' if filled else ""
    return f'<symbol id="{name}" viewBox="0 0 24 24"{paint}>{"".join(paths)}</symbol>'


def sprite(package: tarfile.TarFile) -> str:
    """The whole sprite, sorted by name; a filled icon is called `<name>-filled`."""
    wanted = [(name, name, "outline") for name in OUTLINE]
    wanted += [(f"{name}-filled", name, "filled") for name in FILLED]
    symbols = []
    for shown, name, style in sorted(wanted):
        source = package.extractfile(f"package/icons/{style}/{name}.svg")
        assert source is not None
        symbols.append(symbol(source.read().decode(), shown, filled=style == "filled"))
    return "\n".join(['<svg xmlns="http://www.w3.org/2000/svg">', HEAD, *symbols, "</svg>", ""])


if __name__ == "__main__":
    with tarfile.open(sys.argv[1]) as tabler:
        SPRITE.write_text(sprite(tabler))
