"""The runs app: experiments, runs and everything that executes them."""

from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate

from runs.guards import restore_guards
from runs.search.index import restore_triggers


class RunsConfig(AppConfig):
    """Runs."""

    name = "runs"

    def ready(self) -> None:
        """Have the triggers looked after when the schema has changed."""
        post_migrate.connect(_restore, sender=self)


def _restore(*, using: str, **_: Any) -> None:
    restore_triggers(connections[using])
    restore_guards(connections[using])
