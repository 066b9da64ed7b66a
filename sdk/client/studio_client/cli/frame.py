"""What all commands have in common: the options that each takes, its help with examples, and how its result
gets out.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from studio_client import vendor
from studio_client.cli import output
from studio_client.cli.query import Query
from studio_client.cli.tables import terminal_width
from studio_client.errors import StudioClientError

SETTINGS = "studio_client.cli.settings"
People = Callable[[Any], "list[dict[str, Any]]"]


class Failed(StudioClientError):
    """A command could not do what was asked; exit code 1."""


class Settings:
    """What the options that every command takes say."""

    def __init__(self) -> None:
        self.output = "json"
        self.query: Query | None = None
        self.verbose = False
        self.debug = False
        self.only_show_errors = False


def settings() -> Settings:
    """Those of the command that runs."""
    context = click.get_current_context()
    found: Settings = context.meta.setdefault(SETTINGS, Settings())
    return found


def is_typed(option: str) -> bool:
    """Whether an option of the command that runs was written, and is not of the environment or a default."""
    source = click.get_current_context().get_parameter_source(option)
    return source is click.core.ParameterSource.COMMANDLINE


def say(text: str) -> None:
    """A line for people, on stderr; `--only-show-errors` keeps it back."""
    if not settings().only_show_errors:
        click.echo(text, err=True)


def warn_of_vendor() -> None:
    """Say so where scripts would not import Studio's package."""
    found = vendor.warning()
    if found:
        say(f"WARNING: {found}")


class AnyCase(click.Choice):
    """Words that are taken in any case, and are shown and completed as they are written."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The word that is meant."""
        meant = (word for word in self.choices if word.lower() == str(value).lower())
        return super().convert(next(meant, value), param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The words that begin so, in whatever case."""
        return [CompletionItem(word) for word in self.choices if word.lower().startswith(incomplete.lower())]


class Whole(click.IntRange):
    """Whole numbers from `min` on, refused in a sentence."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number that is meant."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is not a whole number from {self.min} on.", param, ctx)


class Seconds(click.FloatRange):
    """So many seconds, `min` at least, refused in a sentence."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number that is meant."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is not a number of seconds from {self.min} on.", param, ctx)


def _keep(context: click.Context, param: click.Parameter, value: Any) -> Any:
    kept: Settings = context.meta.setdefault(SETTINGS, Settings())
    if param.name:
        setattr(kept, param.name, value)
    return value


def _query(context: click.Context, param: click.Parameter, value: str | None) -> Query | None:
    return _keep(context, param, Query(value) if value is not None else None)


def _common_options() -> list[click.Parameter]:
    hidden: dict[str, Any] = {"expose_value": False, "is_flag": True, "callback": _keep}
    return [
        click.Option(
            ["-o", "--output"],
            type=click.Choice(output.FORMATS, case_sensitive=False),
            default="json",
            show_default=True,
            envvar="STUDIO_OUTPUT",
            show_envvar=True,
            expose_value=False,
            callback=_keep,
            help="How the result is written.",
        ),
        click.Option(
            ["--query"],
            metavar="JMESPATH",
            expose_value=False,
            callback=_query,
            help="A JMESPath query; its result is written. See jmespath.org.",
        ),
        click.Option(["-v", "--verbose"], help="Say more on stderr.", **hidden),
        click.Option(
            ["--debug"], help="Say on stderr what is asked of the server, and where it fails.", **hidden
        ),
        click.Option(["--only-show-errors"], help="Say nothing but errors on stderr.", **hidden),
    ]


class Command(click.Command):
    """A command whose function returns its result.

    `people` makes rows of it for `-o table`. A word `[?…` that is left over counts as `--query`.
    """

    def __init__(
        self, *args: Any, examples: Sequence[str] = (), people: People | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.params += _common_options()
        self.examples = examples
        self.people = people
        self.allow_extra_args = True

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As of every command, but the query may stand alone."""
        super().parse_args(ctx, args)
        left = [word for word in ctx.args if not word.startswith("[?")]
        queries = [word for word in ctx.args if word.startswith("[?")]
        if left and not ctx.resilient_parsing:
            raise click.UsageError(f"unrecognized arguments: {' '.join(left)}", ctx)
        if queries and not ctx.resilient_parsing:
            kept: Settings = ctx.meta[SETTINGS]
            if kept.query is not None or len(queries) > 1:
                raise click.UsageError("There is more than one query.", ctx)
            kept.query = Query(queries[0], is_bare=True)
        ctx.args = []
        return []

    def invoke(self, ctx: click.Context) -> Any:
        """Run it, and write what it returns."""
        _log_as_asked(settings())
        result = super().invoke(ctx)
        emit(result, self.people)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples."""
        _write_examples(formatter, self.examples)


class Group(click.Group):
    """A group of commands; without one of them it shows its help."""

    command_class = Command

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples."""
        _write_examples(formatter, self.examples)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Nothing after it: its help, which is a mistake only below the top."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=ctx.parent is not None)
            ctx.exit(2 if ctx.parent else 0)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """As of every group, with a guess at what was meant."""
        name = args[0]
        if self.get_command(ctx, name) is None and not ctx.resilient_parsing and not name.startswith("-"):
            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            guess = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"{ctx.command_path} has no command {name!r}.{guess}", ctx)
        return super().resolve_command(ctx, args)


Group.group_class = Group


def _write_examples(formatter: click.HelpFormatter, examples: Sequence[str]) -> None:
    if examples:
        with formatter.section("Examples"):
            for example in examples:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")


def emit(result: Any, people: People | None = None) -> None:
    """Write a result to stdout as `--output` and `--query` say. Nothing for None."""
    asked = settings()
    if result is None:
        return
    if isinstance(result, output.Sentence):
        if asked.output != "none":
            click.echo(str(result))
        return
    if asked.query is not None:
        found = asked.query.search(result, say)
        people = people if _is_selection(found, result) else None
        result = found
    text = output.rendered(result, asked.output, people, room=terminal_width())
    if text:
        click.echo(text)
    sys.stdout.flush()


def _is_selection(found: Any, result: Any) -> bool:
    """Whether a query has only chosen among the objects of a list."""
    if not isinstance(found, list) or not isinstance(result, list):
        return False
    whole = {id(item) for item in result}
    return all(id(item) in whole for item in found)


def _log_as_asked(asked: Settings) -> None:
    if not (asked.debug or asked.verbose):
        return
    import logging

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logger = logging.getLogger("studio_client")
    logger.handlers = [handler]
    logger.setLevel(logging.DEBUG if asked.debug else logging.INFO)


def key_value(text: str) -> tuple[str, str | None]:
    """`key=value` split at its first `=`; without one the value is None."""
    key, equals, value = text.partition("=")
    if not key:
        raise click.UsageError(f"{text!r} has no key: it is written as key=value.")
    return key, value if equals else None
