"""`studio sync`: metrics, and images among them, that processes could not send any more."""

from __future__ import annotations

from typing import Any

import click

from studio_client import config
from studio_client.cli.frame import Command, Failed
from studio_client.cli.place import reached


@click.command("sync", cls=Command, examples=["studio sync", "studio sync --url http://127.0.0.1:8000"])
@click.option("--url", default="", metavar="ADDRESS", help="Only what is for this server.")
@click.option("--all", "everyone", is_flag=True, help="Also what somebody else has logged, in your name.")
def sync(url: str, everyone: bool) -> dict[str, Any]:
    """Send metrics and images that are still on this machine because the process that logged them was killed.

    The next process that logs does the same by itself. What was logged with somebody else's token stays, and
    is said.
    """
    from studio_client.left_behind import sync_all

    results = sync_all(config.clean_url(url) if url else "", everyone=everyone, begin=reached)
    sent = sum(one.entries for one in results)
    problems = {f"  {one.run_id} for {one.url}: {one.problem}": None for one in results if one.problem}
    if problems:
        listed = "\n".join(problems)
        begin = f"{sent:,} were sent. " if sent else ""
        raise Failed(f"{begin}Not everything could be sent; it stays where it is:\n{listed}")
    return {
        "sent": sent,
        "runs": [{"run_id": one.run_id, "url": one.url, "sent": one.entries} for one in results],
    }
