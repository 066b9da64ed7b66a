"""Make the search index anew: after CREATE EXTENSION pg_trgm, or when in doubt."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from runs.search.index import create_extension, create_index, drop_index


class Command(BaseCommand):
    """manage.py search_index"""

    help = "Make the index behind free text anew, from the runs there are. Safe at any time; searches go on."

    def handle(self, *args: Any, **options: Any) -> None:
        """Drop and make the index; searches see the old one until the new one is there."""
        with transaction.atomic():
            drop_index()
            made = create_extension() and create_index()
        if not made:
            raise CommandError("The search index could not be made; the line above says why.")
        self.stdout.write("The search index is made.")
