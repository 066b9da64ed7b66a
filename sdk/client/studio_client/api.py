"""The REST API, a method for each thing it does.

All of them block, and raise what studio_client.errors lists.
"""

from __future__ import annotations

import functools
import gzip
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, Optional
from urllib.parse import quote

from studio_client import config
from studio_client.answers import Answer
from studio_client.errors import NotFound, TooBig
from studio_client.records import (
    ArtifactRecord,
    ExperimentRecord,
    LogRecord,
    RunRecord,
    TargetRecord,
    WorkspaceRecord,
)
from studio_client.transport import PATIENCE_IN_RUN_S, PATIENCE_S, PREFIX, Transport

PAGE = 100
FILES_PAGE = 1_000
#: The longest that the server is asked to hold a question back.
LONGEST_WAIT_S = 20.0
LOG_PIECE_BYTES = 1 << 20
#: Metrics that go over a network are compressed from this on; on one machine that costs more than it saves.
WORTH_COMPRESSING_BYTES = 2_000

Tags = Mapping[str, Optional[str]]


class LogPiece:
    """Bytes of a log from some offset; `size` is the whole log's, `run_status` the run's at that moment."""

    __slots__ = ("attempt", "data", "run_status", "size")

    def __init__(self, data: bytes, size: int, attempt: int, run_status: str) -> None:
        self.data = data
        self.size = size
        self.attempt = attempt
        self.run_status = run_status


def connect(url: str = "", *, client: str = "studio-client") -> Api:
    """The API of the server that one is signed in to. Nothing is sent yet. Raises ConfigError."""
    login = config.resolve(url)
    patience_s = PATIENCE_IN_RUN_S if config.in_run() else PATIENCE_S
    return Api(Transport(login, patience_s=patience_s, client=client))


class Api:
    """What can be asked of one server."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._send = transport.send

    def __repr__(self) -> str:
        return f"Api({self.url!r})"

    @property
    def url(self) -> str:
        """The server's address, without a slash at its end."""
        return self.transport.url

    @property
    def written_by(self) -> str:
        """What stands for who writes with this token; by a digest of it until the server was asked."""
        return self.transport.login.marks[-1]

    def learn_who_writes(self, *, timeout_s: float = 60.0) -> None:
        """Ask the server whose token it is, once and unless it is known."""
        if not self.transport.login.is_known:
            me = self._send("GET", "/me", timeout_s=timeout_s, patience_s=0).json()
            login = self.transport.login
            login.username, login.run_id = me["username"], me["run_id"] or ""

    def patient(self, patience_s: float) -> Api:
        """The same server and login, which waits so long for a server that is away."""
        made = Api(self.transport)
        made._send = functools.partial(self.transport.send, patience_s=patience_s)
        return made

    def info(self) -> dict[str, Any]:
        """The server's version. Raises WrongServer if this client cannot speak with it."""
        return self.transport.check_version()

    def me(self) -> dict[str, Any]:
        """Who the token belongs to, and the workspaces that it opens."""
        return dict(self._get("/me"))

    # Workspaces, experiments, compute targets

    def workspaces(self) -> Iterator[WorkspaceRecord]:
        """Those that one is a member of."""
        return self._pages("/workspaces")

    def workspace(self, name: str) -> WorkspaceRecord:
        """One by its name."""
        return self._get(_ws(name))

    def experiments(
        self, workspace: str, *, view: str = "active", name: str | None = None
    ) -> Iterator[ExperimentRecord]:
        """Those of a workspace; `view` is active, archived or all."""
        return self._pages(_ws(workspace, "experiments"), [("view", view), ("name", name)])

    def experiment(self, workspace: str, name: str) -> ExperimentRecord:
        """One by its name."""
        return self._get(_ws(workspace, "experiments", name))

    def make_experiment(self, workspace: str, name: str, *, exist_ok: bool = True) -> ExperimentRecord:
        """The experiment of this name, made if it is new."""
        return self._post(
            _ws(workspace, "experiments"), {"name": name, "exist_ok": exist_ok}, idempotent=exist_ok
        )

    def change_experiment(self, workspace: str, name: str, **changes: Any) -> ExperimentRecord:
        """Change its `description`, `tags` (all of them) or `archived`."""
        return self._patch(_ws(workspace, "experiments", name), changes)

    def targets(self, workspace: str) -> Iterator[TargetRecord]:
        """The compute targets of a workspace."""
        return self._pages(_ws(workspace, "compute-targets"))

    def target(self, workspace: str, name: str) -> TargetRecord:
        """One compute target by its name."""
        return self._get(_ws(workspace, "compute-targets", name))

    # Runs

    def runs(
        self, workspace: str, filters: Iterable[tuple[str, Any]] = (), *, limit: int = PAGE
    ) -> Iterator[RunRecord]:
        """Runs that pass the filters (pairs, as the API names them), page by page, newest first."""
        return self._pages(_ws(workspace, "runs"), filters, limit=limit)

    def run(self, run_id: str, *, timeout_s: float = 60.0) -> RunRecord:
        """One run by its id."""
        return self._get(_run(run_id), timeout_s=timeout_s)

    def start_run(self, workspace: str, experiment: str, run_id: str, **given: Any) -> RunRecord:
        """An interactive run, Running unless `start` is False."""
        content = {"experiment": experiment, "run_id": run_id, **_set(given)}
        return self._post(_ws(workspace, "runs"), content)

    def submit(self, workspace: str, content: Mapping[str, Any]) -> RunRecord:
        """Hand in a run to be executed on a compute target;
        `content` holds a `run_id`, so it can be repeated.
        """
        return self._post(_ws(workspace, "submissions"), _set(content), idempotent="run_id" in content)

    def change_run(self, run_id: str, **changes: Any) -> RunRecord:
        """Change `display_name`, `description` or `archived`."""
        return self._patch(_run(run_id), changes)

    def act(self, run_id: str, act: str, content: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Do `start`, `complete`, `fail` or `cancel`; what the server answers."""
        return self._post(_run(run_id, act), dict(content or {})) or {}

    def beat(self, run_id: str, *, timeout_s: float = 10.0) -> None:
        """A sign of life of an interactive run. Asked once only."""
        self._send(
            "POST",
            _run(run_id, "heartbeat"),
            json_body={},
            idempotent=True,
            timeout_s=timeout_s,
            patience_s=0,
        )

    def beat_all(self, run_ids: Sequence[str], *, timeout_s: float = 10.0) -> list[str]:
        """The same for at most 500 runs; those of them that have ended or are not there.

        Asked once only. Raises NotAllowed if one of them is; servers older than this client lack it.
        """
        answer = self._send(
            "POST",
            "/heartbeats",
            json_body={"run_ids": list(run_ids)},
            idempotent=True,
            timeout_s=timeout_s,
            patience_s=0,
        ).json()
        return [*answer["ended"], *answer["unknown"]]

    def wait(self, run_id: str, *, since: str = "", timeout_s: float = LONGEST_WAIT_S) -> RunRecord:
        """The run once its version is not `since`, or it has ended, or the time is up."""
        held = min(timeout_s, LONGEST_WAIT_S)
        query = [("since", since), ("timeout", max(0, round(held)))]
        return self._get(_run(run_id, "wait"), query, timeout_s=held + 30, held_s=held)

    def children(self, run_id: str, filters: Iterable[tuple[str, Any]] = ()) -> Iterator[RunRecord]:
        """The child runs of a run, newest first; with ("recursive", True) all descendants."""
        return self._pages(_run(run_id, "children"), filters)

    def make_children(self, run_id: str, children: Sequence[Mapping[str, Any]]) -> list[RunRecord]:
        """Interactive children in one call, in this order, Running: each wants its signs of life."""
        content = {
            "children": [dict(child) for child in children],
            "batch_id": str(uuid.uuid4()),
            "start": True,
        }
        return list(self._post(_run(run_id, "children"), content)["items"])

    # Tags and properties

    def tags(self, run_id: str) -> dict[str, str | None]:
        """The tags of a run."""
        return dict(self._get(_run(run_id, "tags"))["tags"])

    def set_tags(self, run_id: str, tags: Tags) -> dict[str, str | None]:
        """Set or replace these tags; all of them then."""
        answer = self._send("PUT", _run(run_id, "tags"), json_body=dict(tags))
        return dict(answer.json()["tags"])

    def remove_tags(self, run_id: str, keys: Sequence[str]) -> dict[str, str | None]:
        """Take these tags away; those that are left."""
        return dict(self._post(_run(run_id, "tags", "remove"), {"keys": list(keys)})["tags"])

    def properties(self, run_id: str) -> dict[str, str]:
        """The properties of a run."""
        return dict(self._get(_run(run_id, "properties"))["properties"])

    def add_properties(self, run_id: str, properties: Mapping[str, str]) -> dict[str, str]:
        """Add them all, or none if one has another value already (Conflict)."""
        return dict(self._post(_run(run_id, "properties"), dict(properties))["properties"])

    # Metrics

    def send_metrics(
        self, run_id: str, batch: bytes, *, patience_s: float | None = None, timeout_s: float = 60.0
    ) -> dict[str, Any]:
        """Hand over one batch: JSON with `writer`, `seq` and `series`.

        Repeating it stores nothing twice.
        """
        headers = {"Content-Type": "application/json"}
        if not self.transport.is_local and len(batch) > WORTH_COMPRESSING_BYTES:
            headers["Content-Encoding"] = "gzip"
            batch = gzip.compress(batch, compresslevel=1)
        answer = self._send(
            "POST",
            _run(run_id, "metrics"),
            body=batch,
            headers=headers,
            idempotent=True,
            patience_s=patience_s,
            timeout_s=timeout_s,
        )
        return dict(answer.json())

    def metric_values(
        self, run_id: str, *, name: str | None = None, recursive: bool = False
    ) -> dict[str, list[Any]]:
        """All points, by run id, as series of columns.

        What is too much for one answer is asked for run by run, and of a run metric by metric. Raises TooBig
        for a metric that is too much by itself.
        """
        query = [("name", name), ("recursive", recursive)]
        try:
            return dict(self._get(_run(run_id, "metrics", "values"), query, timeout_s=300)["runs"])
        except TooBig:
            known = self._get(_run(run_id, "metrics"), query)["items"]
            if len(known) < 2:
                raise
        runs = dict.fromkeys(metric["run_id"] for metric in known)
        if len(runs) > 1:
            return {one: self.metric_values(one, name=name).get(one, []) for one in runs}
        (one,) = runs
        names = [metric["name"] for metric in known]
        return {one: [series for each in names for series in self.metric_values(one, name=each).get(one, [])]}

    # Logs

    def logs(self, run_id: str) -> list[LogRecord]:
        """The log files of a run."""
        return list(self._get(_run(run_id, "logs"))["items"])

    def read_log(
        self,
        run_id: str,
        name: str,
        *,
        offset: int = 0,
        length: int = LOG_PIECE_BYTES,
        attempt: int | None = None,
        wait_s: float = 0,
    ) -> LogPiece:
        """Bytes of a log; with `wait_s`, once there is a byte at `offset`, or the run has ended."""
        query = [
            ("offset", offset),
            ("length", length),
            ("attempt", attempt),
            ("wait", round(wait_s) or None),
        ]
        address, timeout_s = _run(run_id, "logs", path=name), wait_s + 60
        answer = self._send("GET", address, query=query, timeout_s=timeout_s, held_s=wait_s)
        header = answer.headers.get
        return LogPiece(
            answer.body,
            int(header("Studio-Log-Size") or offset + len(answer.body)),
            int(header("Studio-Log-Attempt") or 0),
            header("Studio-Run-Status") or "",
        )

    def append_log(
        self, run_id: str, name: str, offset: int, data: bytes, *, patience_s: float | None = None
    ) -> None:
        """Append bytes at the end of a log; Conflict with `expected` if `offset` is not its end."""
        self._send(
            "POST",
            _run(run_id, "logs", path=name),
            query=[("offset", offset)],
            body=data,
            headers={"Content-Type": "application/octet-stream"},
            idempotent=True,
            patience_s=patience_s,
        )

    # Artifacts and snapshots

    def artifacts(self, run_id: str, *, limit: int = FILES_PAGE) -> list[ArtifactRecord]:
        """The files kept with a run, all of them; `limit` are asked for at once."""
        return list(self._pages(_run(run_id, "artifacts"), limit=limit))

    def put_artifact(
        self, run_id: str, path: str, file: IO[bytes], *, overwrite: bool = False, timeout_s: float = 600.0
    ) -> None:
        """Keep a file with the run; Conflict if another one has this path and `overwrite` is False."""
        self._send(
            "PUT",
            _run(run_id, "artifacts", path=path),
            query=[("overwrite", overwrite)],
            body=file,
            headers={"Content-Type": "application/octet-stream"},
            timeout_s=timeout_s,
        )

    def get_artifact(self, run_id: str, path: str, target: IO[bytes]) -> None:
        """Write a file that is kept with the run into `target`."""
        self._send("GET", _run(run_id, "artifacts", path=path), target=target, timeout_s=600)

    def snapshot(self, workspace: str, digest: str) -> dict[str, Any]:
        """What is known of a snapshot; NotFound if the server lacks it."""
        return dict(self._get(_ws(workspace, "snapshots", digest)))

    def put_snapshot(self, workspace: str, archive: IO[bytes]) -> dict[str, Any]:
        """Hand over a zip; the snapshot that it became."""
        answer = self._send(
            "POST",
            _ws(workspace, "snapshots"),
            body=archive,
            headers={"Content-Type": "application/zip"},
            idempotent=True,
            timeout_s=600,
        )
        return dict(answer.json())

    def get_snapshot(self, run_id: str, target: IO[bytes]) -> None:
        """Write the zip of a run's snapshot into `target`."""
        self._send("GET", _run(run_id, "snapshot"), target=target, timeout_s=600)

    def address_of_log(self, run_id: str, name: str) -> str:
        """Where a log can be fetched by whoever has a token."""
        return f"{self.url}{PREFIX}{_run(run_id, 'logs', path=name)}"

    # The ways to ask

    def _get(
        self,
        path: str,
        query: Iterable[tuple[str, Any]] = (),
        timeout_s: float = 60.0,
        held_s: float = 0.0,
    ) -> Any:
        return self._send("GET", path, query=query, timeout_s=timeout_s, held_s=held_s).json()

    def _post(self, path: str, content: Mapping[str, Any], *, idempotent: bool = True) -> Any:
        answer: Answer = self._send("POST", path, json_body=content, idempotent=idempotent)
        return answer.json()

    def _patch(self, path: str, content: Mapping[str, Any]) -> Any:
        return self._send("PATCH", path, json_body=content, idempotent=True).json()

    def _pages(self, path: str, query: Iterable[tuple[str, Any]] = (), *, limit: int = PAGE) -> Iterator[Any]:
        """Every item of a list; a page is fetched when its first item is wanted."""
        asked = [*query, ("limit", limit)]
        cursor: str | None = None
        while True:
            page = self._get(path, [*asked, ("cursor", cursor)])
            yield from page["items"]
            cursor = page.get("next_cursor")
            if not cursor:
                return


def _segment(text: str) -> str:
    """Raises NotFound for what no name can be, as no address would lead there."""
    if not text or "/" in text:
        raise NotFound(f"There is nothing named {text!r}.", status=404, code="not_found")
    return quote(text, safe="")


def _ws(name: str, *rest: str) -> str:
    return "/".join(["/workspaces", _segment(name), *map(_segment, rest)])


def _run(run_id: str, *rest: str, path: str = "") -> str:
    """The address of a run or of something below it; `path` keeps its slashes."""
    words = ["/runs", _segment(run_id), *map(_segment, rest)]
    if path:
        words.append(quote(path.replace(os.sep, "/").lstrip("/"), safe="/"))
    return "/".join(words)


def _set(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}
