"""What the web server puts around an answer: nothing behind the headers of one to HEAD."""

from __future__ import annotations

from waitress.channel import HTTPChannel
from waitress.task import WSGITask


class _Answer(WSGITask):
    """Waitress's, which ends every answer of unknown length with an empty chunk, one to HEAD too.

    A client takes those bytes for the beginning of what comes next.
    """

    def build_response_header(self) -> bytes:
        header: bytes = super().build_response_header()
        if self.request.command == "HEAD":
            self.chunked_response = False
        return header


class WebChannel(HTTPChannel):
    """A connection, each of whose requests is answered so."""

    task_class = _Answer
