"""Storing the metrics, with their images, that a script had no time to send, when its node finishes it; asks
no web server.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from typing import Any

from django.db import DataError

from runs.errors import InvalidInput, NotFound, StaleAttempt, StudioError
from runs.execution import launch
from runs.execution.folder import RunFolder
from runs.lifecycle import descends, subtree
from runs.models import Run
from runs.script_environment import SDK, run_environment
from runs.services.artifact_uploads import put_artifact
from runs.services.metric_batches import BatchIn, parse_batch, series_of
from runs.services.metrics import write_metrics

#: How long the SDK may be silent, which reads files only.
SILENCE_S = 60
#: How what it says of an image begins.
_IMAGE = b'{"path": '


def hand_in_metrics(run: Run, folder: RunFolder) -> list[str]:
    """Store what the script has left in its spool; what came of it, in sentences. Can be repeated.

    What is refused, such as that of another server's runs, stays in the folder. Raises OSError when the SDK,
    which reads the spool in a process of its own, does not do its work.
    """
    if not folder.holds_metrics:
        return []
    environment = launch.build_env(
        os.environ, run_env=run_environment(run, folder), user_env={}, python_path=SDK
    )
    with tempfile.TemporaryFile() as said:
        reader = subprocess.Popen(
            [sys.executable, "-m", "studio_client.hand_in"],
            env=environment,
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
        )
        try:
            return _store_all(run, reader)
        except EOFError:
            reader.wait(SILENCE_S)
            said.seek(0)
            last = said.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise OSError(f"The process that reads them ended. {last}".strip()) from None
        finally:
            reader.kill()
            reader.communicate()


def _store_all(run: Run, reader: subprocess.Popen[bytes]) -> list[str]:
    """Answer each batch and image, until the SDK says what came of it."""
    assert reader.stdin is not None
    while True:
        name, _, content = _line(reader).partition(b"\t")
        run_id = json.loads(name)
        if not run_id:
            return [str(sentence) for sentence in json.loads(content)]
        reader.stdin.write(json.dumps(_answer(run, run_id, content)).encode() + b"\n")
        reader.stdin.flush()


def _line(reader: subprocess.Popen[bytes]) -> bytes:
    """The next line; the one before has been answered since, so none is in the buffer yet.

    Raises EOFError when the process has ended.
    """
    assert reader.stdout is not None
    poll = select.poll()
    poll.register(reader.stdout, select.POLLIN)
    if not poll.poll(SILENCE_S * 1_000):
        raise TimeoutError(f"The process that reads them said nothing for {SILENCE_S} s.")
    line = reader.stdout.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    return line


def _answer(run: Run, run_id: str, content: bytes) -> dict[str, Any]:
    """Store a batch or an image; what the API would have answered."""
    try:
        if content.startswith(_IMAGE):
            _store_image(_writable(run, run_id), json.loads(content), run)
        else:
            _store_batch(_writable(run, run_id, upwards=True), parse_batch(content), run)
    except StudioError as error:
        status = 422 if isinstance(error, InvalidInput) else 404 if isinstance(error, NotFound) else 409
        detail = {"code": error.code, "message": error.message, "field": error.field}
        return {"status": status, "error": detail}
    except DataError as error:  # trying again would not help, as it does with other errors of the database
        return {"status": 500, "error": {"message": str(error)}}
    return {"status": 200}


def _store_batch(target: Run, batch: BatchIn, run: Run) -> None:
    attempt = run.attempt if target.pk == run.pk else None
    write_metrics(target, series_of(batch), writer=batch.writer, seq=batch.seq, attempt=attempt)


def _store_image(target: Run, image: dict[str, str], run: Run) -> None:
    if target.pk == run.pk and not Run.objects.filter(pk=run.pk, attempt=run.attempt).exists():
        raise StaleAttempt("Another attempt of this run has begun, and this image is not its own.")
    with open(image["file"], "rb") as file:
        put_artifact(target, image["path"], file, by=None)


def _writable(run: Run, run_id: str, *, upwards: bool = False) -> Run:
    """The run, or one that descends from it; upwards also one that it descends from. Raises NotFound."""
    if run_id == run.run_id:
        return run
    found = Run.objects.filter(run_id=run_id).first()
    if found is None or not (found.pk in subtree(run.pk) or (upwards and descends(run, found))):
        raise NotFound(f"{run_id[:256]} is {'no parent and ' if upwards else ''}no child of this run.")
    return found
