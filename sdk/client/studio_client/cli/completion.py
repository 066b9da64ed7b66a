"""What the shell offers after TAB, and the scripts that teach it to."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Callable

import click
from click.shell_completion import CompletionItem, get_completion_class

from studio_client.cli.frame import Group
from studio_client.cli.output import Sentence
from studio_client.errors import StudioClientError

SHELLS = ("bash", "zsh", "fish")
_MOST = 50
#: Of more names than that, those at the end are not looked at while somebody waits for TAB.
_LOOKED_AT = 2_000
#: A ~/.zshrc that has not set completion up lacks what the script ends with.
_LOAD_COMPDEF = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }"
_PATIENCE_S = 0.0


def _offer(find: Callable[[Any, str], Iterable[tuple[str, str]]]) -> Callable[..., list[CompletionItem]]:
    """A completion out of pairs (value, help); nothing where the server or the folder does not tell."""

    def complete(context: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from studio_client.cli.place import Place

        given = context.params
        place = Place(
            workspace=given.get("workspace_name"),
            experiment=given.get("experiment_name"),
            path=given.get("path") or ".",
        )
        try:
            transport = place.api.transport
            transport.patience_s, transport.when_away = _PATIENCE_S, None  # a line is being typed
            looked_at = itertools.islice(find(place, incomplete), _LOOKED_AT)
            found = (pair for pair in looked_at if pair[0].startswith(incomplete))
            return [
                CompletionItem(value, help=" ".join(help.split()))  # shells take one line for each
                for value, help in itertools.islice(found, _MOST)
            ]
        except (StudioClientError, OSError):
            return []

    return complete


def _experiments(place: Any, incomplete: str) -> Iterator[tuple[str, str]]:
    for one in place.api.experiments(place.workspace["name"]):
        yield one["name"], one["description"]


def _run_ids(place: Any, incomplete: str) -> Iterator[tuple[str, str]]:
    quoted = incomplete.replace("\\", "\\\\").replace('"', '\\"')
    asked = [
        ("experiment", place.typed_experiment),
        ("include_children", True),
        ("q", f'"{quoted}"' if incomplete else None),  # words are looked for in run ids, too
    ]
    for one in place.api.runs(place.workspace["name"], asked, limit=_MOST):
        yield one["run_id"], f"{one['experiment']} {one['number']} {one['status']}"


def _targets(place: Any, incomplete: str) -> Iterator[tuple[str, str]]:
    for one in place.api.targets(place.workspace["name"]):
        yield one["name"], one["description"]


def _workspaces(place: Any, incomplete: str) -> Iterator[tuple[str, str]]:
    for one in place.api.workspaces():
        yield one["name"], one["description"]


def _configurations(place: Any, incomplete: str) -> Iterator[tuple[str, str]]:
    from studio_client.run_configs import all_names

    return ((name, "") for name in all_names(place.path))


def files(context: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Have the shell complete the names of files."""
    return [CompletionItem(incomplete, type="file")]


def folders(context: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Have the shell complete the names of folders."""
    return [CompletionItem(incomplete, type="dir")]


experiments = _offer(_experiments)
run_ids = _offer(_run_ids)
targets = _offer(_targets)
workspaces = _offer(_workspaces)
configurations = _offer(_configurations)


@click.command(
    "completion",
    cls=Group.command_class,
    examples=[
        'eval "$(studio completion bash)"',
        "studio completion fish > ~/.config/fish/completions/studio.fish",
    ],
)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> Sentence:
    """Print the script that lets a shell complete commands, options and names."""
    root = click.get_current_context().find_root()
    name = root.info_name or "studio"
    variable = f"_{name.replace('-', '_').upper()}_COMPLETE"
    maker = get_completion_class(shell)
    assert maker is not None, shell
    source = maker(root.command, {}, name, variable).source()
    if shell == "zsh":
        source = source.replace(
            "\n", f"\n\n{_LOAD_COMPDEF}\n", 1
        )  # its first line is for files that zsh finds
    if shell == "fish":  # which would cut what a command does at its first comma
        source = source.replace('string split "," ', 'string split --max 1 "," ')
    return Sentence(source)
