"""Whoever changes something is written down with it."""

from __future__ import annotations

import pytest

from runs.models import Run
from runs.services import compute
from runs.services.experiments import archive_experiment, edit_experiment
from runs.services.runs import about_run, archive_runs, edit_run
from runs.services.tags import add_tags, remove_tag
from runs.status import Status
from studio.accounts import services
from studio.accounts.changes import changes_of
from studio.accounts.models import Role
from tests.factories import make_experiment, make_node, make_run, make_target

pytestmark = pytest.mark.django_db


def told(workspace, about: str) -> list[tuple[str, str]]:
    """Who did what, the oldest first."""
    return [(change.by.username, change.text) for change in reversed(changes_of(workspace, about))]


def test_what_people_do_to_a_run(workspace, ana, ben):
    run, other = make_run(status=Status.COMPLETED), make_run(status=Status.COMPLETED)
    add_tags([run, other], {"quality": "good", "draft": None}, by=ana)
    remove_tag(run, "draft", by=ben)
    remove_tag(run, "draft", by=ana)
    edit_run(run, by=ben, display_name="baseline", description="The first")
    run.refresh_from_db()
    edit_run(run, by=ana, display_name="baseline", description="The first")
    archive_runs(Run.objects.all(), by=ana)
    archive_runs(Run.objects.filter(pk=run.pk), by=ben, archived=False)
    assert told(workspace, about_run(run.run_id)) == [
        ("ana", "tagged quality=good, draft"),
        ("ben", "took the tag draft away"),
        ("ben", "named it “baseline”"),
        ("ben", "changed the description"),
        ("ana", "archived it"),
        ("ben", "brought it back"),
    ]
    assert told(workspace, about_run(other.run_id)) == [
        ("ana", "tagged quality=good, draft"),
        ("ana", "archived it"),
    ]


def test_what_people_do_to_experiments_and_targets(workspace, ana, chi):
    experiment = make_experiment("mnist")
    edit_experiment(experiment, by=ana, description="Digits")
    archive_experiment(experiment, by=chi)
    assert told(workspace, "experiment:mnist") == [("ana", "changed the description"), ("chi", "archived it")]
    target = compute.create_target(workspace, "gpu", by=chi)
    node = make_node("box", target=target)
    compute.drain_node(node, by=ana)
    assert told(workspace, "target:gpu") == [("chi", "made it"), ("ana", "drained box")]


def test_what_owners_do_to_members(workspace, chi):
    membership, _ = services.invite(workspace, "eva", Role.READER, by=chi)
    services.change_role(membership, Role.CONTRIBUTOR, by=chi)
    services.remove_member(membership, by=chi)
    assert told(workspace, "member:eva") == told(workspace, "member:")
    assert told(workspace, "member:") == [
        ("chi", "added as reader"),
        ("chi", "made contributor"),
        ("chi", "removed"),
    ]


def test_what_nobody_did_is_not_attributed(workspace):
    compute.create_target(workspace, "gpu", by=None)
    assert told(workspace, "target:gpu") == []


def test_many_at_once_cost_few_queries(ana, django_assert_max_num_queries):
    target = make_target()
    for _ in range(300):
        make_run(status=Status.COMPLETED, target=target)
    with django_assert_max_num_queries(8):
        archive_runs(Run.objects.all(), by=ana)
