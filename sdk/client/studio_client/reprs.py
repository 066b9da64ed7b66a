"""How objects show themselves as the last line of a notebook's cell."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

DOCS_PAGE = "/api/docs"


def text_table(kind: str, fields: Mapping[str, object]) -> str:
    """`Run(Experiment: E,⏎Id: I)`: the form in which these objects print."""
    return (
        f"{kind}({','.join(f'{chr(10) if n else str()}{k}: {v}' for n, (k, v) in enumerate(fields.items()))})"
    )


def html_table(fields: Mapping[str, object], links: Mapping[str, tuple[str, str]]) -> str:
    """A table of one row. `links` maps a column to (address, words)."""
    heads = "".join(f"<th>{escape(name)}</th>" for name in (*fields, *links))
    cells = "".join(f"<td>{escape(str(value))}</td>" for value in fields.values())
    for address, words in links.values():
        cells += f'<td><a href="{escape(address)}" target="_blank" rel="noopener">{escape(words)}</a></td>'
    return f'<table style="width:100%"><tr>{heads}</tr><tr>{cells}</tr></table>'
