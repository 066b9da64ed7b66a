"""`studio sync`: metrics that processes could not send any more."""

from __future__ import annotations

from typing import Any

import click

from studio_client.api import connect
from studio_client.cli.frame import Command


@click.command("sync", cls=Command)
def sync() -> dict[str, Any]:
    """Send metrics that are still on this machine because the process that logged them was killed.

    The next process that logs does the same by itself.
    """
    from studio_client.spool import send_left_behind

    api = connect(client="studio-cli")
    return {"sent": send_left_behind(api), "url": api.url}
