"""What is kept with a run: the part of `Run` about its files, logs and snapshot."""

from __future__ import annotations

import builtins
import os
from typing import TYPE_CHECKING, Any

from azureml import _run_files
from azureml._translate import translated
from azureml._unsupported import unsupported
from azureml.exceptions import ModelPathNotFoundException, SnapshotException, UserErrorException

if TYPE_CHECKING:
    from studio_client.api import Api
    from studio_client.records import RunRecord
    from studio_client.sender import MetricSender

    from azureml.core.experiment import Experiment


class KeepingRun:
    """Files of a run. Logs count as files; a name can be used once."""

    if TYPE_CHECKING:
        _experiment: Experiment
        _record: RunRecord

        @property
        def _api(self) -> Api: ...

        @property
        def _sender(self) -> MetricSender: ...

        @property
        def id(self) -> str: ...

        def _fetch(self) -> RunRecord: ...

    def upload_file(self, name: str, path_or_stream: Any, datastore_name: str | None = None) -> Any:
        """Keep a file with the run, from its path or a binary stream; the name that it has there."""
        _refuse_datastore(datastore_name)
        return self._keep_file(name, path_or_stream)

    def _keep_file(self, name: str, source: Any) -> str:
        return _run_files.upload(self._api, self.id, name, source)

    def upload_files(
        self,
        names: builtins.list[str],
        paths: builtins.list[str],
        return_artifacts: bool = False,
        timeout_seconds: float | None = None,
        datastore_name: str | None = None,
    ) -> Any:
        """Keep several files with the run; their names there.

        Raises TypeError unless there is a path for each name.
        """
        _refuse_datastore(datastore_name)
        if len(names) != len(paths):
            raise TypeError(f"There are {len(names)} names and {len(paths)} paths; each file needs both.")
        return _run_files.upload_all(zip(names, paths), self._keep_file)

    def upload_folder(self, name: str, path: str, datastore_name: str | None = None) -> Any:
        """Keep all files of a folder, below this name. Raises UserErrorException for what is no folder."""
        _refuse_datastore(datastore_name)
        if not os.path.isdir(path):
            raise UserErrorException(f"There is no folder {os.fspath(path)}.")
        return _run_files.upload_all(_run_files.files_below(name, path), self._keep_file)

    def get_file_names(self) -> builtins.list[str]:
        """The names of all files kept with it, logs too."""
        self._send_images()
        return _run_files.file_names(self._api, self.id)

    def download_file(
        self, name: str, output_file_path: str | None = None, _validate_checksum: bool = False
    ) -> None:
        """Write one of its files here, or to this path or into this folder."""
        self._write_file(name, _run_files.place_for(name, output_file_path))

    def _send_images(self) -> None:
        """Have those that this process has logged among the files."""
        if self._sender.waiting():
            self._sender.flush(self._api.transport.patience_s)

    def _write_file(self, name: str, place: str) -> None:
        self._send_images()
        _run_files.download(self._api, self.id, name, place)

    def download_files(
        self,
        prefix: str | None = None,
        output_directory: str | None = None,
        output_paths: Any = None,
        batch_size: int = 100,
        append_prefix: bool = True,
        timeout_seconds: float | None = None,
    ) -> None:
        """Write all of its files whose names begin so; append_prefix=False leaves that beginning out."""
        kept, folder = self.get_file_names(), output_directory or "."
        _run_files.download_all(kept, self._write_file, prefix, folder, output_paths, append_prefix)

    def get_all_logs(self, destination: str | None = None) -> builtins.list[str]:
        """Write all of its logs below a folder, `./assets/<run id>` unless said; their paths."""
        folder = destination or os.path.join("assets", self.id)
        if os.path.isfile(folder):
            raise UserErrorException(f"{folder} is a file; logs go into a folder.")
        return [
            _run_files.download_log(self._api, self.id, name, os.path.join(folder, name))
            for name in self._log_names()
        ]

    def _log_names(self) -> builtins.list[str]:
        with translated:
            return [log["name"] for log in self._api.logs(self.id)]

    def restore_snapshot(self, snapshot_id: str | None = None, path: str | None = None) -> str:
        """Write its snapshot as a zip into a folder, a temporary one unless said; the path of the zip."""
        own = self.get_snapshot_id()
        if not own:
            raise SnapshotException(f"Run {self.id} has no snapshot.")
        if snapshot_id not in (None, own):
            raise UserErrorException(f"Run {self.id} has the snapshot {own}, not {snapshot_id}.")
        import tempfile

        folder = os.path.abspath(path) if path else tempfile.mkdtemp(prefix="snapshot-")
        return _run_files.download_snapshot(self._api, self.id, os.path.join(folder, f"{own}.zip"))

    def get_snapshot_id(self) -> str | None:
        """The id of its snapshot; None without one."""
        return self._record["snapshot"] or self._fetch()["snapshot"]

    def take_snapshot(self, file_or_folder_path: str) -> str:
        """Freeze a folder for a run that has no snapshot yet; the id.

        Raises SnapshotException if it has one.
        """
        from studio_client import errors, snapshots

        if self.get_snapshot_id():
            raise SnapshotException(f"Run {self.id} has a snapshot already, and a run has one at most.")
        with translated:
            digest = snapshots.take(self._api, self._experiment.workspace.name, file_or_folder_path)
            try:
                self._record = self._api.change_run(self.id, snapshot=digest)
            except errors.Conflict as error:
                raise SnapshotException(str(error), error) from None
        return digest

    def register_model(
        self,
        model_name: str,
        model_path: str | None = None,
        tags: Any = None,
        properties: Any = None,
        model_framework: Any = None,
        model_framework_version: Any = None,
        description: str | None = None,
        datasets: Any = None,
        sample_input_dataset: Any = None,
        sample_output_dataset: Any = None,
        resource_configuration: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Studio has no model registry. Raises ModelPathNotFoundException first if the run lacks the file."""
        if model_path is not None:
            names = self.get_file_names()
            folder = model_path.rstrip("/") + "/"
            if not any(name == model_path or name.startswith(folder) for name in names):
                raise ModelPathNotFoundException(
                    f"Could not locate the provided model_path {model_path} in the set of files uploaded to "
                    "the run: "
                    f"{', '.join(names) or 'none'}"
                )
        raise unsupported("Run.register_model")


def _refuse_datastore(datastore_name: str | None) -> None:
    if datastore_name is not None:
        raise unsupported("datastore_name")
