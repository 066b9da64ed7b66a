"""How the web server sends an answer: headers together with their body, and nothing behind them to HEAD."""

from __future__ import annotations

from typing import Any

from waitress.channel import HTTPChannel
from waitress.task import WSGITask


class _Answer(WSGITask):
    """Waitress's, which sends headers by themselves, so that whoever asked is woken twice. Files still go so.

    It also ends every answer of unknown length with an empty chunk, one to HEAD too. A client takes those
    bytes for the beginning of what comes next.
    """

    wrote_header: bool

    def build_response_header(self) -> bytes:
        header: bytes = super().build_response_header()
        if self.request.command == "HEAD":
            self.chunked_response = False
        return header

    def write(self, data: bytes) -> None:
        if data and self.complete and not self.wrote_header:
            headers, self.wrote_header = self.build_response_header(), True
            if self.has_body and self.content_length != 0:
                self.channel.hold(headers)
            else:
                self.channel.write_soon(headers)
        super().write(data)


class WebChannel(HTTPChannel):
    """A connection, each of whose requests is answered so."""

    task_class = _Answer
    _held = b""

    def hold(self, headers: bytes) -> None:
        """Send them with what is written next."""
        self._held = headers

    def write_soon(self, data: Any) -> int:
        held, self._held = self._held, b""
        written: int = super().write_soon(held + data if held else data)
        return written
