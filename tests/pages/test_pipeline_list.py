"""The Pipelines page: pipeline runs with their step runs folded under them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from runs.status import Status
from studio.accounts.models import User
from tests.factories import make_pipeline, make_run

ClientOf = Callable[[User], Client]


def shown(response: object) -> list[str]:
    """The names in the table, one > for each level."""
    return [">" * row.depth + row.run.name for row in response.context["rows"]]  # type: ignore[attr-defined]


def test_it_lists_pipeline_runs_and_unfolds_their_steps(ana: User, client_of: ClientOf) -> None:
    make_run(display_name="script")
    pipeline = make_pipeline(display_name="digits")
    client = client_of(ana)
    assert shown(client.get("/pipelines/")) == ["digits"]
    unfolded = client.get("/pipelines/", {"open": pipeline.run_id})
    assert shown(unfolded) == ["digits", ">evaluate", ">train", ">prepare"]
    assert "1 pipeline run, 3 child runs unfolded" in unfolded.content.decode()


def test_a_search_stays_among_pipeline_runs(ana: User, client_of: ClientOf) -> None:
    make_run(display_name="failing script", status=Status.FAILED)
    make_pipeline(display_name="failing", status=Status.FAILED)
    make_pipeline(display_name="fine")
    client = client_of(ana)
    assert shown(client.get("/pipelines/?q=status:failed")) == ["failing"]
    assert "kind" not in [field["name"] for field in client.get("/pipelines/").context["panel_choices"]]


def test_actions_on_all_that_match_stay_among_pipeline_runs(ana: User, client_of: ClientOf) -> None:
    make_run()
    make_pipeline()
    response = client_of(ana).post("/pipelines/actions/", {"action": "archive", "matching": "1"})
    assert b"Archive 1 run?" in response.content


def test_without_pipelines_it_says_how_one_comes_about(ana: User, client_of: ClientOf) -> None:
    make_run()
    assert b"No pipeline runs yet" in client_of(ana).get("/pipelines/").content


def test_where_all_pipelines_are_archived_it_says_so(ana: User, client_of: ClientOf) -> None:
    make_pipeline(archived_at=datetime.now(UTC))
    make_run()
    page = client_of(ana).get("/pipelines/").content
    assert b"All pipeline runs are archived" in page
    assert b'href="?q=is%3Aarchived"' in page


def test_the_number_of_queries_does_not_depend_on_the_rows(ana: User, client_of: ClientOf) -> None:
    client = client_of(ana)
    client.get("/pipelines/")  # a process asks once whether free text has an index
    counted = []
    for upto in (3, 30):
        for _ in range(upto):
            make_pipeline({"only": []})
        # session with person and membership · version · how far back to look · keys of the page · its runs ·
        # their tags · how many steps each has · panel: people, experiments, compute targets · shell
        with CaptureQueriesContext(connection) as queries:
            client.get("/pipelines/")
        counted.append(len(queries))
    assert counted == [11, 11]
