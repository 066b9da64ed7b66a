"""Processes of Studio that benchmarks start and end again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.servers import free_port

REPOSITORY = Path(__file__).parents[1]
SDK = ":".join(str(REPOSITORY / "sdk" / part) for part in ("client", "azureml"))
#: A script that leaves the moment of its last line.
LAST_LINE = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(repr(time.time()))"
_OURS = "STUDIO_"


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The variables of a Studio whose data is in this folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {**kept, "STUDIO_DATA": str(folder), **more}


@contextmanager
def studio(env: dict[str, str]) -> Iterator[tuple[str, psutil.Process, float]]:
    """A running `manage.py up`: where it answers, its process, and the seconds until its first answer."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "manage.py", "up"],
        cwd=REPOSITORY,
        env={**env, "STUDIO_PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    try:
        _wait_for(f"{url}/healthz", process)
        yield url, psutil.Process(process.pid), time.perf_counter() - begin
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Until it answers 200."""
    while process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.005)
    raise RuntimeError(f"manage.py up ended with exit code {process.returncode}")


def manage(env: dict[str, str], *words: str) -> str:
    """What a command of manage.py prints."""
    command = [sys.executable, "manage.py", *words]
    done = subprocess.run(command, cwd=REPOSITORY, env=env, check=True, capture_output=True, text=True)
    return done.stdout


def module(env: dict[str, str], name: str, *words: str) -> list[str]:
    """The lines that a module of the benchmarks prints, run in a process with this environment."""
    command = [sys.executable, "-m", name, *words]
    done = subprocess.run(command, cwd=REPOSITORY, env=env, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.splitlines()


@contextmanager
def client_environment(env: dict[str, str], url: str) -> Iterator[tuple[dict[str, str], Path]]:
    """The variables of clients of the SDK, and a folder that is theirs."""
    token = manage(env, "token", "--user", "admin").strip().splitlines()[-1]
    with tempfile.TemporaryDirectory(prefix="studio-bench-") as folder:
        told = {"STUDIO_URL": url, "STUDIO_TOKEN": token, "STUDIO_CONFIG_DIR": folder}
        yield {**env, "PYTHONPATH": SDK, **told}, Path(folder)


def run_clients(env: dict[str, str], count: int, *words: object) -> list[dict[str, Any]]:
    """What clients (`bench.sdk_client`) print that begin together, when all of them are ready."""
    command = [sys.executable, "-m", "bench.sdk_client", *map(str, words)]
    clients = [
        subprocess.Popen(
            command, cwd=REPOSITORY, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(count)
    ]
    for client in clients:
        assert client.stdout is not None
        assert client.stdout.readline() == "ready\n"
    results = []
    for client in clients:
        assert client.stdin is not None
        client.stdin.write("go\n")
        client.stdin.flush()
    for client in clients:
        out, _ = client.communicate(timeout=600)
        assert client.returncode == 0
        results.append(json.loads(out))
    return results


def process_floor_ms(rounds: int = 20) -> float:
    """The median time from starting a bare Python to its first line."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        words = [sys.executable, "-I", "-S", "-c", "print('x', flush=True)"]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            times.append((time.perf_counter() - begin) * 1000)
    return sorted(times)[rounds // 2]
