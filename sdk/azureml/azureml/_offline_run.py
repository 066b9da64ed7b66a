"""A run without a server: what a script that runs on a laptop gets from `Run.get_context()`.

It prints what it is told and keeps it in memory, so that whatever a script asks of its run has an answer.
"""

from __future__ import annotations

import builtins
import os
import shutil
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from types import TracebackType
from typing import TYPE_CHECKING, Any

from azureml import _life_of_run, _metric_shapes, _run_files, _run_list, _values
from azureml._life_of_run import say
from azureml._run_list import RunList
from azureml._run_tree import children_labels
from azureml.core.experiment import Experiment, texts
from azureml.core.run import TERMINAL, Run
from azureml.core.script_run_config import ScriptRunConfig
from azureml.exceptions import AzureMLException, SnapshotException, UserErrorException

if TYPE_CHECKING:
    from azureml.core.environment import Environment
    from azureml.core.workspace import Workspace


class OfflineExperiment(Experiment):
    """The experiment of offline runs: it has a name, and no server."""

    def __init__(self) -> None:
        super().__init__(None, "offline", _create_in_cloud=False)  # type: ignore[arg-type]

    @property
    def workspace(self) -> Workspace:
        """The workspace that the folder's configuration names, as scripts fetch it when they are offline."""
        from azureml.core.workspace import Workspace

        return Workspace.from_config()

    def __repr__(self) -> str:
        return "Experiment(Name: offline,\nWorkspace: none)"

    _repr_html_ = None  # type: ignore[assignment]


class OfflineRun(Run):
    """All that a run can be asked, answered from memory."""

    def __init__(
        self, run_id: str | None = None, parent: OfflineRun | None = None, status: str = "Running"
    ) -> None:
        self._parent_run = parent
        self._children_runs: list[OfflineRun] = []
        self._series: list[dict[str, Any]] = []
        self._files: dict[str, str] = {}
        self._status = status
        self._error: dict[str, Any] | None = None
        self._tags: dict[str, str | None] = {}
        self._properties: dict[str, str] = {}
        self._display_name: str | None = None
        self._description: str | None = None
        self._started = _now()
        self._ended: str | None = None
        if parent is not None:
            parent._children_runs.append(self)
        super().__init__(OfflineExperiment(), run_id or f"OfflineRun_{uuid.uuid4()}", _offline=True)

    def __repr__(self) -> str:
        return f"Run(Experiment: offline,\nId: {self.id},\nType: {self.type},\nStatus: {self.status})"

    _repr_html_ = None  # type: ignore[assignment]

    # Identity and reading

    @property
    def identity(self) -> str:
        """Its id."""
        return self.id

    @property
    def number(self) -> int:
        """Always 1, or the place among its siblings."""
        return self._parent_run._children_runs.index(self) + 1 if self._parent_run else 1

    @property
    def parent(self) -> Run | None:
        """The run that it is a child of; None without one."""
        return self._parent_run

    @property
    def type(self) -> str | None:
        """Always None."""
        return None

    @property
    def status(self) -> str:
        """Its status."""
        return self._status

    @property
    def name(self) -> str:
        """Its name."""
        return f"run_{self.id}"

    @property
    def display_name(self) -> str | None:
        """The name that was given to it."""
        return self._display_name

    @display_name.setter
    def display_name(self, value: str) -> None:
        self._display_name = value

    @property
    def description(self) -> str | None:
        """What it is for."""
        return self._description

    @description.setter
    def description(self, value: str) -> None:
        self._description = value

    @property
    def tags(self) -> dict[str, str | None]:
        """Its tags."""
        return dict(self._tags)

    @property
    def properties(self) -> dict[str, str]:
        """Its properties."""
        return dict(self._properties)

    @property
    def portal_url(self) -> str:
        """Empty: there is no server."""
        return ""

    def get_portal_url(self) -> str:
        """Empty: there is no page."""
        return ""

    def get_status(self) -> str:
        """Its status."""
        return self._status

    def get_detailed_status(self) -> dict[str, Any]:
        """Its status."""
        return {"status": self._status, "details": None}

    def get_details(self) -> dict[str, Any]:
        """All that is known of it."""
        details: dict[str, Any] = {
            "runId": self.id,
            "target": "local",
            "status": self._status,
            "startTimeUtc": self._started,
            "endTimeUtc": self._ended,
            "services": {},
            "error": self._error,
            "properties": self.properties,
            "inputDatasets": [],
            "outputDatasets": [],
            "logFiles": {},
        }
        return {key: value for key, value in details.items() if value is not None}

    def get_details_with_logs(self) -> dict[str, Any]:
        """All that is known of it; there are no logs."""
        return self.get_details()

    def get_environment(self) -> Environment:
        """Raises UserErrorException: it was not submitted."""
        raise UserErrorException("An offline run has no run definition, and so no environment.")

    # Life

    def __enter__(self) -> Run:
        say(f"[START] Run {self.id} context")
        return self

    def __exit__(
        self,
        exit_type: builtins.type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ended_well = value is None or (isinstance(value, SystemExit) and value.code in (None, 0))
        if self._status not in TERMINAL:
            self._end("Completed" if ended_well else "Failed")
        say(f"[STOP] Run {self.id} context")

    def _end(self, status: str) -> None:
        if self._status not in TERMINAL:
            self._status, self._ended = status, _now()
        elif self._status != status:
            raise UserErrorException(f"Run {self.id} has ended {self._status}; it cannot become {status}.")

    def start(self) -> None:
        """Have a run that is NotStarted run."""
        if self._status == "NotStarted":
            self._status = "Running"

    def complete(self, _set_status: bool = True) -> None:
        """End it Completed."""
        self._end("Completed")

    def fail(
        self, error_details: Any = None, error_code: str | None = None, _set_status: bool = True
    ) -> None:
        """End it Failed, and print why."""
        content = _life_of_run.error_content(error_details, error_code)
        say(f"Run failed with error code {content['code']}:\n{content.get('message', '')}")
        self._error = {
            "error": {"code": content["code"], "message": content.get("message", ""), "details": []}
        }
        self._end("Failed")

    def cancel(self) -> None:
        """End it Canceled."""
        self._end("Canceled")

    def flush(self, timeout_seconds: float = 300) -> None:
        """Nothing waits."""
        say("Attempted to flush metrics")

    def wait_for_completion(
        self, show_output: bool = False, wait_post_processing: bool = False, raise_on_error: bool = True
    ) -> dict[str, Any]:
        """Its details, at once: nothing goes on elsewhere."""
        return self.get_details()

    # Tags and properties

    def set_tags(self, tags: dict[str, Any]) -> None:
        """Set or replace tags."""
        say(f"Attempted to set tags:\n{tags}")
        self._tags.update(texts(tags))

    def tag(self, key: str, value: Any = None) -> None:
        """Set or replace a tag."""
        say(f"Attempted to tag {key}:\n{value}")
        self._tags.update(texts({key: value}))

    def get_tags(self) -> dict[str, str | None]:
        """Its tags."""
        return self.tags

    def remove_tags(self, tags: builtins.list[str]) -> None:
        """Take tags away."""
        for key in [tags] if isinstance(tags, str) else tags:
            self._tags.pop(key, None)

    def add_properties(self, properties: dict[str, Any]) -> None:
        """Add properties, which never change."""
        say(f"Attempted to add properties:\n{properties}")
        wanted = {key: str(value) for key, value in texts(properties).items()}
        for key, value in wanted.items():
            if self._properties.get(key, value) != value:
                raise UserErrorException(
                    f"The property {key!r} has the value {self._properties[key]!r} and cannot become "
                    f"{value!r}."
                )
        self._properties.update(wanted)

    def get_properties(self) -> dict[str, str]:
        """Its properties."""
        return self.properties

    # Children

    def child_run(
        self, name: str | None = None, run_id: str | None = None, outputs: str | None = None
    ) -> Run:
        """A new offline child."""
        return OfflineRun(run_id or f"{self.id}.{name or uuid.uuid4()}", self)

    def create_children(
        self,
        count: int | None = None,
        tag_key: str | None = None,
        tag_values: builtins.list[Any] | None = None,
    ) -> builtins.list[Run]:
        """Offline children."""
        children = []
        for labels in children_labels(count, tag_key, tag_values):
            child = OfflineRun(f"{self.id}.{uuid.uuid4()}", self, "NotStarted")
            child._tags.update(labels)
            children.append(child)
        return children  # type: ignore[return-value]

    def submit_child(self, config: Any, tags: dict[str, Any] | None = None, **kwargs: Any) -> Run:
        """Say what would be submitted; an offline child that is Completed."""
        if not isinstance(config, ScriptRunConfig):
            raise AzureMLException(
                f"A {type(config).__name__} cannot be submitted; submit a ScriptRunConfig."
            )
        folder, content = config.to_submit()
        words = [str(content.get("script") or ""), *content.get("arguments", content.get("command", []))]
        say(
            f"Attempted to submit child run on target {content['target']}:\n{' '.join(words).strip()} (in "
            f"{folder})"
        )
        child = OfflineRun(f"{self.id}.{uuid.uuid4()}", self)
        child._tags.update(texts(tags or {}))
        child._end("Completed")
        return child

    def get_children(
        self,
        recursive: bool = False,
        tags: Any = None,
        properties: Any = None,
        type: str | None = None,
        status: str | None = None,
        _rehydrate_runs: bool = True,
    ) -> RunList:
        """Its children, the newest first; recursive: all that descend from it."""
        _run_list.filters(tags, properties, type, status)

        def fitting() -> Iterator[Run]:
            for child in self._descendants() if recursive else reversed(self._children_runs):
                record: Any = {"tags": child._tags, "properties": child._properties}
                if (
                    type is None
                    and status in (None, child._status)
                    and _run_list.passes(record, tags, properties)
                ):
                    yield child

        return RunList(fitting)

    def _descendants(self) -> Iterator[OfflineRun]:
        for child in reversed(self._children_runs):
            yield child
            yield from child._descendants()

    # Metrics

    def _told(self, name: str, kind: str, shown: Any, columns: Any) -> None:
        say(f"Attempted to log {kind} metric {name}:\n{shown}")
        parts = [{"name": column, "type": "json", "data": values} for column, values in columns.items()]
        self._series.append({"name": _values.name_of(name), "kind": kind, "columns": parts})

    def log(self, name: str, value: Any, description: str = "", step: int | None = None) -> None:
        """Print a value and remember it."""
        _values.step_of(step)
        self._told(name, "scalar", value, {"": [_values.scalar(value, name)]})

    def log_list(self, name: str, value: Any, description: str = "") -> None:
        """Print a list and remember it."""
        columns = _values.list_column(name, value)
        self._told(name, "list", columns[""], columns)

    def log_row(self, name: str, description: str | None = None, **kwargs: Any) -> None:
        """Print a row and remember it."""
        self._told(name, "row", kwargs, _values.row_columns(name, kwargs))

    def log_table(self, name: str, value: dict[str, Any], description: str = "") -> None:
        """Print a table and remember it."""
        self._told(name, "table", value, _values.table_columns(name, value))

    def log_image(self, name: str, path: str | None = None, plot: Any = None, description: str = "") -> None:
        """Print which image, and remember that there was one."""
        if (path is None) == (plot is None):
            raise AzureMLException(f"log_image takes a path or a plot for {name!r}, exactly one of them.")
        if path is not None:
            _run_files.check_image(path)
        stored = os.path.basename(path) if path is not None else f"{name}.png"
        self._told(name, "image", path or plot, {"": [{"path": stored}]})

    def _log_document(self, kind: str, name: str, value: Any, description: str) -> None:
        self._told(name, kind, value, {"": [_values.document(name, value, kind)]})

    def get_metrics(
        self,
        name: str | None = None,
        recursive: bool = False,
        run_type: str | None = None,
        populate: bool = False,
    ) -> dict[str, Any]:
        """What was logged, in the shapes that the server would give."""
        series = [part for part in self._series if name is None or part["name"] == name]
        own = _metric_shapes.metrics_of(self.id, series)
        if not recursive:
            return own
        of_all = {self.id: own, **{run.id: run.get_metrics(name) for run in self._descendants()}}
        return {run_id: metrics for run_id, metrics in of_all.items() if metrics}

    # Files

    def upload_file(self, name: str, path_or_stream: Any, datastore_name: str | None = None) -> Any:
        """Say what would be uploaded."""
        if isinstance(path_or_stream, (str, os.PathLike)) and not os.path.isfile(path_or_stream):
            raise FileNotFoundError(f"There is no file {os.fspath(path_or_stream)}.")
        say(f"Attempted to upload file {name}:\n{path_or_stream}")
        self._files[_run_files.clean_name(name)] = str(path_or_stream)

    def upload_files(
        self,
        names: Any,
        paths: Any,
        return_artifacts: bool = False,
        timeout_seconds: float | None = None,
        datastore_name: str | None = None,
    ) -> Any:
        """Say what would be uploaded."""
        if len(names) != len(paths):
            raise TypeError(f"There are {len(names)} names and {len(paths)} paths; each file needs both.")
        for name, path in zip(names, paths):
            self.upload_file(name, path)

    def upload_folder(self, name: str, path: str, datastore_name: str | None = None) -> Any:
        """Say what would be uploaded."""
        if not os.path.isdir(path):
            raise UserErrorException(f"There is no folder {path}.")
        for below, place in _run_files.files_below(name, path):
            self.upload_file(below, place)

    def get_file_names(self) -> builtins.list[str]:
        """The names of what would have been uploaded."""
        return sorted(self._files)

    def download_file(
        self, name: str, output_file_path: str | None = None, _validate_checksum: bool = False
    ) -> None:
        """Copy a file that would have been uploaded, from where it is."""
        if not os.path.isfile(self._files.get(name, "")):
            raise UserErrorException(
                f"File with path {name} was not found, available files include: "
                f"{', '.join(self._files) or 'none'}."
            )
        target = output_file_path or os.path.basename(name)
        if os.path.abspath(target) != os.path.abspath(self._files[name]):
            os.makedirs(os.path.dirname(os.path.abspath(target)), exist_ok=True)
            shutil.copyfile(self._files[name], target)

    def download_files(
        self,
        prefix: str | None = None,
        output_directory: str | None = None,
        output_paths: Any = None,
        batch_size: int = 100,
        append_prefix: bool = True,
        timeout_seconds: float | None = None,
    ) -> None:
        """Copy files that would have been uploaded, from where they are."""
        for name in self.get_file_names():
            if name.startswith(prefix or ""):
                self.download_file(name, os.path.join(output_directory or ".", name))

    def get_all_logs(self, destination: str | None = None) -> builtins.list[str]:
        """None: what it prints is on the screen."""
        return []

    def restore_snapshot(self, snapshot_id: str | None = None, path: str | None = None) -> str:
        """Raises SnapshotException: it has none."""
        raise SnapshotException("An offline run has no snapshot.")

    def get_snapshot_id(self) -> str | None:
        """None: it has none."""
        return None

    def take_snapshot(self, file_or_folder_path: str) -> str:
        """Say what would be frozen."""
        say(f"Attempted to take a snapshot:\n{file_or_folder_path}")
        return ""


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
