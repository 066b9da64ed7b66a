"""The runs app: experiments, runs and everything that executes them."""

from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate

from runs.search.index import restore_triggers


class RunsConfig(AppConfig):
    """Runs."""

    name = "runs"

    def ready(self) -> None:
        """Have the search index looked after when the schema has changed."""
        post_migrate.connect(_restore_search_index, sender=self)


def _restore_search_index(*, using: str, **_: Any) -> None:
    restore_triggers(connections[using])
