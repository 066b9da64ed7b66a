"""Makes an API token and prints it, alone on the last line, for scripts to read."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from studio.accounts.management.people import find_person
from studio.accounts.services import make_token
from studio.fields import no_controls


class Command(BaseCommand):
    """`manage.py token`: an API token for one person."""

    help = "Make an API token for a person. Only the token goes to standard output."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", required=True, help="the person's user name")
        parser.add_argument("--name", default="command line", help="what the token is for")

    def handle(self, *args: Any, user: str, name: str, **options: Any) -> None:
        person = find_person(user)
        if not 0 < len(name.strip()) <= 100:
            raise CommandError("A token's name has 1 to 100 characters.")
        try:
            no_controls(name.strip())
        except ValidationError:
            raise CommandError("A token's name has no control character.") from None
        _, text = make_token(person, name.strip())
        self.stderr.write(f"Token of {user}, shown only now. Revoke it under Tokens.", self.style.NOTICE)
        self.stdout.write(text)
