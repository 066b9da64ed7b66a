"""What to submit: a folder, a script in it with its arguments, and where and how to run it."""

from __future__ import annotations

import copy
import os
import warnings
from typing import Any

from studio_client import run_configs
from studio_client.errors import ConfigError, InvalidSource
from studio_client.run_configs import NO_LIMIT_S, script_in, shell_text, words

from azureml.core.runconfig import (
    MpiConfiguration,
    ParallelTaskConfiguration,
    PyTorchConfiguration,
    RunConfiguration,
    TensorflowConfiguration,
    arguments_of,
)
from azureml.exceptions import ExperimentExecutionException, UserErrorException

_JOBS = {
    "mpi": MpiConfiguration,
    "pytorch": PyTorchConfiguration,
    "tensorflow": TensorflowConfiguration,
    "paralleltask": ParallelTaskConfiguration,
}


class ScriptRunConfig:
    """A script with all that its submission needs.

    Submitting does not change it, so it can be submitted again.
    """

    DELIM = " "
    MAX_DURATION_SECONDS_DEFAULT = NO_LIMIT_S

    def __init__(
        self,
        source_directory: str,
        script: str | None = None,
        arguments: list[Any] | None = None,
        run_config: RunConfiguration | None = None,
        _telemetry_values: Any = None,
        compute_target: Any = None,
        environment: Any = None,
        distributed_job_config: Any = None,
        resume_from: Any = None,
        max_run_duration_seconds: int = 2592000,
        command: str | list[str] | None = None,
        docker_runtime_config: Any = None,
    ) -> None:
        """With `run_config`, `compute_target`, `environment` and the like are left aside with a warning."""
        self.source_directory = os.fspath(source_directory) if source_directory is not None else "."
        self.script = None if script is None else os.fspath(script)
        self.arguments = arguments_of(arguments)
        _limit_s(max_run_duration_seconds)
        self.command = command
        self._resume_from = resume_from
        given = {
            "compute_target": compute_target,
            "environment": environment,
            "distributed_job_config": distributed_job_config,
            "docker_runtime_config": docker_runtime_config,
        }
        if run_config is None:
            self.run_config = _new_run_config(given, max_run_duration_seconds)
        else:
            if not isinstance(run_config, RunConfiguration):
                raise UserErrorException(
                    f"run_config is a RunConfiguration, not {type(run_config).__name__}."
                )
            self.run_config = copy.deepcopy(run_config)
            ignored = [name for name, value in given.items() if value is not None]
            if ignored:
                warnings.warn(
                    f"If run_config is given, {', '.join(ignored)} are ignored: set them on run_config.",
                    stacklevel=2,
                )

    @property
    def identity(self) -> str:
        """What it submits, in words."""
        return f"{type(self).__name__} {self.script or self.command} in {self.source_directory}"

    def __repr__(self) -> str:
        return (
            f"ScriptRunConfig(source_directory={self.source_directory!r}, script={self.script!r}, "
            f"arguments={self.arguments!r}, target={self.run_config.target!r})"
        )

    def to_submit(self) -> tuple[str, dict[str, Any]]:
        """The folder to freeze, and what of this the server is told. Raises ExperimentExecutionException.

        A script of this object wins over that of its run configuration, and so do arguments if there are any.
        """
        config = self.run_config
        script = self.script or config.script
        command = self.command or config.command
        if not script and not command:
            raise ExperimentExecutionException(
                "There is nothing to run: give ScriptRunConfig a script of its source_directory, or a "
                "command."
            )
        folder = os.path.abspath(self.source_directory)
        content = self._described(config)
        definition = content["run_configuration"]
        if warning := run_configs.warning(definition):
            warnings.warn(warning, stacklevel=2)
        if script and not self.command:
            content["script"] = _script_in(folder, script)
            content["arguments"] = arguments_of(self.arguments) or arguments_of(config.arguments)
            definition.update(script=script, command="", arguments=content["arguments"])
        else:
            content["command"] = words(command)
            definition.update(script=None, command=shell_text(content["command"]), arguments=[])
        return folder, content

    def _described(self, config: RunConfiguration) -> dict[str, Any]:
        config.environment.validate()
        return {
            "target": config.target,
            "environment_variables": config.all_environment_variables(),
            "time_limit_s": _limit_s(config.max_run_duration_seconds),
            "run_configuration": config.to_dict(),
        }


def _limit_s(limit: Any) -> int | None:
    """The time limit; None for none. Raises UserErrorException."""
    try:
        return run_configs.seconds(limit)
    except ConfigError as error:
        raise UserErrorException(str(error)) from None


def _new_run_config(given: dict[str, Any], max_run_duration_seconds: int) -> RunConfiguration:
    made = RunConfiguration()
    made.max_run_duration_seconds = max_run_duration_seconds
    if given["compute_target"] is not None:
        made.target = given["compute_target"]
    if given["environment"] is not None:
        made.environment = given["environment"]
    if given["docker_runtime_config"] is not None:
        made.docker = given["docker_runtime_config"]
    job = given["distributed_job_config"]
    if job is not None:
        name = next((name for name, kind in _JOBS.items() if isinstance(job, kind)), "")
        if not name:
            raise UserErrorException(
                f"distributed_job_config is one of {', '.join(kind.__name__ for kind in _JOBS.values())}, "
                f"not {job!r}."
            )
        setattr(made, name, job)
        made.node_count = getattr(job, "node_count", 1)
    return made


def _script_in(folder: str, script: str) -> str:
    """As script_in. Raises ExperimentExecutionException."""
    try:
        return script_in(folder, script)
    except InvalidSource as error:
        raise ExperimentExecutionException(str(error)) from None
