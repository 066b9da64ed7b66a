"""Runs: one execution of something, watched, logged to and steered from Python."""

from __future__ import annotations

import builtins
import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from studio_client.records import TERMINAL

from azureml import _life_of_run, _run_files, _run_list
from azureml._page_owner import PageOwner
from azureml._run_details import details_of, properties_of
from azureml._run_keeping import KeepingRun
from azureml._run_list import SUBMITTED, TYPES
from azureml._run_logging import LoggingRun
from azureml._run_tree import TreeRun
from azureml._translate import translated
from azureml._unsupported import unsupported
from azureml.core import experiment as experiments
from azureml.exceptions import AzureMLException, ServiceException, UserErrorException

if TYPE_CHECKING:
    from types import TracebackType

    from studio_client.api import Api
    from studio_client.records import RunRecord

    from azureml.core.environment import Environment
    from azureml.core.experiment import Experiment
    from azureml.core.workspace import Workspace

#: Whoever prints a run, be it a traceback, waits no longer for what the server knows of it.
_SHOWN_WITHIN_S = 3.0


class Run(PageOwner, LoggingRun, KeepingRun, TreeRun):
    """A run of an experiment. `Run(experiment, run_id)` opens one that is there; ServiceException (404) if
    not.

    Used in a `with` block, an interactive run is Completed at its normal end, and Failed by an exception.
    """

    RUN_PATH = "{}/runs/{}"
    _shown_as, _page_title = "Run", "Details Page"

    def __init__(
        self, experiment: Experiment, run_id: str, outputs: str | None = None, **kwargs: Any
    ) -> None:
        if not isinstance(experiment, experiments.Experiment):
            raise UserErrorException(f"A run is in an Experiment, not in {experiment!r}.")
        if not isinstance(run_id, str) or not run_id:
            raise UserErrorException(f"The id of a run is a text, not {run_id!r}.")
        self._experiment = experiment
        self._run_id = run_id
        self._outputs = outputs
        self._is_context = bool(kwargs.get("_is_context"))
        self._owned = False
        self._capture: Any = None
        self._entered_in: int | None = None
        self._waits_until = 0.0  # the end of which a line has said that it waits
        self._fetched: RunRecord | None = kwargs.get("_record")
        self.input_datasets: dict[str, Any] = {}
        self.output_datasets: dict[str, Any] = {}
        if self._fetched is None and not self._is_context:
            self._record = self._fetch()
            if self._record["experiment"] != experiment.name:
                raise ServiceException(
                    f"Run {run_id} is not in experiment {experiment.name!r} but in "
                    f"{self._record['experiment']!r}.",
                    status_code=404,
                )

    # What it stands on

    @property
    def _api(self) -> Api:
        return self._experiment._api

    def _fetch(self) -> RunRecord:
        with translated:
            return self._api.run(self._run_id)

    @property
    def _record(self) -> RunRecord:
        """The run as it was fetched last."""
        if self._fetched is None:
            self._fetched = self._fetch()
        return self._fetched

    @_record.setter
    def _record(self, record: RunRecord) -> None:
        self._fetched = record

    def _own(self, outputs: Any) -> None:
        """This process made the run, so it answers for it: signs of life, and its outputs at the end."""
        self._owned = True
        if outputs:
            self._outputs = os.fspath(outputs)
        if self._record["status"] != "NotStarted":
            from studio_client import heartbeat

            heartbeat.beats.add(self._api, self._run_id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and other._run_id == self._run_id

    def __hash__(self) -> int:
        return hash(self._run_id)

    def _fields(self) -> dict[str, Any]:
        """Of a run that the server does not tell of at once, without type and status."""
        known = {"Experiment": self._experiment.name, "Id": self.id}
        if self._fetched is None:
            with contextlib.suppress(AzureMLException), translated:
                self._fetched = self._api.patient(0).run(self._run_id, timeout_s=_SHOWN_WITHIN_S)
        return known if self._fetched is None else {**known, "Type": self.type, "Status": self.status}

    def _repr_html_(self) -> str:
        self.get_status()
        return super()._repr_html_()

    # Identity and reading

    @property
    def id(self) -> str:
        """Its id."""
        return self._run_id

    @property
    def identity(self) -> str:
        """Its id, after the name of its experiment."""
        return f"{self._experiment.identity}{self.DELIM}{self.id}"

    @property
    def number(self) -> int:
        """Its number in the experiment, from 1."""
        return self._record["number"]

    @property
    def experiment(self) -> Experiment:
        """The experiment that it is in."""
        return self._experiment

    @property
    def parent(self) -> Run | None:
        """The run that it is a child of; None without one."""
        parent_id = self._record["parent_run_id"]
        if not parent_id:
            return None
        parent = Run.get(self._experiment.workspace, parent_id)
        parent._is_above = self._is_context or self._is_above
        return parent

    @property
    def type(self) -> str | None:
        """`azureml.scriptrun` if it was submitted; None if it is interactive."""
        return TYPES.get(self._record["kind"])

    @property
    def status(self) -> str:
        """Its status when it was fetched last."""
        return self._record["status"]

    @property
    def name(self) -> str:
        """Its name; a child has that of its parent before its own."""
        own = self._record["display_name"] or f"run_{self.id}"
        parent = self.parent
        return f"{parent.name}>{own}" if parent else own

    @property
    def display_name(self) -> str | None:
        """The name that people gave it."""
        return self._record["display_name"]

    @display_name.setter
    def display_name(self, value: str) -> None:
        self._change(display_name=value)

    @property
    def description(self) -> str | None:
        """What it is for."""
        return self._record["description"]

    @description.setter
    def description(self, value: str) -> None:
        self._change(description=value)

    def _change(self, **changes: Any) -> None:
        with translated:
            self._record = self._api.change_run(self._run_id, **changes)

    @property
    def tags(self) -> dict[str, str | None]:
        """Its tags when it was fetched last."""
        return dict(self._record["tags"])

    @property
    def properties(self) -> dict[str, str]:
        """Its properties when it was fetched last."""
        return properties_of(self._record)

    def get_status(self) -> str:
        """Its status now."""
        if self._fetched is None or self._fetched["status"] not in TERMINAL:
            self._record = self._fetch()
        return self._record["status"]

    def get_detailed_status(self) -> dict[str, Any]:
        """Its status now, and why it waits if it does."""
        self._record = self._fetch()
        return {"status": self._record["status"], "details": self._record["status_reason"] or None}

    def get_details(self) -> dict[str, Any]:
        """All that is known of it, as a plain dict."""
        self._record = self._fetch()
        addresses = {name: self._api.address_of_log(self.id, name) for name in self._log_names()}
        return details_of(self._record, addresses)

    def get_details_with_logs(self) -> dict[str, Any]:
        """As get_details, with the text of each log in place of its address."""
        details = self.get_details()
        return {
            **details,
            "logFiles": {name: _run_files.log_text(self._api, self.id, name) for name in details["logFiles"]},
        }

    def get_environment(self) -> Environment:
        """The environment that it was submitted with. Raises UserErrorException for a run without one."""
        from azureml.core.environment import Environment

        definition = (self._fetch().get("run_configuration") or {}).get("environment")
        if not isinstance(definition, dict):
            raise UserErrorException(f"Run {self.id} has no run definition, and so no environment.")
        made = Environment(str(definition.get("name") or ""))
        made.fill(definition)
        return made

    @staticmethod
    def get(workspace: Workspace, run_id: str) -> Run:
        """The run of this id, whichever experiment it is in. Raises ServiceException (404)."""
        with translated:
            record = workspace._api.run(run_id)
        if record["workspace"] != workspace.name:
            raise ServiceException(
                f"There is no run {run_id} in workspace {workspace.name!r}.", status_code=404
            )
        return run_from_record(_experiment_of(workspace, record), record)

    @staticmethod
    def list(
        experiment: Experiment,
        type: str | None = None,
        tags: Any = None,
        properties: Any = None,
        status: str | None = None,
        include_children: bool = False,
        _rehydrate_runs: bool = True,
    ) -> Iterator[Run]:
        """A generator of an experiment's runs, the newest first.

        A text asks for a key, a dict for keys with values.
        """
        return experiments.runs_of(experiment, type, tags, properties, status, include_children)

    @staticmethod
    def list_by_compute(
        compute: Any,
        type: str | None = None,
        tags: Any = None,
        properties: Any = None,
        status: str | None = None,
    ) -> Iterator[Run]:
        """A generator of the active runs on a compute target. Raises UserErrorException for a bad filter."""
        wanted = [("target", compute.name), ("include_children", True), ("q", "is:active")]
        wanted += _run_list.filters(tags, properties, type, status)
        if _run_list.fits_nothing(type, properties, status):
            return iter(())
        return _runs_on(compute.workspace, wanted)

    # Life

    def __enter__(self) -> Run:
        _life_of_run.enter(self)
        return self

    def __exit__(
        self,
        exit_type: builtins.type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _life_of_run.leave(self, value)

    def start(self) -> None:
        """Have a run that is NotStarted run."""
        with translated:
            self._record = self._api.act(self.id, "start")  # type: ignore[assignment]
        self._own(None)

    def complete(self, _set_status: bool = True) -> None:
        """End it Completed, once its metrics and outputs are kept. In a submitted script its exit decides."""
        self._end("complete", {}, _set_status)

    def fail(
        self, error_details: Any = None, error_code: str | None = None, _set_status: bool = True
    ) -> None:
        """End it Failed; `error_details` is a text or an exception.

        In a submitted script this records the error.
        """
        self._end("fail", _life_of_run.error_content(error_details, error_code), _set_status)

    def _end(self, act: str, content: dict[str, Any], set_status: bool) -> None:
        _life_of_run.end(self, act, content, set_status=set_status)

    def cancel(self) -> None:
        """Stop it; returns once it is Canceled, or after a bounded time.

        On a finished run an error, and no change.
        """
        _life_of_run.cancel(self)

    def wait_for_completion(
        self, show_output: bool = False, wait_post_processing: bool = False, raise_on_error: bool = True
    ) -> dict[str, Any]:
        """Wait until it has ended; its details then. Raises ActivityFailedException if it failed."""
        from azureml._waiting import wait_for

        return wait_for(self, show_output=show_output, raise_on_error=raise_on_error)

    @classmethod
    def get_context(
        cls, allow_offline: bool = True, used_for_context_manager: bool = False, **kwargs: Any
    ) -> Run:
        """The run that this process belongs to; outside of one, an offline run that prints what it is told.

        Raises RunEnvironmentException outside of one if `allow_offline` is False.
        """
        from azureml._context_run import context_run

        return context_run(allow_offline)

    @classmethod
    def get_submitted_run(cls, **kwargs: Any) -> Run:
        """As get_context, by its older name."""
        return cls.get_context(**kwargs)

    # Tags and properties

    def tag(self, key: str, value: Any = None) -> None:
        """Set or replace a tag."""
        self.set_tags({key: value})

    def set_tags(self, tags: dict[str, Any]) -> None:
        """Set or replace tags."""
        self._put_tags(experiments.texts(tags))

    def _put_tags(self, tags: dict[str, str | None]) -> None:
        with translated:
            self._remember(tags=self._api.set_tags(self.id, tags))

    def get_tags(self) -> dict[str, str | None]:
        """Its tags now."""
        with translated:
            return self._remember(tags=self._api.tags(self.id))["tags"]

    def remove_tags(self, tags: builtins.list[str]) -> None:
        """Take tags away."""
        self._drop_tags([tags] if isinstance(tags, str) else [str(key) for key in tags])

    def _drop_tags(self, keys: builtins.list[str]) -> None:
        with translated:
            self._remember(tags=self._api.remove_tags(self.id, keys))

    def add_properties(self, properties: dict[str, Any]) -> None:
        """Add properties, which never change: UserErrorException, and nothing added, if one has another
        value.
        """
        wanted = experiments.property_texts(properties)
        if wanted:
            self._put_properties(wanted)

    def _put_properties(self, properties: dict[str, str]) -> None:
        with translated:
            self._remember(properties=self._api.add_properties(self.id, properties))

    def get_properties(self) -> dict[str, str]:
        """Its properties now."""
        with translated:
            self._remember(properties=self._api.properties(self.id))
        return properties_of(self._record)

    def _remember(self, **fields: Any) -> dict[str, Any]:
        if self._fetched is not None:
            self._fetched.update(fields)  # type: ignore[typeddict-item]
        return fields

    # What Studio has not

    def get_secret(self, name: str) -> Any:
        """Studio has no key vault."""
        raise unsupported("Run.get_secret")

    def get_secrets(self, secrets: Any) -> Any:
        """Studio has no key vault."""
        raise unsupported("Run.get_secrets")

    def clean(self) -> None:
        """Nothing has to be removed: the node does that."""

    @staticmethod
    def add_type_provider(runtype: str, run_factory: Any) -> None:
        """Have runs of a type come back as what a factory makes of (experiment, run record)."""
        _FACTORIES[runtype] = run_factory


_FACTORIES: dict[str, Any] = {}


def _runs_on(workspace: Workspace, wanted: list[tuple[str, Any]]) -> Iterator[Run]:
    with translated:
        for record in workspace._api.runs(workspace.name, wanted):
            yield run_from_record(_experiment_of(workspace, record), record)


def run_from_record(experiment: Experiment, record: RunRecord) -> Run:
    """The run of a record; one that was submitted is a ScriptRun."""
    if record["experiment"] != experiment.name:
        experiment = _experiment_of(experiment.workspace, record)
    factory = _FACTORIES.get(TYPES.get(record["kind"], ""))
    if factory is not None:
        made: Run = factory(experiment, record)
        return made
    if record["kind"] in SUBMITTED:
        from azureml.core.script_run import ScriptRun

        return ScriptRun(experiment, record["run_id"], _record=record)
    return Run(experiment, record["run_id"], _record=record)


def _experiment_of(workspace: Workspace, record: RunRecord) -> Experiment:
    return experiments.Experiment(
        workspace, record["experiment"], _skip_name_validation=True, _create_in_cloud=False
    )


def get_run(experiment: Experiment, run_id: str, rehydrate: bool = True, clean_up: bool = True) -> Run:
    """A run of an experiment by its id. Raises ServiceException (404)."""
    found = Run.get(experiment.workspace, run_id)
    if found.experiment.name != experiment.name:
        raise ServiceException(
            f"There is no run {run_id} in experiment {experiment.name!r}.", status_code=404
        )
    return found


__all__ = ["Run", "get_run"]
