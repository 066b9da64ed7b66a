"""Every operation of the API: who may call it. The table is what each operation declares; here it is held."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from runs.api.access import Reach, Token
from runs.api.api import api as studio_api
from runs.models import Run
from runs.services.run_tokens import run_token
from runs.status import Kind, Status
from studio.accounts.models import ApiToken, Role, User
from studio.accounts.permissions import READING
from studio.accounts.services import make_token, revoke_token
from tests.api_kit import Api, refusal
from tests.factories import make_experiment, make_node, make_run, make_snapshot, make_target

ApiOf = Callable[[User | Run | None], Api]

#: Operations that anybody may call, and writes that a reader may do because they are about the caller alone.
PUBLIC = {"get /info"}
#: What a run's own token may write to the runs above its own.
UPWARDS = {"post /runs/{run_id}/metrics"}


@dataclass(frozen=True)
class Address:
    """One operation: method, path with its {arguments}, and what it declares."""

    method: str
    path: str
    token: Token | None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def writes(self) -> bool:
        return self.method.upper() not in READING

    @property
    def is_of_a_run(self) -> bool:
        return self.token is not None and self.token.reach is Reach.RUN

    @property
    def is_of_runs(self) -> bool:
        return self.token is not None and self.token.reach is Reach.RUNS

    def call(self, api: Api, things: dict[str, str]) -> Any:
        path = self.path.format(**things) + ("?timeout=0" if self.path.endswith("/wait") else "")
        body = {"run_ids": [things["run_id"]]} if self.is_of_runs else {}
        answer = api.call(self.method, path, body if self.writes else None)
        if answer.streaming:
            assert b"".join(answer)
        return answer


def addresses() -> Iterator[Address]:
    for bound in studio_api._get_bound_routers():
        for path, view in bound.path_operations.items():
            for operation in view.operations:
                tokens = [one for one in operation.auth_callbacks if isinstance(one, Token)]
                assert tokens or not operation.auth_callbacks
                for method in operation.methods:
                    yield Address(method.lower(), path.replace("{path:", "{"), tokens[0] if tokens else None)


ALL = list(addresses())


def those(chosen: Callable[[Address], bool]) -> Any:
    return pytest.mark.parametrize("address", [one for one in ALL if chosen(one)], ids=str)


CLOSED = those(lambda one: one.token is not None)
NAMED = those(lambda one: one.token is not None and one.token.reach in (Reach.WORKSPACE, Reach.RUN))
WRITES = those(lambda one: one.token is not None and one.writes and one.token.role != Role.READER)
READS = those(lambda one: one.token is not None and not one.writes)


@pytest.fixture
def run(ana: User) -> Run:
    return make_run(status=Status.RUNNING, submitter=ana, snapshot=make_snapshot())


@pytest.fixture
def things(run: Run) -> dict[str, str]:
    """A value for each argument that a path has; all are in the workspace of chi, ana and ben."""
    return {
        "workspace": run.workspace.name,
        "run_id": run.run_id,
        "experiment": run.experiment.name,
        "target": make_target().name,
        "node": make_node().name,
        "digest": run.snapshot.digest if run.snapshot else "",
        "path": "outputs/model.txt",
    }


def test_only_what_is_named_is_public() -> None:
    assert {str(one) for one in ALL if one.token is None} == PUBLIC


def test_what_an_address_names_is_found_before_it_is_let_in() -> None:
    for one in ALL:
        if "{run_id}" in one.path:
            assert one.token is not None
            assert one.token.reach is Reach.RUN, str(one)
        elif "{workspace}" in one.path:
            assert one.token is not None
            assert one.token.reach is Reach.WORKSPACE, str(one)


def test_writes_need_a_contributor() -> None:
    assert [str(one) for one in ALL if one.token and one.writes and one.token.role == Role.READER] == []


@CLOSED
def test_anonymous_gets_401(api_of: ApiOf, things: dict[str, str], address: Address) -> None:
    answer = address.call(api_of(None), things)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Bearer"
    assert refusal(answer)["code"] == "not_signed_in"


@CLOSED
def test_a_wrong_token_gets_401(things: dict[str, str], address: Address) -> None:
    for token in ("stu_wrong", "wrong", "a:b:c"):
        answer = address.call(Api(token), things)
        assert answer.status_code == 401
        assert token not in answer.content.decode()


def why(token: str) -> str:
    answer = Api(token).get("/me")
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Bearer"
    assert token not in answer.content.decode()
    error = refusal(answer)
    assert (error["code"], bool(error["hint"])) == ("token_refused", True)
    return str(error["message"])


def test_whoever_has_a_token_is_told_why_it_is_refused(ana: User) -> None:
    tokens = {name: make_token(ana, name, timezone.now() + timedelta(days=1)) for name in "abc"}
    revoke_token(tokens["a"][0])
    ApiToken.objects.filter(name="b").update(expires_at=datetime(2026, 1, 2, 23, 59, tzinfo=UTC))
    assert why(tokens["a"][1]).startswith("This token was revoked on 20")
    assert why(tokens["b"][1]) == "This token expired on 2026-01-02 at 23:59 UTC."
    User.objects.filter(pk=ana.pk).update(is_active=False)
    assert why(tokens["c"][1]) == "The account of ana is deactivated."
    guessed = tokens["a"][1][:-1] + ("A" if tokens["a"][1][-1] != "A" else "B")
    assert refusal(Api(guessed).get("/me"))["code"] == "not_signed_in"


def test_a_script_is_told_why_its_runs_token_is_refused(run: Run, ana: User) -> None:
    token = run_token(run)
    assert Api(token).get("/me").status_code == 200
    User.objects.filter(pk=ana.pk).update(is_active=False)
    assert "The account of ana, who submitted this run, is deactivated" in why(token)
    User.objects.filter(pk=ana.pk).update(is_active=True)
    Run.objects.filter(pk=run.pk).update(status=Status.QUEUED, started_at=None)
    assert "waits for another attempt" in why(token)
    Run.objects.filter(pk=run.pk).update(status=Status.RUNNING, attempt=run.attempt + 1)
    assert f"another attempt by now ({run.attempt + 1})" in why(token)
    Run.objects.filter(pk=run.pk).update(
        status=Status.COMPLETED, attempt=run.attempt, ended_at=Now(), holds_slot=False
    )
    assert f"{run.run_id} is Completed, and its own token ended" in why(token)


@WRITES
def test_a_reader_changes_nothing(api_of: ApiOf, ben: User, things: dict[str, str], address: Address) -> None:
    answer = address.call(api_of(ben), things)
    assert answer.status_code == 403
    assert refusal(answer)["code"] == "permission_denied"


@READS
def test_a_reader_reads(api_of: ApiOf, ben: User, things: dict[str, str], address: Address) -> None:
    assert address.call(api_of(ben), things).status_code in (200, 404, 422)


@those(lambda one: one.token is not None and one.token.role == Role.OWNER)
def test_a_contributor_does_not_manage(
    api_of: ApiOf, ana: User, things: dict[str, str], address: Address
) -> None:
    assert address.call(api_of(ana), things).status_code == 403


@NAMED
def test_a_stranger_finds_nothing(api_of: ApiOf, dan: User, things: dict[str, str], address: Address) -> None:
    answer = address.call(api_of(dan), things)
    assert answer.status_code == 404
    assert refusal(answer)["code"] == "not_found"


@those(lambda one: one.is_of_runs)
def test_a_stranger_and_nobody_learn_as_much_of_many_runs(
    api_of: ApiOf, dan: User, things: dict[str, str], address: Address
) -> None:
    answer = address.call(api_of(dan), things)
    assert (answer.status_code, answer.json()["unknown"]) == (200, [things["run_id"]])


@CLOSED
def test_no_operation_writes_for_a_session(
    client_of: Callable[[User], Any], chi: User, things: dict[str, str], address: Address
) -> None:
    api = Api()
    api.client = client_of(chi)
    answer = address.call(api, things)
    assert answer.status_code == 401 if address.writes else answer.status_code in (200, 404, 422)


class TestRunToken:
    """A run's own token: its tree for reading, itself and below for writing, metrics above, and no more."""

    @pytest.fixture
    def tree(self, run: Run) -> dict[str, Run]:
        """The run with a child; beside it a sister of the same parent."""
        top = make_run(kind=Kind.SCRIPT, status=Status.RUNNING)
        own = make_run(kind=Kind.SCRIPT, status=Status.RUNNING, parent=top)
        return {
            "top": top,
            "own": own,
            "child": make_run(kind=Kind.SCRIPT, status=Status.RUNNING, parent=own),
            "sister": make_run(kind=Kind.SCRIPT, status=Status.RUNNING, parent=top),
            "other": run,
        }

    @those(lambda one: one.token is not None and one.token.reach is Reach.RUN)
    def test_reaches_its_own_tree_alone(
        self, api_of: ApiOf, tree: dict[str, Run], things: dict[str, str], address: Address
    ) -> None:
        api = api_of(tree["own"])
        reached = {"own", "child"} if address.writes else {"own", "child", "sister", "top"}
        if str(address) in UPWARDS:
            reached |= {"top"}
        for name, run in tree.items():
            answer = address.call(api, {**things, "run_id": run.run_id})
            refused = answer.status_code == 403 and refusal(answer)["code"] == "permission_denied"
            assert refused == (name not in reached), name

    @those(lambda one: one.is_of_runs)
    def test_writes_to_many_if_it_may_to_each(
        self, api_of: ApiOf, tree: dict[str, Run], dan: User, address: Address
    ) -> None:
        api = api_of(tree["own"])
        deeper = make_run(kind=Kind.INTERACTIVE, status=Status.RUNNING, parent=tree["child"])
        mine = [tree["own"].run_id, tree["child"].run_id, deeper.run_id]
        for name in ("top", "sister", "other"):
            answer = api.call(address.method, address.path, {"run_ids": [*mine, tree[name].run_id]})
            assert (answer.status_code, refusal(answer)["code"]) == (403, "permission_denied"), name
        theirs = make_run(workspace=dan.memberships.get().workspace, target=None, submitter=dan)
        answer = api.call(address.method, address.path, {"run_ids": [*mine, theirs.run_id, "none"]})
        assert answer.json()["unknown"] == [theirs.run_id, "none"]

    @those(lambda one: one.token is not None and not one.token.run_token)
    def test_does_nothing_else(
        self, api_of: ApiOf, run: Run, things: dict[str, str], address: Address
    ) -> None:
        answer = address.call(api_of(run), things)
        assert answer.status_code == 403
        assert "own token" in refusal(answer)["message"]

    @those(lambda one: one.token is not None and one.token.reach is Reach.WORKSPACE and one.token.run_token)
    def test_knows_no_other_workspace(
        self, api_of: ApiOf, run: Run, things: dict[str, str], dan: User, address: Address
    ) -> None:
        answer = address.call(api_of(run), {**things, "workspace": "elsewhere"})
        assert answer.status_code == 404

    @those(lambda one: one.token is not None and one.token.reach is Reach.RUN)
    def test_does_not_learn_which_runs_others_have(
        self, api_of: ApiOf, run: Run, things: dict[str, str], dan: User, address: Address
    ) -> None:
        theirs = make_run(workspace=dan.memberships.get().workspace, target=None, submitter=dan)
        answers = [
            address.call(api_of(run), {**things, "run_id": run_id}) for run_id in (theirs.run_id, "none")
        ]
        assert {(answer.status_code, refusal(answer)["code"]) for answer in answers} == {(404, "not_found")}

    @those(
        lambda one: one.token and one.token.run_token and one.writes and one.token.reach is Reach.WORKSPACE
    )
    def test_makes_nothing_once_its_person_may_not(
        self, api_of: ApiOf, run: Run, ana: User, things: dict[str, str], address: Address
    ) -> None:
        api = api_of(run)
        ana.memberships.update(role=Role.READER)
        assert address.call(api, things).status_code == 403
        ana.memberships.all().delete()
        assert address.call(api, things).status_code == 404

    def test_makes_no_children_either(self, api_of: ApiOf, run: Run, ana: User) -> None:
        api, address = api_of(run), f"/runs/{run.run_id}/children"
        leave = (lambda: ana.memberships.update(role=Role.READER), lambda: ana.memberships.all().delete())
        for become in leave:
            become()
            answer = api.post(address, {"count": 2})
            assert (answer.status_code, refusal(answer)["code"]) == (403, "permission_denied")
        assert not run.children.exists()
        assert api.get(address).status_code == 200

    def test_is_over_with_its_person(self, api_of: ApiOf, run: Run, ana: User) -> None:
        api = api_of(run)
        User.objects.filter(pk=ana.pk).update(is_active=False)
        assert api.get("/me").status_code == 401

    def test_is_over_with_its_attempt(self, api_of: ApiOf, run: Run) -> None:
        api = api_of(run)
        assert api.get("/me").json()["run_id"] == run.run_id
        Run.objects.filter(pk=run.pk).update(attempt=run.attempt + 1)
        assert api.get("/me").status_code == 401

    @pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELED, Status.QUEUED])
    def test_is_over_with_its_run(self, api_of: ApiOf, ana: User, status: Status) -> None:
        assert api_of(make_run(status=status, submitter=ana)).get("/me").status_code == 401


def test_a_revoked_token_is_over_at_once(ana: User) -> None:
    token, text = make_token(ana, "laptop")
    assert Api(text).get("/me").status_code == 200
    revoke_token(token)
    assert Api(text).get("/me").status_code == 401


def test_another_experiment_of_the_name_is_not_taken_for_ours(api_of: ApiOf, dan: User, things: Any) -> None:
    make_experiment("theirs", workspace=dan.memberships.get().workspace)
    answer = api_of(dan).get("/workspaces/elsewhere/experiments/theirs")
    assert answer.status_code in (200, 404)
    assert api_of(dan).get(f"/workspaces/elsewhere/experiments/{things['experiment']}").status_code == 404
