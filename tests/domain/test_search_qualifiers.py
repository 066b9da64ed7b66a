"""Each field of the free text, and each qualifier, finds what it says: by reading and by index alike."""

from __future__ import annotations

from datetime import timedelta

import pytest

from runs.errors import SearchError
from runs.models import Run
from runs.status import ErrorClass, Kind, Status
from tests.domain.search_kit import NOW, World, make_world

pytestmark = pytest.mark.django_db


@pytest.fixture
def world() -> World:
    world = make_world()
    world.run(
        "alpha",
        description="A baseline for Straße, 50% off_set",
        tags={"quality": "fantastic run", "lr": "0.1"},
        properties={"author": "Ana"},
        metrics={"accuracy": 0.95, "val loss": 0.2},
        target="gpu-compute",
        node="box-1",
        age=timedelta(days=20),
        lasted=timedelta(hours=2),
    )
    world.run(
        "bravo",
        submitter="ben",
        description="second try",
        tags={"quality": "good", "worth another look": None},
        metrics={"accuracy": 0.9},
        target="gpu-compute",
        age=timedelta(days=8),
        lasted=timedelta(minutes=5, seconds=30),
        status=Status.FAILED,
        error_class=ErrorClass.TIME_LIMIT,
    )
    world.run(
        "charlie",
        experiment="digits-mlp",
        submitter="jürgen",
        tags={"Quality": "GOOD"},
        metrics={"accuracy": None},
        target="local",
        kind=Kind.PIPELINE,
        age=timedelta(days=1),
        lasted=timedelta(seconds=20),
        status=Status.CANCELED,
    )
    world.run(
        "delta",
        experiment="digits-mlp",
        submitter="",
        kind=Kind.STEP,
        parent="charlie",
        age=timedelta(hours=5),
        status=Status.RUNNING,
    )
    world.run("echo", submitter="chi", tags={"quality-of": "x"}, lasted=None, status=Status.QUEUED)
    world.run("foxtrot", archived_at=NOW, tags={"quality": "good"})
    make_world("another").run("foreign", tags={"quality": "good"}, description="second try baseline")
    return world


# Free text: the four fields of the seed, and the others ---------------------------------------------------


def test_free_text_finds_a_tag(world):
    assert world.found("fantas") == "alpha"
    assert world.found('"quality=good"') == "charlie bravo"
    assert world.found("lr=0.1") == "alpha"
    assert world.found('"another look"') == "bravo"


def test_free_text_finds_a_description(world):
    assert world.found("aselin") == "alpha"
    assert world.found('"second TRY"') == "bravo"


def test_free_text_finds_an_experiment_name(world):
    assert world.found("digits") == "delta charlie"
    assert world.found("-mlp") == "echo bravo alpha"
    assert world.found('"-mlp"') == "delta charlie"


def test_free_text_finds_a_submitter(world):
    assert world.found("jürg") == "charlie"
    assert world.found("ben") == "bravo"


def test_free_text_finds_name_and_run_id(world):
    assert world.found("harl") == "charlie"
    assert world.found(world.runs["bravo"].run_id) == "bravo"


@pytest.mark.parametrize("text", ["STRASSE", "straße", "Strasse", "JÜRGEN OR strasse -jürgen"])
def test_free_text_ignores_case_in_any_script(world, text):
    assert "alpha" in world.found(text)


@pytest.mark.parametrize(
    ("text", "names"),
    [("50%", "alpha"), ("5%off", ""), ("off_set", "alpha"), ("off-set", ""), ("0_1", ""), (r'"\\"', "")],
)
def test_nothing_in_a_word_is_a_wildcard(world, text, names):
    assert world.found(text) == names


def test_a_phrase_does_not_reach_from_one_part_into_another(world):
    assert world.found('"alpha a baseline"') == ""
    assert world.found('"mnist ana"') == ""
    assert world.found("mnist ana alpha") == "alpha"


@pytest.mark.parametrize(
    ("text", "names"), [("tr", "bravo alpha"), ("ü", "charlie"), ("0.", "alpha"), ("zz", "")]
)
def test_short_words_are_found_too(world, text, names):
    assert world.found(text) == names


def test_sql_in_a_word_is_a_word(world):
    for text in ('"\'; DROP TABLE runs_run; --"', '"a\\" OR \\"b"', "'' '\"a*\" NEAR(b)'"):
        assert world.found(text) == ""
    assert Run.objects.count() == 7


# How terms combine ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "echo delta charlie bravo alpha"),
        ("*", "echo delta charlie bravo alpha"),
        ("-*", ""),
        ("mnist -ben", "echo alpha"),
        ("fantastic OR jürgen", "charlie alpha"),
        ("(fantastic OR second) mnist", "bravo alpha"),
        ("-(fantastic OR second)", "echo delta charlie"),
        ("-(mnist ana)", "echo delta charlie bravo"),
        ("tag:quality=good OR status:queued", "echo charlie bravo"),
        ("tag:quality=good (status:failed OR zz)", "bravo"),
        ("status:failed OR duration:>1h", "delta bravo alpha"),
        ("tag:quality -tag:quality=good", "alpha"),
        ("* OR mnist", "echo delta charlie bravo alpha"),
        ("tag:quality=good target:gpu-compute metric:accuracy submitter:ben status:failed", "bravo"),
        ("alpha bravo", ""),
    ],
)
def test_terms_combine(world, text, names):
    assert world.found(text) == names


# Qualifiers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("status:running", "delta"),
        ("status:FAILED,canceled", "charlie bravo"),
        ("-status:failed,canceled", "echo delta alpha"),
        ("status:NotResponding", ""),
        ("is:active", "echo delta"),
        ("is:terminal", "charlie bravo alpha"),
        ("is:root", "echo charlie bravo alpha"),
        ("is:child", "delta"),
        ("-is:child", "echo charlie bravo alpha"),
        ("kind:pipeline", "charlie"),
        ("kind:step,pipeline", "delta charlie"),
        ("kind:interactive", ""),
        ("error:time_limit", "bravo"),
        ("error:script,signal", ""),
    ],
)
def test_words_of_a_list(world, text, names):
    assert world.found(text) == names


def test_archived_runs_are_left_out_unless_asked_for(world):
    assert world.found("is:archived") == "foxtrot"
    assert world.found("-is:archived") == "echo delta charlie bravo alpha"
    assert world.found("is:archived OR status:failed") == "foxtrot bravo"
    assert world.found("foxtrot") == ""
    rows = world.search("tag:quality=good", archived=True).page().rows
    assert [run.display_name for run in rows] == ["foxtrot", "charlie", "bravo"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("submitter:ana", "alpha"),
        ("submitter:ANA", "alpha"),
        ("submitter:an", ""),
        ("submitter:an*", "alpha"),
        ("submitter:*N*", "charlie bravo alpha"),
        ("submitter:ana,ben", "bravo alpha"),
        ("submitter:JÜRGEN", "charlie"),
        ("submitter:jür*,chi", "echo charlie"),
        ("submitter:*", "echo charlie bravo alpha"),
        ("-submitter:*", "delta"),
        ("-submitter:ana", "echo delta charlie bravo"),
        ("submitter:nobody", ""),
        ("-submitter:nobody", "echo delta charlie bravo alpha"),
        ("experiment:mnist", "echo bravo alpha"),
        ("experiment:MNI*", "echo bravo alpha"),
        ("experiment:digits_mlp", ""),
        ("experiment:d*-*p", "delta charlie"),
        ("target:GPU-compute", "bravo alpha"),
        ("target:*", "charlie bravo alpha"),
        ("-target:*", "echo delta"),
        ("-target:local", "echo delta bravo alpha"),
        ("node:box-1", "alpha"),
        ("node:box*", "alpha"),
        ("-node:box-1", "echo delta charlie bravo"),
    ],
)
def test_names(world, text, names):
    assert world.found(text) == names


def test_me_is_who_asks(world):
    assert world.found("submitter:@me", person="ben") == "bravo"
    assert world.found("submitter:@me,ana", person="ben") == "bravo alpha"
    assert world.found("submitter:@me") == ""
    assert world.found("-submitter:@me", person="ben") == "echo delta charlie alpha"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("tag:quality", "charlie bravo alpha"),
        ("tag:QUALITY", "charlie bravo alpha"),
        ("-tag:quality", "echo delta"),
        ("tag:quality=good", "charlie bravo"),
        ('tag:quality="fantastic run"', "alpha"),
        ('tag:quality="Fantastic  RUN"', "alpha"),
        ("tag:quality=fantastic", ""),
        ("tag:quality=fan*", "alpha"),
        ("tag:quality=*", "charlie bravo alpha"),
        ("tag:qual*", "echo charlie bravo alpha"),
        ("tag:*", "echo charlie bravo alpha"),
        ("-tag:*", "delta"),
        ("tag:qual", ""),
        ('tag:"worth another look"', "bravo"),
        ('tag:"worth another look"=x', ""),
        ('tag:quality=""', ""),
        ("tag:%", ""),
        ("tag:l_", ""),
        ("property:author=ana", "alpha"),
        ("property:author", "alpha"),
        ("property:auth*", "alpha"),
        ("-property:author", "echo delta charlie bravo"),
        ("property:author=ben", ""),
    ],
)
def test_labels(world, text, names):
    assert world.found(text) == names


def test_a_long_tag_value_is_found_by_all_of_it(world):
    world.run("golf", tags={"note": "x" * 900 + "a"})
    world.run("hotel", tags={"note": "x" * 900 + "b"})
    assert world.found("tag:note=" + "x" * 900 + "a") == "golf"
    assert world.found("tag:note=xxx*") == "hotel golf"


@pytest.mark.parametrize("n_letters", [193, 194, 195, 196, 300])
def test_case_does_not_matter_in_a_long_value_either(world, n_letters):
    value = "Ü" + "straße" * 50
    world.run("golf", tags={"note": value[:n_letters]}, properties={"Note": value[:n_letters] + "A"})
    world.run("hotel", tags={"NOTE": value[:n_letters].upper()})
    world.run("india", tags={"note": value[: n_letters + 1]})
    assert world.found(f"tag:Note={value[:n_letters].swapcase()}") == "hotel golf"
    assert world.found(f"-tag:note={value[:n_letters]} tag:note") == "india"
    assert world.found(f"property:note={value[:n_letters]}a") == "golf"


def test_a_long_beginning_is_compared_to_its_end_or_refused(world):
    world.run("golf", tags={"note": "x" * 300})
    assert world.found(f"tag:note={'x' * 195}*") == "golf"
    assert world.found(f"tag:note={'x' * 192}yyy*") == ""
    with pytest.raises(SearchError, match="at most 200 letters before a \\*, its key among them"):
        world.found(f"tag:note={'x' * 196}*")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("metric:accuracy", "charlie bravo alpha"),
        ("-metric:accuracy", "echo delta"),
        ("metric:accuracy>0.9", "alpha"),
        ("metric:accuracy>=0.9", "bravo alpha"),
        ("metric:accuracy<0.95", "bravo"),
        ("metric:accuracy<=.95", "bravo alpha"),
        ("metric:accuracy=0.9", "bravo"),
        ("metric:accuracy!=0.9", "alpha"),
        ('metric:"val loss"<1e-1', ""),
        ('metric:"val loss"<1', "alpha"),
        ("metric:accuracy<inf", "bravo alpha"),
        ("metric:Accuracy", ""),
    ],
)
def test_metrics(world, text, names):
    assert world.found(text) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("duration:>1h", "delta alpha"),
        ("duration:>5h", ""),
        ("duration:>=5h", "delta"),
        ("duration:<1m", "charlie"),
        ("duration:<=20s", "charlie"),
        ("duration:5m", "bravo"),
        ("duration:5m30s", "bravo"),
        ("duration:5m31s", ""),
        ("duration:!=5m", "delta charlie alpha"),
        ("duration:>1h59m59s", "delta alpha"),
        ("-duration:>1h", "echo charlie bravo"),
    ],
)
def test_durations(world, text, names):
    assert world.found(text) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("created:today", "echo delta"),
        ("created:yesterday", "charlie"),
        ("created:7d", "echo delta charlie"),
        ("created:>7d", "echo delta charlie"),
        ("created:<7d", "bravo alpha"),
        ("created:>=2026-11-20", "echo delta charlie"),
        ("created:>2026-11-20", "echo delta"),
        ("created:<2026-11-13", "alpha"),
        ("created:<=2026-11-13", "bravo alpha"),
        ("created:2026-11", "echo delta charlie bravo alpha"),
        ("created:!=2026-11-21", "charlie bravo alpha"),
        ("created:>2026-11-21T15:29", "echo"),
        ("created:2026-11-21T17:30+02:00", "echo"),
        ("created:2027", ""),
        ("created:>=2026-11-01 created:<2026-11-20", "bravo alpha"),
        ("started:today", "delta"),
        ("-started:today", "echo charlie bravo alpha"),
        ("ended:yesterday", "charlie"),
        ("ended:>9999d", "charlie bravo alpha"),
        ("started:!=2026", ""),
        ("started:!=today", "charlie bravo alpha"),
        ("-started:!=today", "echo delta"),
        ("ended:!=yesterday", "bravo alpha"),
    ],
)
def test_times(world, text, names):
    assert world.found(text) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("number:1", "charlie alpha"),
        ("number:>1", "echo delta bravo"),
        ("number:<=1", "charlie alpha"),
        ("number:!=1", "echo delta bravo"),
        ("number:999999999999999999", ""),
        ("name:RAV", "bravo"),
        ("name:second", ""),
        ("name:l*a", "delta alpha"),
        ("name:mnist", ""),
        ("description:second", "bravo"),
        ("description:bravo", ""),
        ('description:"50% off_"', "alpha"),
        ("description:base*str", "alpha"),
        ("description:*", "bravo alpha"),
        ("-description:*", "echo delta charlie"),
        ("description:mnist", ""),
        ("description:quality", ""),
        ("id:nothing", ""),
        ("parent:nothing", ""),
        ("-parent:nothing", "echo delta charlie bravo alpha"),
    ],
)
def test_numbers_and_texts(world, text, names):
    assert world.found(text) == names


def test_a_run_and_its_children_are_found_by_id(world):
    charlie = world.runs["charlie"].run_id
    assert world.found(f"id:{charlie}") == "charlie"
    assert world.found(f"parent:{charlie}") == "delta"
    assert world.found(f"-id:{charlie} experiment:digits-mlp") == "delta"


def test_nothing_is_found_in_another_workspace(world):
    assert "foreign" not in world.found("tag:quality=good")
    assert world.found("foreign") == ""
    assert world.found(f"id:{Run.objects.get(display_name='foreign').run_id}") == ""
