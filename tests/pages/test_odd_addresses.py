"""Whatever stands in the address of a list, the list answers, and says what it cannot read."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable

import pytest
from django.test import Client

from runs.filters import RunFilter
from studio.accounts.models import User
from studio.fields import CONTROL_CHARACTER
from tests.factories import make_pipeline, make_run

ClientOf = Callable[[User], Client]
LISTS = ("/runs/", "/pipelines/", "/experiments/mnist/")
HTMX = {"HX-Request": "true", "HX-Target": "div#run-list"}
#: Everything that a list reads from its address.
NAMES = (*RunFilter.base_filters, "show", "order", "after", "open", "panel", "seen", "format")
ODD = ("%s", "bogus\0", "9" * 30, '"', "é²" * 150)


def packed(*parts: object) -> str:
    """A cursor with these parts, as nobody is given it."""
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


@pytest.fixture
def strict(ana: User, client_of: ClientOf, caplog: pytest.LogCaptureFixture) -> Client:
    """Ana's client, where there is something of everything; an error of ours is an answer of 500."""
    caplog.set_level(logging.CRITICAL)
    make_pipeline(tags={"a": "b"})
    make_run(metrics={"accuracy": 0.5})
    client = client_of(ana)
    client.raise_request_exception = False
    return client


@pytest.mark.parametrize("address", LISTS)
@pytest.mark.parametrize("name", NAMES)
def test_a_list_answers_whatever_is_asked(strict: Client, address: str, name: str) -> None:
    answers = {
        value[:20]: strict.get(address, {name: [value, "x"]}, headers=HTMX).status_code for value in ODD
    }
    assert {asked: code for asked, code in answers.items() if code not in (200, 204, 302)} == {}


@pytest.mark.parametrize("name", ["q", "active", "mine", "archived", "order", "after", "seen"])
def test_the_list_of_experiments_answers_whatever_is_asked(strict: Client, name: str) -> None:
    codes = {value[:20]: strict.get("/experiments/", {name: value}).status_code for value in ODD}
    assert set(codes.values()) == {200}


@pytest.mark.parametrize("value", ["9" * 5_000, "-1", "²", "%s"])
def test_numbers_that_are_none_are_left_out(strict: Client, value: str) -> None:
    run = make_run(metrics={"loss": 1.0})
    here = f"/experiments/{run.experiment.name}/runs/{run.number}"
    for address in (
        f"{here}/metrics/?smooth={value}",
        f"{here}/metrics/one/?name=loss&smooth={value}&from={value}",
        f"{here}/logs/lines/?from={value}",
        f"{here}/children/?open={value}",
    ):
        assert strict.get(address).status_code in (200, 404), address
    for action in ("delete-step", "duplicate-step", "add-variable"):
        assert strict.post("/submit/", {"action": f"{action}:{value}"}).status_code == 200


@pytest.mark.parametrize("value", ["\udce9", "\0", 2**70, -(2**70), 1e400, []])
@pytest.mark.parametrize("order", ["name", "-created", "duration"])
def test_a_cursor_that_nobody_was_given_is_none(strict: Client, value: object, order: str) -> None:
    for cursor in (packed(order, value, 1, 0, 0), packed(order, "a", value, 0, 0)):
        assert strict.get("/runs/", {"order": order, "after": cursor}).status_code == 200
    for cursor in (packed(order, value, 1, 0), packed(order, "a", value, 0)):
        assert strict.get("/experiments/", {"order": order, "after": cursor}).status_code == 200


@pytest.mark.parametrize("address", ["/experiments/", "/runs/"])
def test_a_cursor_that_never_ends_is_none(strict: Client, address: str) -> None:
    deep = base64.urlsafe_b64encode(b"[" * 100_000).decode()
    assert strict.get(address, {"after": deep}).status_code == 200


@pytest.mark.parametrize("text", ["kind:%", "is:%", "error:%s", "status:>%"])
def test_a_percent_sign_is_no_format(strict: Client, text: str) -> None:
    page = strict.get("/runs/", {"q": text})
    assert page.status_code == 200
    assert text.partition(":")[2].lstrip(">") in page.context["runs"].bad.message


@pytest.mark.parametrize("address", LISTS)
@pytest.mark.parametrize("name", ["status", "kind"])
def test_a_word_that_is_none_is_named_and_offered_to_nobody(strict: Client, address: str, name: str) -> None:
    page = strict.get(address, {name: ["bogus", "Completed"]})
    assert page.status_code == 200
    assert page.context["rows"] == []
    assert f"{name.capitalize()}: “bogus” is none of these." in page.content.decode()
    assert b'value="bogus"' not in page.content


def test_a_name_that_is_too_long_is_refused_in_words(strict: Client) -> None:
    page = strict.get("/runs/", {"submitter": "a" * 300})
    assert "Submitter: A name has 1 to 256 letters." in page.content.decode()


@pytest.mark.parametrize("charset", ["utf-7", "raw_unicode_escape", "utf-16"])
@pytest.mark.parametrize("address", ["/runs/", "/experiments/mnist/runs/1/logs/"])
def test_an_address_is_read_as_utf_8_whatever_its_sender_says(
    strict: Client, address: str, charset: str
) -> None:
    for name in ("q", "file"):
        asked = f"{name}=%2B2AA-%5Cud800"  # half of a surrogate pair in these character sets
        page = strict.generic(
            "GET", address, QUERY_STRING=asked, CONTENT_TYPE=f"text/plain; charset={charset}"
        )
        is_unknown_log = name == "file" and address.endswith("/logs/")
        assert page.status_code == (404 if is_unknown_log else 200)
        assert b"<html" in page.content


def test_an_address_with_too_much_in_it_is_refused(strict: Client) -> None:
    page = strict.get("/runs/?" + "a&" * 10_001)
    assert page.status_code == 413
    assert b"<html" in page.content


@pytest.mark.parametrize("address", [*(f"{one}?q=" for one in LISTS), "/runs/?tag=", "/runs/?duration_min="])
def test_a_control_character_is_called_so(strict: Client, address: str) -> None:
    answer = strict.get(f"{address}a%00").text
    assert CONTROL_CHARACTER in answer
    assert "Null characters" not in answer
