"""Files of run configurations, and what of one the server is told."""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from studio_client import yaml_files
from studio_client.errors import ConfigError, InvalidSource

FOLDERS = (".azureml", "aml_config")
ENDING = ".runconfig"
EXPERIMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}")
#: The time limit that Azure ML writes into every configuration; it stands for none.
NO_LIMIT_S = 30 * 24 * 60 * 60
ONE_PROCESS = "Studio runs a script as one process on one node; that of several is kept with the run only."
#: What asks for several nodes or processes, by section; "" is the configuration itself.
_COUNTS = (
    ("", "nodeCount"),
    ("mpi", "processCountPerNode"),
    ("mpi", "nodeCount"),
    ("pytorch", "processCount"),
    ("pytorch", "nodeCount"),
    ("tensorflow", "workerCount"),
    ("tensorflow", "parameterServerCount"),
)


def find(root: str, name: str | None) -> tuple[str, str]:
    """The project's folder and the file of a configuration, `<name>` or `<name>.runconfig`.

    Raises ConfigError that names what was looked for and what there is.
    """
    if os.path.isfile(root) and not name:
        folder = os.path.dirname(root)
        return (os.path.dirname(folder) if os.path.basename(folder) in FOLDERS else folder), root
    if not name:
        raise ConfigError(f"{root} is no file of a run configuration; give the name of one in this folder.")
    looked = [
        os.path.join(root, place, text)
        for place in (*FOLDERS, "")
        for text in ((name, f"{name}{ENDING}") if place else (f"{name}{ENDING}", name))
    ]
    for file in looked:
        if os.path.isfile(file):
            return root, file
    there = ", ".join(name + ENDING for name in all_names(root)) or "none"
    raise ConfigError(
        f"There is no run configuration {name!r}. Looked for: {', '.join(looked)}. "
        f"In {root} there are: {there}.",
        hint=f"RunConfiguration().save({root!r}, {name!r}) makes one.",
    )


def _names_in(root: str) -> list[str]:
    """The names under which a project's configurations can be asked for."""
    return [
        file[: -len(ENDING)]
        for place in FOLDERS
        if os.path.isdir(os.path.join(root, place))
        for file in sorted(os.listdir(os.path.join(root, place)))
        if file.endswith(ENDING)
    ]


def _names_beside(root: str) -> list[str]:
    """Those of the files in the project's folder, and in folders of it that are not hidden."""
    from pathlib import Path

    found = (path.relative_to(root) for glob in ("*", "*/*") for path in Path(root).glob(glob + ENDING))
    return sorted(
        path.as_posix()[: -len(ENDING)]
        for path in found
        if path.parts[0] not in FOLDERS and not path.parts[0].startswith(".")
    )


def all_names(root: str) -> list[str]:
    """All of them, each once."""
    return list(dict.fromkeys([*_names_in(root), *_names_beside(root)]))


def load(root: str, name: str | None) -> dict[str, Any]:
    """What a configuration's file says, and that of its environment if it has its own. Raises ConfigError."""
    root, file = find(os.path.abspath(root), name)
    content = yaml_files.load(file)
    if not isinstance(content, dict):
        raise ConfigError(f"{file} is no run configuration: it holds no names with values.")
    if isinstance(content.get("environment"), str):
        content["environment"] = yaml_files.load(os.path.join(root, content["environment"]))
    return content


def submission(content: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """What the server is told of a configuration whose script lies in this folder.

    Raises ConfigError for one with neither script nor command, InvalidSource if the script is not there.
    """
    script, command = content.get("script"), content.get("command")
    if not script and not command:
        raise ConfigError(
            "There is nothing to run: neither the command line nor the run configuration names a script.",
            hint="Name one: `studio run submit-script train.py`.",
        )
    made: dict[str, Any] = {
        "target": content.get("target") or None,
        "environment_variables": _variables(content),
        "time_limit_s": seconds(content.get("maxRunDurationSeconds")),
        "run_configuration": dict(content),
    }
    if script:
        arguments = texts(content.get("arguments"))
        return {**made, "script": script_in(folder, str(script)), "arguments": arguments}
    return {**made, "command": words(command)}


def warning(content: Mapping[str, Any]) -> str:
    """What has to be said of a configuration that asks for several processes or nodes; "" of any other."""
    for name, count in _COUNTS:
        section = content.get(name) if name else content
        if isinstance(section, Mapping) and _is_several(section.get(count)):
            return ONE_PROCESS
    return ""


def _is_several(count: Any) -> bool:
    try:
        return int(count) > 1
    except (TypeError, ValueError, OverflowError):
        return False


def seconds(limit: Any) -> int | None:
    """The time limit of `max_run_duration_seconds`; None for none. Raises ConfigError."""
    if not limit or limit == NO_LIMIT_S:
        return None
    try:
        if int(limit) > 0:
            return int(limit)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ConfigError(f"max_run_duration_seconds is a number of seconds, not {limit!r}: 1 or more, or None.")


def _variables(content: Mapping[str, Any]) -> dict[str, str]:
    """Those of the environment, and over them those of the configuration itself."""
    environment = content.get("environment")
    inner = environment.get("environmentVariables") if isinstance(environment, Mapping) else None
    return {
        str(k): str(v) for k, v in {**(inner or {}), **(content.get("environmentVariables") or {})}.items()
    }


def texts(arguments: Any) -> list[str]:
    """Arguments as a list of texts; one text is split as a shell does it. Raises ConfigError."""
    if arguments is None:
        return []
    if isinstance(arguments, str):
        try:
            return shlex.split(arguments)
        except ValueError as error:
            raise ConfigError(f"The arguments {arguments!r} cannot be split: {error}.") from None
    if isinstance(arguments, (bytes, Mapping)) or not isinstance(arguments, Iterable):
        raise ConfigError(
            f"The arguments of a script are a list, such as ['--rate', 0.1], not {arguments!r}."
        )
    return [str(argument) for argument in arguments]


def words(command: Any) -> list[str]:
    """A command as a shell is given it: one text, or words that are joined by blanks."""
    return ["/bin/sh", "-c", command if isinstance(command, str) else " ".join(str(word) for word in command)]


def shell_text(command: Sequence[str]) -> str:
    """The text behind `words`; of other programs, what a shell would take for them."""
    is_of_shell = len(command) == 3 and list(command[:2]) == words("")[:2]
    return command[2] if is_of_shell else shlex.join(command)


def script_in(folder: str, script: str) -> str:
    """The script's path in the folder, with slashes. Raises InvalidSource if it is not there or left out."""
    if not os.path.isdir(folder):
        raise InvalidSource(f"There is no folder {folder} to take the script from.")
    place = os.path.join(folder, script)
    inside = os.path.relpath(place, folder).replace(os.sep, "/")
    if not os.path.isfile(place) or inside.startswith("../"):
        raise InvalidSource(
            f"{script} is not in {folder}.",
            hint="The script is a path inside of the source directory, such as train.py.",
        )
    from studio_client.snapshots import left_out_by  # which takes longer to load than all of this

    rule = left_out_by(folder, inside)
    if rule:
        raise InvalidSource(
            f"{script} is in {folder}, and {rule} leaves it out of the snapshot that the run is given.",
            hint="Change that, or make a file .amlignore, which takes the place of .gitignore.",
        )
    return inside


def new_run_id(experiment: str) -> str:
    """An id for a submitted run: `<experiment>_<unix seconds>_<8 hex>`."""
    return f"{experiment[:200]}_{int(time.time())}_{os.urandom(4).hex()}"
