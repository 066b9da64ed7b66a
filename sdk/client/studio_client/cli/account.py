"""`studio login` and what else scripts run before they begin."""

from __future__ import annotations

import os
import platform
import select
import stat
import sys
import time
from typing import Any

import click

from studio_client import __version__, config
from studio_client.api import Api, connect
from studio_client.cli import defaults
from studio_client.cli.frame import Command, Failed, Group, say, warn_of_vendor
from studio_client.cli.place import reached
from studio_client.config import Login
from studio_client.errors import ConfigError, NotSignedIn
from studio_client.transport import Transport

TOKENS_PAGE = "/tokens/"
TOKEN_START = b"stu_"
#: How long a token may take to come out of a pipe: many processes inherit one where nothing ever comes.
PIPED_WITHIN_S = 5.0
_LINE_BYTES = 4096


@click.command(
    "login",
    cls=Command,
    examples=[
        "studio login --url http://127.0.0.1:8000",
        "studio login --url https://studio.example.org < token.txt",
    ],
)
@click.option("--url", metavar="ADDRESS", help="The server; else STUDIO_URL, else the one of the last login.")
@click.option("--token", metavar="TOKEN", help="An API token; better asked for or read from stdin.")
@click.option("-u", "--username", metavar="NAME", help="Accepted and not needed: a token says whose it is.")
@click.option("-p", "--password", metavar="TOKEN", help="The same as --token.")
@click.option("--service-principal", is_flag=True, help="Accepted and not needed.")
@click.option("-t", "--tenant", metavar="ID", help="Accepted and not needed.")
@click.option("--use-device-code", is_flag=True, help="Accepted and not needed.")
def login(url: str | None, token: str | None, password: str | None, **ignored: Any) -> list[dict[str, Any]]:
    """Sign in with an API token, keep it, and print what it opens.

    Tokens are made on the page Tokens of the server. The token is asked for, and not shown, or is the next
    line of stdin if that is a pipe or a file; one that is slow to come out of a pipe is waited for with
    `--token -` only. On the command line others on the machine can see it. Where you are signed in already
    and give no token, nothing is asked.
    """
    warn_of_vendor()
    address = config.clean_url(url) if url else _known_address()
    given = token or password or os.environ.get("STUDIO_TOKEN")
    if given == "-":
        given = sys.stdin.readline()
    elif not given and url:  # a bare login in a script that a shell reads from stdin must not eat its lines
        given = _piped_token()
    if not given:
        signed_in = _still_signed_in(address)
        if signed_in is not None:
            return signed_in
    return _sign_in(address, given or _asked_for(address))


def _known_address() -> str:
    """STUDIO_URL, the server of the last login, or what is typed."""
    known = os.environ.get("STUDIO_URL") or config.current_url()
    if known:
        return config.clean_url(known)
    if not sys.stdin.isatty():
        raise ConfigError("It is not said which Studio is meant.", hint="Give --url, or set STUDIO_URL.")
    return config.clean_url(click.prompt("Address of your Studio", default="http://127.0.0.1:8000", err=True))


def _piped_token() -> str:
    """The next line of stdin if that is a pipe or a file, and the line a token; else "".

    Another line of a file is left to whoever shares it, such as a loop of a shell.
    """
    try:
        stdin = sys.stdin.fileno()
        mode = os.fstat(stdin).st_mode
    except (AttributeError, OSError, ValueError):  # it is closed
        return ""
    is_file = stat.S_ISREG(mode)
    line = _next_line(stdin) if is_file or stat.S_ISFIFO(mode) else b""
    if line.strip().startswith(TOKEN_START):
        return line.decode(errors="replace")
    if is_file:
        os.lseek(stdin, -len(line), os.SEEK_CUR)
    elif line:
        say("WARNING: a line has come on stdin that is not a token, so it is not used.")
    return ""


def _next_line(stdin: int) -> bytes:
    """Read no byte of the one after it."""
    end, line = time.monotonic() + PIPED_WITHIN_S, b""
    while len(line) < _LINE_BYTES and not line.endswith(b"\n"):
        if not _has_come(stdin, end):
            say(f"WARNING: no line came on stdin within {PIPED_WITHIN_S:g} s; `--token -` waits for one.")
            break
        byte = os.read(stdin, 1)
        if not byte:
            break
        line += byte
    return line


def _has_come(stdin: int, end: float) -> bool:
    """Wait until there is something to read, or the end of it."""
    try:
        return bool(select.select([stdin], [], [], max(0.0, end - time.monotonic()))[0])
    except OSError:  # Windows waits for sockets only
        return True


def _asked_for(address: str) -> str:
    page = address + TOKENS_PAGE
    if not sys.stdin.isatty():
        raise ConfigError(
            f"No token is given for {address}.",
            hint=f"Make one on {page} and give it: `studio login --url {address} < FILE`, or STUDIO_TOKEN.",
        )
    click.echo(f"Open {page} in a browser, make a token, and paste it here. It is not shown.", err=True)
    answer: str = click.prompt("Token", hide_input=True, err=True)
    return answer


def _still_signed_in(address: str) -> list[dict[str, Any]] | None:
    """What a login that is kept opens; None without one that works."""
    try:
        api = reached(connect(address, client="studio-cli"))
        me = api.me()
    except (ConfigError, NotSignedIn):
        return None
    say(f"Signed in to {address} as {me['username']} already. Another token: studio login --token -")
    config.save(config.resolve(address))
    return _accounts(address, me)


def _sign_in(address: str, token: str) -> list[dict[str, Any]]:
    candidate = Login(address, token, "this login")
    api = reached(Api(Transport(candidate, client="studio-cli")))
    api.info()
    try:
        me = api.me()
    except NotSignedIn as error:
        if error.code == "token_refused":
            raise
        raise Failed(
            f"{address} does not know this token.",
            hint=f"Make another one on {address}{TOKENS_PAGE}",
        ) from None
    file = config.save(Login(address, token, "this login", me["username"]))
    say(f"Signed in to {address} as {me['username']}. Kept in {file}, which only you can read.")
    if not me["workspaces"]:
        say("You are a member of no workspace yet.")
    return _accounts(address, me)


def _accounts(url: str, me: dict[str, Any]) -> list[dict[str, Any]]:
    """What one can reach, as `az login` lists subscriptions: one for each, with its workspaces."""
    chosen = defaults.load().get("subscription")
    made: dict[str, dict[str, Any]] = {}
    for one in me["workspaces"]:
        account = made.setdefault(
            one["subscription_id"],
            {
                "cloudName": "Studio",
                "id": one["subscription_id"],
                "isDefault": False,
                "name": one["subscription_id"] or url,
                "state": "Enabled",
                "tenantId": url,
                "url": url,
                "user": {"name": me["username"], "type": "user"},
                "workspaces": [],
            },
        )
        kept = ("name", "role", "resource_group", "location")
        account["workspaces"].append({name: one[name] for name in kept})
    accounts = list(made.values())
    for account in accounts:
        account["isDefault"] = account["id"] == chosen if chosen in made else account is accounts[0]
    return accounts


@click.command(
    "logout",
    cls=Command,
    examples=["studio logout", "studio logout --url https://studio.example.org"],
)
@click.option("--url", metavar="ADDRESS", help="The server; else the one of the last login.")
@click.option("--username", metavar="NAME", help="Accepted and not needed.")
def logout(url: str | None, username: str | None) -> None:
    """Forget the token that `login` has kept. It stays valid until it is revoked on the page Tokens."""
    forgotten = config.forget(url or "")
    say(f"Signed out of {forgotten}." if forgotten else "You were not signed in.")


@click.group("account", cls=Group, examples=["studio account show", "studio account list -o table"])
def account() -> None:
    """Show who is signed in, and where."""


def _reach() -> list[dict[str, Any]]:
    api = reached(connect(client="studio-cli"))
    return _accounts(api.url, api.me())


@account.command("list", examples=["studio account list", "studio account list --query [].url -o tsv"])
@click.option("--all", "everything", is_flag=True, help="Accepted and not needed.")
@click.option("--refresh", is_flag=True, help="Accepted and not needed.")
def list_accounts(everything: bool, refresh: bool) -> list[dict[str, Any]]:
    """List what the token opens."""
    return _reach()


@account.command("show", examples=["studio account show", "studio account show --query user.name -o tsv"])
def show_account() -> dict[str, Any]:
    """Show who is signed in, and the subscription in use."""
    warn_of_vendor()
    found = _reach()
    chosen = next((one for one in found if one["isDefault"]), None)
    if chosen is None:
        raise Failed(
            "You are a member of no workspace yet.", hint="An owner adds people on the page Members."
        )
    return chosen


@account.command("set", examples=["studio account set -s 11111111-2222-3333-4444-555555555555"])
@click.option(
    "-s", "-n", "--subscription", "--name", "subscription", required=True, metavar="ID", help="Which one."
)
def set_account(subscription: str) -> None:
    """Choose the subscription to use where none is given; one that nothing here is in changes nothing."""
    known = {one["id"] for one in _reach()}
    if subscription not in known:
        listed = ", ".join(sorted(one or "(none)" for one in known))
        say(
            f"None of your workspaces is in the subscription {subscription}; nothing was changed. Known: "
            f"{listed}. Workspaces are found by their names here."
        )
        return
    defaults.save({"subscription": subscription})


@click.command(
    "configure",
    cls=Command,
    examples=["studio configure --defaults group=mygroup aml_workspace=mine", "studio configure -l -o table"],
)
@click.option("-d", "--defaults", "first", metavar="NAME=VALUE ...", help="Set them; NAME= takes one away.")
@click.option("-l", "--list-defaults", "is_listed", is_flag=True, help="Print those that are set.")
@click.argument("more", nargs=-1, metavar="")
def configure(first: str | None, is_listed: bool, more: tuple[str, ...]) -> list[dict[str, str]] | None:
    """Keep a group and a workspace to use where none is given, also for folders that are not attached."""
    changes = {}
    for text in (*((first,) if first else ()), *more):
        name, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError(f"{text!r} is not written as NAME=VALUE.")
        if name not in defaults.NAMES:
            say(f"WARNING: the default {name!r} means nothing here.")
            continue
        changes[defaults.NAMES[name]] = value
    kept = defaults.save(changes) if changes else defaults.load()
    if first and not is_listed:
        return None
    return [{"name": name, "value": value} for name, value in sorted(kept.items())]


@click.command("version", cls=Command, examples=["studio version", "studio version -o yaml"])
def version() -> dict[str, Any]:
    """Print the versions of what runs here."""
    warn_of_vendor()
    return {"studio-client": __version__, "python": platform.python_version(), "extensions": {}}


@click.group("extension", cls=Group, examples=["studio extension list"])
def extension() -> None:
    """Accept what scripts for az do about extensions; there are none to add."""


@extension.command("list", examples=["studio extension list"])
def list_extensions() -> list[dict[str, Any]]:
    """List extensions: none."""
    return []


def _accept(name: str) -> None:
    @extension.command(
        name,
        context_settings={"ignore_unknown_options": True},
        examples=[f"studio extension {name} -n azure-cli-ml"],
    )
    @click.argument("rest", nargs=-1, type=click.UNPROCESSED, metavar="[-n NAME]")
    def accept(rest: tuple[str, ...]) -> None:
        say("Nothing to do: `studio ml` is built in.")

    accept.help = f"Nothing to {name}: all commands are built in."


for _name in ("add", "update", "remove"):
    _accept(_name)
