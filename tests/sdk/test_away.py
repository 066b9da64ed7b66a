"""What a run does while its server is away: its end waits, and what was raised in its block is not hidden."""

from __future__ import annotations

import contextlib
import http.server
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from traceback import TracebackException

import pytest
from azureml import _life_of_run
from azureml.core import Experiment, Run, Workspace
from azureml.exceptions import AzureMLException, ServiceException
from studio_client import spool
from studio_client.api import Api
from studio_client.config import Login
from studio_client.streaming import follow, wait_until_ended
from studio_client.transport import Transport

from tests.sdk.live import Signed
from tests.sdk.spooling import values
from tests.sdk.wire import Wire

AWAY_S = 2.0


@pytest.fixture
def exp(attached: Path, wire: Wire, signed_in: Signed, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """Over the wire, with less patience for single calls than the server is away."""
    monkeypatch.setenv("STUDIO_URL", wire.url)
    made = Experiment(Workspace.from_config(), "away")
    made._api.transport.patience_s = AWAY_S / 10
    return made


@pytest.fixture
def go_away(wire: Wire) -> Iterator[Callable[[], None]]:
    """Cuts the wire, and mends it a while later."""
    mending = threading.Timer(AWAY_S, wire.mend)

    def go() -> None:
        wire.cut()
        mending.start()

    yield go
    mending.cancel()


@contextlib.contextmanager
def in_its_place(answer_status: int) -> Iterator[int]:
    """The port of one that answers everything with this status and a page."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            page = b"<html>Sign in to this network.</html>"
            self.send_response(answer_status)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        do_GET = do_POST = do_PUT = do_PATCH = answer

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def portal() -> Iterator[int]:
    """The port of one that answers everything with 200 and a page to sign in."""
    with in_its_place(200) as port:
        yield port


def seen(run: Run, signed_in: Signed, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The run as the server has it."""
    monkeypatch.setenv("STUDIO_URL", signed_in.url)
    return Run(Experiment(Workspace.from_config(), "away"), run.id).get_details_with_logs()


def boom(run: Run) -> None:
    """Leave a block by an exception."""
    with run:
        raise LookupError("boom")


@pytest.mark.parametrize(
    ("act", "status"), [(Run.complete, "Completed"), (Run.fail, "Failed"), (Run.cancel, "Canceled")]
)
@pytest.mark.parametrize("metrics", [0, 3])
def test_an_end_by_hand_waits_for_the_server(
    exp: Experiment,
    go_away: Callable[[], None],
    signed_in: Signed,
    monkeypatch: pytest.MonkeyPatch,
    attached: Path,
    act: Callable[[Run], None],
    status: str,
    metrics: int,
) -> None:
    run = exp.start_logging(snapshot_directory=None)
    (attached / "outputs" / "model.txt").write_text("m")
    go_away()
    for number in range(metrics):
        run.log("a", number)
    act(run)
    assert run.status == status
    assert seen(run, signed_in, monkeypatch)["status"] == status
    assert run.get_file_names() == ["outputs/model.txt"]


@pytest.mark.parametrize("metrics", [0, 3])
def test_leaving_a_block_waits_for_the_server(
    exp: Experiment,
    go_away: Callable[[], None],
    signed_in: Signed,
    monkeypatch: pytest.MonkeyPatch,
    metrics: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with exp.start_logging(snapshot_directory=None, outputs=None) as run:
        go_away()
        print("the last line")
        for number in range(metrics):
            run.log("a", number)
    details = seen(run, signed_in, monkeypatch)
    assert (run.status, details["status"]) == ("Completed", "Completed")
    assert details["logFiles"] == {"user_logs/std_log.txt": "the last line\n"}
    (line,) = capsys.readouterr().err.splitlines()  # the last output was waited for, and then it was there
    assert line.startswith(f"studio: run {run.id} has yet to end. It is tried for ")


def test_a_block_that_fails_while_the_server_is_away_ends_failed(
    exp: Experiment,
    go_away: Callable[[], None],
    signed_in: Signed,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = exp.start_logging(snapshot_directory=None, outputs=None)
    go_away()
    with pytest.raises(LookupError, match="boom"):
        boom(run)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"studio: run {run.id} has yet to end. It is tried for ")
    assert seen(run, signed_in, monkeypatch)["status"] == "Failed"


def test_what_is_raised_in_a_block_is_not_hidden_by_a_server_that_stays_away(
    exp: Experiment, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = exp.start_logging(snapshot_directory=None, outputs=None)
    monkeypatch.setattr(_life_of_run, "END_PATIENCE_S", 0.5)
    wire.cut()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("error")
        with pytest.raises(LookupError, match="boom"):
            boom(run)
    assert "could not be ended" in str(warned[-1].message)
    with pytest.raises(ServiceException, match="does not answer"):
        run.complete()
    wire.mend()
    run.complete()


def test_a_page_to_sign_in_to_the_network_is_outlasted(
    exp: Experiment, wire: Wire, portal: int, signed_in: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = threading.Timer(AWAY_S, wire.lead_to, (signed_in.studio.port,))
    with exp.start_logging(snapshot_directory=None, outputs=None) as run:
        wire.lead_to(portal)
        back.start()
        print("the last line")
        run.log("a", 1.5)
        with pytest.raises(ServiceException, match="is no Studio"):
            run.get_status()
    details = seen(run, signed_in, monkeypatch)
    assert (run.get_metrics(), details["status"]) == ({"a": 1.5}, "Completed")
    assert details["logFiles"] == {"user_logs/std_log.txt": "the last line\n"}


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_proxy_whose_server_is_away_is_outlasted(
    exp: Experiment, wire: Wire, signed_in: Signed, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    good = exp.start_logging(snapshot_directory=None, outputs=None)
    bad = exp.start_logging(snapshot_directory=None, outputs=None)
    with in_its_place(status) as port:
        for run, ends in ((good, "Completed"), (bad, "Failed")):
            wire.lead_to(port)
            back = threading.Timer(AWAY_S, wire.lead_to, (signed_in.studio.port,))
            with contextlib.suppress(LookupError), run:
                back.start()
                if run is bad:
                    raise LookupError("boom")
            assert seen(run, signed_in, monkeypatch)["status"] == ends


def test_waiting_for_a_run_outlasts_a_proxy_whose_server_is_away(
    exp: Experiment, wire: Wire, signed_in: Signed
) -> None:
    run = exp.start_logging(snapshot_directory=None, outputs=None)
    run.complete()
    with in_its_place(502) as port:
        wire.lead_to(port)
        threading.Timer(AWAY_S, wire.lead_to, (signed_in.studio.port,)).start()
        assert wait_until_ended(run._api, run.id)["status"] == "Completed"
        assert list(follow(run._api, run.id, tell=print)) == []


def test_all_outputs_together_are_waited_for_as_long_as_one(
    exp: Experiment,
    wire: Wire,
    attached: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    patience_s, files = 1.0, 12
    monkeypatch.setattr(_life_of_run, "END_PATIENCE_S", patience_s)
    run = exp.start_logging(snapshot_directory=None)
    for number in range(files):
        (attached / "outputs" / f"{number}.txt").write_text("m")
    wire.cut()
    began = time.monotonic()
    with pytest.raises(AzureMLException):
        run.complete()
    assert time.monotonic() - began < files * patience_s / 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"studio: run {run.id} has yet to end. It is tried for ")


def test_a_block_that_printed_says_that_it_waits(
    exp: Experiment, wire: Wire, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_life_of_run, "END_PATIENCE_S", 2.0)
    run = exp.start_logging(snapshot_directory=None, outputs=None)
    run.__enter__()
    wire.cut()
    print("the last line")
    with pytest.raises(ServiceException, match="does not answer"):
        run.__exit__(None, None, None)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"studio: run {run.id} has yet to end. It is tried for ")


def test_metrics_wait_behind_a_page_to_sign_in_and_one_line_says_so(
    start: Callable[..., subprocess.Popen[str]], api: Api, wire: Wire, portal: int, run_id: str
) -> None:
    process = start(
        "spool.EVERY_S = 0.05\nspool.EXIT_PATIENCE_S = 0.5\nsender.add('a', 0.0)\n"
        "assert sender.flush(60)\nprint('sent', flush=True)\nsys.stdin.readline()\n"
        "sender.add('a', 1.0)\ntime.sleep(2)\nprint(sender.waiting(), sender.flush(1), flush=True)\n",
        wire.url,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "sent\n"
    wire.lead_to(portal)
    out, said = process.communicate("\n", timeout=60)
    assert out == "1 False\n"
    (line,) = said.splitlines()
    assert f"1 metrics of run {run_id} are not sent yet: What answers at {wire.url} (status 200)" in line
    wire.lead_to(int(api.url.rpartition(":")[2]))
    login = Login(wire.url, api.transport.login.token, "a test")
    assert [one.entries for one in spool.send_left_behind(Api(Transport(login)))] == [1]
    assert values(api, run_id) == {"a": [0.0, 1.0]}


def test_what_was_not_fetched_is_shown_without_waiting_for_the_server(
    exp: Experiment, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = {"AZUREML_RUN_ID": "never_made", "AZUREML_ARM_PROJECT_NAME": "away"}
    for name, value in {**unknown, "AZUREML_RUN_TOKEN": "t", "AZUREML_ARM_WORKSPACE_NAME": "default"}.items():
        monkeypatch.setenv(name, value)
    run = Run.get_context()
    short = "Run(Experiment: away,\nId: never_made)"
    assert repr(run) == short
    workspace = "Workspace.create(name='default', subscription_id='', resource_group='')"
    assert repr(run.experiment.workspace) == workspace
    run._api.transport.patience_s = 60
    began = time.monotonic()
    wire.cut()
    assert repr(run) == short
    assert repr(run.experiment.workspace) == workspace
    assert time.monotonic() - began < 10


def test_what_could_not_be_made_is_shown_in_a_traceback(exp: Experiment) -> None:
    making: list[Callable[[], object]] = [
        lambda: Run(exp, "never_made"),
        lambda: Run("no experiment", "id"),  # type: ignore[arg-type]
        lambda: Workspace("", "", "never-made"),
        lambda: Workspace("", "", ""),
    ]
    for make in making:
        with pytest.raises(AzureMLException) as refused:
            make()
        shown = "".join(TracebackException.from_exception(refused.value, capture_locals=True).format())
        assert "self = " in shown
        assert "repr() failed" not in shown
