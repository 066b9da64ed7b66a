"""`manage.py workspace`: another workspace, or another name for one, such as what a `config.json` names."""

from __future__ import annotations

from argparse import SUPPRESS
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from runs.errors import StudioError
from runs.services.workspaces import FIRST_TARGET, add_workspace, rename_workspace
from studio.accounts.management.people import check_studio, find_person
from studio.accounts.models import Workspace


class Command(BaseCommand):
    """`workspace add NAME` and `workspace rename OLD NEW`, in the name of `--user`."""

    help = "Add a workspace, or rename one. Without either: list them."

    def add_arguments(self, parser: CommandParser) -> None:
        in_whose_name = "in whose name; they own what is added (default: admin)"
        parser.add_argument("--user", default="admin", help=in_whose_name)
        actions = parser.add_subparsers(dest="action")
        add = actions.add_parser("add", help="make a workspace")
        rename = actions.add_parser("rename", help="give a workspace another name; all in it stays")
        for action in (add, rename):
            action.add_argument("--user", default=SUPPRESS, help=in_whose_name)
        add.add_argument("name")
        rename.add_argument("old")
        rename.add_argument("name")

    def handle(self, *args: Any, user: str, action: str | None, **options: Any) -> None:
        check_studio()
        try:
            if action == "add":
                person = find_person(user)
                workspace = add_workspace(options["name"], owner=person)
                self.stdout.write(f"{workspace.name} is there, and {person.username} owns it.")
                targets = [*settings.NODE_TARGETS, f"{workspace.name}/{FIRST_TARGET}"]
                self.stdout.write(
                    f"To have its runs run here, start Studio with STUDIO_TARGETS={','.join(targets)}"
                )
            elif action == "rename":
                workspace = _find(options["old"])
                rename_workspace(workspace, options["name"], by=find_person(user))
                self.stdout.write(f"{options['old']} is {workspace.name} from now on.")
                if any(word.startswith(f"{options['old']}/") for word in settings.NODE_TARGETS):
                    self.stdout.write(f"Put {workspace.name}/ for {options['old']}/ in STUDIO_TARGETS.")
            else:
                self.stdout.write("\n".join(_names()))
        except StudioError as error:
            raise CommandError(str(error)) from None


def _names() -> list[str]:
    return list(Workspace.objects.order_by("name").values_list("name", flat=True))


def _find(name: str) -> Workspace:
    workspace = Workspace.objects.filter(name=name).first()
    if workspace is None:
        raise CommandError(f"There is no workspace {name}. There is {', '.join(_names())}.")
    return workspace
