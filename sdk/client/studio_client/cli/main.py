"""The program `studio`, its groups of commands, and what becomes of errors.

Exit codes: 0 done, 1 the command could not do it, 2 it was not written as it has to be, 130 Ctrl-C.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence

import click

from studio_client import __version__
from studio_client.cli import account, folder, lists, logs, pipelines, runs, submit, watch
from studio_client.cli.completion import completion
from studio_client.cli.frame import Failed, Group
from studio_client.cli.letters import escape_on_stdout, unreadable
from studio_client.cli.sync import sync
from studio_client.errors import InvalidInput, StudioClientError
from studio_client.masking import mask_on_stderr

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
_WITH_MODULES = (logs, submit, pipelines, watch)  # their commands are in the group `run`
_ML_GROUPS = (runs.run, lists.experiment, lists.computetarget, lists.compute, lists.workspace, folder.folder)
_ABSENT = (
    "model",
    "service",
    "endpoint",
    "dataset",
    "datastore",
    "pipeline",
    "environment",
    "datadrift",
    "project",
)


class Ml(Group):
    """The groups that `az ml` has; those that are no part of Studio say so."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The group, or one that refuses."""
        found = super().get_command(ctx, cmd_name)
        return _absent(cmd_name) if found is None and cmd_name in _ABSENT else found


def _absent(name: str) -> click.Command:
    @click.command(name, context_settings={"ignore_unknown_options": True}, add_help_option=False)
    @click.argument("rest", nargs=-1, type=click.UNPROCESSED)
    def refuse(rest: tuple[str, ...]) -> None:
        raise Failed(f"{name!r} is not part of Studio.", hint="It keeps runs: see `studio run --help`.")

    return refuse


@click.group(
    cls=Ml,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    examples=[
        "studio login --url http://127.0.0.1:8000",
        "studio folder attach -w default",
        "studio run submit-script -e digits train.py --rate 0.1",
        "studio run watch -e digits",
    ],
)
@click.version_option(__version__, "-V", "--version", prog_name="studio-client")
def studio() -> None:
    """Studio's command line: submit runs, find them, watch them, end them.

    Lines written for `az ml` work as `studio ml ...`, and unchanged where a link named az leads here.
    """


@studio.group("ml", cls=Ml, examples=["studio ml run list -e digits -o table"])
def ml() -> None:
    """The same commands under the name that they have in az."""


for _group in _ML_GROUPS:
    studio.add_command(_group)
    ml.add_command(_group)
for _command in (
    account.login,
    account.logout,
    account.account,
    account.configure,
    account.version,
    account.extension,
    completion,
    sync,
):
    studio.add_command(_command)


def run(words: Sequence[str]) -> int:
    """Run the command of these words; the exit code."""
    if sys.stdout is None:
        click.echo(
            "ERROR: Standard output is closed, so nothing was done. Give > /dev/null instead.", err=True
        )
        return 1
    try:
        escape_on_stdout()
        mask_on_stderr()
        code = studio.main(list(words), prog_name=_name(), standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        return _refuse_usage(error)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except StudioClientError as error:
        return _failed(error, words)
    except BrokenPipeError:
        _write_no_more()
        return 0
    except UnicodeEncodeError as error:
        return _no_name(error, words)
    except OSError as error:
        return _disk_full(error) if error.errno in _FULL else _unexpected(error, words)
    except Exception as error:
        return _unexpected(error, words)


def _disk_full(error: OSError) -> int:
    """Mostly it is standard output that leads to a file."""
    click.echo(f"ERROR: The result cannot be written: {error.strerror}.", err=True)
    _write_no_more()
    return 1


def _write_no_more() -> None:
    """Let what is still to be written go nowhere, or the end of Python would complain of it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _name() -> str:
    name = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    return "studio" if name in ("", "__main__", "-c") else name


def _refuse_usage(error: click.ClickException) -> int:
    click.echo(f"ERROR: {error.format_message()}", err=True)
    context = getattr(error, "ctx", None)
    if context is not None:
        click.echo(f"Help: {context.command_path} --help", err=True)
    return 2


def _no_name(error: UnicodeEncodeError, words: Sequence[str]) -> int:
    """A word that is no text was to be part of an address."""
    if not unreadable(words):
        return _unexpected(error, words)
    click.echo("ERROR: A name has letters that cannot be sent.", err=True)
    _hint_at_letters(words)
    return 1


def _hint_at_letters(words: Sequence[str]) -> None:
    odd, encoding = unreadable(words), sys.getfilesystemencoding()
    if odd:
        click.echo(
            f"{odd} is no text in {encoding}, the encoding of this shell. If it is UTF-8, set LANG=C.UTF-8.",
            err=True,
        )


def _failed(error: StudioClientError, words: Sequence[str]) -> int:
    if "--debug" in words:
        traceback.print_exc()
    click.echo(f"ERROR: {error}", err=True)
    if isinstance(error, InvalidInput):
        _hint_at_letters(words)
    return 1


def _unexpected(error: Exception, words: Sequence[str]) -> int:
    if "--debug" in words:
        traceback.print_exc()
    click.echo(f"ERROR: {type(error).__name__}: {error}", err=True)
    click.echo("This should not happen. The same command with --debug shows where it comes from.", err=True)
    return 1
