"""A run and processes that log to it, for tests of metrics on their way to a real server."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azureml import _metric_shapes
from studio_client import spool
from studio_client.api import Api, connect
from studio_client.config import Login
from studio_client.sender import MetricSender
from studio_client.transport import Transport

from tests.sdk.live import Signed, environment_of
from tests.sdk.wire import Wire

IN_SILENCE = "spool.EVERY_S = 3600.0\n"  # nothing is sent in the background


@pytest.fixture
def api(signed_in: Signed) -> Api:
    """Straight to the server."""
    return connect()


@pytest.fixture
def run_id(api: Api) -> str:
    """An interactive run."""
    api.make_experiment("default", "spool")
    return str(api.start_run("default", "spool", str(uuid.uuid4()))["run_id"])


@pytest.fixture
def wire(signed_in: Signed) -> Iterator[Wire]:
    """Between this process and the server."""
    made = Wire(signed_in.studio.port)
    yield made
    made.close()


@pytest.fixture
def sender(signed_in: Signed, wire: Wire, run_id: str) -> Iterator[MetricSender]:
    """Of this run, over the wire; nothing of it is left for the end of the tests' process."""
    far = Api(Transport(Login(wire.url, signed_in.token, "a test"), patience_s=0))
    yield spool.sender_for(far, run_id)
    del spool.pump._senders[wire.url, run_id], spool.pump._apis[wire.url]


@pytest.fixture
def start(signed_in: Signed, run_id: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts Python that logs to the run through `sender`; over the wire if its address is given."""
    started: list[subprocess.Popen[str]] = []

    def begin(code: str, url: str = "") -> subprocess.Popen[str]:
        head = (
            "import os, sys, time\nfrom studio_client import spool\nfrom studio_client.api import connect\n"
            f"run_id = {run_id!r}\nsender = spool.sender_for(connect(), run_id)\n"
        )
        env = {**environment_of(signed_in), **({"STUDIO_URL": url} if url else {})}
        words = [sys.executable, "-c", head + code]
        started.append(
            subprocess.Popen(
                words,
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return started[-1]

    yield begin
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # forks too, which have the pipes open
        process.communicate(timeout=20)


def values(api: Api, run_id: str) -> dict[str, Any]:
    """What the server has, as `get_metrics` gives it."""
    return _metric_shapes.metrics_of(run_id, api.metric_values(run_id).get(run_id, []))


def spools(home: Path) -> list[Path]:
    return list((home / "spool").iterdir()) if (home / "spool").is_dir() else []
