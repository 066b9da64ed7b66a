"""Makes a sign-in link and prints it: the way in for whoever lost theirs."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.urls import reverse

from studio.accounts.management.people import find_person
from studio.accounts.services import make_sign_in_link
from studio.addresses import address_of_this_studio


class Command(BaseCommand):
    """`manage.py link`: a sign-in link for one person."""

    help = "Make a link that signs a person in, once, within a day. Only the link goes to standard output."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", required=True, help="the person's user name")

    def handle(self, *args: Any, user: str, **options: Any) -> None:
        person = find_person(user)
        path = reverse("sign-in-link", args=[make_sign_in_link(person)])
        self.stderr.write(f"Signs in {user}, once, within a day:", self.style.NOTICE)
        self.stdout.write(address_of_this_studio() + path)
