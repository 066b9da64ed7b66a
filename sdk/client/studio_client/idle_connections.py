"""Connections that are kept open between requests."""

from __future__ import annotations

import http.client
import os
import socket
import ssl


class IdleConnections:
    """Open connections that nobody uses at the moment. A forked process begins without any."""

    def __init__(self) -> None:
        self._connections: list[http.client.HTTPConnection] = []
        self._pid = os.getpid()

    def take(self) -> http.client.HTTPConnection | None:
        """One that is still open on both sides, for the caller alone; None if there is none."""
        if self._pid != os.getpid():
            self.close()
            self._pid = os.getpid()
        while True:
            try:
                kept = self._connections.pop()
            except IndexError:
                return None
            if kept.sock is not None and not _has_ended(kept.sock):
                return kept
            kept.close()

    def give(self, connection: http.client.HTTPConnection) -> None:
        """Keep it for the next request, unless the server has closed it."""
        if connection.sock is not None:
            self._connections.append(connection)

    def close(self) -> None:
        """Close them all."""
        while self._connections:
            self._connections.pop().close()


def _has_ended(sock: socket.socket) -> bool:
    """Whether the other side has closed a connection that was kept:
    then there is something to read, namely its end.
    """
    timeout = sock.gettimeout()
    try:
        sock.settimeout(0)
        sock.recv(1, socket.MSG_PEEK)
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except (OSError, ValueError):  # ValueError: TLS takes no flags, and then nothing is known
        return not isinstance(sock, ssl.SSLSocket)
    finally:
        sock.settimeout(timeout)
    return True
