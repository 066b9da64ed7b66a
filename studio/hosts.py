"""Where a server that listens somewhere is reached."""

from __future__ import annotations

from ipaddress import ip_address

#: Listening there is listening on every address of the machine.
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104


def address_of(host: str, port: int) -> str:
    """The address of a server that listens on this host and port, as browsers and scripts here take it."""
    name = "localhost" if host in EVERYWHERE else host
    return f"http://{bracketed(name)}:{port}"


def bracketed(host: str) -> str:
    """The host as browsers send it: an address of IPv6 in brackets, written the shortest way."""
    bare = host.removeprefix("[").removesuffix("]")
    try:
        return f"[{ip_address(bare)}]" if ":" in bare else host
    except ValueError:
        return host
