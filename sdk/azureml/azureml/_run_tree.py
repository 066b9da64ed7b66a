"""Parents and children: the part of `Run` that makes child runs and finds them."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from azureml import _run_list
from azureml._run_list import RunList
from azureml._translate import translated
from azureml.core import experiment as experiments
from azureml.exceptions import UserErrorException

if TYPE_CHECKING:
    from studio_client.api import Api
    from studio_client.records import RunRecord

    from azureml.core.experiment import Experiment
    from azureml.core.run import Run

MOST_CHILDREN = 100


class TreeRun:
    """Children of a run."""

    if TYPE_CHECKING:
        _experiment: Experiment

        @property
        def _api(self) -> Api: ...

        @property
        def id(self) -> str: ...

    def child_run(
        self, name: str | None = None, run_id: str | None = None, outputs: str | None = None
    ) -> Run:
        """A new child, Running from now on."""
        experiments.make_outputs(outputs)
        child = self._make_child(name, run_id)
        child._own(outputs)
        return child

    def _make_child(self, name: str | None, run_id: str | None) -> Run:
        record = experiments.start(self._experiment, run_id, display_name=name, parent=self.id)
        return _run_of(self._experiment, record)

    def create_children(
        self,
        count: int | None = None,
        tag_key: str | None = None,
        tag_values: builtins.list[Any] | None = None,
    ) -> builtins.list[Run]:
        """Children in one call, Running from now on: so many, each with its number as a tag, or one for each
        value of a tag.

        This process gives their signs of life: those that it has not ended when it exits fail after a while,
        unless another process gives them from then on.
        """
        labels = children_labels(count, tag_key, tag_values)
        return self._make_children(labels) if labels else []

    def _make_children(self, labels: list[dict[str, str | None]]) -> list[Run]:
        wanted = [{"run_id": experiments.new_uuid(), "tags": tags} for tags in labels]
        with translated:
            records = self._api.make_children(self.id, wanted)
        children = [_run_of(self._experiment, record) for record in records]
        for child in children:
            child._own(None)
        return children

    def submit_child(self, config: Any, tags: dict[str, Any] | None = None, **kwargs: Any) -> Run:
        """Hand in a script as a child of this run; returns at once. Otherwise as Experiment.submit."""
        folder, content = experiments.prepared(config, tags)
        return self._hand_in(folder, content)

    def _hand_in(self, folder: str, content: dict[str, Any]) -> Run:
        return experiments.hand_in(self._experiment, folder, content, parent=self.id)

    def get_children(
        self,
        recursive: bool = False,
        tags: Any = None,
        properties: Any = None,
        type: str | None = None,
        status: str | None = None,
        _rehydrate_runs: bool = True,
    ) -> RunList:
        """Its children, the newest first; recursive: all that descend from it.

        Fetched as they are looked at.
        """
        asked = _run_list.filters(tags, properties, type, status)
        if _run_list.fits_nothing(type, properties, status):
            return RunList(lambda: iter(()))
        return RunList(lambda: self._children(recursive, asked, tags, properties))

    def _children(
        self, recursive: bool, asked: list[tuple[str, Any]], tags: Any, properties: Any
    ) -> Iterator[Run]:
        with translated:
            for record in self._api.children(self.id, [("recursive", recursive), *asked]):
                if _run_list.passes(record, tags, properties):
                    yield _run_of(self._experiment, record)

    def _ids_of_type(self, run_type: str) -> set[str]:
        """The ids of this run and of all that descend from it, as far as they are of a type."""
        everyone = [self, *self.get_children(recursive=True)]
        return {run.id for run in everyone if getattr(run, "type", None) == run_type}


def _run_of(experiment: Experiment, record: RunRecord) -> Run:
    from azureml.core.run import run_from_record

    return run_from_record(experiment, record)


def children_labels(count: Any, tag_key: Any, tag_values: Any) -> list[dict[str, str | None]]:
    """The tags of each child that create_children is to make. Raises UserErrorException."""
    if count is None and tag_key is None and tag_values is None:
        raise UserErrorException("create_children needs count, or tag_key and tag_values.")
    if count is not None and (tag_key is not None or tag_values is not None):
        raise UserErrorException("create_children takes count, or tag_key and tag_values, not both.")
    if count is None and (tag_key is None or tag_values is None):
        raise UserErrorException("create_children takes tag_key and tag_values together.")
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 0):
        raise UserErrorException(f"count is a whole number from 0 on, not {count!r}.")
    if count is not None:
        labels: list[dict[str, str | None]] = [{"azureml.batch_child_number": str(n)} for n in range(count)]
    else:
        labels = [experiments.texts({tag_key: value}) for value in tag_values]
    if len(labels) > MOST_CHILDREN:
        raise UserErrorException(
            f"create_children makes at most {MOST_CHILDREN} children at once, not {len(labels)}."
        )
    return labels
