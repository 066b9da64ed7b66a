"""What processes that are gone have left: sending it, each as the person who logged it."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio_client import config
from studio_client.api import Api, connect
from studio_client.errors import ConfigError, NotFound, Refused, StudioClientError, is_away
from studio_client.locks import taken
from studio_client.sending import ANSWER_S, send_next
from studio_client.spool_folder import STATE, Spool, is_abandoned, left_behind

#: What was left behind for a run that is gone is deleted after this.
KEPT_S = 30 * 86_400.0
#: How long who sends waits for another thread of this process that sends what was left.
_TURN_S = 1.0
_TURN_EVERY_S = 0.1
_TOO_LONG = "the server takes too long."
_BY_ANOTHER = "another process is sending them."
#: A spool, and what its state says.
Left = tuple[Path, dict[str, Any]]
logger = logging.getLogger("studio_client.spool")
#: Had by who sends what was left, so that who waits for that in another thread waits until it is sent.
_sending = threading.RLock()
_is_sending = False  # under that lock, so true only for a signal handler that interrupts it


class Synced:
    """What became of one spool: so many entries were sent; `problem` says why others were not.

    `passes` says whether the same may do better a little later.
    """

    __slots__ = ("entries", "passes", "problem", "run_id", "url")

    def __init__(
        self, run_id: str, url: str, entries: int, problem: str = "", *, passes: bool = False
    ) -> None:
        self.run_id, self.url = run_id, url
        self.entries, self.problem, self.passes = entries, problem, passes

    def __repr__(self) -> str:
        return f"Synced({self.run_id!r}, {self.url!r}, {self.entries}, {self.problem!r})"


def send_left_behind(
    api: Api, *, run_id: str = "", until: float = math.inf, patience_s: float = 0.0
) -> list[Synced]:
    """Send what processes that are gone have left, of all runs or of one, for whom this token stands.

    It ends `until` then, or about a second later; `patience_s` of that are for a server that is away, and for
    another thread that sends. Raises Unreachable or WrongServer. What is refused stays, as does what others
    have logged.
    """
    left = _left_of(api, run_id)
    if not _are_to_send(left):
        return []
    with taken(_sending, min(patience_s, max(0.0, until - time.monotonic()))) as has_it:
        if has_it and not _is_sending:
            return _send_in_turn(api, left, until, patience_s)
    if patience_s and _are_to_send(left):
        return [Synced(run_id, api.url, 0, "they are still being sent.")]
    return []


def send_before(api: Api, run_id: str, until: float) -> None:
    """Send what processes that are gone have left of a run, so that it comes before what is logged now.

    What a living process has is not waited for, and what is refused hinders nothing. Raises StudioClientError
    if it has to be tried again.
    """
    left = _left_of(api, run_id)
    if not _are_to_send(left):
        return
    with taken(_sending, min(_TURN_S, max(0.0, until - time.monotonic()))) as has_it:
        if not has_it:
            raise StudioClientError("what a process has left of it is still being sent.")
        if _is_sending:  # by whom this handler interrupts
            return
        for one in _send_in_turn(api, left, until, 0.0):
            if one.passes:
                raise StudioClientError(f"what a process has left of it comes first: {one.problem}")


def _left_of(api: Api, run_id: str) -> list[Left]:
    """The spools for this server, of a run or of all; the oldest first."""
    return [
        (folder, state)
        for folder, state in left_behind()
        if state.get("url") == api.url and run_id in ("", state.get("run_id"))
    ]


def _are_to_send(left: list[Left]) -> bool:
    """Whether one of them is being sent by somebody who comes after its process, or waits for that."""
    return any(is_abandoned(folder) for folder, _ in left)


def _send_in_turn(api: Api, left: list[Left], until: float, patience_s: float) -> list[Synced]:
    """Send these spools one after the other."""
    global _is_sending
    results: list[Synced] = []
    try:
        _is_sending = True
        for folder, state in left:
            if results and time.monotonic() >= until and is_abandoned(folder):
                results.append(Synced(_run_of(state), api.url, 0, _TOO_LONG, passes=True))
                break
            if not _is_mine(api, str(state.get("by")), timeout_s=_answer_s(until)):
                continue
            result = _sent(api, folder, _run_of(state), patience_s, until)
            if result is not None:
                results.append(result)
    finally:
        _is_sending = False
    return results


def sync_all(
    url: str = "",
    *,
    patience_s: float = 10.0,
    everyone: bool = False,
    begin: Callable[[Api], object] = lambda api: None,
) -> list[Synced]:
    """Send what processes that are gone have left on this machine, for one server or for all of them.

    With `everyone` also what others have logged, as who is signed in. `begin` is called with each server
    before it is asked. A result for each spool; nothing is raised.
    """
    results = []
    for server in dict.fromkeys(str(state.get("url", "")) for _, state in left_behind()):
        if url and server != url.rstrip("/"):
            continue
        try:
            api = _connection(server)
            begin(api)
            results += _synced(api, patience_s, everyone)
        except StudioClientError as error:
            results += [Synced(run_id, server, 0, str(error)) for run_id in _waiting(server)]
    return results


def forget_parent() -> None:
    """In the child of a fork: whoever was sending is in the parent."""
    global _sending, _is_sending
    _sending, _is_sending = threading.RLock(), False


def _answer_s(until: float) -> float:
    """How long the server may take for one answer."""
    return min(ANSWER_S, max(1.0, until - time.monotonic()))


def _is_mine(api: Api, by: str, *, timeout_s: float = ANSWER_S) -> bool:
    """Whether the person or run that this token stands for has logged it; asks the server if need be."""
    if by not in api.transport.login.marks:
        api.learn_who_writes(timeout_s=timeout_s)
    return by in api.transport.login.marks


def _why_not(by: str) -> str:
    """Why what somebody else has logged is left."""
    kind, _, name = by.partition(":")
    known = {"person": name, "run": f"the run {name}, with its own token,"}
    hint = f"Sign in as {name}, or send" if kind == "person" else "Send"
    who = known.get(kind, "somebody with another token")
    return f"{who} has logged them. {hint} them in your name: studio sync --all"


def _waiting(server: str) -> list[str]:
    """The runs of the spools for this server that no living process has."""
    found = []
    for folder, state in left_behind():
        if str(state.get("url", "")) == server and is_abandoned(folder):
            found.append(_run_of(state))
    return found


def _run_of(state: dict[str, Any]) -> str:
    return str(state.get("run_id", ""))


def _connection(server: str) -> Api:
    """As whom one is signed in there. A token of the environment goes to its own server only."""
    with contextlib.suppress(ConfigError):
        if config.resolve().url == server:
            return connect()
    if os.environ.get("STUDIO_TOKEN"):
        raise ConfigError(f"STUDIO_TOKEN is not for {server}.", hint="Unset it, or set STUDIO_URL, too.")
    return connect(server)


def _synced(api: Api, patience_s: float, everyone: bool) -> list[Synced]:
    results = []
    for folder, state in left_behind():
        if state.get("url") != api.url:
            continue
        by = str(state.get("by"))
        if everyone or _is_mine(api, by):
            results.append(_sent(api, folder, _run_of(state), patience_s))
        elif is_abandoned(folder):
            results.append(Synced(_run_of(state), api.url, 0, _why_not(by)))
    return [one for one in results if one is not None]


def _sent(api: Api, folder: Path, run_id: str, patience_s: float, until: float = math.inf) -> Synced | None:
    """Send a spool; None if a living process has it, or somebody else has sent it.

    `patience_s` is for each batch and for another process that sends it, and ends `until` then.
    """
    problem, passes, spool = "", False, None
    try:
        spool = _taken_in_turn(folder, min(until, time.monotonic() + patience_s))
        if spool is None:
            is_sent = not is_abandoned(folder)
            return None if is_sent else Synced(run_id, api.url, 0, _BY_ANOTHER, passes=True)
        while send_next(
            api,
            spool,
            timeout_s=_answer_s(until),
            patience_s=min(patience_s, max(0.0, until - time.monotonic())),
        ):
            if spool.waiting and time.monotonic() > until:
                problem, passes = _TOO_LONG, True
                break
    except (Refused, ValueError, KeyError, OSError) as error:
        problem, passes = str(error), is_away(error)
        logger.debug("the metrics that were left in %s wait: %s", folder, problem)
        if isinstance(error, (NotFound, ValueError)):
            _delete_if_old(folder)
    finally:
        if spool is not None and (problem or spool.waiting):
            spool.close()
        elif spool is not None:
            spool.delete()
    return Synced(run_id, api.url, spool.sent if spool else 0, problem, passes=passes)


def _taken_in_turn(folder: Path, until: float) -> Spool | None:
    """The spool, once nobody else sends it; None if that takes longer, or nothing is left."""
    spool = Spool.take(folder)
    while spool is None and time.monotonic() < until and is_abandoned(folder):
        time.sleep(_TURN_EVERY_S)
        spool = Spool.take(folder)
    return spool


def _delete_if_old(folder: Path) -> None:
    with contextlib.suppress(OSError):
        if time.time() - (folder / STATE).stat().st_mtime > KEPT_S:
            shutil.rmtree(folder)
