"""What happened reaches the person, on the next page or in the answer to htmx, once."""

from __future__ import annotations

import json

from django.contrib.messages import get_messages
from django.contrib.messages.storage.cookie import CookieStorage
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from runs.toasts import ToastMiddleware, add_trigger, toast, toast_of


def request(**headers: str) -> HttpRequest:
    made = RequestFactory().post("/", headers=headers)
    made._messages = CookieStorage(made)  # type: ignore[attr-defined]
    return made


def answer(asked: HttpRequest, response: HttpResponse) -> HttpResponse:
    toast(asked, "Tag added to 2 runs", undo="/undo/")
    return ToastMiddleware(lambda _: response)(asked)


def test_htmx_gets_it_in_a_header() -> None:
    response = answer(request(**{"HX-Request": "true"}), HttpResponse())
    said = json.loads(response["HX-Trigger"])["toast"]["toasts"]
    assert said == [{"text": "Tag added to 2 runs", "kind": "success", "undo": "/undo/", "open": ""}]


def test_a_page_keeps_it_for_its_template() -> None:
    asked = request()
    assert "HX-Trigger" not in answer(asked, HttpResponse()).headers
    assert [toast_of(message).text for message in get_messages(asked)] == ["Tag added to 2 runs"]


def test_an_answer_that_leaves_the_page_keeps_it_for_the_next() -> None:
    for response in (HttpResponse(status=303), HttpResponse(headers={"HX-Redirect": "/"})):
        assert "HX-Trigger" not in answer(request(**{"HX-Request": "true"}), response).headers


def test_triggers_stand_beside_each_other() -> None:
    response = add_trigger(add_trigger(HttpResponse(), "refresh"), "toast", {"toasts": []})
    assert json.loads(response["HX-Trigger"]) == {"refresh": True, "toast": {"toasts": []}}
