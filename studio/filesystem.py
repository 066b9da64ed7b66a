"""Celery's filesystem broker with every file appearing whole.

Kombu's own transport writes a message into a file that readers can see already: one that is quick finds it
empty, loses the message, and its worker ends with a JSONDecodeError (seen with kombu 5.7.0 under load). Here
each file is written beside its place and moved there in one step; the same for the table of bindings.

The transport option `message_life_s` says after how long a message is dropped, whoever it was for: nobody may
listen to its queue, and every poll lists the messages of all queues.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from time import time_ns
from typing import Any
from uuid import uuid4

from kombu.transport import TRANSPORT_ALIASES, filesystem, virtual
from kombu.transport.filesystem import exchange_queue_t
from kombu.utils.encoding import bytes_to_str, str_to_bytes
from kombu.utils.json import dumps, loads

logger = logging.getLogger("studio.broker")

TURN_S = 0.25
Bindings = list[exchange_queue_t]


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid4()}")
    draft.write_bytes(str_to_bytes(dumps(content)))
    os.replace(draft, path)


class Channel(filesystem.Channel):
    """The same folders and file names as kombu's, other ways of writing and taking."""

    def _size(self, queue: str) -> int:
        return len(self._names(queue))

    def _purge(self, queue: str) -> int:
        names = self._names(queue)
        for name in names:
            (Path(self.data_folder_in) / name).unlink(missing_ok=True)
        return len(names)

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:  # type: ignore[override]
        name = f"{time_ns() // 1_000_000}_{uuid4()}.{queue}.msg"
        _write(Path(self.data_folder_out) / name, message)

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        """The oldest message; renaming it is what takes it, so one taker wins. Raises Empty."""
        folder = Path(self.data_folder_in)
        for name in self._names(queue):
            taken = folder / f".{name}"
            try:
                os.rename(folder / name, taken)
                content = taken.read_bytes()
                taken.unlink()
            except FileNotFoundError:  # another worker was quicker
                continue
            try:
                return loads(bytes_to_str(content))
            except ValueError:
                logger.warning("message %s cannot be read and is left out", name)
        raise Empty

    def _names(self, queue: str) -> list[str]:
        """The messages of one queue, the oldest first; what is too old is removed, of every queue."""
        folder = Path(self.data_folder_in)
        life_s = self.transport_options.get("message_life_s")
        oldest = time_ns() // 1_000_000 - life_s * 1_000 if life_s else 0
        found = []
        try:
            names = os.listdir(folder)
        except FileNotFoundError:
            return []
        for name in names:
            sent = name.lstrip(".").partition("_")[0]  # a dot is before what a crash left half taken
            if sent.isdecimal() and int(sent) < oldest:
                (folder / name).unlink(missing_ok=True)
            elif name.partition(".")[2] == f"{queue}.msg":
                found.append(name)
        return sorted(found)

    def get_table(self, exchange: str) -> Bindings:
        """The queues bound to an exchange."""
        try:
            table = loads(self._exchange_file(exchange).read_text())
        except (FileNotFoundError, ValueError):
            return []
        return [exchange_queue_t(*binding) for binding in table]

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        binding = exchange_queue_t(routing_key or "", pattern or "", queue or "")
        self._rebind(exchange, lambda table: table if binding in table else [binding, *table])

    def _delete(
        self, queue: str, exchange: str, routing_key: str, pattern: str, *args: Any, **kwargs: Any
    ) -> None:
        self._purge(queue)
        binding = exchange_queue_t(routing_key or "", pattern or "", queue or "")
        self._rebind(exchange, lambda table: [other for other in table if other != binding])

    def _rebind(self, exchange: str, change: Callable[[Bindings], Bindings]) -> None:
        with self._changing():
            before = self.get_table(exchange)
            after = change(before)
            if after != before:
                _write(self._exchange_file(exchange), after)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        self.control_folder.mkdir(parents=True, exist_ok=True)
        with (self.control_folder / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


class Transport(filesystem.Transport):
    """`filesystem://` with the channel above. What is bound is known per connection, not for all folders."""

    Channel = Channel

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self.state = virtual.BrokerState()

    def drain_events(  # type: ignore[override]
        self, connection: Any, timeout: float | None = None
    ) -> None:
        """As kombu's, in shorter turns: a worker looks between them whether it is to stop."""
        super().drain_events(connection, timeout=TURN_S if timeout is None else min(timeout, TURN_S))


def install() -> None:
    """Make `filesystem://` mean this transport in this process."""
    TRANSPORT_ALIASES["filesystem"] = f"{__name__}:Transport"
