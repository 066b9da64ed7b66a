"""Where a command works: server, workspace and experiment, from what was typed, the attached folder and the
defaults, in this order.
"""

from __future__ import annotations

import itertools
import os
from functools import cached_property, partial, wraps
from typing import Any, Callable

import click

from studio_client import attachment
from studio_client.api import Api, connect
from studio_client.attachment import Attachment
from studio_client.cli import completion, defaults
from studio_client.cli.frame import Failed, say
from studio_client.config import in_run
from studio_client.errors import ConfigError, NotFound
from studio_client.records import RunRecord, WorkspaceRecord
from studio_client.run_configs import EXPERIMENT_NAME

_NO_WORKSPACE = "It is not said which workspace is meant."
_HOW_WORKSPACE = "Attach this folder: `studio folder attach -w WORKSPACE`, or give -w."

#: So many experiments are named to whoever asks for one that is not there.
_MOST_NAMES = 10


class Place:
    """Nothing is asked of the server, and no file is read, before it is needed."""

    def __init__(
        self,
        *,
        workspace: str | None = None,
        group: str | None = None,
        subscription: str | None = None,
        experiment: str | None = None,
        path: str = ".",
    ) -> None:
        self.typed_workspace = workspace
        self.typed_group = group
        self.typed_subscription = subscription
        self.typed_experiment = experiment
        self.is_whole_workspace = False
        self.path = os.path.abspath(path)

    @cached_property
    def api(self) -> Api:
        """The server that one is signed in to. Raises ConfigError."""
        return reached(connect(client="studio-cli"))

    @cached_property
    def attached(self) -> tuple[str, Attachment] | None:
        """The file that attaches the folder, and what it says. Raises ConfigError for one that is damaged."""
        file = attachment.look(self.path)
        return (file, attachment.read(file)) if file else None

    @cached_property
    def workspace(self) -> WorkspaceRecord:
        """The workspace. Raises ConfigError and Failed."""
        name, source = self._workspace_name()
        try:
            record = self.api.workspace(name)
        except NotFound:
            raise self._unknown_workspace(name, source) from None
        wanted = (("resource_group", self.typed_group), ("subscription_id", self.typed_subscription))
        for field, typed in wanted:
            known = str(record[field])  # type: ignore[literal-required]
            if typed and known and typed.lower() != known.lower():
                words = field.replace("_", " ").replace(" id", "")
                raise Failed(f"Workspace {name} is in the {words} {known}, not in {typed}.")
        return record

    @property
    def group(self) -> str:
        """The resource group, as it was typed, or as it is known."""
        return self._first(self.typed_group, "resource_group", "group") or self.workspace["resource_group"]

    @property
    def subscription(self) -> str:
        """The subscription, as it was typed, or as it is known."""
        kept = self._first(self.typed_subscription, "subscription_id", "subscription")
        return kept or self.workspace["subscription_id"]

    def experiment_or_all(self) -> str | None:
        """The name of the experiment; None for the whole workspace, as `--all-experiments` asks for it."""
        return None if self.is_whole_workspace else self.experiment()

    def experiment(self) -> str:
        """The name of the experiment. Raises ConfigError if nothing names one."""
        name = self.typed_experiment or self.attached_experiment
        if not name:
            raise ConfigError(
                "It is not said which experiment is meant.",
                hint="Give -e, or attach this folder: `studio folder attach -w WORKSPACE -e EXPERIMENT`.",
            )
        return name

    @property
    def attached_experiment(self) -> str:
        """That of the folder, or of the run that this process belongs to; "" without."""
        if self.attached:
            return self.attached[1].experiment_name
        return os.environ.get("AZUREML_ARM_PROJECT_NAME", "") if in_run() else ""

    def run(self, run_id: str) -> RunRecord:
        """A run by its id. Raises Failed if it is not where it was said to be."""
        try:
            record = self.api.run(run_id)
        except NotFound as error:
            hint = (
                error.hint or "`studio run list --all-experiments -o table` shows the newest with their ids."
            )
            raise Failed(f"There is no run {run_id} at {self.api.url}.", hint=hint) from None
        if self.typed_workspace and record["workspace"] != self.workspace["name"]:
            raise Failed(
                f"Run {run_id} is in workspace {record['workspace']}, not in {self.typed_workspace}."
            )
        if self.typed_experiment and record["experiment"] != self.typed_experiment:
            raise Failed(
                f"Run {run_id} is in experiment {record['experiment']}, not in {self.typed_experiment}."
            )
        return record

    def unknown_experiment(self, name: str) -> Failed:
        """What to raise where the workspace has no experiment of this name; it names some that are there."""
        workspace = self.workspace["name"]
        names = [one["name"] for one in itertools.islice(self.api.experiments(workspace), _MOST_NAMES + 1)]
        more = " and more: `studio experiment list`" if len(names) > _MOST_NAMES else ""
        return Failed(
            f"There is no experiment {name} in workspace {workspace}.",
            hint=f"There are: {', '.join(names[:_MOST_NAMES]) or 'none'}{more}.",
        )

    def _workspace_name(self) -> tuple[str, str]:
        """The name, and in words where it comes from."""
        if self.typed_workspace:
            return self.typed_workspace, ""
        if self.attached:
            return self.attached[1].workspace_name, self.attached[0]
        kept = defaults.load().get("workspace")
        if kept:
            return kept, "`studio configure --defaults`"
        if in_run() and os.environ.get("AZUREML_ARM_WORKSPACE_NAME"):
            return os.environ["AZUREML_ARM_WORKSPACE_NAME"], "the run that this process belongs to"
        raise ConfigError(_NO_WORKSPACE, hint=_HOW_WORKSPACE)

    def _first(self, typed: str | None, field: str, default: str) -> str:
        """What was typed; else that of the attachment or the defaults, if they are of this workspace."""
        if typed:
            return typed
        if self.attached and self.attached[1].workspace_name == self.workspace["name"]:
            return str(getattr(self.attached[1], field))
        return "" if self.typed_workspace else defaults.load().get(default, "")

    def _unknown_workspace(self, name: str, source: str) -> Failed:
        me = self.api.me()
        names = ", ".join(one["name"] for one in me["workspaces"]) or "none"
        where = f" It comes from {source}." if source else ""
        return Failed(
            f"There is no workspace {name!r} at {self.api.url}, where you are signed in as {me['username']}, "
            f"or you are not a member of it.{where}",
            hint=f"Yours: {names}.",
        )


def reached(api: Api) -> Api:
    """The same; that it is waited for is said on stderr."""
    context = click.get_current_context(silent=True)
    if context is not None:  # else a line is being completed
        api.transport.when_away = partial(_say_waiting, context, api.url)
    return api


def _say_waiting(context: click.Context, url: str) -> None:
    with context.scope(cleanup=False):  # in the thread that tells of silence it is not the current one
        say(f"Waiting for the server at {url} ...")


def checked_name(experiment: str) -> str:
    """The name of an experiment that may be new. Raises Failed."""
    if not EXPERIMENT_NAME.fullmatch(experiment):
        raise Failed(
            f"{experiment[:80]!r} cannot be the name of an experiment.",
            hint="It is 1-255 ASCII letters, digits, _ and -, and begins with a letter or a digit.",
        )
    return experiment


def all_experiments(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--all-experiments` to a command that lists runs: `place` then names no experiment."""

    @wraps(function)
    def wrapped(place: Place, *args: Any, everywhere: bool, **rest: Any) -> Any:
        if everywhere and place.typed_experiment:
            raise click.UsageError("--all-experiments and -e cannot be used together.")
        place.is_whole_workspace = everywhere
        return function(place, *args, **rest)

    return click.option(
        "--all-experiments", "everywhere", is_flag=True, help="Those of the whole workspace; not with -e."
    )(wrapped)


def located(*, experiment: bool = False, run: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Gives a command `place`, out of options that say where it works; with `run` also `run_id`, from -r."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def wrapped(
            workspace_name: str | None,
            resource_group: str | None,
            subscription_id: str | None,
            path: str,
            experiment_name: str | None = None,
            **rest: Any,
        ) -> Any:
            place = Place(
                workspace=workspace_name,
                group=resource_group,
                subscription=subscription_id,
                experiment=experiment_name,
                path=path,
            )
            return function(place, **rest)

        made: Any = wrapped
        for option in reversed(_options(experiment or run, run)):
            made = option(made)
        return made

    return decorate


def not_empty(context: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Raises click.UsageError where a variable of a shell that was to name a run holds nothing."""
    if value is not None and not value.strip():
        raise click.UsageError(f"The run id after {param.opts[0]} is empty.", context)
    return value


_RUN = click.option(
    "-r",
    "--run",
    "run_id",
    metavar="RUN_ID",
    required=True,
    callback=not_empty,
    shell_complete=completion.run_ids,
    help="The id of the run.",
)
_EXPERIMENT = click.option(
    "-e",
    "--experiment-name",
    metavar="NAME",
    shell_complete=completion.experiments,
    help="The experiment; else that of the attached folder.",
)
_WORKSPACE = (
    click.option(
        "-w",
        "--workspace-name",
        metavar="NAME",
        shell_complete=completion.workspaces,
        help="The workspace; else that of the attached folder, else the default.",
    ),
    click.option(
        "-g",
        "--resource-group",
        metavar="NAME",
        help="For lines written for az: kept, and refused only if the server has another for the workspace.",
    ),
    click.option(
        "--subscription-id",
        "--subscription",
        metavar="ID",
        help="Its subscription; treated like -g.",
    ),
    click.option(
        "--path",
        type=click.Path(file_okay=False),
        metavar="FOLDER",
        default=".",
        show_default=True,
        help="The project.",
    ),
)


def _options(experiment: bool, run: bool) -> list[Callable[[Any], Any]]:
    return [*([_RUN] if run else []), *([_EXPERIMENT] if experiment else []), *_WORKSPACE]


METADATA = click.option(
    "-t",
    "--output-metadata-file",
    metavar="FILE",
    type=click.Path(),
    help="Write the result to this new file, too.",
)


def metadata_file(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `-t`: the result is also written to a file, which must not be there yet."""

    @wraps(function)
    def wrapped(*args: Any, output_metadata_file: str | None, **rest: Any) -> Any:
        if output_metadata_file:
            refuse_existing(output_metadata_file)
        result = function(*args, **rest)
        if output_metadata_file:
            write_metadata(output_metadata_file, result)
        return result

    return METADATA(wrapped)


def refuse_existing(file: str) -> None:
    """Raises Failed for a file that cannot be made new."""
    if os.path.lexists(file):
        raise Failed(f"{file} exists already.", hint="-t names a new file.")
    if not os.path.isdir(os.path.dirname(os.path.abspath(file))):
        raise Failed(f"There is no folder for {file}.")


def write_metadata(file: str, result: Any) -> None:
    """Write a result as JSON to a file that is new. Raises Failed."""
    from studio_client.cli.output import as_json

    try:
        with open(file, "x", encoding="utf-8") as target:
            target.write(as_json(result) + "\n")
    except OSError as error:
        raise Failed(f"{file} cannot be written: {error.strerror}.") from None
    say(f"Written to {file}")
