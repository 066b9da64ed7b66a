"""How long, and with what word, is waited for a server that is away: for metrics, at the end of a script, and
on the command line.
"""

from __future__ import annotations

import contextlib
import http.server
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from azureml.core import Experiment, Workspace
from azureml.exceptions import ServiceException
from studio_client import spool
from studio_client.api import Api
from studio_client.sender import MetricSender

from tests.sdk.command_line import Shell
from tests.sdk.live import Signed
from tests.sdk.spooling import IN_SILENCE, values
from tests.sdk.test_left_behind import leave_one, silent_server
from tests.sdk.wire import Wire

Start = Callable[..., "subprocess.Popen[str]"]


@contextlib.contextmanager
def busy_once(wire: Wire, after: str) -> Iterator[list[float]]:
    """The wire leads to one that says 429 and when to come back, and from then on where it led before; when
    that was said.
    """
    said: list[float] = []
    back = wire.leads_to

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(429)
            self.send_header("Retry-After", after)
            self.send_header("Content-Length", "0")
            said.append(time.monotonic())
            wire.from_now_on(back)
            self.end_headers()

        do_GET = do_POST = answer

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        wire.lead_to(server.server_address[1])
        yield said
        server.shutdown()


@pytest.mark.parametrize("in_background", [True, False])
def test_metrics_come_again_when_the_server_has_asked_them_to(
    sender: MetricSender, wire: Wire, api: Api, run_id: str, in_background: bool
) -> None:
    with busy_once(wire, "2") as said:
        sender.add("m", 1)
        if in_background:
            assert not sender.send_in_background()
        assert sender.flush(60)
        (when,) = said
        assert time.monotonic() - when >= 2.0
    assert values(api, run_id) == {"m": 1}


def test_a_flush_ends_in_its_time_whatever_the_server_asks_for(sender: MetricSender, wire: Wire) -> None:
    with busy_once(wire, "3600"):
        sender.add("m", 1)
        begin = time.monotonic()
        sender.flush(1.0)
        assert time.monotonic() - begin < 20.0


def test_the_metrics_of_all_runs_below_are_waited_for_together(
    attached: Path,
    wire: Wire,
    signed_in: Signed,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("STUDIO_URL", wire.url)
    monkeypatch.setattr(spool, "FLUSH_S", 1.5)
    exp = Experiment(Workspace.from_config(), "patience")
    exp._api.transport.patience_s = 0.2
    run, other = (exp.start_logging(snapshot_directory=None, outputs=None) for _ in range(2))
    family = [run, *run.create_children(5)]
    wire.cut()
    for one in [*family, other]:
        one.log("m", 1)
    begin = time.monotonic()
    with pytest.raises(ServiceException, match="does not answer"):
        run.get_metrics(recursive=True)
    assert 1.4 < time.monotonic() - begin < 6.0
    told = re.findall("1 metrics of run (.*) are not sent yet", capsys.readouterr().err)
    assert told == [one.id for one in family]
    wire.mend()
    assert run.get_metrics(recursive=True) == {one.id: {"m": 1} for one in family}
    other.complete()
    run.complete()


def test_when_the_time_is_up_a_silent_server_is_asked_no_more(start: Start) -> None:
    with silent_server() as (url, _):
        process = start(
            IN_SILENCE + "spool.FLUSH_S = 1.0\n"
            "senders = [sender, *(spool.sender_for(sender.api, f'run {n}') for n in range(30))]\n"
            "for one in senders:\n    one.add('m', 1)\n"
            "begin = time.monotonic()\nspool.pump.flush_below(sender)\n"
            "print(time.monotonic() - begin, flush=True)\nos._exit(0)\n",
            url,
        )
        out, said = process.communicate(timeout=120)
    assert float(out) < 15.0
    assert said.count("are not sent yet") == 31


@pytest.mark.parametrize("how", ["gone", "silent"])
def test_the_end_of_a_script_says_what_it_waits_for_and_ctrl_c_ends_that(
    start: Start, wire: Wire, api: Api, run_id: str, how: str
) -> None:
    with silent_server() as (silent, _):
        real = wire.leads_to
        if how == "gone":
            wire.cut()
        else:
            wire.lead_to(int(silent.rpartition(":")[2]))
        process = start("for number in range(1200):\n    sender.add('m', number)\n", wire.url)
        assert process.stderr is not None
        line = process.stderr.readline()
        assert re.fullmatch(
            f"studio: 1,200 metrics wait for the server at {wire.url}; waiting up to 5\\d s more\\. "
            "Ctrl-C leaves them for `studio sync`\\.\n",
            line,
        )
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=30)
    assert process.returncode == 0
    assert rest.startswith("studio: not all metrics are sent; they are kept in ")
    assert rest.count("\n") == 1
    wire.lead_to(real)
    wire.mend()
    process = start("spool.pump.serve(sender.api)\nsender.flush(60)\n", wire.url)
    assert process.communicate(timeout=60)[1] == ""
    assert values(api, run_id) == {"m": [*range(1200)]}


def test_an_end_that_waits_for_nothing_says_nothing(start: Start) -> None:
    process = start("sender.add('m', 1)\nspool._SILENCE_S = 20.0\n")
    begin = time.monotonic()
    assert process.communicate(timeout=60)[1] == ""
    assert time.monotonic() - begin < 20.0


def test_the_command_line_says_that_it_waits_for_a_silent_server(studio: Shell) -> None:
    with silent_server() as (url, _):
        studio.env = {"STUDIO_URL": url}
        leave_one(url, "a run", "person:admin")
        for line in ("studio run list -w default -e x", "studio account show", "studio sync"):
            with studio.start(line) as process:
                try:
                    assert process.stderr is not None
                    assert process.stderr.readline() == f"Waiting for the server at {url} ...\n"
                    process.send_signal(signal.SIGINT)
                    process.communicate(timeout=30)
                finally:
                    process.kill()  # if it has not ended
            assert process.returncode == 130
