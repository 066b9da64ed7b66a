"""Studio on one machine: this process serves the pages, and looks after a node in a process of its own."""

from __future__ import annotations

import errno
import gc
import os
import queue
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import DatabaseError, connection, connections, transaction
from django.db import Error as DatabaseTrouble
from django.db.migrations.executor import MigrationExecutor
from django.urls import reverse
from waitress.server import create_server

from runs.errors import StudioError
from runs.execution.locking import LockTaken, hold_lock
from runs.guards import restore_guards
from runs.models import Node, Run
from runs.models.run import RunQuerySet
from runs.private_data import check_writable, make_private
from runs.search.index import restore_triggers
from runs.services.cancel import cancel_runs
from runs.services.compute import check_target_name, create_target
from runs.services.nodes import find_or_create_target
from runs.status import Status
from runs.sweeper import Sweeper
from runs.web_answers import WebChannel
from runs.web_threads import WebThreads
from studio.accounts.models import SignInLink, Workspace
from studio.accounts.services import ensure_first_start, make_sign_in_link
from studio.addresses import address_file, remember_address
from studio.database import misplaced_database
from studio.hosts import address_of
from studio.secret_key import keep_secret_key

#: How long a second Ctrl-C is waited for, and how long a node may take to let go of its runs.
SECOND_CTRL_C_S = 5.0
LET_GO_S = 10.0
#: How long answers that are under way may take when Studio stops.
ANSWERS_S = 1.0
#: Browsers keep theirs open between polls, and who comes past the limit waits until one is closed. Below the
#: 1,024 files that a process may usually have open.
MOST_CONNECTIONS = 800
#: Tells a node to go on with its runs and to take no others.
CLAIM_NO_MORE = signal.SIGUSR2


def _leave_alone_what_stays() -> None:
    """Spare the garbage collector what a start has loaded: a walk through it holds requests up for 0.1 s."""
    gc.collect()
    gc.freeze()


def _refuse_unusable_files() -> None:
    """Refuse, before anything is made, a database or an address that could not be written in the end."""
    path = Path(settings.DATA_DIR) / "db.sqlite3"
    if address_file().is_dir():
        raise CannotStart(f"The file {address_file()} cannot be replaced: Is a directory.")
    if connection.settings_dict["NAME"] != str(path):
        return
    if path.exists() and not (path.is_file() and os.access(path, os.W_OK)):
        raise CannotStart(f"The database {path} cannot be used: it is no file that may be written.")
    older = misplaced_database(path)
    if older is not None:
        raise CannotStart(
            f"The database of this data folder is {older}, where an earlier version put it because of the "
            f"folder's name. Move it to {path}, and what is beside it with -wal and -shm as well."
        )


def _open_more_files() -> None:
    """Take as many files as the system lets us open: a connection may hold two, while it sends a body."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # a limit that is above what the system knows by now stays
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class CannotStart(Exception):
    """Studio cannot start here; the message is one line for the person who tried."""


def _unusable_folder(error: OSError) -> CannotStart:
    where = Path(error.filename or settings.DATA_DIR)
    named = {"STUDIO_WORK": settings.WORK_DIR, "STUDIO_STORAGE": Path(default_storage.path(""))}
    variables = [n for n, path in named.items() if where.is_relative_to(path) or path.is_relative_to(where)]
    if where.is_relative_to(settings.DATA_DIR):
        what = f"The data folder {settings.DATA_DIR}"
    else:
        what = f"{variables[0]}: {where}" if variables else str(where)
    return CannotStart(f"{what} cannot be used: {error.strerror}.")


class Studio:
    """`run` starts everything and returns after a signal told it to stop."""

    def __init__(self, host: str, port: int, write: Callable[[str], Any]) -> None:
        self.host, self.port, self._write = host, port, write
        # Its `put` is made for signal handlers; an Event's `set` waits for ever if it interrupts itself.
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._node: subprocess.Popen[bytes] | None = None
        self._most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._stopping = False

    def run(self) -> None:
        """Blocks. Raises CannotStart before anything is changed."""
        self._check_targets()
        listener = self._listen()
        is_new = not settings.DATA_DIR.exists()
        with self._lock_data_folder():
            try:
                link, active = self._prepare()
            except CannotStart:
                if is_new:
                    shutil.rmtree(settings.DATA_DIR, ignore_errors=True)
                raise
            connections.close_all()  # the next look is at the end, when the database has long been another
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._on_signal)
            signal.signal(CLAIM_NO_MORE, signal.SIG_IGN)  # inherited by the node until it has a handler
            _open_more_files()
            server = self._server(listener)
            self._start_node()
            _leave_alone_what_stays()
            threading.Thread(target=server.run, name="web", daemon=True).start()
            threading.Thread(target=Sweeper().run, name="sweeper", daemon=True).start()
            self._greet(link, active)
            self._stop(server, self._look_after_node())

    def say(self, text: str) -> None:
        """A line for whoever reads along. Nobody may: in `up | tee log` Ctrl-C ends the reader as well."""
        try:
            self._write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            # What is said later, and what Python flushes at its end, goes nowhere.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
        except OSError:  # a full disk, say: what comes later may find room
            pass

    def _check_targets(self) -> None:
        try:
            for word in settings.NODE_TARGETS:
                check_target_name(word.rpartition("/")[2])
        except StudioError as error:
            raise CannotStart(f"STUDIO_TARGETS: {error}") from None

    def _lock_data_folder(self) -> Any:
        try:
            settings.DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
            return hold_lock(settings.DATA_DIR / "up.lock")
        except LockTaken as error:
            raise CannotStart(
                f"Studio is running on {settings.DATA_DIR} already (process {error.holder}). Stop it, or "
                "choose another folder with STUDIO_DATA."
            ) from None
        except OSError as error:
            raise _unusable_folder(error) from None

    def _prepare(self) -> tuple[str, str]:
        """Make what is missing; a path that signs the owner in, and what is active. Raises CannotStart."""
        try:
            _refuse_unusable_files()
            keep_secret_key()
            make_private()
            check_writable(settings.WORK_DIR, Path(default_storage.path("")))
            self._migrate()
            self._remember_address()
            return self._first_start(), self._names_of_active()
        except StudioError as error:
            raise CannotStart(str(error)) from None
        except DatabaseError as error:
            raise CannotStart(f"The database cannot be used: {' '.join(str(error).split())}") from None
        except OSError as error:
            raise _unusable_folder(error) from None

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.host, self.port))
            listener.listen(128)
        except OSError as error:
            listener.close()
            if (settings.DATA_DIR / "up.lock").exists():
                self._lock_data_folder().close()  # says so if it is the port of a Studio on this folder
            is_host = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
            variable = "STUDIO_HOST" if is_host else "STUDIO_PORT"
            raise CannotStart(
                f"{self.host}:{self.port} cannot be listened on: {error.strerror}. "
                f"Choose another with {variable}."
            ) from None
        listener.setblocking(False)
        return listener

    @staticmethod
    def _server(listener: socket.socket) -> Any:
        """The web server. Who came and how is believed of the trusted proxy alone."""
        proxy = {}
        if settings.TRUSTED_PROXY:
            believed = ["x-forwarded-for", "x-forwarded-proto"]
            proxy = {"trusted_proxy": settings.TRUSTED_PROXY, "trusted_proxy_headers": believed}
        server = create_server(
            get_wsgi_application(),
            sockets=[listener],
            _dispatcher=WebThreads(settings.WEB_THREADS),
            ident=None,
            max_request_body_size=max(2 * settings.SNAPSHOT_MAX_BYTES, settings.OUTPUTS_MAX_BYTES),
            channel_timeout=60,
            connection_limit=MOST_CONNECTIONS,
            asyncore_use_poll=True,  # select() cannot be given so many
            clear_untrusted_proxy_headers=True,
            **proxy,
        )
        server.channel_class = WebChannel
        return server

    def _migrate(self) -> None:
        executor = MigrationExecutor(connections["default"])
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            call_command("migrate", verbosity=0, interactive=False)
        # What a migration that was killed before its end may have lost.
        restore_triggers()
        restore_guards()

    def _first_start(self) -> str:
        """Make what is missing; a path that signs the owner in, once, and "" for one who has a password."""
        owner = ensure_first_start()
        workspace = Workspace.objects.order_by("pk").first()
        if workspace is not None and not workspace.compute_targets.exists():
            create_target(workspace, settings.NODE_TARGETS[0].rpartition("/")[2], by=owner)
        self._make_targets()
        if owner.has_usable_password():
            return ""
        SignInLink.objects.filter(user=owner, used_at=None).delete()
        return reverse("sign-in-link", args=[make_sign_in_link(owner, timedelta(hours=24))])

    @staticmethod
    def _make_targets() -> None:
        """Those that the node is going to serve, so that it cannot end for one that cannot be."""
        try:
            with transaction.atomic():
                for word in settings.NODE_TARGETS:
                    find_or_create_target(word)
        except StudioError as error:
            raise CannotStart(f"STUDIO_TARGETS: {error}") from None

    def _address(self) -> str:
        return settings.PUBLIC_URL or address_of(self.host, self.port)

    def _remember_address(self) -> None:
        try:
            remember_address(self._address())
        except OSError as error:
            raise CannotStart(f"The file {address_file()} cannot be replaced: {error.strerror}.") from None

    def _greet(self, link: str, active: str) -> None:
        address = self._address()
        self.say(f"Studio is at  {address}/")
        if link:
            self.say(f"Sign in with  {address}{link}")
            self.say("              (works once, for a day; another: python manage.py link --user admin)")
        if active:
            self.say(f"Active when Studio stopped: {active}. Looking after them again.")
        self.say("Ctrl-C stops it; runs go on and are taken up at the next start.")

    def _start_node(self) -> None:
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "node", "--parent", str(os.getpid())]
        # A session of its own: a Ctrl-C in the terminal is for this process, which stops the node in order.
        self._node = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603
        # Scripts inherit its limit, and some that use select() cannot have more than 1,024 files.
        resource.prlimit(self._node.pid, resource.RLIMIT_NOFILE, self._most_files)

    def _look_after_node(self) -> int:
        """The signal that came. Until then a node that has ended is started again; its runs survive that."""
        pause = 0.5
        while (number := self._next_signal(pause)) is None:
            if self._node is not None and self._node.poll() is None:
                pause = 0.5
                continue
            how = self._node.returncode if self._node is not None else None
            self.say(f"The node ended unexpectedly (exit code {how}); starting it again.")
            self._start_node()
            pause = min(pause * 2, 10.0)
        return number

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals.put(number)

    def _next_signal(self, within_s: float) -> int | None:
        try:
            return self._signals.get(timeout=within_s)
        except queue.Empty:
            return None

    def _stop(self, server: Any, number: int) -> None:
        try:
            self._see_to_runs(number)
        except DatabaseTrouble as error:
            self.say(f"\nThe database does not answer: {' '.join(str(error).split())}. What runs goes on.")
        self._stop_node()
        server.task_dispatcher.shutdown(timeout=ANSWERS_S)  # to find the server closed is an error for them
        server.close()
        self.say("Studio has stopped.")

    def _see_to_runs(self, number: int) -> None:
        """Say what goes on without Studio, and cancel what runs if somebody asks for it again."""
        if active := self._names_of_active():
            self.say(f"\nActive: {active}. They go on, and are taken up at the next start.")
        if queued := self._queued():
            they = "1 queued run waits" if queued == 1 else f"{queued:,} queued runs wait"
            self.say(f"{they} for the next start, or for another node, whatever happens to those that run.")
        if active and number == signal.SIGINT and self._ctrl_c_again():
            self._cancel()

    def _ctrl_c_again(self) -> bool:
        self.say(f"Press Ctrl-C again within {SECOND_CTRL_C_S:.0f} s to cancel them first.")
        return self._next_signal(SECOND_CTRL_C_S) == signal.SIGINT

    def _active(self) -> RunQuerySet:
        """The runs of this machine."""
        return Run.objects.on_node().filter(node__name=settings.NODE_NAME)

    def _queued(self) -> int:
        """How many runs wait for a slot of this machine."""
        served = Node.objects.filter(name=settings.NODE_NAME).values("target")
        return Run.objects.queued().filter(target__in=served).count()

    def _names_of_active(self) -> str:
        """Those runs in words, "" if there are none."""
        active = list(self._active().select_related("experiment"))
        names = ", ".join(f"{run.experiment.name} #{run.number}" for run in active[:10])
        return f"{names} and {len(active) - 10} more" if len(active) > 10 else names

    def _cancel(self) -> None:
        self.say("Canceling …")
        until = time.monotonic() + settings.GRACE_SECONDS + LET_GO_S
        while time.monotonic() < until and (runs := list(self._active())):
            if self._node is not None and self._node.poll() is None:
                self._node.send_signal(CLAIM_NO_MORE)  # each time, for one that had not been listening yet
            asked = [run for run in runs if run.status != Status.CANCEL_REQUESTED]
            cancel_runs(asked, by=None, why="canceled when Studio was stopped")
            time.sleep(0.1)

    def _stop_node(self) -> None:
        if self._node is None or self._node.poll() is not None:
            return
        self._node.terminate()
        try:
            self._node.wait(LET_GO_S)
        except subprocess.TimeoutExpired:
            self._node.kill()
            self._node.wait()
