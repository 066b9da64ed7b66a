"""What people do to a run is found by the next search, whichever service they did it with."""

from __future__ import annotations

import pytest

from runs.models import Run
from runs.search.parser import parse
from runs.search.query import Search
from runs.services.runs import archive_runs, edit_run
from runs.services.submit import StepSpec, submit
from runs.services.tags import add_properties, remove_tag, set_tag
from tests.factories import make_run, make_snapshot, make_target

pytestmark = pytest.mark.django_db


def found(text: str) -> list[str]:
    """Names of the runs that a search finds, by reading, which looks at the search text and the tags."""
    search = Search(Run.objects.all(), parse(text))
    assert search.count() == (len(search.page().rows), False)
    return [run.name for run in search.page().rows]


def test_a_tag_is_found_as_soon_as_it_is_set_and_no_longer_than_it_is_there(ana):
    run = make_run(display_name="alpha")
    set_tag(run, "quality", "fantastic run", by=ana)
    assert found("tag:quality") == found('tag:QUALITY="fantastic run"') == found("fantas") == ["alpha"]
    set_tag(run, "quality", "Große", by=ana)
    assert found("tag:quality=GROSSE") == found("grosse") == ["alpha"]
    assert found("fantas") == found('tag:quality="fantastic run"') == []
    set_tag(run, "quality", None, by=ana)
    assert found("tag:quality") == ["alpha"]
    assert found("tag:quality=grosse") == []
    assert remove_tag(run, "quality", by=ana)
    assert found("tag:quality") == found("quality") == []


def test_a_property_is_found_but_not_by_free_text(ana):
    add_properties(make_run(display_name="alpha"), {"author": "Somebody"}, by=ana)
    assert found("property:author=somebody") == ["alpha"]
    assert found("somebody") == []


def test_a_new_name_and_description_are_found(ana):
    run = make_run(display_name="alpha", description="old words")
    edit_run(run, by=ana, display_name="Ελπίδα", description="new words, and\nmore")
    assert found("ΕΛΠΊΔΑ") == found('"and more"') == found("name:ελπ") == ["Ελπίδα"]
    assert found("alpha") == found("old") == []


def test_a_run_without_a_name_is_found_by_what_pages_call_it(ana):
    run = make_run()
    assert found(f'"{run.name}"') == [run.name]


@pytest.mark.parametrize(
    "text",
    [
        "istanbul",
        "İSTANBUL",
        "ISTANBUL",
        "IŞIK",
        "ıŞIK",
        "ışık",
        "IĞDIR",
        "izmir",
        "İZMİR",
        "tag:ŞEHİR=izmir",
    ],
)
def test_the_letters_i_of_turkish_are_one(ana, text):
    run = make_run(display_name="İSTANBUL ışık", description="Iğdır")
    set_tag(run, "şehir", "İzmir", by=ana)
    assert found(text) == ["İSTANBUL ışık"]


def test_an_archived_run_is_left_out(ana):
    make_run(display_name="alpha")
    archive_runs(Run.objects.all(), by=ana)
    assert found("") == found("alpha") == []
    assert found("is:archived") == ["alpha"]


def test_a_submitted_pipeline_and_its_steps_are_found(workspace, ana):
    snapshot, target = make_snapshot(), make_target()
    steps = [
        StepSpec(name=name, script="train.py", arguments="", snapshot=snapshot, target=None,
                 environment_variables={}, time_limit_s=None, max_retries=0, after=after)
        for name, after in (("prepare", []), ("evaluate", ["prepare"]))
    ]  # fmt: skip
    pipeline, _ = submit(
        workspace, by=ana, experiment_name="churn", steps=steps, default_target=target,
        display_name="nightly", description="the whole way", tags={"stage": "final"},
    )  # fmt: skip
    assert found("tag:stage=final") == found('"whole way" churn ana kind:pipeline') == ["nightly"]
    assert sorted(found(f"parent:{pipeline.run_id}")) == ["evaluate", "prepare"]
    assert found("evaluate experiment:churn is:child") == ["evaluate"]
