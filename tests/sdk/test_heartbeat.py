"""Signs of life of interactive runs, against a real Studio."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Sequence

import pytest
from studio_client.api import Api
from studio_client.config import Login
from studio_client.heartbeat import ANSWER_S, Heartbeat
from studio_client.transport import Transport

from tests.fixtures.processes import wait_until
from tests.sdk.live import Signed, studio_command


class OlderServer(Api):
    """Speaks to a server that has no address for many runs."""

    def beat_all(self, run_ids: Sequence[str], *, timeout_s: float = 10.0) -> list[str]:
        self._send("POST", "/many-heartbeats", json_body={"run_ids": run_ids}, patience_s=0)
        raise AssertionError("nothing is there")


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


def children_of(api: Api, run_id: str, count: int) -> list[str]:
    """Child runs that are Running, and want signs of life."""
    return [str(child["run_id"]) for child in api.make_children(run_id, [{} for _ in range(count)])]


def test_many_runs_share_a_request(api: Api, run_id: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "studio_client.transport")
    beats = Heartbeat(every_s=0.2)
    beats._runs = dict.fromkeys([run_id, *children_of(api, run_id, 60)], api)
    first = {one["run_id"]: one["heartbeat_at"] for one in (api.run(run_id), *api.children(run_id))}
    caplog.clear()
    beats._beat_for_all()
    assert [line.split(":")[0] for line in caplog.messages if "heartbeat" in line] == [
        "POST /api/v1/heartbeats"
    ]
    now = {one["run_id"]: one["heartbeat_at"] for one in (api.run(run_id), *api.children(run_id))}
    assert len(now) == 61
    assert all(now[one] > first[one] for one in now)


def test_a_server_that_takes_them_one_by_one_gets_them_so(
    api: Api, run_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As one does that is older than this client."""
    caplog.set_level("DEBUG", "studio_client.transport")
    older = OlderServer(api.transport)
    ended, *alive = children_of(api, run_id, 3)
    api.act(ended, "complete")
    beats = Heartbeat(every_s=0.2)
    beats._runs = dict.fromkeys([ended, *alive], older)
    for _ in range(2):
        first = [api.run(one)["heartbeat_at"] for one in alive]
        beats._beat_for_all()
        wait_until(lambda: not beats._on_their_way)
        assert [*beats._runs] == alive
        assert all(api.run(one)["heartbeat_at"] > before for one, before in zip(alive, first, strict=True))
    assert sum("/api/v1/many-heartbeats" in line for line in caplog.messages) == 1


def test_one_run_that_is_refused_is_nothing_to_the_others(api: Api, run_id: str, signed_in: Signed) -> None:
    """A script keeps its own runs alive even if it was given one that is not its to write to."""
    code = (
        "from runs.models import Run; from runs.services.run_tokens import run_token; "
        f"Run.objects.filter(run_id='{run_id}').update(attempt=1); "
        f"print(run_token(Run.objects.get(run_id='{run_id}')))"
    )
    token = studio_command(signed_in.studio, "shell", "-v0", "-c", code).splitlines()[-1]
    script = Api(Transport(Login(signed_in.url, token, "a test")))
    other = str(api.start_run("default", "spool", str(uuid.uuid4()))["run_id"])
    mine = children_of(api, run_id, 2)
    first = [api.run(one)["heartbeat_at"] for one in mine]
    beats = Heartbeat(every_s=0.2)
    beats._runs = dict.fromkeys([mine[0], other, mine[1]], script)
    beats._beat_for_all()
    assert all(api.run(one)["heartbeat_at"] > before for one, before in zip(mine, first, strict=True))


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
