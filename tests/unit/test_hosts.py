"""Where a server that listens somewhere is reached."""

from __future__ import annotations

import pytest

from studio.hosts import address_of


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://localhost:8000"),
        ("::", "http://localhost:8000"),
        ("::1", "http://[::1]:8000"),
        ("fd00::1", "http://[fd00::1]:8000"),
        ("FD00:0:0::1", "http://[fd00::1]:8000"),
        ("[::1]", "http://[::1]:8000"),
        ("no:address", "http://no:address:8000"),
        ("box.example", "http://box.example:8000"),
    ],
)
def test_addresses_are_such_as_browsers_take(host: str, address: str) -> None:
    assert address_of(host, 8000) == address
