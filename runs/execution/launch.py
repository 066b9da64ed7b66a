"""Starting a run's script under a shim that outlives the worker, and the environment it gets."""

from __future__ import annotations

import fcntl
import functools
import os
import py_compile
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runs.errors import Conflict, InvalidInput
from runs.execution import shim
from runs.execution.folder import RunFolder
from runs.execution.processes import ATTEMPT_MARKER, MARKER

LOCK_PATIENCE_S = 1.0  # whoever asks whether a folder is watched holds its lock for some microseconds

#: What a script gets of the worker's environment: what finds programs, files, devices and the network, and
#: nothing that could hold a secret of the server.
ALLOWED = re.compile(
    r"PATH|HOME|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|USER|LOGNAME|SHELL|TERM|LD_LIBRARY_PATH|VIRTUAL_ENV|CONDA_PREFIX"
    r"|CONDA_DEFAULT_ENV|CUDA_\w+|NVIDIA_\w+|NCCL_\w+|ROCR_VISIBLE_DEVICES|HIP_VISIBLE_DEVICES|HSA_\w+"
    r"|(?:https?|ftp|all|no)_proxy|(?:HTTPS?|FTP|ALL|NO)_PROXY|OMP_\w+|MKL_\w+|OPENBLAS_NUM_THREADS"
    r"|NUMEXPR_(?:NUM|MAX)_THREADS|VECLIB_MAXIMUM_THREADS|KMP_\w+|GOTO_NUM_THREADS|SSL_CERT_FILE|SSL_CERT_DIR"
    r"|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|XDG_CACHE_HOME|XDG_RUNTIME_DIR|PYTHONUNBUFFERED|PYTHONIOENCODING|PYTHONUTF8"
)

#: A proxy's address that holds a name and password: a secret of the machine, whose user may set it for a run.
SECRET_PROXY = re.compile(r"(?i:\w+_proxy)=.*@.*", re.DOTALL)

#: Names that belong to Studio: with them a script speaks to the server as its run, and is found again.
OURS = re.compile(r"AZUREML_RUN_TOKEN|STUDIO_.*")

_lock = threading.Lock()
_shims: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class LaunchSpec:
    """What to run in a prepared folder: `argv` as `command_for` made it, `env` as `build_env` made it."""

    run_id: str
    attempt: int
    argv: Sequence[str]
    env: Mapping[str, str]
    grace_s: float = 10.0
    time_limit_s: float | None = None


def command_for(script: str, arguments: Sequence[str], python: str) -> list[str]:
    """The command that runs a file of the snapshot: by this Python, by /bin/sh, or by itself."""
    suffix = os.path.splitext(script)[1].lower()
    if suffix == ".py":
        return [python, script, *arguments]
    if suffix == ".sh":
        return ["/bin/sh", script, *arguments]
    return [script if script.startswith("/") else f"./{script}", *arguments]


def command_line(words: Sequence[str], python: str) -> list[str]:
    """A command of the user's own; `python` in it is this one."""
    first = python if words[0] in ("python", "python3") else words[0]
    return [first, *words[1:]]


def build_env(
    worker_env: Mapping[str, str],
    *,
    run_env: Mapping[str, str],
    user_env: Mapping[str, str],
    python_path: Sequence[str] = (),
) -> dict[str, str]:
    """A script's environment: some of the worker's, what belongs to the run, and on top what its person set.

    A proxy of the worker with a password in its address is left out. Output is unbuffered unless that person
    says otherwise. Python finds modules in `python_path`, after the places that the person names. Raises
    InvalidInput for a name that no environment can hold and for one of Studio's own.
    """
    for name, value in user_env.items():
        _check_variable(name, value)
    env = {
        name: value
        for name, value in worker_env.items()
        if ALLOWED.fullmatch(name) and not SECRET_PROXY.fullmatch(f"{name}={value}")
    }
    places = [place for place in (user_env.get("PYTHONPATH"), *python_path) if place]
    found_in = {"PYTHONPATH": os.pathsep.join(places)} if places else {}
    return {"PYTHONUNBUFFERED": "1", **env, **run_env, **user_env, **found_in}


def start(folder: RunFolder, spec: LaunchSpec) -> None:
    """Start the run's shim, detached from this process; returns once it is spawned, after some milliseconds.

    Whether the script itself could be started is in the folder later, like everything else about its life.
    Raises Conflict when this attempt has been started before, InvalidInput for what no command can hold.
    """
    order = _order(spec)
    if folder.launch_file.exists():
        raise Conflict(f"Attempt {folder.attempt} of run {folder.run_id} has been started already.")
    lock = _take_lock(folder)
    try:
        if folder.launch_file.exists():
            raise Conflict(f"Attempt {folder.attempt} of run {folder.run_id} has been started already.")
        _announce(folder, spec)
        problem = _missing_interpreter(folder, spec)
        try:
            if not problem:
                _spawn(folder, lock, order)
        except OSError as error:
            problem = f"The process that watches a run could not be started: {error.strerror}."
        if problem:
            folder.note(problem)
            folder.write_ended({"reason": "launch", "message": problem})
    finally:
        os.close(lock)


def reap() -> None:
    """Let go of the shims of this process that have ended, so that none stays as a zombie."""
    with _lock:
        _shims[:] = [child for child in _shims if child.poll() is None]


def _check_variable(name: str, value: str) -> None:
    if not name or "=" in name or "\0" in name or "\0" in value:
        raise InvalidInput(
            f"{name!r} cannot be an environment variable.",
            field="environment_variables",
            hint="A name has at least one letter, and neither = nor NUL.",
        )
    if OURS.fullmatch(name):
        raise InvalidInput(
            f"{name} is set by Studio itself.", field="environment_variables", hint="Choose another name."
        )


def _missing_interpreter(folder: RunFolder, spec: LaunchSpec) -> str:
    """What is missing of a script whose first line asks `env` for its interpreter; "" if that is there.

    It would end with exit code 127, as a script may by itself; what misses without `env` the system says.
    """
    script = spec.argv[0]
    try:
        with open(folder.code / script, "rb") as file:
            first = file.readline(200).decode("utf-8", "replace").strip()
    except OSError:
        return ""
    words = [word for word in first[2:].split() if word != "-S" and "=" not in word]
    is_by_env = first.startswith("#!") and len(words) > 1 and os.path.basename(words[0]) == "env"
    if not is_by_env or words[1].startswith("-") or "/" in words[1]:
        return ""
    if shutil.which(words[1], path=spec.env.get("PATH")):
        return ""
    return f"The interpreter that the first line of {script} names is missing: {first}"


def _order(spec: LaunchSpec) -> bytes:
    """The spec as `shim.Order` reads it."""
    env = {**spec.env, MARKER: spec.run_id, ATTEMPT_MARKER: str(spec.attempt)}
    limit = "" if spec.time_limit_s is None else str(float(spec.time_limit_s))
    texts = [str(float(spec.grace_s)), limit, _script(spec.argv), str(len(spec.argv)), *spec.argv]
    texts += [f"{name}={value}" for name, value in env.items()]
    if any("\0" in text for text in texts):
        raise InvalidInput("An argument cannot hold the character NUL.", field="arguments")
    return b"\0".join([str(len(texts)).encode(), *(_encode(text) for text in texts)])


def _encode(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise InvalidInput(f"{text!r} is not valid Unicode text.", field="arguments") from None


def _script(argv: Sequence[str]) -> str:
    """The file that has to be there before the command makes sense: see `command_for`."""
    if len(argv) > 1 and argv[1].lower().endswith((".py", ".sh")):
        return argv[1]
    return argv[0] if argv[0].startswith("./") else ""


def _take_lock(folder: RunFolder) -> int:
    """The folder's lock, which the shim then holds for us by having the same open file."""
    descriptor = os.open(folder.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    end = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() >= end:
                os.close(descriptor)
                raise Conflict(f"Attempt {folder.attempt} of run {folder.run_id} is running.") from None
        time.sleep(0.01)


def _announce(folder: RunFolder, spec: LaunchSpec) -> None:
    """Write down, for people and for the next worker, what is about to be started."""
    limit = "none" if spec.time_limit_s is None else f"{spec.time_limit_s:g} s"
    folder.note(f"Attempt {spec.attempt} of run {spec.run_id}.")
    folder.note(f"Command: {shlex.join(spec.argv)}")
    folder.note(f"Folder: {folder.code}")
    folder.note(f"Time limit: {limit}; grace after SIGTERM: {spec.grace_s:g} s.")
    folder.write_launch(
        {
            "run_id": spec.run_id,
            "attempt": spec.attempt,
            "argv": list(spec.argv),
            "env_names": sorted(spec.env),  # not the values: the run's token is among them
            "grace_s": spec.grace_s,
            "time_limit_s": spec.time_limit_s,
            "launched_at": time.time(),
        }
    )


def _spawn(folder: RunFolder, lock: int, order: bytes) -> None:
    reap()
    env = {name: value for name, value in os.environ.items() if name == "LD_LIBRARY_PATH"}
    with folder.launch_log.open("ab", buffering=0) as log:
        child = subprocess.Popen(  # noqa: S603  our own file, and a folder that RunFolder has checked
            [sys.executable, "-I", "-S", "-E", _shim_file(), str(folder.path), str(lock)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=env,
            cwd="/",
            start_new_session=True,
            pass_fds=(lock,),
        )
    with _lock:
        _shims.append(child)
    assert child.stdin is not None
    try:
        with child.stdin as pipe:
            pipe.write(order)
    except BrokenPipeError:
        return  # the shim is dead already, which its folder tells whoever supervises it


def _shim_file() -> str:
    """The shim as bytecode, which starts sooner; its source where there is none, or none any more."""
    compiled = _compiled_shim()
    return compiled if os.path.exists(compiled) else shim.__file__


@functools.cache
def _compiled_shim() -> str:
    try:
        return py_compile.compile(shim.__file__) or shim.__file__
    except OSError:
        return shim.__file__
