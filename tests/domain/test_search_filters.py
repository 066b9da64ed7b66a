"""The filter panel says the same as the search bar, and neither guesses when something is wrong."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.http import QueryDict

from runs.filters import ExperimentFilter, RunFilter, split_query
from runs.models import Experiment, Run
from runs.search.parser import parse
from runs.status import Kind, Status
from tests.domain.search_kit import NOW, World, make_world

pytestmark = pytest.mark.django_db


@pytest.fixture
def world() -> World:
    world = make_world()
    world.run("alpha", tags={"quality": "fantastic run"}, target="local", age=timedelta(days=9))
    world.run("bravo", submitter="ben", status=Status.FAILED, lasted=timedelta(hours=1), tags={"lr": "0.1"})
    world.run(
        "charlie", experiment="digits", kind=Kind.PIPELINE, target="gpu-compute", tags={"quality": None}
    )
    world.run("delta", status=Status.QUEUED, lasted=None, submitter="ben")
    world.run("echo", archived_at=NOW)
    return world


def panel(world: World, text: str, *, person: str = "ana") -> RunFilter:
    scope = Run.objects.in_workspace(world.workspace)
    return RunFilter(QueryDict(text), scope, workspace=world.workspace, person=world.person(person))


@pytest.mark.parametrize(
    ("text", "query", "names"),
    [
        ("", "", "delta charlie bravo alpha"),
        ("status=Failed", "status:Failed", "bravo"),
        ("status=Failed&status=Queued", "status:Failed,Queued", "delta bravo"),
        ("submitter=ben", "submitter:ben", "delta bravo"),
        ("submitter=ana&submitter=ben&status=Failed", "status:Failed submitter:ana,ben", "bravo"),
        ("experiment=digits", "experiment:digits", "charlie"),
        ("target=gpu-compute", "target:gpu-compute", "charlie"),
        ("kind=pipeline", "kind:pipeline", "charlie"),
        ("created_after=2026-11-15", "created:>=2026-11-15", "delta charlie bravo"),
        ("created_before=2026-11-15", "created:<=2026-11-15", "alpha"),
        (
            "created_after=2026-11-12&created_before=2026-11-12",
            "created:>=2026-11-12 created:<=2026-11-12",
            "alpha",
        ),
        ("duration_min=30m", "duration:>=30m", "bravo"),
        (
            "duration_min=30m&duration_max=2h&status=Failed",
            "status:Failed duration:>=30m duration:<=2h",
            "bravo",
        ),
        ("tag=quality", "tag:quality", "charlie alpha"),
        ("tag=quality%3Dfantastic+run", 'tag:quality="fantastic run"', "alpha"),
        ("tag=quality%3D%22fantastic+run%22", 'tag:quality="fantastic run"', "alpha"),
        ("tag=qual*", "tag:qual*", "charlie alpha"),
        ("archived=on", "is:archived", "echo"),
        ("q=status:failed&submitter=ben", "status:Failed submitter:ben", "bravo"),
        (
            "q=status:failed+OR+tag:quality&submitter=ana",
            "(status:Failed OR tag:quality) submitter:ana",
            "charlie alpha",
        ),
        ("q=submitter:@me", "submitter:@me", "charlie alpha"),
        ("q=status:failed&status=Failed", "status:Failed", "bravo"),
        ("status=&submitter=&q=&tag=&created_after=&duration_min=+", "", "delta charlie bravo alpha"),
    ],
)
def test_the_panel_and_the_bar_end_in_one_search(world, text, query, names):
    chosen = panel(world, text)
    assert chosen.is_valid(), chosen.errors
    assert str(chosen.query) == query
    assert " ".join(chosen.qs.order_by("-pk").values_list("display_name", flat=True)) == names
    alone = panel(world, QueryDict(mutable=True).urlencode())
    assert alone.query == parse("")
    again = panel(world, f"q={query.replace('&', '%26').replace('+', '%2B')}")
    assert again.query == chosen.query


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        ("q=statsu:failed", "q", "At letter 1: there is no qualifier statsu. Did you mean status"),
        ("status=Sleeping", "status", "“Sleeping” is none of these"),
        ("kind=x", "kind", "“x” is none of these"),
        ("submitter=" + "x" * 300, "submitter", "A name has 1 to 256 letters"),
        ("submitter=%00", "submitter", "A name has 1 to 256 letters"),
        ("created_after=soon", "created_after", "Created wants a time such as 2026-11-01"),
        ("created_before=2026-02-30", "created_before", "Created wants a time"),
        ("duration_min=5", "duration_min", "Duration wants a time such as 90s, 5m or 1h"),
        ("duration_max=5m+OR+status:failed", "duration_max", "Write one value here"),
        ("duration_max=5m)", "duration_max", "closes nothing"),
        ("tag=%3Dx", "tag", "Tag wants a tag"),
        ("tag=*x", "tag", "only at the end"),
    ],
)
def test_an_invalid_value_shows_its_error_and_no_rows(world, text, field, message):
    chosen = panel(world, text)
    assert not chosen.is_valid()
    assert list(chosen.errors) == [field]
    assert message in str(chosen.errors[field])
    assert list(chosen.qs) == []
    assert chosen.query == parse("")


def test_the_panel_offers_names_that_exist_and_takes_others(world):
    form = panel(world, "submitter=gone").form
    assert [value for value, _ in form.fields["submitter"].choices] == ["ana", "ben"]
    assert {value for value, _ in form.fields["experiment"].choices} == {"digits", "mnist"}
    assert {value for value, _ in form.fields["target"].choices} == {"local", "gpu-compute"}
    assert form.is_valid()
    assert list(panel(world, "submitter=gone").qs) == []


def test_filtering_asks_for_no_choices(world, django_assert_num_queries):
    chosen = panel(world, "submitter=ben")
    with django_assert_num_queries(1):  # the key of ben
        assert chosen.qs.query is not None


@pytest.mark.parametrize(
    ("text", "data", "rest"),
    [
        ("", {}, ""),
        ("status:failed,running", {"status": ["Failed", "Running"]}, ""),
        ("submitter:ana baseline", {"submitter": ["ana"]}, "baseline"),
        ("-status:failed", {}, "-status:Failed"),
        ("status:failed OR tag:x", {}, "status:Failed OR tag:x"),
        ("experiment:mni*", {}, "experiment:mni*"),
        ("created:>=7d created:<=2026-11-20", {"created_after": "7d", "created_before": "2026-11-20"}, ""),
        ("created:>7d", {}, "created:>7d"),
        ("duration:>=2m duration:>=3m", {"duration_min": "2m"}, "duration:>=3m"),
        ('tag:quality="fantastic run" is:archived', {"tag": 'quality="fantastic run"', "archived": True}, ""),
        ("tag:a tag:b", {"tag": "a"}, "tag:b"),
    ],
)
def test_a_search_is_divided_between_panel_and_bar_and_means_the_same(world, text, data, rest):
    shown, left = split_query(parse(text))
    assert (shown, str(left)) == (data, rest)
    again = RunFilter({"q": rest, **shown}, Run.objects.all(), workspace=world.workspace)
    assert again.is_valid()
    assert set(again.query.conditions()) == set(parse(text).conditions())


# Experiments ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ["digits", "mnist"]),
        ("q=MN", ["mnist"]),
        ("q=mni*", ["mnist"]),
        ("q=ni+st", ["mnist"]),
        ("q=n_i", []),
        ("q=%25", []),
        ("active=on", ["mnist"]),
        ("mine=on", ["digits", "mnist"]),
        ("archived=on", ["put-away"]),
        ("active=&mine=&archived=", ["digits", "mnist"]),
        ("q=" + "x" * 300, []),
    ],
)
def test_experiments_are_filtered(world, text, names):
    Experiment.objects.create(workspace=world.workspace, name="put-away", archived_at=NOW)
    make_world("another").run("foreign", experiment="mnist-too")
    chosen = ExperimentFilter(QueryDict(text), workspace=world.workspace, person=world.person("ana"))
    assert list(chosen.qs.order_by("name").values_list("name", flat=True)) == names


def test_mine_are_those_i_made_or_submitted_to(world):
    chosen = ExperimentFilter({"mine": "on"}, workspace=world.workspace, person=world.person("ben"))
    assert [experiment.name for experiment in chosen.qs] == ["mnist"]
    Experiment.objects.filter(name="digits").update(created_by=world.person("ben"))
    assert {experiment.name for experiment in chosen.qs.all()} == {"mnist", "digits"}
