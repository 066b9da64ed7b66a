"""What the documentation says of the command line is what the command line takes."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from studio_client.cli import runs
from studio_client.cli.main import studio

ROOT = Path(__file__).parents[2]
_LINE = re.compile(r"^ {4}(?:eval \"\$\()?((?:studio|az) [^#\n>)]*(?:\)[^#\n>]*)?)", re.MULTILINE)
_WORDS = re.compile(r"`(studio [^`…]*)`")


def lines() -> list[str]:
    """The lines that docs/cli.md and the README show."""
    guide, readme = (ROOT / "docs" / "cli.md").read_text(), (ROOT / "README.md").read_text()
    shown = [*_LINE.findall(guide), *_WORDS.findall(guide), *_WORDS.findall(readme)]
    return [line for line in shown if "GROUP" not in line and "…" not in line]


def commands(group: click.Group = studio) -> Iterator[click.Command]:
    """Those that help shows, each once."""
    for name, one in group.commands.items():
        if isinstance(one, click.Group) and name != "ml":
            yield from commands(one)
        elif name != "ml" and not one.hidden:
            yield one


def groups(group: click.Group = studio) -> Iterator[click.Group]:
    """This one, and those in it."""
    yield group
    for one in group.commands.values():
        if isinstance(one, click.Group):
            yield from groups(one)


def examples() -> list[str]:
    """The lines that help shows."""
    shown = (example for one in (*commands(), *groups()) for example in getattr(one, "examples", ()))
    return [line.removeprefix('eval "$(').removesuffix(')"') for line in dict.fromkeys(shown)]


def test_every_command_and_group_shows_an_example() -> None:
    assert len(list(commands())) > 25
    assert [one.name for one in (*commands(), *groups()) if not getattr(one, "examples", ())] == []
    assert "Examples:\n  studio run submit-script" in runs.run.get_help(click.Context(runs.run))


@pytest.mark.parametrize("line", [*lines(), *examples()])
def test_every_line_that_is_shown_can_be_read(line: str) -> None:
    words = shlex.split(line.strip().rstrip('")<') if line.count('"') % 2 else line)[1:]
    words = list(itertools.takewhile(lambda word: word not in ("<", ">", "|"), words))
    command: click.Command = studio
    context = click.Context(studio, info_name="studio")
    while isinstance(command, click.Group):
        name = words.pop(0)
        found = command.get_command(context, name)
        assert found is not None, line
        command, context = found, click.Context(found, info_name=name, parent=context)
    command.make_context(command.name, words)


def test_the_guide_names_every_command() -> None:
    guide = (ROOT / "docs" / "cli.md").read_text()
    for name, command in studio.commands.items():
        inner = command.commands if isinstance(command, click.Group) and name != "ml" else {}
        for word in (name, *(name for name, one in inner.items() if not one.hidden)):
            assert f"`{word}" in guide or f" {word}" in guide, word
