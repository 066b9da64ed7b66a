"""How a run ends: what is sent before, what the server is told, and what a `with` block does."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from azureml import _run_files
from azureml._translate import translated
from azureml.exceptions import AzureMLException, UserErrorException

if TYPE_CHECKING:
    from studio_client.api import Api
    from studio_client.errors import StudioClientError

    from azureml.core.run import Run

#: How long the end of a run waits for a server that is away.
END_PATIENCE_S = 300.0
#: The part of it that the last output of a block leaves for the end itself.
_FOR_THE_END = 0.1

#: How long a script is waited for that was asked to stop: its grace of 10 s, and what its end takes.
STOPPED_WITHIN_S = 12.0
LOG_OF_BLOCK = "user_logs/std_log.txt"


def enter(run: Run) -> None:
    """A `with` block begins: what it prints goes to the run's log.

    In a submitted script the node sees to that.
    """
    run._entered_in = os.getpid()
    if run._is_context:
        return
    if run._record["status"] == "NotStarted":
        run.start()
    if run._owned:
        from studio_client.capture import OutputCapture

        run._capture = OutputCapture(run._api, run.id, LOG_OF_BLOCK)
        run._capture.start()


def leave(run: Run, error: BaseException | None) -> None:
    """A `with` block ends: Completed, or Failed by an exception, or Canceled by Ctrl-C; ended by hand it
    stays so.

    What is raised in the block is never hidden by trouble with the server. In a fork that comes out of the
    block nothing ends: the run is its parent's.
    """
    if run._entered_in not in (None, os.getpid()):
        run.flush()
        return
    until = time.monotonic() + END_PATIENCE_S
    if isinstance(error, SystemExit) and error.code in (None, 0):
        error = None
    if error is None:
        _stop_capture(run, until)
        _unless_ended(run, "complete", {}, until)
        return
    try:
        _stop_capture(run, until)
        act, content = "cancel", {}
        if not isinstance(error, KeyboardInterrupt):
            act, content = "fail", error_content(error, None)
        _unless_ended(run, act, content, until)
    except Exception as trouble:  # whatever it is, what was raised in the block goes on its way
        why = getattr(trouble, "message", trouble)
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # where warnings are errors, this one would hide the other
            warnings.warn(f"Run {run.id} could not be ended: {why}", stacklevel=3)


def _stop_capture(run: Run, until: float) -> None:
    if run._capture is not None:
        capture, run._capture = run._capture, None
        left = until - time.monotonic() - _FOR_THE_END * END_PATIENCE_S
        capture.stop(max(0.0, left), lambda error: _say_it_waits(run, until, error))


def _unless_ended(run: Run, act: str, content: dict[str, Any], until: float) -> None:
    """End it, unless that was done by hand."""
    from studio_client.records import TERMINAL

    if run._is_context:
        run.complete()
        return
    if _status(run, until) in TERMINAL:
        keep_what_is_left(run, until)
    else:
        end(run, act, content, set_status=True, until=until)


def _status(run: Run, until: float) -> str:
    """Its status now. A server that is away is waited for until then."""
    from studio_client.records import TERMINAL

    if run.status not in TERMINAL:
        run._record = _asked(run, until, lambda api: api.run(run.id))
    return run.status


def _asked(run: Run, until: float, ask: Callable[[Api], Any], patience_s: float | None = None) -> Any:
    """What the server answers. One that is away is waited for until then, once a line on standard error has
    said so; before that it is given the patience of any call, or this.
    """
    from studio_client import errors

    with translated:
        try:
            return ask(run._api if patience_s is None else run._api.patient(patience_s))
        except errors.StudioClientError as error:
            if not errors.is_away(error) or time.monotonic() >= until:
                raise
            _say_it_waits(run, until, error)
        return ask(run._api.patient(max(0.0, until - time.monotonic())))


def _say_it_waits(run: Run, until: float, error: StudioClientError) -> None:
    """Say so, once for each end."""
    from studio_client import sending

    if run._waits_until == until:
        return
    run._waits_until, left = until, until - time.monotonic()
    sending.say(f"run {run.id} has yet to end. It is tried for {left:.0f} s more: {error.message}")


def end(run: Run, act: str, content: dict[str, Any], *, set_status: bool, until: float | None = None) -> None:
    """Send what is left, then tell the server; one that is away is waited for, some minutes at most.

    Inside a submitted script only an error is recorded.
    """
    until = time.monotonic() + END_PATIENCE_S if until is None else until
    keep_what_is_left(run, until)
    if not set_status:
        return
    if run._is_context:
        if act == "fail":
            with translated:
                run._api.act(run.id, act, content)
        return
    _tell(run, act, content, until)


def keep_what_is_left(run: Run, until: float) -> None:
    """Metrics that wait, and the outputs of a run that this process made."""
    if run._is_context:
        run._sender.flush_at_the_end()
    else:
        run.flush(max(0.0, until - time.monotonic()))
    if not (run._owned and run._outputs and os.path.isdir(run._outputs)):
        return

    def keep(name: str, place: str) -> str:
        def put(api: Api) -> None:
            with open(place, "rb") as file:
                api.put_artifact(run.id, name, file, overwrite=True)

        left = max(0.0, until - time.monotonic())
        _asked(run, until, put, min(left, run._api.transport.patience_s))
        return name

    _run_files.upload_all(_run_files.files_below("outputs", run._outputs), keep)


def _tell(run: Run, act: str, content: dict[str, Any], until: float) -> None:
    """Complete, fail or cancel, and wait a bounded time until that has happened."""
    from studio_client import heartbeat
    from studio_client.records import TERMINAL
    from studio_client.streaming import wait_until_ended

    answer = _asked(run, until, lambda api: api.act(run.id, act, content))
    heartbeat.beats.remove(run.id)
    with translated:
        run._record = answer.get("run", answer)
        if run._record["status"] not in TERMINAL:
            run._record = wait_until_ended(run._api, run.id, timeout_s=STOPPED_WITHIN_S)


def cancel(run: Run) -> None:
    """Ask for the run to be stopped. Of itself a submitted script only asks:
    the signal to stop comes from its node.
    """
    if run._is_context:
        run.flush()
        with translated:
            run._api.act(run.id, "cancel")
        return
    until = time.monotonic() + END_PATIENCE_S
    if _status(run, until) == "Canceled":
        return
    if run._owned:
        keep_what_is_left(run, until)
    _tell(run, "cancel", {}, until)
    if run.status in ("Completed", "Failed"):
        raise UserErrorException(f"Run {run.id} has ended {run.status}, so it cannot be canceled.")


def error_content(error_details: Any, error_code: str | None) -> dict[str, Any]:
    """What the server is told of a failure. Raises UserErrorException for details of an unknown kind."""
    if error_code is not None and not isinstance(error_code, str):
        raise UserErrorException(f"error_code is a text, not {error_code!r}.")
    content: dict[str, Any] = {"code": error_code or "UserError"}
    if isinstance(error_details, BaseException):
        name = type(error_details).__name__
        # The text of one of our own is several lines with JSON, for scripts that search it.
        said = error_details.message if isinstance(error_details, AzureMLException) else error_details
        try:
            text = str(said)
        except Exception:  # its own __str__ may fail
            text = f"<unprintable {name} object>"
        content["message"] = f"User program failed with {name}: {text}"
        import traceback

        content["traceback"] = "".join(
            traceback.format_exception(type(error_details), error_details, error_details.__traceback__)
        )
    elif isinstance(error_details, str):
        content["message"] = error_details
    elif error_details is not None:
        raise UserErrorException(
            f"error_details is a text or an exception, not a {type(error_details).__name__}."
        )
    return content


def say(text: str) -> None:
    """A line on standard output, as it comes."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
