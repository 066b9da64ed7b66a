"""Private servers for tests and benchmarks: PostgreSQL and Redis on free loopback ports, gone afterwards."""

from __future__ import annotations

import ctypes
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

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
    """A loopback port that nothing listens on, and that the system gives to no connection by itself."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Server:
    """A server program on a port, that can be killed and started again on what it has kept."""

    def __init__(self, address: str, words: list[str], port: int, folder: Path, *, stop_signal: int) -> None:
        self.address = address
        self.words, self.port, self.folder, self.stop_signal = words, port, folder, stop_signal
        self.user: str | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers on its port."""
        libc = ctypes.CDLL(None)
        log = self.folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                self.words,
                stdout=output,
                stderr=subprocess.STDOUT,
                user=self.user,
                cwd=self.folder,
                preexec_fn=lambda: libc.prctl(_DIE_WITH_PARENT, self.stop_signal),
            )
        _wait_for_port(self._process, self.port, log)

    def kill(self) -> None:
        """SIGKILL to the server and all of its processes."""
        assert self._process is not None
        children = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()
        self._process.wait()
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, 20)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Meanwhile it neither answers nor refuses, as a machine does that hangs."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Ask it to end, and wait."""
        if self._process is None:
            return
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class PostgreSQL(Server):
    """It listens before it lets anybody in, and its start is over when it does."""

    def start(self) -> None:
        super().start()
        pg_isready = str(Path(self.words[0]).with_name("pg_isready"))
        end = time.monotonic() + 30
        while subprocess.call([pg_isready, "-q", "-h", "127.0.0.1", "-p", str(self.port)]) != 0:
            if time.monotonic() > end:
                raise ServerDidNotStart("PostgreSQL does not let anybody in.")
            time.sleep(0.05)


@contextmanager
def postgresql_server(**options: str) -> Iterator[Server]:
    """A fresh cluster; its address names a database `studio` that is not made yet. Durability is off."""
    folder = Path(tempfile.mkdtemp(prefix="studio-postgresql-"))
    user = _unprivileged_user()
    port = free_port()
    if user:
        shutil.chown(folder, user)
    programs = _postgresql_programs()
    data = folder / "data"
    settings = [f"--{name}={value}" for name, value in {**_POSTGRESQL_OPTIONS, **options}.items()]
    words = [str(programs / "postgres"), "-D", str(data), "-k", str(folder), "-p", str(port), *settings]
    server = PostgreSQL(
        f"postgresql://studio@127.0.0.1:{port}/studio", words, port, folder, stop_signal=signal.SIGINT
    )
    server.user = user
    try:
        command = [programs / "initdb", "-D", data, "-U", "studio", "-A", "trust", "-E", "UTF8"]
        subprocess.run(
            [*map(str, command), "--locale=C.UTF-8", "--no-sync"],
            check=True,
            user=user,
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def private_postgresql(**options: str) -> Iterator[str]:
    """The address of such a cluster's database."""
    with postgresql_server(**options) as server:
        yield server.address


@contextmanager
def redis_server() -> Iterator[Server]:
    """A Redis that keeps nothing."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="studio-redis-") as folder:
        words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        server = Server(f"redis://127.0.0.1:{port}/0", words, port, Path(folder), stop_signal=signal.SIGTERM)
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextmanager
def private_redis() -> Iterator[str]:
    """The address of such a Redis."""
    with redis_server() as server:
        yield server.address


def _wait_for_port(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise ServerDidNotStart(f"{server.args!r}\n{log.read_text(errors='replace')[-2000:]}")


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
