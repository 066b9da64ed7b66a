"""What a run logs: the part of `Run` that takes metrics and gives them back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azureml import _metric_shapes, _run_files, _values
from azureml._translate import translated
from azureml.exceptions import UserErrorException

if TYPE_CHECKING:
    from studio_client.api import Api
    from studio_client.spool import MetricSender


class LoggingRun:
    """Metrics of a run. Logging never fails for want of a server, and returns at once."""

    #: Whether a submitted script has it as a run above its own.
    _is_above = False

    if TYPE_CHECKING:

        @property
        def _api(self) -> Api: ...

        @property
        def id(self) -> str: ...

        def _ids_of_type(self, run_type: str) -> set[str]: ...

    @property
    def _sender(self) -> MetricSender:
        sender: MetricSender | None = self.__dict__.get("_metric_sender")
        if sender is None:
            from studio_client.spool import sender_for

            sender = self.__dict__["_metric_sender"] = sender_for(self._api, self.id)
            self._learn_root(sender)
        return sender

    def _learn_root(self, sender: MetricSender) -> None:
        """Nothing is asked for it."""
        record = self.__dict__.get("_fetched")
        if record is not None:
            sender.root_run_id = record.get("root_run_id") or ""

    def _log(self, name: str, kind: str, columns: Any, description: Any, given: Any) -> None:
        """Keep one entry of a metric. An offline run prints what was given, as it was given."""
        self._sender.log(_values.name_of(name), kind, columns, None, description or "")

    def _log_image(self, name: str, path: str | None, plot: Any, description: str) -> None:
        if self._is_above and self._api.transport.login.run_id:
            raise UserErrorException(
                "A submitted script logs metrics to the runs above its own, and no files: "
                f"the image {name!r} can be logged to Run.get_context() itself."
            )
        _run_files.log_image(self._sender, _values.name_of(name), path, plot, description)

    def _flush_below(self) -> None:
        """Send what this process has logged to this run and to those that may be below it."""
        from studio_client.spool import pump

        self._learn_root(self._sender)
        pump.flush_below(self._sender)

    def _series(self, name: str | None, recursive: bool) -> dict[str, list[dict[str, Any]]]:
        """What was logged, by run id."""
        if recursive:
            self._flush_below()
        else:
            self._sender.flush()
        with translated:
            return self._api.metric_values(self.id, name=name, recursive=recursive)

    def log(self, name: str, value: Any, description: str = "", step: int | None = None) -> None:
        """Log a value; the same name again makes a series. Returns at once."""
        if type(value) is not float:
            value = _values.scalar(value, name)
        if type(name) is not str or not 0 < len(name) <= _values.NAME_LENGTH:
            name = _values.name_of(name)
        self._sender.add(name, value, None if step is None else _values.step_of(step), description or "")

    def log_list(self, name: str, value: Any, description: str = "") -> None:
        """Log several values at once, from a list or anything that can be gone through."""
        columns = _values.list_column(name, value)
        self._log(name, "list", columns, description, columns[""])

    def log_row(self, name: str, description: str | None = None, **kwargs: Any) -> None:
        """Log a row, a keyword for each column; the same name again adds a row."""
        self._log(name, "row", _values.row_columns(name, kwargs), description, kwargs)

    def log_table(self, name: str, value: dict[str, Any], description: str = "") -> None:
        """Log a table: a dict of columns, which are equally long lists."""
        self._log(name, "table", _values.table_columns(name, value), description, value)

    def log_image(self, name: str, path: str | None = None, plot: Any = None, description: str = "") -> None:
        """Log an image, from a file (PNG, JPEG, GIF, WebP, BMP or TIFF) or from matplotlib; one of them.

        A copy waits on this machine when this returns, and is sent with the metrics. Among the run's files a
        figure is `<name>_<unix seconds>.png`, and a file keeps its name unless another one has it already.
        """
        _run_files.check_image(name, path, plot)
        self._log_image(name, path, plot, description or "")

    def _log_document(self, kind: str, name: str, value: Any, description: str) -> None:
        self._log(name, kind, {"": [_values.document(name, value, kind)]}, description, value)

    def log_confusion_matrix(self, name: str, value: Any, description: str = "") -> None:
        """Log a confusion matrix, as the documented dict or its JSON text."""
        self._log_document("confusion_matrix", name, value, description)

    def log_accuracy_table(self, name: str, value: Any, description: str = "") -> None:
        """Log an accuracy table, as the documented dict or its JSON text."""
        self._log_document("accuracy_table", name, value, description)

    def log_residuals(self, name: str, value: Any, description: str = "") -> None:
        """Log residuals, as the documented dict or its JSON text."""
        self._log_document("residuals", name, value, description)

    def log_predictions(self, name: str, value: Any, description: str = "") -> None:
        """Log predictions, as the documented dict or its JSON text."""
        self._log_document("predictions", name, value, description)

    def get_metrics(
        self,
        name: str | None = None,
        recursive: bool = False,
        run_type: str | None = None,
        populate: bool = False,
    ) -> dict[str, Any]:
        """Name to value: a scalar, a list, or a dict of columns. Recursive:
        by run id, for all below it, too.
        """
        found = self._series(name, recursive)
        shaped = {run_id: _metric_shapes.metrics_of(run_id, series) for run_id, series in found.items()}
        if not recursive:
            return shaped.get(self.id, {})
        if run_type is not None:
            kept = self._ids_of_type(run_type)
            shaped = {run_id: metrics for run_id, metrics in shaped.items() if run_id in kept}
        return {run_id: metrics for run_id, metrics in shaped.items() if metrics}

    def flush(self, timeout_seconds: float = 300) -> None:
        """Wait until all metrics are with the server.

        What is not sent by then is kept on this machine, and a line on standard error says so.
        """
        self._sender.flush(timeout_seconds)
