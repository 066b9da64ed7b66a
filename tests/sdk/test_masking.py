"""Tokens that were typed in the place of something else, and those that others would print."""

from __future__ import annotations

import contextlib
import http.client

import pytest
from azureml.exceptions import UserErrorException
from studio_client.api import connect
from studio_client.errors import StudioClientError
from studio_client.masking import masked

from tests.sdk.command_line import Shell
from tests.sdk.live import Signed, studio_command
from tests.sdk.screen import Screen

PERSON = "stu_Ab3dEf6h" + "x_y-Z" * 8 + "123"
RUN = "eyJydW4iOiJkaWdpdHNfMSIsImF0dGVtcHQiOjF9:1wMabC:" + "s_g-N" * 8 + "123"
QUOTED = RUN.replace(":", "%3A")


@pytest.mark.parametrize("token", [PERSON, PERSON[:40], PERSON.lower(), RUN, RUN[:50], QUOTED])
def test_what_looks_like_a_token_is_masked_wherever_it_stands(token: str) -> None:
    shown = masked(f"http://host/?token={token}, '{token}' and {token}/tokens/.")
    begin = token[:4] if token.startswith("stu_") else token[:10]
    assert shown == f"http://host/?token={begin}…, '{begin}…' and {begin}…/tokens/."
    is_whole = len(token) > 50
    for before in (
        "%20",
        "%0A",
        "k%3D",
        "%2520",
        "\\n",
        "%22Bearer%20",
        *(("x", "tok_") if is_whole else ()),
    ):
        assert masked(f"/runs/{before}{token}") == f"/runs/{before}{begin}…"


def test_a_token_that_was_quoted_twice_is_masked() -> None:
    assert masked(f"/{RUN.replace(':', '%253A')}/x") == "/eyJydW4iOi…/x"


@pytest.mark.parametrize(
    "text",
    [
        "robustu_regressor_baseline_v2_with_dropout_run",
        "stu_",
        "stu_net_1763800000_0a1b2c3d",
        "stu_backbone_features=0.3",
        "studio run list",
        "eyJhbGciOi.x",
    ],
)
def test_what_only_begins_like_one_is_said(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize("token", [PERSON, RUN])
@pytest.mark.parametrize("kind", [StudioClientError, UserErrorException])
def test_no_exception_holds_one(kind: type[Exception], token: str) -> None:
    error = kind(f"There is no {token}.")
    assert token not in f"{error} {error!r} {error.args} {vars(error)}"


def test_a_run_gets_a_token_of_the_form_that_is_masked(server: Signed) -> None:
    code = "from runs.models import Run; from runs.services.run_tokens import *"
    made = studio_command(server.studio, "shell", "-c", f"{code}; print(run_token(Run(run_id='r')))")
    assert masked(made.splitlines()[-1]) == "eyJydW4iOi…"
    assert masked(server.token) == "stu_…"


@pytest.mark.parametrize(
    "line",
    [
        "studio login {}",
        "studio login --url {}",
        "studio login --url http://host/?token={}",
        "studio login --url http://127.0.0.1:9/{} --token x",
        "STUDIO_URL={} studio login",
        "studio {}",
        "studio run list -w default -e {}",
        "studio run list -w {} -e x --debug",
        "studio run show -r {} --debug",
        "studio run show -r ' {}' --debug",
        "studio run list -w default -e nowhere --tags 'k={}' --debug",
        "studio run list -w default --query '[' -e {} --debug",
    ],
)
@pytest.mark.parametrize("token", [PERSON, RUN])
def test_no_message_repeats_one(studio: Shell, line: str, token: str) -> None:
    done = studio(line.format(token))
    assert done.code in (1, 2)
    assert token not in done.out + done.err
    assert token[-20:] not in done.out + done.err


def test_one_at_the_prompt_for_the_address_is_refused(shell: Shell) -> None:
    screen = Screen(shell, "studio login", 120)
    screen.read_until(lambda shown: "Address of your Studio" in shown)
    screen.type(f"{PERSON}\n")
    said = screen.rest()
    assert "'stu_…' is not the address of a server. It looks like http://127.0.0.1:8000" in said
    assert said.count(PERSON) == 1, "the terminal shows what is typed, and that is all"


def test_the_debug_level_of_python_prints_no_token(
    signed_in: Signed, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    assert connect().me()["username"] == "admin"
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", signed_in.studio.port)) as own:
        own.request("GET", "/api/v1/info")
        own.getresponse()
    said = capfd.readouterr().out
    assert "GET /api/v1/info" in said  # what the script asks itself
    assert "GET /api/v1/me" not in said
    assert signed_in.token not in said
