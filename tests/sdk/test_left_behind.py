"""What processes leave that are gone: sent by whom, and waited for by whom."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from studio_client import config, left_behind
from studio_client.api import Api
from studio_client.config import Login
from studio_client.errors import StudioClientError, Unreachable
from studio_client.segments import NO_STEP
from studio_client.sender import MetricSender
from studio_client.spool_folder import Spool
from studio_client.transport import Transport

from tests.fixtures.processes import wait_until
from tests.sdk.command_line import Shell
from tests.sdk.live import Signed, studio_command
from tests.sdk.spooling import IN_SILENCE, spools, values
from tests.sdk.wire import Wire

Start = Callable[..., "subprocess.Popen[str]"]
LOG_AND_DIE = "for n in range(200): sender.add('m', n)\nos.kill(os.getpid(), 9)\n"
SEND_ONE_LOG_AND_DIE = "sender.add('m', -1)\nassert sender.flush(60)\n" + LOG_AND_DIE


@pytest.fixture(scope="module")
def ben(server: Signed) -> str:
    """The token of another contributor."""
    studio_command(
        server.studio,
        "shell",
        "-c",
        "from studio.accounts.models import Membership, User, Workspace;"
        "ben = User.objects.create(username='ben');"
        "place = Workspace.objects.get(name='default');"  # another test makes a second one
        "Membership.objects.create(user=ben, workspace=place, role='contributor')",
    )
    return studio_command(server.studio, "token", "--user", "ben").splitlines()[-1]


def leave(start: Start, code: str) -> None:
    assert start(IN_SILENCE + code).wait(60) == -signal.SIGKILL


def leave_one(url: str, run_id: str, by: str, *, is_alive: bool = False) -> Spool:
    """One entry that waits on disk."""
    spool = Spool.create(url, run_id, str(uuid.uuid4()), 0, by=by)
    spool.add(("m", "scalar", ""), 1.0, NO_STEP, 1.0)
    if not is_alive:
        spool.close()
    return spool


@contextlib.contextmanager
def silent_server() -> Iterator[tuple[str, socket.socket]]:
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield f"http://127.0.0.1:{silent.getsockname()[1]}", silent


@pytest.mark.parametrize("known", [True, False])
def test_what_one_person_has_logged_is_not_sent_as_another(
    start: Start, api: Api, run_id: str, ben: str, signed_in: Signed, home: Path, shell: Shell, known: bool
) -> None:
    before = [-1] if known else []
    leave(start, SEND_ONE_LOG_AND_DIE if known else LOG_AND_DIE)
    (left,) = spools(home)
    assert signed_in.token not in (left / "state.json").read_text()

    as_ben = Api(Transport(Login(signed_in.url, ben, "a test")))
    assert left_behind.send_left_behind(as_ben) == []
    shell.env["STUDIO_TOKEN"] = ben
    said = shell("studio sync").refused()
    assert f"{run_id} for {signed_in.url}" in said
    assert ("admin has logged them. Sign in as admin" if known else "somebody with another token") in said
    assert values(api, run_id) == ({"m": -1} if known else {})

    shell.env["STUDIO_TOKEN"] = signed_in.token
    assert shell("studio sync").json["sent"] == 200
    assert values(api, run_id) == {"m": before + list(range(200))}
    assert spools(home) == []


def test_another_token_of_the_same_person_sends_what_was_left(
    start: Start, api: Api, run_id: str, signed_in: Signed, shell: Shell
) -> None:
    leave(start, SEND_ONE_LOG_AND_DIE)
    shell.env["STUDIO_TOKEN"] = studio_command(signed_in.studio, "token", "--user", "admin").splitlines()[-1]
    assert shell("studio sync").json["sent"] == 200
    assert values(api, run_id) == {"m": [-1, *range(200)]}


def test_what_was_sent_is_said_beside_what_was_not_and_each_run_once(
    start: Start, run_id: str, ben: str, signed_in: Signed, shell: Shell
) -> None:
    leave(start, LOG_AND_DIE)
    as_ben = Api(Transport(Login(signed_in.url, ben, "a test")))
    for _ in range(2):
        leave_one(signed_in.url, f"{run_id}-of-ben", as_ben.written_by)
    said = shell("studio sync").refused()
    assert "200 were sent. Not everything could be sent" in said
    assert said.count("-of-ben") == 1


def test_whoever_owns_the_files_may_send_them_in_their_own_name(
    start: Start, api: Api, run_id: str, ben: str, shell: Shell, home: Path
) -> None:
    leave(start, LOG_AND_DIE)
    shell.env["STUDIO_TOKEN"] = ben
    assert shell("studio sync --all").json["sent"] == 200
    assert values(api, run_id) == {"m": list(range(200))}
    assert spools(home) == []


def test_what_a_run_has_logged_is_for_its_own_token(
    api: Api, run_id: str, monkeypatch: pytest.MonkeyPatch, shell: Shell
) -> None:
    spool = leave_one(api.url, run_id, f"run:{run_id}")
    assert f"the run {run_id}, with its own token, has logged them" in shell("studio sync").refused()
    monkeypatch.delenv("STUDIO_TOKEN")
    monkeypatch.setenv("AZUREML_RUN_ID", run_id)
    monkeypatch.setenv("AZUREML_RUN_TOKEN", "the-token-of-that-run")
    assert config.resolve().marks[-1] == spool.by


FLUSHES = {
    "after metrics of its own": "sender.add('parent', 1)\n",
    "without any": "",
}


@pytest.mark.parametrize("way", FLUSHES)
def test_a_flush_waits_for_what_dead_children_have_left(
    start: Start, api: Api, run_id: str, home: Path, way: str
) -> None:
    code = (
        "for n in range(3):\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n        sender.add(f'child{n}', n)\n        os.kill(os.getpid(), 9)\n"
        "    os.waitpid(pid, 0)\n"
        f"{FLUSHES[way]}assert sender.flush(60)\nprint('flushed', flush=True)\nsys.stdin.readline()\n"
    )
    process = start(code)
    assert process.stdout is not None
    assert process.stdout.readline() == "flushed\n"
    own = {"parent": 1} if FLUSHES[way] else {}
    assert values(api, run_id) == {**own, "child0": 0, "child1": 1, "child2": 2}
    assert spools(home) == []


def test_a_flush_says_what_of_dead_children_it_could_not_send(
    start: Start, api: Api, wire: Wire, home: Path
) -> None:
    wire.cut()
    process = start(
        "pid = os.fork()\n"
        "if pid == 0:\n    sender.add('child', 1)\n    os.kill(os.getpid(), 9)\n"
        "os.waitpid(pid, 0)\nbegin = time.monotonic()\n"
        "assert not sender.flush(0.5)\nassert time.monotonic() - begin < 10\nos._exit(0)\n",
        wire.url,
    )
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "metrics that a process has left are not sent yet" in said
    assert "does not answer" in said
    assert len(spools(home)) == 1


def test_a_flush_is_bounded_however_many_have_left_something(
    signed_in: Signed, api: Api, run_id: str
) -> None:
    """A proxy before a server that is away answers at once, each time."""
    with answering_503() as url:
        proxied = Api(Transport(Login(url, signed_in.token, "a test")))
        proxied.transport.login.username = "admin"
        for _ in range(4):
            leave_one(url, run_id, "person:admin")
        begin = time.monotonic()
        assert not MetricSender(proxied, run_id, lambda is_much: None).flush(2)
        assert time.monotonic() - begin < 4


@contextlib.contextmanager
def answering_503() -> Iterator[str]:
    """The address of a server that never answers anything else."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_error(503)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_flush_says_that_what_was_left_is_still_being_sent(
    signed_in: Signed, api: Api, run_id: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with silent_server() as (url, silent):
        slow = Api(Transport(Login(url, signed_in.token, "a test")))
        slow.transport.login.username = "admin"
        leave_one(url, run_id, "person:admin")
        with ThreadPoolExecutor() as pool:
            sending = pool.submit(left_behind.send_left_behind, slow)
            asking, _ = silent.accept()
            assert not MetricSender(slow, run_id, lambda is_much: None).flush(0.3)
            asking.shutdown(socket.SHUT_RDWR)
            asking.close()
            silent.close()
            with pytest.raises(Unreachable):
                sending.result(30)
    assert (
        "metrics that a process has left are not sent yet: they are still being sent."
        in capsys.readouterr().err
    )
    assert len(spools(home)) == 1


def test_a_flush_does_not_wait_for_what_a_living_process_logs_to_the_run(
    signed_in: Signed, api: Api, run_id: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with silent_server() as (url, silent):
        slow = Api(Transport(Login(url, signed_in.token, "a test")))
        slow.transport.login.username = "admin"
        living = leave_one(url, run_id, "person:admin", is_alive=True)
        leave_one(url, "another-run", "person:admin")
        with ThreadPoolExecutor() as pool:
            sending = pool.submit(left_behind.send_left_behind, slow)
            asking, _ = silent.accept()
            began = time.monotonic()
            assert MetricSender(slow, run_id, lambda is_much: None).flush(60)
            assert time.monotonic() - began < 30
            asking.close()
            silent.close()
            with pytest.raises(Unreachable):
                sending.result(30)
        living.close()
    assert capsys.readouterr().err == ""
    assert len(spools(home)) == 2


def test_what_is_logged_now_comes_after_what_another_process_is_sending(
    api: Api, run_id: str, home: Path
) -> None:
    leave_one(api.url, run_id, "person:admin")
    (left,) = spools(home)
    elsewhere = Spool.take(left)  # as another process has it that sends it
    assert elsewhere is not None
    with pytest.raises(StudioClientError, match="comes first: another process is sending them"):
        left_behind.send_before(api, run_id, time.monotonic() + 60)
    (result,) = left_behind.send_left_behind(api, run_id=run_id, patience_s=0.3)
    assert (result.entries, result.passes) == (0, True)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(left_behind.send_left_behind, api, run_id=run_id, patience_s=60)
        elsewhere.close()
        (result,) = waiting.result(60)
    assert result.entries == 1
    left_behind.send_before(api, run_id, time.monotonic() + 60)
    assert values(api, run_id) == {"m": 1}


def test_the_end_of_a_process_is_bounded_whatever_was_left(start: Start, signed_in: Signed) -> None:
    with silent_server() as (url, _):
        leave_one(url, "another-run", "person:admin")
        process = start(
            "spool.EXIT_PATIENCE_S = 1.0\nsender.api.transport.login.username = 'admin'\n"
            "print(flush=True)\nsys.stdin.readline()\n",
            url,
        )
        assert how_long_its_end_takes(process) < 20  # an answer may take 60 s


def test_the_end_of_a_submitted_script_leaves_the_rest_to_its_node(
    start: Start, run_id: str, home: Path, monkeypatch: pytest.MonkeyPatch, api: Api
) -> None:
    monkeypatch.setenv("STUDIO_SPOOL_DIR", str(home / "spool"))
    with silent_server() as (url, _):
        for left in (run_id, "child-of-it"):
            leave_one(url, left, f"run:{run_id}")
        process = start(
            f"del os.environ['STUDIO_TOKEN']\nos.environ['AZUREML_RUN_ID'] = {run_id!r}\n"
            "os.environ['AZUREML_RUN_TOKEN'] = 'the-token-of-that-run'\n"
            "sender = spool.MetricSender(connect(), run_id, print)\n"
            "spool.pump._senders = {('', run_id): sender}\nspool.pump._apis = {'': sender.api}\n"
            "print(flush=True)\nsys.stdin.readline()\n",
            url,
        )
        assert how_long_its_end_takes(process) < 20
        _, said = process.communicate()
    assert "metrics that a process has left are not sent yet: " in said
    assert "The node of the run stores them when the script has ended." in said
    assert "studio sync" not in said


def test_what_cannot_be_read_is_told_with_the_run_it_belongs_to(
    api: Api, run_id: str, home: Path, shell: Shell
) -> None:
    leave_one(api.url, run_id, "person:admin")
    (left,) = spools(home)
    state = json.loads((left / "state.json").read_text())
    del state["writer"]
    (left / "state.json").write_text(json.dumps(state))
    assert f"{run_id} for {api.url}: {left} cannot be read" in shell("studio sync").refused()


def how_long_its_end_takes(process: subprocess.Popen[str]) -> float:
    """From the end of what it waits for to its own."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "\n"
    begin = time.monotonic()
    process.stdin.close()
    assert process.wait(120) == 0
    process.stdin = None  # or `communicate` would use it
    return time.monotonic() - begin


def test_what_waits_at_the_end_is_said_once(start: Start, wire: Wire) -> None:
    wire.cut()
    process = start(
        "spool.EXIT_PATIENCE_S = 0.3\nsender.add('m', 1)\nassert not sender.flush(0.3)\n"
        "sender.add('m', 2)\nassert not sender.flush(0.3)\n",
        wire.url,
    )
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert [line.split()[1] for line in said.splitlines() if "not sent yet" in line] == ["1", "2"]


def test_the_next_process_of_the_same_person_sends_it(
    start: Start, api: Api, run_id: str, home: Path
) -> None:
    leave(start, SEND_ONE_LOG_AND_DIE)
    start("spool.pump.serve(sender.api)\nsys.stdin.readline()\n")
    wait_until(lambda: not spools(home))
    assert values(api, run_id) == {"m": [-1, *range(200)]}


@pytest.mark.parametrize("is_away", [False, True])
def test_who_takes_a_run_up_again_sends_what_was_left_of_it_first(
    start: Start, sender: MetricSender, wire: Wire, api: Api, run_id: str, is_away: bool
) -> None:
    """By several processes, one after the other, and more than goes into one batch."""
    for part in range(3):
        numbers = f"range({part * 30_000}, {(part + 1) * 30_000})"
        code = IN_SILENCE + f"for n in {numbers}: sender.add('m', n)\nos.kill(os.getpid(), 9)\n"
        assert start(code, wire.url).wait(60) == -signal.SIGKILL
    leave_one(wire.url, run_id, sender.api.written_by, is_alive=True)  # is not waited for
    if is_away:
        wire.cut()
    for number in range(90_000, 100_000):
        sender.add("m", number)
    if is_away:
        assert not sender.flush(0.5)
        wire.mend()
    wait_until(lambda: not sender.waiting())
    assert values(api, run_id) == {"m": list(range(100_000))}


def test_what_is_refused_of_what_was_left_hinders_nothing(
    start: Start, sender: MetricSender, wire: Wire, api: Api, run_id: str, home: Path
) -> None:
    leave(start, LOG_AND_DIE)
    (folder,) = spools(home)
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps({**state, "url": wire.url}))
    (folder / "00000001.entries").write_bytes(b"\xff" * 4096)
    sender.add("after", 1)
    wait_until(lambda: values(api, run_id) == {"after": 1})
