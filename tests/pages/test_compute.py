"""The Compute page: what it shows, what it costs, and who may change what."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from runs.models import ComputeTarget, Node
from runs.services.compute import drain_node
from runs.status import Kind, Status
from studio.accounts.models import User
from tests.factories import make_node, make_run, make_target, make_workspace

ClientOf = Callable[[User], Client]
PAGE = "/compute/"
PART = {"HX-Request": "true", "HX-Target": "targets"}
LONG_AGO = datetime.now(UTC) - timedelta(minutes=26)


def page_of(client: Client) -> str:
    answer = client.get(PAGE)
    assert answer.status_code == 200
    return str(answer.content.decode())


def row_of(page: str, node: Node) -> str:
    """The markup of one node's row."""
    return page.split(f'id="node-{node.target.name}-{node.name}"')[1].split("</tr>")[0]


def seen_of(page: str) -> str:
    return page.split("?seen=")[1].split('"')[0]


class TestWhatItShows:
    def test_a_target_without_nodes_says_how_to_start_one(self, client_of: ClientOf, ben: User) -> None:
        make_target("edge-lab")
        page = page_of(client_of(ben))
        assert "No node serves" in page
        commands = ("STUDIO_TARGETS=local,default/edge-lab make run", "node --targets default/edge-lab")
        assert any(command in page for command in commands)

    def test_runs_stand_beside_the_slots_that_they_take(self, client_of: ClientOf, ben: User) -> None:
        node = make_node("box", slots=4)
        make_run(status=Status.RUNNING, node=node, display_name="lr 0.3")
        make_run(status=Status.RUNNING, node=node, display_name="mother", holds_slot=False)
        row = row_of(page_of(client_of(ben)), node)
        assert row.count("square-used") == 1
        assert row.count("square-free") == 3
        assert "lr 0.3" in row
        assert "mother</a> waits for its children, holds no slot" in row

    def test_a_draining_node_says_since_when_and_by_whom(
        self, client_of: ClientOf, chi: User, ben: User
    ) -> None:
        node = make_node()
        drain_node(node, by=chi)
        row = row_of(page_of(client_of(ben)), node)
        assert "Draining" in row
        assert "by chi" in row
        assert row.count("square-off") == 2

    def test_a_node_that_went_away_is_not_seen(self, client_of: ClientOf, ben: User) -> None:
        node = make_node(last_seen_at=LONG_AGO)
        row = row_of(page_of(client_of(ben)), node)
        assert "Not seen" in row
        assert "square-free" not in row

    def test_a_machine_that_serves_two_targets_counts_once(self, client_of: ClientOf, ben: User) -> None:
        node = make_node("box", slots=4)
        other = make_node("box", target=make_target("gpu"), slots=4)
        make_run(status=Status.RUNNING, node=node)
        page = page_of(client_of(ben))
        assert "1 <small>of 4</small>" in page
        assert row_of(page, other).count("square-used") == 1

    def test_queued_runs_and_the_median_wait_are_counted(self, client_of: ClientOf, ben: User) -> None:
        make_run(status=Status.QUEUED)
        make_run(status=Status.QUEUED)
        made = datetime.now(UTC) - timedelta(hours=1)
        make_run(created_at=made, started_at=made + timedelta(seconds=38), ended_at=datetime.now(UTC))
        page = page_of(client_of(ben))
        assert "2 <small>longest" in page
        assert "38s" in page

    def test_another_workspace_shows_nothing_of_it(self, client_of: ClientOf, dan: User, ben: User) -> None:
        make_node("box", target=make_target("theirs", workspace=make_workspace("elsewhere")))
        make_node("ours")
        assert "theirs" not in page_of(client_of(ben))
        assert "ours" not in page_of(client_of(dan))

    def test_without_targets_the_page_says_what_they_are(self, client_of: ClientOf, ben: User) -> None:
        assert "No compute target yet" in page_of(client_of(ben))


class TestLive:
    def test_nothing_new_costs_two_queries_and_no_page(self, client_of: ClientOf, ben: User) -> None:
        make_node()
        client = client_of(ben)
        seen = seen_of(page_of(client))
        with CaptureQueriesContext(connection) as asked:
            answer = client.get(PAGE, {"seen": seen}, headers=PART)
        assert answer.status_code == 204
        assert len(asked) == 2  # session with person, version

    @pytest.mark.parametrize("change", ["drain", "die", "beat", "leave", "run"])
    def test_news_come_with_the_next_poll(
        self, client_of: ClientOf, chi: User, ben: User, change: str
    ) -> None:
        node = make_node()
        client = client_of(ben)
        seen = seen_of(page_of(client))
        if change == "drain":
            drain_node(node, by=chi)
        elif change == "leave":
            node.delete()
        elif change == "run":
            make_run(status=Status.RUNNING, node=node)
        else:
            ago = timedelta(seconds=16 if change == "die" else 0)
            Node.objects.update(last_seen_at=datetime.now(UTC) - ago)
        answer = client.get(PAGE, {"seen": seen}, headers=PART)
        assert answer.status_code == 200
        assert answer.content.decode().lstrip().startswith('<div id="targets"')

    def test_the_number_of_queries_does_not_grow(self, client_of: ClientOf, ben: User) -> None:
        client = client_of(ben)
        costs = []
        for round_ in range(2):
            for number in range(3 + 10 * round_):
                target = make_target(f"target-{round_}-{number}")
                node = make_node(f"box-{number}", target=target)
                make_run(status=Status.RUNNING, node=node, target=target)
                make_run(status=Status.QUEUED, target=target, kind=Kind.SCRIPT)
            with CaptureQueriesContext(connection) as asked:
                page_of(client)
            costs.append(len(asked))
        # session with person, version, targets, nodes, runs on nodes, queued, waits, shell
        assert costs == [8, 8]


class TestOwner:
    def test_makes_a_target_and_the_first_is_the_default(self, client_of: ClientOf, chi: User) -> None:
        answer = client_of(chi).post(reverse("target-create"), {"name": "gpu", "description": "four A4000"})
        assert (answer.status_code, answer["Location"]) == (303, PAGE)
        target = ComputeTarget.objects.get(name="gpu")
        assert target.is_default
        assert target.description == "four A4000"

    @pytest.mark.parametrize(
        ("name", "said"),
        [("", "needs a name"), ("1gpu", "cannot be"), ("a" * 25, "cannot be"), ("local", "already")],
    )
    def test_a_name_that_cannot_be_is_refused_at_its_field(
        self, client_of: ClientOf, chi: User, name: str, said: str
    ) -> None:
        make_target("local")
        answer = client_of(chi).post(
            reverse("target-create"), {"name": name, "description": "kept"}, headers={"HX-Request": "true"}
        )
        assert answer.status_code == 422
        assert said in answer.content.decode()
        assert "kept</textarea>" in answer.content.decode()
        assert ComputeTarget.objects.count() == 1

    def test_a_target_without_a_name_is_refused_at_its_field(self, client_of: ClientOf, chi: User) -> None:
        answer = client_of(chi).post(reverse("target-create"))
        assert answer.status_code == 422
        assert "A compute target needs a name." in answer.content.decode()

    def test_edits_a_target_and_makes_it_the_default(self, client_of: ClientOf, chi: User) -> None:
        make_target("local", is_default=True)
        make_target("gpu")
        client = client_of(chi)
        answer = client.post(reverse("target-edit", args=["gpu"]), {"description": "new", "default": "on"})
        assert answer.status_code == 303
        assert list(ComputeTarget.objects.filter(is_default=True).values_list("name", flat=True)) == ["gpu"]
        client.post(reverse("target-default", args=["local"]))
        assert ComputeTarget.objects.get(is_default=True).name == "local"

    @pytest.mark.parametrize("path", ["target-create", "target-edit"])
    def test_dialogs_open_alone_too(self, client_of: ClientOf, chi: User, path: str) -> None:
        make_target("local")
        address = reverse(path, args=["local"] if path == "target-edit" else [])
        client = client_of(chi)
        assert "<html" in client.get(address).content.decode()
        assert "<html" not in client.get(address, headers={"HX-Request": "true"}).content.decode()

    def test_drains_resumes_and_forgets_a_node(self, client_of: ClientOf, chi: User) -> None:
        node = make_node("box")
        client, address = client_of(chi), reverse("node-change", args=["local"])

        def send(action: str) -> Any:
            return client.post(address, {"node": "box", "action": action}, headers={"HX-Request": "true"})

        assert "refresh" in send("drain")["HX-Trigger"]
        assert Node.objects.get().drained_by == chi
        send("resume")
        assert Node.objects.get().drained_at is None
        assert "is alive" in send("forget")["HX-Trigger"]
        Node.objects.filter(pk=node.pk).update(last_seen_at=LONG_AGO)
        send("forget")
        assert not Node.objects.exists()

    @pytest.mark.parametrize("sent", [{"node": "other", "action": "drain"}, {"node": "box", "action": "eat"}])
    def test_what_is_not_there_is_not_found(
        self, client_of: ClientOf, chi: User, sent: dict[str, str]
    ) -> None:
        make_node("box")
        assert client_of(chi).post(reverse("node-change", args=["local"]), sent).status_code == 404


class TestOthers:
    @pytest.mark.parametrize("name", ["ana", "ben"])
    def test_see_everything_and_are_offered_nothing(
        self, client_of: ClientOf, ana: User, ben: User, chi: User, name: str
    ) -> None:
        make_node()
        others, owners = (page_of(client_of(who)) for who in ({"ana": ana, "ben": ben}[name], chi))
        edit = reverse("target-edit", args=["local"])
        for word in ("New target", "Drain<", f'"{edit}"', 'aria-label="Edit local"'):
            assert word in owners
            assert word not in others

    def test_can_read_how_a_node_is_started(self, client_of: ClientOf, ana: User) -> None:
        make_target("gpu")
        answer = client_of(ana).get(reverse("target-command", args=["gpu"]))
        assert "gpu" in answer.content.decode()
