"""The search index follows every write, survives every migration, is used, and search works without it."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from runs.models import Metric, Property, Run, Tag
from runs.search.index import create_extension, create_index, drop_index, index_exists, rebuilt_after
from runs.status import Kind, Status
from tests.domain.search_kit import NOW, World, make_world

pytestmark = pytest.mark.django_db


@pytest.fixture
def world() -> World:
    world = make_world()
    world.run(
        "alpha", description="a zebrafish", tags={"quality": "good"}, status=Status.NOT_STARTED, lasted=None
    )
    world.run("bravo", description="a baseline", tags={"quality": "bad"})
    return world


def test_the_index_is_there_after_all_migrations():
    """If this fails on SQLite, a later migration rebuilt runs_run, which loses its triggers: call
    create_index there again, as 0004_search_index does."""
    assert index_exists()


def test_the_index_follows_every_write(world):
    alpha, bravo = world.runs["alpha"], world.runs["bravo"]
    Run.objects.filter(pk=alpha.pk).update(search_text="quagga")
    assert world.found("quagga") == "alpha"
    assert world.found("zebrafish") == ""
    bravo.search_text = "quagga zebrafish"
    bravo.save(update_fields=["search_text"])
    assert world.found("quagga") == "bravo alpha"
    bravo.status = bravo.status
    bravo.save()
    alpha.tags.all().delete()
    alpha.delete()  # which has not begun, so that it has no event
    assert world.found("quagga") == "bravo"
    assert is_whole()


def is_whole() -> bool:
    """Whether SQLite finds its index to agree with the table; PostgreSQL keeps its own."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO runs_search(runs_search, rank) VALUES ('integrity-check', 1)")
    return True


def test_loading_many_at_once_ends_with_a_whole_index(world):
    with rebuilt_after():
        world.run("charlie", description="a zebrafish")
        Run.objects.filter(pk=world.runs["bravo"].pk).update(search_text="zebrafish")
    assert world.found("zebrafish") == "charlie bravo alpha"
    assert is_whole()


def test_search_works_without_the_index(world):
    settle()
    drop_index()
    assert not index_exists()
    assert world.found("zebrafish") == "alpha"
    assert world.found("zebrafish OR tag:quality=bad") == "bravo alpha"
    assert world.found('"a baseline" -zebrafish') == "bravo"
    call_command("search_index", verbosity=0)
    assert index_exists()
    assert world.found("zebrafish") == "alpha"


IN_THE_WAY = {"sqlite": "CREATE TABLE runs_search (other)", "postgresql": "DROP EXTENSION pg_trgm CASCADE"}


def test_an_index_that_cannot_be_made_is_told_of_and_missed_by_nobody(world, caplog):
    settle()
    drop_index()
    with connection.cursor() as cursor:
        cursor.execute(IN_THE_WAY[connection.vendor])
    assert not create_index()
    assert "Search works without it, slower" in caplog.text
    assert not index_exists()
    assert world.found("zebrafish") == "alpha"


def settle() -> None:
    """Check deferred constraints now: PostgreSQL indexes no table that has some pending."""
    connection.check_constraints()


if connection.vendor == "postgresql":

    def test_a_role_without_rights_gets_a_warning_and_no_index(world, caplog):
        settle()
        with connection.cursor() as cursor:
            cursor.execute("DROP EXTENSION pg_trgm CASCADE")
            cursor.execute("CREATE ROLE search_guest")
            cursor.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO search_guest")
            cursor.execute("SET LOCAL ROLE search_guest")
            assert not create_extension()
            assert "CREATE EXTENSION pg_trgm, then run: manage.py search_index" in caplog.text
            with pytest.raises(CommandError, match="could not be made"):
                call_command("search_index")
            cursor.execute("RESET ROLE")
        drop_index()
        assert world.found("zebrafish") == "alpha"


# Plans: which index serves which search -------------------------------------------------------------------

FTS = "runs_search VIRTUAL TABLE INDEX"
SERVED_BY = {
    "zebrafish": {"sqlite": FTS, "postgresql": "run_search_text"},
    '"a zebra" "quality=good"': {"sqlite": FTS, "postgresql": "run_search_text"},
    "zebrafish -status:failed": {"sqlite": FTS, "postgresql": "run_search_text"},
    "tag:quality=good": "tag_folded",
    "tag:quality": "tag_folded",
    "tag:quality=g*": "tag_folded",
    "property:author=ana": "property_folded",
    "metric:accuracy>0.9": "metric_name_last",
    "status:failed": "run_workspace_status",
    "status:failed,canceled": "run_workspace_status",
    "is:active": {"sqlite": "run_workspace_status", "postgresql": "run_active"},
    "is:archived": "run_workspace_archived",
    "kind:pipeline": "run_pipelines_listed",
    "created:>7d": "run_workspace_created",
    "submitter:ben": "submitter_id",
    "zebrafish OR tag:quality=good": "tag_folded",
}


def test_an_index_serves_each_search_for_what_is_rare(world):
    world.run("charlie", properties={"author": "ana"}, metrics={"accuracy": 0.95}, submitter="ben")
    world.run("delta", status=Status.FAILED, kind=Kind.PIPELINE, archived_at=NOW)
    world.run("echo", status=Status.RUNNING)
    template = world.runs["alpha"]
    Run.objects.bulk_create(
        Run(
            run_id=f"old_{n}", number=1_000 + n, workspace=world.workspace, experiment=template.experiment,
            submitter=template.submitter, kind=Kind.SCRIPT, status=Status.COMPLETED,
            search_text=f"old {n} " * 40, created_at=NOW - timedelta(days=90), ended_at=NOW,
        )
        for n in range(2_000)
    )  # fmt: skip
    for model in (Tag, Property):
        model.objects.bulk_create(model(run=run, key="n", value=run.run_id) for run in Run.objects.all())
    Metric.objects.bulk_create(Metric(run=run, name="loss", last=1.0) for run in Run.objects.all())
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        if connection.vendor == "postgresql":  # which rightly reads a table as small as this from end to end
            cursor.execute("SET LOCAL enable_seqscan = off")
            # What was inserted just now and is not yet in its place makes an index dear.
            cursor.execute("SELECT gin_clean_pending_list('run_search_text')")
    for text, index in SERVED_BY.items():
        plan = world.search(text).matching().values("pk").explain()
        assert (index if isinstance(index, str) else index[connection.vendor]) in plan, text
        assert not re.search("SCAN runs_run(?! USING)|Seq Scan on runs_run ", plan), text
