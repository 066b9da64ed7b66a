"""Runs of scripts that were submitted."""

from __future__ import annotations

from typing import Any

from azureml.core.experiment import Experiment
from azureml.core.run import Run


class ScriptRun(Run):
    """A run of a script on a compute target."""

    RUN_TYPE = "azureml.scriptrun"

    def __init__(
        self,
        experiment: Experiment,
        run_id: str,
        directory: str | None = None,
        _run_config: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(experiment, run_id, **kwargs)


__all__ = ["ScriptRun"]
