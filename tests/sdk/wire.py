"""A piece of network between a client and a server that can be cut, and can lose answers."""

from __future__ import annotations

import contextlib
import socket
import threading
import time


class Wire:
    """Hands on to `port` what comes in at `url`."""

    def __init__(self, port: int) -> None:
        self.leads_to = port
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: set[socket.socket] = set()
        self._is_cut = False
        self._answers_to_lose = 0
        self.lost = 0
        self.pause_s = 0.0  # after each piece that goes to the server
        self.seen = bytearray()  # what went to the server
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """From now on every connection breaks."""
        self._is_cut = True
        self._break()

    def mend(self) -> None:
        """As before."""
        self._is_cut = False

    def lead_to(self, port: int) -> None:
        """From now on somebody else answers."""
        self.from_now_on(port)
        self._break()

    def from_now_on(self, port: int) -> None:
        """Connections to come lead there; those that are open stay."""
        self.leads_to = port

    def lose_answers(self, count: int) -> None:
        """The next answers do not arrive: the server did what it was asked, and the connection breaks."""
        self._answers_to_lose = count

    def close(self) -> None:
        """For good."""
        self.cut()
        self._listener.close()

    def _break(self) -> None:
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(here,), daemon=True).start()

    def _carry(self, here: socket.socket) -> None:
        with here, socket.socket() as there:
            if self._is_cut:
                return
            there.connect(("127.0.0.1", self.leads_to))
            self._open |= {here, there}
            if not self._is_cut:  # from here on `cut` finds them
                back = threading.Thread(target=self._hand_on, args=(there, here, True), daemon=True)
                back.start()
                self._hand_on(here, there, False)
                back.join()
            self._open -= {here, there}

    def _hand_on(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if is_answer and self._answers_to_lose:
                    self._answers_to_lose -= 1
                    self.lost += 1
                    break
                if not is_answer:
                    self.seen += data
                    time.sleep(self.pause_s)
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
