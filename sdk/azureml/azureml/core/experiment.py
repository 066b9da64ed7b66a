"""Experiments: named groups of runs."""

from __future__ import annotations

import builtins
import copy
import functools
import os
import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from azureml import _run_list
from azureml._page_owner import PageOwner
from azureml._translate import translated
from azureml._unsupported import unsupported
from azureml.core.script_run_config import ScriptRunConfig
from azureml.exceptions import AzureMLException, UserErrorException

if TYPE_CHECKING:
    from studio_client.api import Api
    from studio_client.records import ExperimentRecord, RunRecord

    from azureml.core.run import Run
    from azureml.core.workspace import Workspace

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}")


class ViewType:
    """Which experiments `Experiment.list` gives."""

    ActiveOnly = "ActiveOnly"
    All = "All"
    ArchivedOnly = "ArchivedOnly"


_VIEWS = {"activeonly": "active", "all": "all", "archivedonly": "archived"}


class Experiment(PageOwner):
    """An experiment of a workspace, made by its first use.

    Raises UserErrorException for a name that breaks the rule, TypeError for one that is no text.
    """

    _shown_as, _page_title = "Experiment", "Report Page"

    def __init__(
        self,
        workspace: Workspace,
        name: str,
        _skip_name_validation: bool = False,
        _id: Any = None,
        _archived_time: Any = None,
        _create_in_cloud: bool = True,
        _experiment_dto: ExperimentRecord | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(name, str):
            raise TypeError(f"The name of an experiment is text, not {type(name).__name__}.")
        if not _skip_name_validation:
            check_name(name)
        self._workspace = workspace
        self._name = name
        self._fetched: ExperimentRecord | None = _experiment_dto
        if _experiment_dto is None and _create_in_cloud:
            _check_workspace(workspace)
            self._fetched = self._made_or_found()

    def _made_or_found(self) -> ExperimentRecord:
        """The one of this name, made if it is new; who may only read gets one that is there."""
        from studio_client.errors import NotAllowed, NotFound

        workspace = self._workspace.name
        with translated:
            try:
                return self._api.make_experiment(workspace, self._name)
            except NotAllowed as refused:
                try:
                    return self._api.experiment(workspace, self._name)
                except NotFound:
                    raise refused from None

    @property
    def _api(self) -> Api:
        return self._workspace._api

    @property
    def _record(self) -> ExperimentRecord:
        if self._fetched is None:
            self.refresh()
        assert self._fetched is not None
        return self._fetched

    def __deepcopy__(self, memo: Any) -> Experiment:
        return self

    def _fields(self) -> dict[str, Any]:
        return {"Name": self.name, "Workspace": self._workspace.name}

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def workspace(self) -> Workspace:
        """The workspace that it is in."""
        return self._workspace

    @property
    def workspace_object(self) -> Workspace:
        """The workspace that it is in, by its older name."""
        return self._workspace

    @property
    def id(self) -> str:
        """Its id on the server."""
        return str(self._record["id"])

    @property
    def identity(self) -> str:
        """Its name, after that of its workspace."""
        return f"{self._workspace.name}{self.DELIM}{self.name}"

    @property
    def tags(self) -> dict[str, str | None]:
        """Its tags, as they were fetched last."""
        return dict(self._record["tags"])

    @property
    def archived_time(self) -> str | None:
        """When it was archived; None if it is not."""
        return self._record["archived_at"]

    def refresh(self) -> None:
        """Fetch tags and all the rest again."""
        with translated:
            self._fetched = self._api.experiment(self._workspace.name, self._name)

    def submit(self, config: Any, tags: dict[str, Any] | None = None, **kwargs: Any) -> Run:
        """Freeze the folder, hand the script in, and return the run at once. `config` can be submitted again.

        Raises ExperimentExecutionException when the script is not there, SnapshotException for a folder that
        is too big, ComputeTargetException for an unknown target, AzureMLException for what cannot be
        submitted at all.
        """
        folder, content = prepared(config, tags)
        return hand_in(self, folder, content, parent=None)

    def start_logging(self, *args: Any, **kwargs: Any) -> Run:
        """An interactive run, Running from now on; end it with complete(), fail() or cancel(), or use `with`.

        Keywords: name, run_id, outputs (the folder kept at its end, `./outputs`), snapshot_directory (frozen
        now; `.`, unless that is empty; None for nothing), display_name, description, properties, tags.
        """
        options = {"outputs": "./outputs", "snapshot_directory": ".", **kwargs}
        unknown = set(options) - _START_OPTIONS
        if unknown or args:
            raise UserErrorException(
                f"start_logging knows no {', '.join(sorted(unknown)) or 'positional arguments'}."
            )
        return _start_logging(self, options)

    def get_runs(
        self,
        type: str | None = None,
        tags: Any = None,
        properties: Any = None,
        include_children: bool = False,
    ) -> Iterator[Run]:
        """A generator of its runs, the newest first. A text asks for a key, a dict for keys with values."""
        return runs_of(self, type, tags, properties, None, include_children)

    def tag(self, key: str, value: Any = None) -> None:
        """Set or replace a tag."""
        self.set_tags({key: value})

    def set_tags(self, tags: dict[str, Any]) -> None:
        """Set or replace tags."""
        self._change_tags({**self._fresh_tags(), **texts(tags)})

    def remove_tags(self, tags: list[str]) -> None:
        """Take tags away."""
        gone = {tags} if isinstance(tags, str) else set(tags)
        self._change_tags({key: value for key, value in self._fresh_tags().items() if key not in gone})

    def _fresh_tags(self) -> dict[str, str | None]:
        self.refresh()
        return self.tags

    def _change_tags(self, tags: dict[str, str | None]) -> None:
        with translated:
            self._fetched = self._api.change_experiment(self._workspace.name, self._name, tags=tags)

    def archive(self) -> None:
        """Hide it from lists."""
        with translated:
            self._fetched = self._api.change_experiment(self._workspace.name, self._name, archived=True)

    def reactivate(self, new_name: str | None = None) -> None:
        """Show it again, under its own name. Raises UserErrorException for a new one."""
        if new_name is not None:
            raise UserErrorException("Cannot reactivate and rename an experiment: new_name has to be None.")
        with translated:
            self._fetched = self._api.change_experiment(self._workspace.name, self._name, archived=False)

    @staticmethod
    def list(
        workspace: Workspace,
        experiment_name: str | None = None,
        view_type: str = ViewType.ActiveOnly,
        tags: Any = None,
    ) -> builtins.list[Experiment]:
        """Those of a workspace; tags as in `get_runs`."""
        view = _VIEWS.get(str(view_type).lower())
        if view is None:
            raise UserErrorException(
                f"view_type is one of ActiveOnly, All and ArchivedOnly, not {view_type!r}."
            )
        with translated:
            records = [*workspace._api.experiments(workspace.name, view=view, name=experiment_name)]
        return [
            Experiment(workspace, record["name"], _skip_name_validation=True, _experiment_dto=record)
            for record in records
            if (experiment_name is None or record["name"] == experiment_name)
            and _run_list._has(record["tags"], tags)
        ]

    @staticmethod
    def delete(workspace: Workspace, experiment_id: str) -> None:
        """Not a matter of scripts here; archive() hides one."""
        raise unsupported("Experiment.delete", "its experiments are archived, by archive() or on their page.")

    @staticmethod
    def from_directory(path: str, auth: Any = None) -> Experiment:
        """The experiment that the folder's configuration names."""
        from azureml import _project_file
        from azureml.core.workspace import Workspace

        file, found = _project_file.find(path, None)
        if not found.experiment_name:
            raise UserErrorException(f"{file} names no experiment.")
        workspace = Workspace(found.subscription_id, found.resource_group, found.workspace_name, auth=auth)
        return Experiment(workspace, found.experiment_name)


_START_OPTIONS = {
    "name",
    "run_id",
    "outputs",
    "snapshot_directory",
    "display_name",
    "description",
    "properties",
    "tags",
}


def _check_workspace(workspace: Any) -> None:
    from azureml.core.workspace import Workspace

    if not isinstance(workspace, Workspace):
        raise UserErrorException(
            f"An experiment is in a Workspace, not in {workspace!r}; Workspace.from_config() gives one."
        )


def check_name(name: str) -> None:
    """Raises UserErrorException, with the rule, for a name that breaks it."""
    if not _NAME.fullmatch(name):
        raise UserErrorException(
            f"Experiment name {name[:80]!r} is not valid: it has to be 1-255 characters long, begin with a "
            "letter or a "
            "digit, and hold nothing but letters, digits, underscores and dashes (of ASCII)."
        )


def texts(labels: Any) -> dict[str, str | None]:
    """Tags or properties as text; None stays as a value, and is no key. Raises UserErrorException."""
    if not isinstance(labels, dict):
        raise UserErrorException(f"A dict of keys and values is wanted, not {labels!r}.")
    if None in labels:
        raise UserErrorException("A tag or property has a name, which is a text and not None.")
    if any(not str(key).strip() for key in labels):
        raise UserErrorException("A tag or property has a name, which is a text and not empty.")
    return {str(key): None if value is None else str(value) for key, value in labels.items()}


def property_texts(properties: Any) -> dict[str, str]:
    """Properties as text. Raises UserErrorException for what cannot be a property, such as None."""
    found = texts(properties)
    made = {key: value for key, value in found.items() if value is not None}
    if len(made) < len(found):
        lacking = ", ".join(repr(key) for key in found if key not in made)
        raise UserErrorException(f"Properties are text; there is none for {lacking}. A tag may be without.")
    return made


def make_outputs(outputs: Any) -> None:
    """Make the folder that is kept at the end of a run. Raises UserErrorException."""
    if not outputs:
        return
    try:
        os.makedirs(outputs, exist_ok=True)
    except OSError as error:
        raise UserErrorException(
            f"The folder {outputs} for outputs cannot be made: {error.strerror}."
        ) from None
    except TypeError:
        raise UserErrorException(f"outputs is a folder, not {outputs!r}.") from None


def new_uuid() -> str:
    """An id for an interactive run."""
    from uuid import uuid4

    return str(uuid4())


def new_run_id(experiment_name: str) -> str:
    """An id for a submitted run: `<experiment>_<unix seconds>_<8 hex>`."""
    return f"{experiment_name[:200]}_{int(time.time())}_{os.urandom(4).hex()}"


def runs_of(
    experiment: Experiment, run_type: Any, tags: Any, properties: Any, status: Any, include_children: bool
) -> Iterator[Run]:
    """A generator of an experiment's runs, the newest first. Raises UserErrorException for a bad filter."""
    wanted = [
        ("experiment", experiment.name),
        ("include_children", include_children),
        *_run_list.filters(tags, properties, run_type, status),
    ]
    if _run_list.fits_nothing(run_type, properties, status):
        return _passing(experiment, iter(()), tags, properties)
    if experiment._api.transport.login.run_id:
        _say_how_far_a_run_sees()
    records = experiment._api.runs(experiment.workspace.name, wanted)
    return _passing(experiment, records, tags, properties)


@functools.cache
def _say_how_far_a_run_sees() -> None:
    """Say so once: a list that lacks runs looks like any other."""
    from studio_client.sending import say

    say(
        "a submitted script finds the runs of its own tree alone: its topmost parent and what descends "
        "from that. A workspace that is opened with STUDIO_TOKEN set finds all."
    )


def _passing(
    experiment: Experiment, records: Iterator[RunRecord], tags: Any, properties: Any
) -> Iterator[Run]:
    from azureml.core.run import run_from_record

    with translated:
        for record in records:
            if _run_list.passes(record, tags, properties):
                yield run_from_record(experiment, record)


def prepared(config: Any, tags: Any) -> tuple[str, dict[str, Any]]:
    """The folder of a submission, and what is said of it. Raises what `Experiment.submit` says."""
    if not isinstance(config, ScriptRunConfig):
        raise AzureMLException(
            f"Studio runs scripts: submit a ScriptRunConfig, nothing of the type {type(config).__name__}."
        )
    folder, content = copy.deepcopy(config).to_submit()
    return folder, {**content, "tags": texts(tags or {}) or None}


def hand_in(experiment: Experiment, folder: str, content: dict[str, Any], parent: str | None) -> Run:
    """Hand a script in, as `prepared` gives it, as the child of a run if one is given."""
    from studio_client import snapshots
    from studio_client.git import git_properties

    from azureml.core.run import run_from_record

    api, workspace = experiment._api, experiment.workspace.name
    with translated:
        digest = snapshots.take(api, workspace, folder, script=content.get("script") or "")
        record: RunRecord = api.submit(
            workspace,
            {
                **content,
                "experiment": experiment.name,
                "run_id": new_run_id(experiment.name),
                "snapshot": digest,
                "properties": git_properties(folder) or None,
                "parent": parent,
            },
        )
    return run_from_record(experiment, record)


def start(experiment: Experiment, run_id: str | None, **given: Any) -> RunRecord:
    """An interactive run, Running from now on. Raises UserErrorException for an id that is another run's, or
    that of one which has ended.
    """
    from studio_client.records import TERMINAL

    with translated:
        record: RunRecord = experiment._api.start_run(
            experiment.workspace.name, experiment.name, run_id or new_uuid(), **given
        )
    if record["status"] in TERMINAL:
        raise UserErrorException(
            f"Run {record['run_id']} has ended {record['status']}, so it cannot be started again; choose "
            "another run_id."
        )
    return record


def _start_logging(experiment: Experiment, options: dict[str, Any]) -> Run:
    from studio_client import snapshots
    from studio_client.errors import SourceEmpty
    from studio_client.git import git_properties

    from azureml.core.run import run_from_record

    folder = options["snapshot_directory"]
    properties = {**git_properties(folder or "."), **property_texts(options.get("properties") or {})}
    make_outputs(options["outputs"])
    digest = None
    with translated:
        try:
            digest = snapshots.take(experiment._api, experiment.workspace.name, folder) if folder else None
        except SourceEmpty:
            if not os.path.samefile(folder, "."):  # which is new and empty where Python was started in it
                raise
    record = start(
        experiment,
        options.get("run_id"),
        display_name=options.get("display_name") or options.get("name"),
        description=options.get("description"),
        tags=texts(options.get("tags") or {}) or None,
        properties=properties or None,
        snapshot=digest,
    )
    run = run_from_record(experiment, record)
    run._own(options["outputs"])
    return run
