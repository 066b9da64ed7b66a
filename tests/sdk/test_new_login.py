"""A process whose token the server refuses goes on with what `studio login` has kept since."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from studio_client import config, spool
from studio_client.api import Api, connect
from studio_client.config import Login
from studio_client.errors import NotSignedIn
from studio_client.heartbeat import Heartbeat
from studio_client.sender import MetricSender
from studio_client.transport import Transport

from tests.fixtures.processes import wait_until
from tests.sdk.live import Signed, change_token, new_token


class Person:
    """Signs in with one token after the other, and has them revoked."""

    def __init__(self, server: Signed) -> None:
        self._server = server
        self._name = str(uuid.uuid4())
        self.token = ""

    def sign_in(self, username: str = "admin") -> None:
        self.token = new_token(self._server, self._name)
        config.save(Login(self._server.url, self.token, "a test", username))

    def revoke(self) -> None:
        change_token(self._server, self._name, ".update(revoked_at='2026-01-02T23:59Z')")


@pytest.fixture
def person(server: Signed) -> Person:
    """Somebody who is signed in by the file."""
    made = Person(server)
    made.sign_in()
    return made


@pytest.fixture
def api(person: Person) -> Api:
    """As whom the file names."""
    return connect()


@pytest.fixture
def running(api: Api) -> str:
    """A run that was made with the first token."""
    api.make_experiment("default", "logins")
    return str(api.start_run("default", "logins", str(uuid.uuid4()))["run_id"])


@pytest.fixture
def sender(api: Api, running: str) -> Iterator[MetricSender]:
    """Its sender, which knows nothing of other requests."""
    yield spool.sender_for(connect(), running)
    del spool.pump._senders[api.url, running], spool.pump._apis[api.url]


def test_requests_of_all_kinds_go_on_with_the_new_login(api: Api, running: str, person: Person) -> None:
    person.revoke()
    with pytest.raises(NotSignedIn, match="revoked"):
        api.run(running)
    person.sign_in()
    with ThreadPoolExecutor(4) as pool:
        assert {one["status"] for one in pool.map(api.run, [running] * 8)} == {"Running"}
    person.revoke()
    person.sign_in()
    api.put_artifact(running, "whole.txt", io.BytesIO(b"whole"))
    assert [one["size"] for one in api.artifacts(running)] == [len(b"whole")]
    assert api.act(running, "complete")["status"] == "Completed"


def test_metrics_and_signs_of_life_go_on_by_themselves(
    api: Api, running: str, sender: MetricSender, person: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    beats, said = Heartbeat(every_s=0.1), ""

    def both_are_refused() -> bool:
        nonlocal said
        said += capsys.readouterr().err
        return "its metrics are refused" in said and "its signs of life are refused" in said

    person.revoke()
    beats.add(connect(), running)
    sender.add("loss", 0.5)
    wait_until(both_are_refused)
    person.sign_in()
    first = api.run(running)["heartbeat_at"]
    wait_until(lambda: api.run(running)["heartbeat_at"] != first)
    wait_until(lambda: not sender.waiting())
    beats.remove(running)
    assert [one["name"] for one in api.metric_values(running)[running]] == ["loss"]


def test_a_login_is_looked_for_once_for_each_refusal(
    api: Api, running: str, person: Person, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "studio_client.transport")
    person.sign_in()
    person.revoke()
    for asked in (2, 1):  # the second token is refused, too, and then there is no other one
        caplog.clear()
        with pytest.raises(NotSignedIn):
            api.run(running)
        assert len(caplog.messages) == asked


def test_a_token_from_elsewhere_is_not_replaced(
    server: Signed, running: str, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = person.token
    person.revoke()
    person.sign_in()
    monkeypatch.setenv("STUDIO_URL", server.url)
    monkeypatch.setenv("STUDIO_TOKEN", given)
    for own in (connect(), Api(Transport(Login(server.url, given, "a test")))):
        with pytest.raises(NotSignedIn):
            own.run(running)


def test_a_login_of_somebody_else_is_not_taken(api: Api, running: str, person: Person) -> None:
    person.revoke()
    person.sign_in("eve")
    with pytest.raises(NotSignedIn, match="revoked"):
        api.run(running)


def test_who_has_signed_out_is_told_why_the_token_is_refused(api: Api, running: str, person: Person) -> None:
    person.revoke()
    config.forget()
    with pytest.raises(NotSignedIn, match="revoked"):
        api.run(running)
