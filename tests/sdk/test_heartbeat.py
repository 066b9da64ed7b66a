"""Signs of life of interactive runs, against a real Studio."""

from __future__ import annotations

import socket
import time
import uuid

import pytest
from studio_client.api import Api
from studio_client.config import Login
from studio_client.heartbeat import ANSWER_S, Heartbeat
from studio_client.transport import Transport

from tests.fixtures.processes import wait_until
from tests.sdk.live import Signed, studio_command


def test_a_server_that_hangs_delays_no_other_and_many_runs_none(api: Api, run_id: str) -> None:
    """One after the other this would take as long as all that hang together."""
    first = api.run(run_id)["heartbeat_at"]
    beats = Heartbeat(every_s=0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        nowhere = Api(Transport(Login(f"http://127.0.0.1:{silent.getsockname()[1]}", "x", "a test")))
        hanging = [f"hangs-{number}" for number in range(3)]
        for other in hanging:
            beats.add(nowhere, other)
        beats.add(api, run_id)
        begin = time.monotonic()
        wait_until(lambda: api.run(run_id)["heartbeat_at"] != first)
        assert time.monotonic() - begin < len(hanging) * ANSWER_S
        for other in (*hanging, run_id):
            beats.remove(other)


def test_a_slow_sign_of_life_is_not_sent_twice_at_a_time(api: Api, run_id: str) -> None:
    beats = Heartbeat(every_s=0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(0)
        beats.add(Api(Transport(Login(f"http://127.0.0.1:{silent.getsockname()[1]}", "x", "a test"))), "slow")
        beats.add(api, run_id)
        seen: set[str] = set()
        begin = time.monotonic()
        wait_until(lambda: seen.add(api.run(run_id)["heartbeat_at"]) or len(seen) > 3)
        assert time.monotonic() - begin < ANSWER_S
        asked, _ = silent.accept()
        with asked, pytest.raises(BlockingIOError):
            silent.accept()
        beats.remove("slow")
        beats.remove(run_id)


def test_an_error_of_any_kind_ends_no_signs_of_life(
    api: Api, run_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = api.run(run_id)["heartbeat_at"]
    beats = Heartbeat(every_s=0.1)
    login = Login(api.url, "x", "a test")
    login.url = "http://127.0.0.1:99999"
    beats.add(Api(Transport(login)), "never-sent")
    beats.add(api, run_id)
    wait_until(lambda: caplog.text.count("a sign of life could not be sent") > 1)
    wait_until(lambda: api.run(run_id)["heartbeat_at"] != first)
    beats.remove("never-sent")
    beats.remove(run_id)


def test_every_run_whose_signs_of_life_are_refused_is_named(
    api: Api, run_id: str, signed_in: Signed, capsys: pytest.CaptureFixture[str]
) -> None:
    token = studio_command(signed_in.studio, "token", "--user", "admin", "--name", "beats").splitlines()[-1]
    code = "from studio.accounts.models import ApiToken; ApiToken.objects.filter(name='beats').delete()"
    studio_command(signed_in.studio, "shell", "-c", code)
    nobody = Api(Transport(Login(signed_in.url, token, "a test")))
    other = str(api.start_run("default", "spool", str(uuid.uuid4()))["run_id"])
    beats = Heartbeat(every_s=0.1)
    said = ""

    def both_are_named() -> bool:
        nonlocal said
        said += capsys.readouterr().err
        return f"run {run_id}: its signs" in said and f"run {other}: its signs" in said

    beats.add(nobody, run_id)
    beats.add(nobody, other)
    wait_until(both_are_named)
    beats.remove(run_id)
    beats.remove(other)
    assert said.count("so it will fail") == 2


def test_a_run_that_has_ended_or_is_gone_gets_no_more(
    api: Api, run_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "studio_client.heartbeat")
    beats = Heartbeat(every_s=0.1)
    beats.add(api, "no-such-run")
    beats.add(api, run_id)
    api.act(run_id, "complete")
    wait_until(lambda: not beats._runs)
    assert caplog.text.count("needs no more signs of life") == 2
