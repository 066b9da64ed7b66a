"""A run without a server: what a script that runs on a laptop gets from `Run.get_context()`.

It prints what it is told and keeps it in memory, so that whatever a script asks of its run has an answer.
"""

from __future__ import annotations

import atexit
import builtins
import os
import shutil
from collections.abc import Iterator
from datetime import datetime, timezone
from types import TracebackType
from typing import TYPE_CHECKING, Any

from studio_client.records import TERMINAL, RunRecord

from azureml import _run_files, _run_list, _values
from azureml._life_of_run import error_content, say
from azureml._waiting import tell_failure
from azureml.core.experiment import Experiment, new_uuid
from azureml.core.run import Run
from azureml.exceptions import UserErrorException

if TYPE_CHECKING:
    from azureml.core.workspace import Workspace

_ENDED = {"complete": "Completed", "cancel": "Canceled"}


class OfflineExperiment(Experiment):
    """The experiment of offline runs: it has a name, and no server."""

    _repr_html_ = None  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__(None, "offline", _create_in_cloud=False)  # type: ignore[arg-type]

    @property
    def workspace(self) -> Workspace:
        """The workspace that the folder's configuration names, as scripts fetch it when they are offline."""
        from azureml.core.workspace import Workspace

        return Workspace.from_config()

    def _fields(self) -> dict[str, Any]:
        return {"Name": self.name, "Workspace": "none"}


class OfflineRun(Run):
    """All that a run can be asked, answered from memory.

    What there is to know of it stands in `_record`, as if a server had sent it. Most methods that scripts
    call are those of `Run`; here is what they stand on, and those that print what they are told.
    """

    _repr_html_ = None  # type: ignore[assignment]

    def __init__(
        self,
        run_id: str | None = None,
        parent: OfflineRun | None = None,
        status: str = "Running",
        name: str | None = None,
    ) -> None:
        self._parent_run = parent
        self._children_runs: list[OfflineRun] = []
        self._entries: list[dict[str, Any]] = []
        self._files: dict[str, str] = {}
        number = 1
        if parent is not None:
            parent._children_runs.append(self)
            number = len(parent._children_runs)
        record = _record_of(run_id or f"OfflineRun_{new_uuid()}", number, status, name)
        super().__init__(OfflineExperiment(), record["run_id"], _record=record)

    def _fetch(self) -> RunRecord:
        return self._record

    def _change(self, **changes: Any) -> None:
        self._record.update(changes)  # type: ignore[typeddict-item]

    @property
    def identity(self) -> str:
        """Its id."""
        return self.id

    @property
    def parent(self) -> Run | None:
        """The run that it is a child of; None without one."""
        return self._parent_run

    @property
    def portal_url(self) -> str:
        """Empty: there is no server."""
        return ""

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
        if value is None or (isinstance(value, SystemExit) and value.code in (None, 0)):
            self._become("Completed")
        elif isinstance(value, KeyboardInterrupt):
            self._become("Canceled")
        else:
            self._become("Failed", error=error_content(value, None))
        say(f"[STOP] Run {self.id} context")

    def _own(self, outputs: Any) -> None:
        """Nobody waits for signs of life, and outputs stay where they are."""

    def start(self) -> None:
        """Have a run that is NotStarted run."""
        if self.status == "NotStarted":
            self._change(status="Running")

    def _end(self, act: str, content: dict[str, Any], set_status: bool) -> None:
        if act == "fail":
            error = {"message": "", "traceback": "", **content}
            say(f"Run failed with error code {error['code']}:\n{error['message']}")
            self._become("Failed", error=error)
        else:
            self._become(_ENDED[act])

    def _become(self, status: str, **changes: Any) -> None:
        """The first end stays, and another one is no error: a script goes on without a server."""
        if self.status not in TERMINAL:
            self._change(status=status, ended_at=_now(), **changes)

    def cancel(self) -> None:
        """End it Canceled."""
        self._end("cancel", {}, True)

    def wait_for_completion(
        self, show_output: bool = False, wait_post_processing: bool = False, raise_on_error: bool = True
    ) -> dict[str, Any]:
        """Its details, at once: nothing goes on elsewhere. Raises ActivityFailedException if it failed."""
        details = self.get_details()
        tell_failure(details, show_output=show_output, raise_on_error=raise_on_error)
        return details

    # Tags and properties

    def tag(self, key: str, value: Any = None) -> None:
        """Print a tag and set it."""
        say(f"Attempted to tag {key}:\n{value}")
        super().set_tags({key: value})

    def set_tags(self, tags: dict[str, Any]) -> None:
        """Print tags and set them."""
        say(f"Attempted to set tags:\n{tags}")
        super().set_tags(tags)

    def _put_tags(self, tags: dict[str, str | None]) -> None:
        self._record["tags"].update(tags)

    def get_tags(self) -> dict[str, str | None]:
        """Its tags."""
        return self.tags

    def _drop_tags(self, keys: builtins.list[str]) -> None:
        for key in keys:
            self._record["tags"].pop(key, None)

    def add_properties(self, properties: dict[str, Any]) -> None:
        """Print properties and add them."""
        say(f"Attempted to add properties:\n{properties}")
        super().add_properties(properties)

    def _put_properties(self, properties: dict[str, str]) -> None:
        own = self._record["properties"]
        for key, value in properties.items():
            if own.get(key, value) != value:
                raise UserErrorException(
                    f"The property {key!r} has the value {own[key]!r} and cannot become {value!r}."
                )
        own.update(properties)

    def get_properties(self) -> dict[str, str]:
        """Its properties."""
        return self.properties

    # Children

    def _make_child(self, name: str | None, run_id: str | None) -> OfflineRun:
        return OfflineRun(run_id or f"{self.id}.{name or new_uuid()}", self, name=name)

    def _make_children(self, labels: builtins.list[dict[str, str | None]]) -> builtins.list[Run]:
        children: builtins.list[Run] = []
        for tags in labels:
            child = OfflineRun(f"{self.id}.{new_uuid()}", self, "NotStarted")
            child._put_tags(tags)
            children.append(child)
        return children

    def _hand_in(self, folder: str, content: dict[str, Any]) -> Run:
        words = [str(content.get("script") or ""), *content.get("arguments", content.get("command", []))]
        said = f"Attempted to submit child run on target {content['target']}:\n{' '.join(words).strip()}"
        say(f"{said} (in {folder})")
        child = self._make_child(None, None)
        child._put_tags(content["tags"] or {})
        child._become("Completed")
        return child

    def _children(
        self, recursive: bool, asked: builtins.list[tuple[str, Any]], tags: Any, properties: Any
    ) -> Iterator[Run]:
        exact = {key: value for key, value in asked if key in ("kind", "status")}
        for child in self._descendants() if recursive else reversed(self._children_runs):
            record: Any = child._record
            if all(record[key] == value for key, value in exact.items()) and _run_list.passes(
                record, tags, properties
            ):
                yield child

    def _descendants(self) -> Iterator[OfflineRun]:
        for child in reversed(self._children_runs):
            yield child
            yield from child._descendants()

    # Metrics

    def log(self, name: str, value: Any, description: str = "", step: int | None = None) -> None:
        """Print a value and remember it."""
        # That of Run shares nothing with the other kinds: it is called in loops, and takes the shortest way.
        _values.step_of(step)
        self._log(name, "scalar", {"": [_values.scalar(value, name)]}, description, value)

    def _log(self, name: str, kind: str, columns: Any, description: Any, given: Any) -> None:
        name = _values.name_of(name)
        say(f"Attempted to log {kind} metric {name}:\n{given}")
        parts = [{"name": column, "type": "json", "data": values} for column, values in columns.items()]
        self._entries.append({"name": name, "kind": kind, "columns": parts})

    def _log_image(self, name: str, path: str | None, plot: Any, description: str) -> None:
        if path is None:
            stem, ending, path = _run_files.stem_of_plot(name), ".png", _drawn(plot)
        else:
            stem, ending = os.path.splitext(os.path.basename(path))
        stored, number = f"{stem}{ending}", 1
        while self._files.get(stored, str(path)) != str(path):
            number += 1
            stored = f"{stem}_{number}{ending}"
        self._log(name, "image", {"": [{"path": stored}]}, description, plot if plot is not None else path)
        self._files[stored] = str(path)

    def _series(self, name: str | None, recursive: bool) -> dict[str, builtins.list[dict[str, Any]]]:
        return {
            run.id: [entry for entry in run._entries if name is None or entry["name"] == name]
            for run in (self, *(self._descendants() if recursive else ()))
        }

    def flush(self, timeout_seconds: float = 300) -> None:
        """Nothing waits."""
        say("Attempted to flush metrics")

    # Files

    def _keep_file(self, name: str, source: Any) -> str:
        kept = _run_files.clean_name(name)
        _run_files.check_source(source)
        say(f"Attempted to upload file {name}:\n{source}")
        self._files[kept] = str(source)
        return kept

    def get_file_names(self) -> builtins.list[str]:
        """The names of what would have been uploaded."""
        return sorted(self._files)

    def _write_file(self, name: str, place: str) -> None:
        """Copy what would have been uploaded, from where it is."""
        source = self._files.get(name, "")
        if not os.path.isfile(source):
            raise _run_files.not_found(name, self.get_file_names())
        if os.path.abspath(place) != os.path.abspath(source):
            os.makedirs(os.path.dirname(os.path.abspath(place)), exist_ok=True)
            shutil.copyfile(source, place)

    def _log_names(self) -> builtins.list[str]:
        return []

    def take_snapshot(self, file_or_folder_path: str) -> str:
        """Say what would be frozen."""
        say(f"Attempted to take a snapshot:\n{file_or_folder_path}")
        return ""


def _drawn(plot: Any) -> str:
    """The path of a file with this figure, which goes with the process that drew it."""
    import tempfile  # rarely needed

    handle, path = tempfile.mkstemp(prefix="studio-offline-", suffix=".png")
    os.close(handle)
    atexit.register(_remove, path, os.getpid())
    plot.savefig(path, format="png")
    return path


def _remove(path: str, maker: int) -> None:
    if os.getpid() == maker and os.path.exists(path):
        os.unlink(path)


def _record_of(run_id: str, number: int, status: str, name: str | None) -> RunRecord:
    """What a server would say of a new run; what only a server knows is None."""
    record: Any = dict.fromkeys(RunRecord.__annotations__)
    record.update(run_id=run_id, number=number, kind="interactive", status=status, display_name=name)
    record.update(workspace="", experiment="offline", started_at=_now(), tags={}, properties={}, url="")
    return record


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
