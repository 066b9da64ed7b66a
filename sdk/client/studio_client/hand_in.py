"""`python -m studio_client.hand_in`: hand over what a script has left in the folder of STUDIO_SPOOL_DIR.

The node of a submitted run calls it when the script has ended, and stores what it gets: the web server may be
away then. Each batch is a line on standard output, answered by a line on standard input:

    "run id" <tab> {"writer": …, "seq": …, "series": […]}
    {"status": 200}    or what the API answers when it refuses:    {"status": 422, "error": {…}}

So is each image, by its path among the files of the run and the place where it lies:

    "run id" <tab> {"path": …, "file": …}

The last line has an empty run id, and a list of sentences that say what came of it.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import IO, Any

from studio_client import config
from studio_client.api import Api
from studio_client.errors import StudioClientError, refusal
from studio_client.sending import send_next
from studio_client.spool_folder import Spool, left_behind
from studio_client.transport import Transport

#: What the node takes in one batch, like the API.
MOST_BYTES = 64 << 20
MOST_SENTENCES = 20


class _Node(Api):
    """The node, in the place of the server."""

    def send_metrics(
        self, run_id: str, batch: bytes, *, patience_s: float | None = None, timeout_s: float = 60.0
    ) -> dict[str, Any]:
        """Hand over one batch. Raises Refused, and EOFError if the node is gone."""
        if len(batch) > MOST_BYTES:
            raise refusal(413, {"error": {"message": f"It has more than {MOST_BYTES >> 20} MiB."}})
        return _ask(run_id, batch)

    def put_artifact(
        self, run_id: str, path: str, file: IO[bytes], *, overwrite: bool = False, timeout_s: float = 600.0
    ) -> None:
        """Hand over one image. Raises Refused, and EOFError if the node is gone."""
        _ask(run_id, json.dumps({"path": path, "file": str(file.name)}).encode())

    def patient(self, patience_s: float) -> Api:
        """The same: a node is never away."""
        return self


def main() -> None:
    """Hand over spool after spool. Whatever is refused stays."""
    node = _Node(Transport(config.resolve()))
    entries, sentences, said = 0, [], io.StringIO()
    with contextlib.redirect_stderr(said):
        for folder, _ in left_behind():
            sent, problem = _hand_over(node, folder)
            entries += sent
            if problem:
                sentences.append(f"Metrics that the script had left could not be stored: {problem}")
    if entries:
        sentences.insert(0, f"{entries} metrics that the script had left were sent.")
    sentences += said.getvalue().splitlines()
    _write("", json.dumps(sentences[:MOST_SENTENCES]).encode())


def _hand_over(node: _Node, folder: Path) -> tuple[int, str]:
    """How many entries of a spool were stored, and why others were not.

    The node knows its runs by their ids, whatever address its server had when they were started.
    """
    try:
        spool = Spool.take(folder)
    except ValueError as error:
        return 0, str(error)
    if spool is None:
        return 0, "a process still has them."
    try:
        while send_next(node, spool):
            pass
    except (StudioClientError, ValueError, KeyError, OSError) as error:
        spool.close()
        return spool.sent, str(error)
    spool.delete()
    return spool.sent, ""


def _ask(run_id: str, content: bytes) -> dict[str, Any]:
    _write(run_id, content)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    answer: dict[str, Any] = json.loads(line)
    if answer["status"] != 200:
        raise refusal(answer["status"], answer)
    return answer


def _write(run_id: str, content: bytes) -> None:
    sys.stdout.buffer.write(b"%s\t%s\n" % (json.dumps(run_id).encode(), content))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
