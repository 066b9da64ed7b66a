"""Private servers for tests and benchmarks: PostgreSQL and Redis on free loopback ports, gone afterwards."""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_POSTGRESQL_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "log_min_messages": "warning",
}


#: Of prctl: the signal that a process gets when the one that started it is gone, however it went.
_DIE_WITH_PARENT = 1


class ServerDidNotStart(Exception):
    """A server that the tests need ended at once, or did not answer in time."""


def end_in_order() -> None:
    """From now on SIGTERM ends this process as Ctrl-C does: with everything it started."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def free_port() -> int:
    """A loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def private_postgresql(**options: str) -> Iterator[str]:
    """A fresh cluster; gives the address of a database `studio` that is not made yet. Durability is off."""
    folder = Path(tempfile.mkdtemp(prefix="studio-postgresql-"))
    user = _unprivileged_user()
    port = free_port()
    if user:
        shutil.chown(folder, user)
    programs = _postgresql_programs()
    data = folder / "data"
    try:
        command = [programs / "initdb", "-D", data, "-U", "studio", "-A", "trust", "-E", "UTF8"]
        subprocess.run(
            [*map(str, command), "--locale=C.UTF-8", "--no-sync"],
            check=True,
            user=user,
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )
        settings = [f"--{name}={value}" for name, value in {**_POSTGRESQL_OPTIONS, **options}.items()]
        words = [str(programs / "postgres"), "-D", str(data), "-k", str(folder), "-p", str(port), *settings]
        with _running(words, port, folder / "log", user=user, stop_signal=2):
            _wait_until_ready(programs / "pg_isready", port)
            yield f"postgresql://studio@127.0.0.1:{port}/studio"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def private_redis() -> Iterator[str]:
    """A Redis that keeps nothing; gives its address."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="studio-redis-") as folder:
        words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        with _running(words, port, Path(folder) / "log", user=None, stop_signal=15):
            yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def _running(words: list[str], port: int, log: Path, *, user: str | None, stop_signal: int) -> Iterator[None]:
    """The server, from when it answers on its port until it has ended."""
    libc = ctypes.CDLL(None)
    with log.open("wb") as output:
        server = subprocess.Popen(
            words,
            stdout=output,
            stderr=subprocess.STDOUT,
            user=user,
            cwd=log.parent,
            preexec_fn=lambda: libc.prctl(_DIE_WITH_PARENT, stop_signal),
        )
    try:
        _wait_for_port(server, port, log)
        yield
    finally:
        server.send_signal(stop_signal)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_for_port(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise ServerDidNotStart(f"{server.args!r}\n{log.read_text(errors='replace')[-2000:]}")


def _wait_until_ready(pg_isready: Path, port: int) -> None:
    """PostgreSQL listens before it lets anybody in."""
    end = time.monotonic() + 30
    while subprocess.call([str(pg_isready), "-q", "-h", "127.0.0.1", "-p", str(port)]) != 0:
        if time.monotonic() > end:
            raise ServerDidNotStart("PostgreSQL does not let anybody in.")
        time.sleep(0.05)


def _postgresql_programs() -> Path:
    """The folder of initdb and postgres; Debian keeps them out of PATH. The newest version wins."""
    installed = sorted(
        (path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")),
        key=lambda folder: int(folder.parent.name),
    )
    if installed:
        return installed[-1]
    found = shutil.which("initdb")
    if not found:
        raise ServerDidNotStart("PostgreSQL is not installed; `sh tests/install.sh` does that.")
    return Path(found).resolve().parent


def _unprivileged_user() -> str | None:
    """Whom PostgreSQL runs as: it refuses to be root."""
    if os.getuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"
