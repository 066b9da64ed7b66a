"""Workspaces are added and renamed from the shell of whoever runs the server."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from runs.errors import Conflict, InvalidName
from runs.models import ComputeTarget
from runs.services.nodes import register
from runs.services.workspaces import add_workspace, rename_workspace
from runs.status import Status
from studio.accounts.models import Membership, Role, User, Workspace
from tests.factories import make_run

pytestmark = pytest.mark.django_db


def said(*words: str) -> str:
    out = io.StringIO()
    call_command("workspace", *words, stdout=out)
    return out.getvalue()


def test_one_is_added_with_an_owner_and_a_compute_target(ana: User) -> None:
    workspace = add_workspace("myworkspace", owner=ana)
    assert Membership.objects.get(workspace=workspace).role == Role.OWNER
    target = ComputeTarget.objects.get(workspace=workspace)
    assert (target.name, target.is_default) == ("local", True)


@pytest.mark.parametrize("name", ["", "a/b", "two words", "x" * 300])
def test_a_name_that_cannot_be_is_refused_and_nothing_is_made(ana: User, name: str) -> None:
    before = Workspace.objects.count()
    with pytest.raises(InvalidName):
        add_workspace(name, owner=ana)
    assert Workspace.objects.count() == before


def test_a_control_character_in_a_name_is_seen(ana: User) -> None:
    with pytest.raises(InvalidName, match=r"“a\\x07b” cannot be a workspace's name"):
        add_workspace("a\x07b", owner=ana)


def test_a_name_that_is_taken_is_refused(ana: User) -> None:
    first, second = add_workspace("one", owner=ana), add_workspace("two", owner=ana)
    with pytest.raises(Conflict, match="There is a workspace one already"):
        add_workspace("one", owner=ana)
    with pytest.raises(Conflict):
        rename_workspace(second, "one", by=ana)
    assert sorted(Workspace.objects.filter(pk__in=[first.pk, second.pk]).values_list("name", flat=True)) == [
        "one",
        "two",
    ]


def test_a_new_name_keeps_everything(ana: User) -> None:
    run = make_run(submitter=ana)
    rename_workspace(run.workspace, "research", by=ana)
    run.refresh_from_db()
    assert run.workspace.name == "research"


def test_scripts_that_run_keep_their_workspace_findable(ana: User) -> None:
    run = make_run(submitter=ana, status=Status.RUNNING)
    with pytest.raises(Conflict, match="1 run is active"):
        rename_workspace(run.workspace, "research", by=ana)
    assert Workspace.objects.get(pk=run.workspace_id).name != "research"


def test_a_target_without_a_workspace_is_that_of_the_first(ana: User) -> None:
    first = make_run(submitter=ana).workspace
    rename_workspace(first, "research", by=ana)
    add_workspace("default", owner=ana)
    [node] = register("box", ["local"], slots=1, instance="one")
    assert node.target.workspace == first


def test_who_renames_is_told_of_what_names_the_workspace(ana: User, settings: Any) -> None:
    settings.NODE_TARGETS = ["gpu", "one/local"]
    assert "STUDIO_TARGETS=gpu,one/local,two/local" in said("--user", "ana", "add", "two")
    assert "STUDIO_TARGETS" not in said("--user", "ana", "rename", "two", "three")
    add_workspace("one", owner=ana)
    assert "Put four/ for one/ in STUDIO_TARGETS" in said("--user", "ana", "rename", "one", "four")


def test_the_command(ana: User) -> None:
    assert "STUDIO_TARGETS=local,azure-ws/local" in said("--user", "ana", "add", "azure-ws")
    assert "azure-ws is research from now on" in said("--user", "ana", "rename", "azure-ws", "research")
    assert "research" in said().splitlines()
    with pytest.raises(CommandError, match=r"There is no workspace gone\. There is .*research"):
        said("--user", "ana", "rename", "gone", "x")
    with pytest.raises(CommandError, match="already"):
        said("--user", "ana", "add", "research")
