"""The search bar offers what exists, quotes what needs it, and says which letters it would replace."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runs.search.complete import MOST, complete
from runs.search.parser import parse
from runs.search.qualifiers import QUALIFIERS
from runs.status import Status
from tests.domain.search_kit import NOW, World, make_world

pytestmark = pytest.mark.django_db


@pytest.fixture
def world() -> World:
    world = make_world()
    good, fantastic = (
        {"quality": "good", "lr": "0.1"},
        {"Quality": "fantastic run", "worth another look": None},
    )
    world.run("alpha", tags=good, target="local", node="box-1", metrics={"accuracy": 0.9, "val loss": 0.1})
    world.run("bravo", tags=good, submitter="jürgen", properties={"author": "ana"})
    world.run("charlie", tags=fantastic, experiment="digits-mlp", target="gpu-compute")
    world.run("delta", tags={"quality": "good"}, archived_at=NOW)
    world.run("echo", status=Status.RUNNING, tags={"quality": None})
    make_world("another").run("foreign", submitter="stranger", experiment="secret", tags={"hidden": "x"})
    return world


def offered(world: World, text: str, at: int | None = None) -> dict[str, list[str]]:
    """Titles of the groups with what choosing each of their suggestions makes of the whole text."""
    position = len(text) if at is None else at
    found = complete(world.workspace, text, position, world.person("ana"))
    return {
        group.title: [text[: found.start] + one.insert + text[found.end :] for one in group.suggestions]
        for group in found.groups
    }


def test_an_empty_bar_offers_every_qualifier(world):
    assert offered(world, "") == {"Search by": [f"{name}:" for name in QUALIFIERS]}


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("st", {"Search by": ["status:", "started:"], "Experiments": ["experiment:mnist "]}),
        ("-stat", {"Search by": ["-status:"]}),
        ("status:", {"Status": [f"status:{status.value} " for status in Status]}),
        ("status:ca", {"Status": ["status:CancelRequested ", "status:Canceled "]}),
        ("status:failed,ca", {"Status": ["status:failed,CancelRequested ", "status:failed,Canceled "]}),
        ("a -STATUS:fail", {"Status": ["a -status:Failed "]}),
        ("is:ar", {"Is": ["is:archived "]}),
        ("kind:p", {"Kind": ["kind:pipeline "]}),
        ("error:t", {"Error": ["error:time_limit "]}),
        ("submitter:", {"Submitter": ["submitter:@me ", "submitter:ana ", "submitter:jürgen "]}),
        ("submitter:JÜ", {"Submitter": ["submitter:jürgen "]}),
        ("submitter:jürgen,a", {"Submitter": ["submitter:jürgen,ana "]}),
        ("jür", {"People": ["submitter:jürgen "]}),
        ("experiment:", {"Experiment": ["experiment:digits-mlp ", "experiment:mnist "]}),
        ("experiment:MLP", {"Experiment": ["experiment:digits-mlp "]}),
        ("experiment:secret", {}),
        ("target:", {"Target": ["target:gpu-compute ", "target:local "]}),
        ("node:", {"Node": ["node:box-1 "]}),
        ("tag:", {"Tag keys": ["tag:quality", "tag:lr", 'tag:"worth another look"']}),
        ("tag:wor", {"Tag keys": ['tag:"worth another look"']}),
        ('tag:"worth an', {"Tag keys": ['tag:"worth another look"']}),
        ("tag:hid", {}),
        ("property:", {"Property keys": ["property:author"]}),
        ("property:author=", {"Values of property author": ["property:author=ana "],
                              "Or": ["property:author ", "-property:author "]}),
        ("metric:", {"Metrics": ["metric:accuracy", 'metric:"val loss"']}),
        ("metric:acc", {"Metrics": ["metric:accuracy"]}),
        ("metric:accuracy>", {}),
        ("duration:<", {"Such as": ["duration:<10s "]}),
        ("created:y", {"Such as": ["created:yesterday "]}),
        ("number:", {}),
        ("nonsense:", {}),
        ('"in quotes st', {}),
        ("(st", {"Search by": ["(status:", "(started:"], "Experiments": ["(experiment:mnist "]}),
    ],
)  # fmt: skip
def test_what_is_offered(world, text, groups):
    assert offered(world, text) == groups


def test_values_of_a_tag_come_with_the_number_of_runs(world):
    found = complete(world.workspace, "x tag:quality=", 14, None)
    assert [
        (group.title, [(one.insert, one.hint) for one in group.suggestions]) for group in found.groups
    ] == [
        (
            "Values of tag quality",
            [("tag:quality=good ", "2 runs"), ('tag:quality="fantastic run" ', "1 run")],
        ),
        ("Or", [("tag:quality ", "has it, any value"), ("-tag:quality ", "does not have it")]),
    ]


def test_the_term_around_the_cursor_is_replaced_whole(world):
    text = 'a -tag:quality="fan tas" b'
    assert offered(world, text, at=19)["Values of tag quality"] == ['a -tag:quality="fantastic run"  b']
    assert offered(world, "status:failed stat", at=9)["Status"] == ["status:Failed  stat"]


def test_what_is_wanted_is_said_where_nothing_can_be_offered(world):
    assert complete(world.workspace, "number:", 7, None).wants == "a number such as 12 or >10"


@pytest.mark.parametrize("at", [-5, 0, 3, 10_000])
def test_any_position_will_do(world, at):
    assert complete(world.workspace, "status:", at, None).end <= 7


def test_suggestions_are_few_and_queries_too(world, django_assert_max_num_queries):
    ana = world.person("ana")
    for n in range(30):
        world.run(
            f"more {n}",
            experiment=f"many-{n:02}",
            submitter=f"person-{n:02}",
            tags={f"k{n}": "v", "z": str(n)},
        )
    for text in (
        "",
        "ma",
        "submitter:",
        "experiment:",
        "target:",
        "tag:",
        "tag:z=",
        "metric:",
        "property:author=",
    ):
        with django_assert_max_num_queries(MOST + 2):
            found = complete(world.workspace, text, len(text), ana)
        for group in found.groups:
            assert len(group.suggestions) <= (MOST + 1 if group.title != "Search by" else len(QUALIFIERS))


SIGNS = [*' "“()-,=*\\%_', "\0", "\ud800", "😀", "\n"]
WORDS = ["status:", "tag:", "tag:quality=", "submitter:", "metric:", "experiment:", "created:", "good", "an"]
PIECES = st.sampled_from(SIGNS + WORDS)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.lists(PIECES, max_size=10).map("".join), at=st.integers(-1, 60))
def test_any_text_is_completed_or_left_alone(world, text, at):
    found = complete(world.workspace, text, at, None)
    assert 0 <= found.start <= found.end <= len(text)
    for group in found.groups:
        for one in group.suggestions:
            complete_term = one.insert.endswith(" ") and "," not in text
            if complete_term:
                assert parse(one.insert), one.insert


@pytest.mark.parametrize(
    "text", ["tag:quality=", "experiment:", "submitter:", "target:", "property:author=", "node:"]
)
def test_what_is_offered_is_found(world, text):
    groups = complete(world.workspace, text, len(text), world.person("ana")).groups
    offered = [one.insert for group in groups for one in group.suggestions]
    assert offered
    for insert in offered:
        assert world.found(insert, person="ana") or insert.startswith("-"), insert
