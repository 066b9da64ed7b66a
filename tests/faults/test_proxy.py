"""Studio behind a proxy: who came and how is believed of the trusted proxy, and of nobody else."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable
from contextlib import closing
from urllib.parse import urlencode

import pytest

from studio.accounts.attempts import PER_PERSON
from tests.fixtures.processes import StudioProcess, wait_until

pytestmark = [pytest.mark.worker, pytest.mark.own_servers]
LAB = {"STUDIO_URL": "https://studio.lab/", "STUDIO_ALLOWED_HOSTS": "studio.lab,127.0.0.1"}


class Proxy:
    """Passes on requests as a proxy that ends TLS does, for browsers at addresses of its choice."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self.connection = connection

    def send(self, method: str, client: str, *, body: str = "", cookie: str = "") -> tuple[int, str, str]:
        """Status, cookie and text of the answer to a browser at this address."""
        headers = {
            "Host": "studio.lab",
            "X-Forwarded-For": f"203.0.113.9, {client}",  # the first is what the browser itself claims
            "X-Forwarded-Proto": "https",
            "Referer": "https://studio.lab/sign-in/",
            "Content-Type": "application/x-www-form-urlencoded",
            "Cookie": cookie,
        }
        self.connection.request(method, "/sign-in/", body or None, headers)
        answer = self.connection.getresponse()
        return answer.status, (answer.getheader("Set-Cookie") or "").partition(";")[0], answer.read().decode()

    def try_to_sign_in(self, client: str) -> int:
        """The answer to a wrong password."""
        _, cookie, page = self.send("GET", client)
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert found
        typed = {"username": "admin", "password": "wrong", "csrfmiddlewaretoken": found[1]}
        return self.send("POST", client, body=urlencode(typed), cookie=cookie)[0]


def tries(studio: StudioProcess, clients: list[str]) -> list[int]:
    """The answers to a wrong password from each of these addresses, in order."""
    with closing(http.client.HTTPConnection("127.0.0.1", studio.port, timeout=20)) as connection:
        return [Proxy(connection).try_to_sign_in(client) for client in clients]


def test_each_browser_behind_the_trusted_proxy_has_its_own_limit(
    make_studio: Callable[..., StudioProcess],
) -> None:
    studio = make_studio(**LAB, STUDIO_TRUSTED_PROXY="127.0.0.1")
    studio.start()
    wait_until(lambda: "Sign in with  https://studio.lab/sign-in/" in studio.text)
    codes = tries(studio, ["10.0.0.1"] * (PER_PERSON + 1) + ["10.0.0.2"])
    assert codes == [422] * PER_PERSON + [429, 422]


@pytest.mark.parametrize("trusted", [{}, {"STUDIO_TRUSTED_PROXY": "10.0.0.250"}], ids=["unset", "another"])
def test_nobody_else_chooses_the_address_that_they_come_from(
    make_studio: Callable[..., StudioProcess], trusted: dict[str, str]
) -> None:
    studio = make_studio(**LAB, **trusted)
    studio.start()
    codes = tries(studio, [f"10.0.0.{number}" for number in range(PER_PERSON + 1)])
    assert codes == [422] * PER_PERSON + [429]
