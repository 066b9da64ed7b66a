"""Who may call which operation of the API: each names a `Token`, which decides before any input is read.

An API token may do what its person's role in the workspace allows. A run token may do what its run needs:
read its own tree of runs, write to its own run and to what descends from it, and log metrics to those that
its own descends from.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum
from typing import Any

from django.http import HttpRequest
from ninja.security import HttpBearer

from runs.errors import NotFound, PermissionDenied, StaleAttempt
from runs.lifecycle import descends
from runs.models import Run
from runs.services.run_tokens import check_run_token, newer_attempt
from studio.accounts.models import Membership, Role, User, Workspace
from studio.accounts.permissions import READING, REFUSED, has_role
from studio.accounts.services import TOKEN_START, check_token, member_by_token
from studio.prepared import Given, Prepared

NO_RUN_TOKEN = "A run's own token cannot do this."  # noqa: S105 (says something of tokens, is none)
WHAT_A_RUN_MAY = (
    "A script has its own run, Run.get_context(), and what it makes below it: child_run, create_children and "
    "submit_child."
)
SUBMITTER_IS_GONE = "Who submitted this run is not in its workspace any more, so it makes no others."
NOT_YOUR_RUN = (
    "A run's own token reaches its run and what descends from it; to those above it only logs metrics."
)

_membership = Prepared(
    lambda: Membership.objects.select_related("workspace").filter(
        user=Given("user"), workspace__name=Given("name")
    )
)
_membership_of_key = Prepared(
    lambda: Membership.objects.filter(user=Given("user"), workspace=Given("workspace"))
)
# Not every operation reads the run's labels.
_run = Prepared(lambda: Run.objects.for_api().prefetch_related(None).filter(run_id=Given("run_id")))


class Reach(Enum):
    """What the address of an operation names, and so what has to be found and allowed first."""

    PERSON = "nothing: it concerns whoever asks"
    WORKSPACE = "a workspace, as {workspace}"
    RUN = "a run, as {run_id}"
    RUNS = "nothing: the runs are in its body, and the operation asks `find_writable` for them"


@dataclass(frozen=True)
class Caller:
    """Who asks. With a run token `run` is its run, and `user` is that run's submitter."""

    user: User
    run: Run | None = None

    def may_read(self, run: Run) -> bool:
        """Whether a run token reaches a run for reading: one of its own tree. True for people."""
        return self.run is None or root_of(run) == root_of(self.run)

    def may_write(self, run: Run) -> bool:
        """Whether a run token reaches a run for writing: its own and what descends from it. True for people.

        At most one query for each run between the two.
        """
        return self.may_write_all([run])

    def may_write_all(self, runs: Collection[Run]) -> bool:
        """The same for several: one query for each level between them and the run of a run token."""
        if self.run is None:
            return True
        if not all(map(self.may_read, runs)):
            return False
        own = self.run.pk
        above = {run.parent_id or 0 for run in runs if run.pk != own} - {own}
        while above and 0 not in above:
            parents = Run.objects.filter(pk__in=above).values_list("parent_id", flat=True)
            above = {parent or 0 for parent in parents} - {own}
        return not above

    def may_log(self, run: Run) -> bool:
        """Whether a run token reaches a run for metrics: for writing, or one above its own."""
        return self.may_write(run) or (self.run is not None and descends(self.run, run))

    def parent_of(self, run: Run) -> Run | None:
        """The run whose token it is, if this one descends from it."""
        return self.run if self.run is not None and run.pk != self.run.pk and self.may_write(run) else None


class ApiRequest(HttpRequest):
    """A request that a `Token` let in. `workspace` and `run` are there if the address names them."""

    auth: Caller
    user: User
    membership: Membership
    workspace: Workspace
    run: Run


def root_of(run: Run) -> int:
    """The key of the topmost parent."""
    return run.root_id or run.pk


class Token(HttpBearer):
    """A bearer token with which this operation may be called; a browser's session does for reading.

    `role` is the least role in the workspace. Run tokens are let in where the address names a run, `upwards`
    also one above their own, and elsewhere only with `run_token`; the operation then sees to it that they
    reach nothing but their own. What makes something new in a workspace (as does what `makes_runs`) needs
    that the run's submitter may still do so.
    """

    def __init__(
        self,
        reach: Reach = Reach.PERSON,
        role: Role = Role.READER,
        *,
        run_token: bool | None = None,
        makes_runs: bool = False,
        upwards: bool = False,
    ) -> None:
        super().__init__()
        self.reach, self.role, self.makes_runs, self.upwards = reach, role, makes_runs, upwards
        self.run_token = reach is Reach.RUN if run_token is None else run_token

    def __call__(self, request: Any) -> Caller | None:
        """The caller, who may do this; None for nobody that is known.

        Raises NotFound and PermissionDenied, and StaleAttempt where an attempt that is over would write.
        """
        membership = self._member(request)
        if membership is not None:
            return self._let_in(request, membership)
        caller = identify(request)
        if caller is None:
            if self.reach in (Reach.RUN, Reach.RUNS) and self.role != Role.READER:
                _refuse_older_attempt(request)
            return None
        request.user = caller.user
        if caller.run is not None and not self.run_token:
            raise PermissionDenied(NO_RUN_TOKEN, hint=WHAT_A_RUN_MAY)
        if self.reach is Reach.WORKSPACE:
            self._find_workspace(request, caller, request.resolver_match.kwargs["workspace"])
        elif self.reach is Reach.RUN:
            self._find_run(request, caller, request.resolver_match.kwargs["run_id"])
        return caller

    def authenticate(self, request: HttpRequest, token: str) -> Caller | None:
        """Whose token it is."""
        return _by_token(token)

    def _member(self, request: Any) -> Membership | None:
        """Who asks with a token of their own for something in a workspace of theirs. One query."""
        scheme, text = _authorization(request)
        if self.reach is not Reach.WORKSPACE or scheme != "bearer":
            return None
        return member_by_token(text, request.resolver_match.kwargs["workspace"])

    def _let_in(self, request: Any, membership: Membership) -> Caller:
        request.user, request.membership = membership.user, membership
        request.workspace = membership.workspace
        self._check_role(membership)
        return Caller(membership.user)

    def _find_workspace(self, request: Any, caller: Caller, name: str) -> None:
        if caller.run is not None:
            if caller.run.workspace.name != name:
                raise NotFound(f"There is no workspace {name}.", field="workspace")
            request.workspace = caller.run.workspace
            if self.role == Role.READER:
                return
        membership = _membership.first(user=caller.user.pk, name=name) if "\0" not in name else None
        if membership is None:
            raise NotFound(f"There is no workspace {name}.", field="workspace")
        request.membership, request.workspace = membership, membership.workspace
        self._check_role(membership)

    def _find_run(self, request: Any, caller: Caller, run_id: str) -> None:
        run = find_run(run_id)
        if caller.run is not None:
            self._check_reach(caller, run)
        if caller.run is None or self.makes_runs:
            membership = _membership_of_key.first(user=caller.user.pk, workspace=run.workspace_id)
            if membership is None:
                raise no_such_run(run_id) if caller.run is None else PermissionDenied(SUBMITTER_IS_GONE)
            request.membership = membership
            self._check_role(membership)
        request.run, request.workspace = run, run.workspace

    def _check_role(self, membership: Membership) -> None:
        if not has_role(membership, self.role):
            raise PermissionDenied(REFUSED[self.role])

    def _check_reach(self, caller: Caller, run: Run) -> None:
        if caller.run is not None and run.workspace_id != caller.run.workspace_id:
            raise no_such_run(run.run_id)
        may: Callable[[Run], bool] = caller.may_log if self.upwards else caller.may_write
        if self.role == Role.READER:
            may = caller.may_read
        if not may(run):
            raise PermissionDenied(NOT_YOUR_RUN)


def find_run(run_id: str) -> Run:
    """The run with all that an answer shows of it but tags and properties. One query. Raises NotFound."""
    run = _run.first(run_id=run_id) if "\0" not in run_id else None
    if run is None:
        raise no_such_run(run_id)
    return run


def find_writable(caller: Caller, run_ids: Collection[str]) -> list[Run]:
    """Those of these runs that are there for this caller, who may write to all of them.

    Two queries, and with a run token what `may_write_all` asks. Raises PermissionDenied.
    """
    runs = Run.objects.filter(run_id__in=run_ids).only(
        "run_id", "workspace_id", "parent_id", "root_id", "kind", "status", "attempt"
    )
    if caller.run is not None:
        here = [run for run in runs if run.workspace_id == caller.run.workspace_id]
        if not caller.may_write_all(here):
            raise PermissionDenied(NOT_YOUR_RUN)
        return here
    rows = Membership.objects.filter(user=caller.user, workspace__in={run.workspace_id for run in runs})
    memberships = {row.workspace_id: row for row in rows}
    if not all(has_role(row, Role.CONTRIBUTOR) for row in rows):
        raise PermissionDenied(REFUSED[Role.CONTRIBUTOR])
    return [run for run in runs if run.workspace_id in memberships]


def no_such_run(run_id: str) -> NotFound:
    """The refusal for a run that is not there, or is not for this caller to know of."""
    return NotFound(f"There is no run {run_id[:256]}.", field="run_id")


def _authorization(request: HttpRequest) -> tuple[str, str]:
    """The scheme in small letters and the token; "" and "" where nothing is said."""
    scheme, _, text = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    return scheme.lower(), text.strip()


def identify(request: HttpRequest) -> Caller | None:
    """Who asks: by bearer token, or for reading by the session of a browser."""
    scheme, text = _authorization(request)
    if scheme:
        return _by_token(text) if scheme == "bearer" else None
    # A session never writes here: other sites can make browsers send its cookie.
    if request.method in READING and isinstance(request.user, User):
        return Caller(request.user)
    return None


def _refuse_older_attempt(request: Any) -> None:
    """Tell a script whose run has begun anew that this is so, and not that nobody knows it."""
    attempt = newer_attempt(_authorization(request)[1])
    if attempt is not None:
        raise StaleAttempt(f"The run is at attempt {attempt} by now, so this one writes nothing more.")


def _by_token(text: str) -> Caller | None:
    if text.startswith(TOKEN_START):
        known = check_token(text)
        return Caller(known[0]) if known else None
    run = check_run_token(text)
    return Caller(run.submitter, run) if run is not None and run.submitter is not None else None


def may_look(role: Role = Role.READER, *, run_token: bool = False) -> Token:
    """For an operation on a {workspace}: readers, unless `role` says otherwise."""
    return Token(Reach.WORKSPACE, role, run_token=run_token)


def may_contribute(*, run_token: bool = False) -> Token:
    """For an operation that changes something in a {workspace}."""
    return may_look(Role.CONTRIBUTOR, run_token=run_token)


def may_manage() -> Token:
    """For an operation of owners on a {workspace}."""
    return may_look(Role.OWNER)


def may_read_run() -> Token:
    """For an operation that reads a run, {run_id}."""
    return Token(Reach.RUN)


def may_write_run(*, makes_runs: bool = False) -> Token:
    """For an operation that changes a run, {run_id}, or `makes_runs` below it."""
    return Token(Reach.RUN, Role.CONTRIBUTOR, makes_runs=makes_runs)


def may_log_to_run() -> Token:
    """For metrics of a run, {run_id}: what a script finds out may be about a run above its own."""
    return Token(Reach.RUN, Role.CONTRIBUTOR, upwards=True)


def may_write_runs() -> Token:
    """For an operation that changes the runs that its body names, as far as `find_writable` gives them."""
    return Token(Reach.RUNS, Role.CONTRIBUTOR, run_token=True)
