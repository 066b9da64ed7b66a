"""The trail of a run over the API."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from runs.services.cancel import cancel_run
from runs.status import Status
from studio.accounts.models import User
from tests.api_kit import Api, refusal
from tests.factories import make_run

pytestmark = pytest.mark.django_db


def events(api: Api, run_id: str, **query: Any) -> dict[str, Any]:
    answer = api.get(f"/runs/{run_id}/events", query)
    assert answer.status_code == 200, answer.content
    return answer.json()


def retried(times: int) -> list[dict[str, Any]]:
    """The events of a run that was queued, began and broke so often."""
    way = (Status.QUEUED, Status.PREPARING, Status.STARTING, Status.RUNNING)
    steps = [(status, attempt + (status != Status.QUEUED)) for attempt in range(times) for status in way]
    return [{"to_status": status, "attempt": attempt, "why": "again"} for status, attempt in steps]


def test_every_change_says_when_by_whom_and_why(api: Api, ana: User) -> None:
    run = make_run(status=Status.QUEUED)
    cancel_run(run, by=ana)
    queued, canceled = events(api, run.run_id)["items"]
    assert set(queued) == {"seq", "at", "from", "to", "by", "attempt", "why"}
    assert (queued["seq"], queued["from"], queued["to"]) == (1, "NotStarted", "Queued")
    assert (canceled["seq"], canceled["from"], canceled["to"]) == (2, "Queued", "Canceled")
    assert (canceled["by"], canceled["attempt"], canceled["why"]) == ("ana", 0, "canceled by ana")
    assert canceled["at"].endswith("Z")


def test_pages_lead_to_the_end(api: Api) -> None:
    run = make_run(status=Status.RUNNING, events=retried(5))
    seen, cursor = [], None
    while True:
        page = events(api, run.run_id, limit=7, **({"cursor": cursor} if cursor else {}))
        seen += [(one["seq"], one["attempt"]) for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [seq for seq, _ in seen] == list(range(1, 21))
    assert seen[-1] == (20, 5)


def test_a_cursor_of_another_list_is_refused(api: Api) -> None:
    answer = api.get(f"/runs/{make_run().run_id}/events", {"cursor": "YWJj"})
    assert (answer.status_code, refusal(answer)["field"]) == (422, "cursor")


def test_many_events_cost_what_few_do(api: Api) -> None:
    counts = []
    for times in (1, 1, 10):  # the first notes that the token was used
        run = make_run(status=Status.RUNNING, events=retried(times))
        with CaptureQueriesContext(connection) as asked:
            events(api, run.run_id)
        counts.append(len(asked))
    # Token, run, membership, events.
    assert counts[1:] == [4, 4]
