"""Where a server that listens somewhere is reached."""

from __future__ import annotations

#: Listening there is listening on every address of the machine.
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104


def address_of(host: str, port: int) -> str:
    """The address of a server that listens on this host and port, as browsers and scripts here take it."""
    name = "localhost" if host in EVERYWHERE else host
    return f"http://{bracketed(name)}:{port}"


def bracketed(host: str) -> str:
    """The host as it stands in an address: one of IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host
