"""`manage.py up`: the whole of Studio on this machine, in one command."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from runs.embedded import CannotStart, Studio
from studio.options import OPTIONS


class Command(BaseCommand):
    """Migrate, make what a first start needs, serve pages, and run a node, until Ctrl-C."""

    help = "Start Studio: web server and a node on this machine. Ctrl-C stops it and leaves runs running."
    requires_system_checks = ()

    def create_parser(self, *args: Any, **options: Any) -> CommandParser:
        """Half an option is none: the settings, which are made before, know only whole ones."""
        return super().create_parser(*args, allow_abbrev=False, **options)

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Each option has its variable; docs/operations.md has them in one table."""
        for name, (variable, text) in OPTIONS.items():
            parser.add_argument(f"--{name}", default=None, help=f"{text} ({variable})")

    def handle(self, *args: Any, **options: Any) -> None:
        """Blocks until it is told to stop."""
        try:
            Studio(settings.STUDIO_HOST, settings.STUDIO_PORT, self.stdout.write).run()
        except CannotStart as error:
            sys.exit(f"studio: {error}")
