"""`manage.py up`: what it refuses to start on, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

from tests.fixtures.migrated import copy_migrated
from tests.fixtures.processes import REPOSITORY, StudioProcess, wait_until
from tests.servers import free_port

pytestmark = [pytest.mark.worker, pytest.mark.own_servers]

SUBMIT = """
from runs.models import ComputeTarget
from runs.services.snapshots import snapshot_from_text
from runs.services.submit import StepSpec, submit
from studio.accounts.models import User, Workspace
user = User.objects.get(username="admin")
source = snapshot_from_text("train.py", "import time\\nprint('ready')\\ntime.sleep(600)\\n", by=user)
submit(Workspace.objects.get(), by=user, experiment_name="up", steps=[StepSpec("train", "train.py", source)],
       default_target=ComputeTarget.objects.get())
"""


def statuses(studio: StudioProcess) -> list[str]:
    """Of all runs of this Studio, read as any other process would."""
    with sqlite3.connect(f"file:{studio.data / 'db.sqlite3'}?mode=ro", uri=True) as database:
        found = [status for (status,) in database.execute("SELECT status FROM runs_run ORDER BY id")]
    database.close()
    return found


def submit_one(studio: StudioProcess) -> None:
    """A run that goes on until somebody ends it, once it is Running."""
    submit_more(studio)
    wait_until(lambda: statuses(studio) == ["Running"])


def submit_more(studio: StudioProcess) -> None:
    """Another one, which may have to wait."""
    subprocess.run([sys.executable, str(REPOSITORY / "manage.py"), "shell", "-v0", "-c", SUBMIT],
                   env=studio.env, cwd=studio.folder, check=True, timeout=60)  # fmt: skip


def node_of(studio: StudioProcess, *, after: psutil.Process | None = None) -> psutil.Process:
    """The process of its node, or of the one that came after this one."""

    def found() -> psutil.Process | None:
        for child in psutil.Process(studio.pid).children():
            with suppress(psutil.Error):
                if "node" in child.cmdline() and child != after:
                    return child
        return None

    process: psutil.Process = wait_until(found)
    return process


def refusal(studio: StudioProcess) -> str:
    """The one line of a start that has to be refused."""
    answer = subprocess.run([sys.executable, str(REPOSITORY / "manage.py"), *studio.words],
                            env=studio.env, capture_output=True, text=True, timeout=60)  # fmt: skip
    assert answer.returncode != 0
    assert answer.stdout == ""
    [line] = answer.stderr.strip().splitlines()
    return line


@pytest.fixture
def studio(make_studio: Callable[..., StudioProcess]) -> StudioProcess:
    """One that is started."""
    one = make_studio()
    one.start()
    return one


def test_a_second_start_on_the_same_folder_is_refused(studio: StudioProcess) -> None:
    before = sorted(studio.data.rglob("*.sqlite3"))
    line = refusal(studio)
    assert f"Studio is running on {studio.data} already (process {studio.pid})" in line
    assert studio.is_healthy()
    assert sorted(studio.data.rglob("*.sqlite3")) == before


def test_a_taken_port_is_refused_and_nothing_is_made(make_studio: Callable[..., StudioProcess]) -> None:
    studio = make_studio()
    studio.folder.mkdir(parents=True)
    with socket.socket() as other:
        other.bind(("127.0.0.1", studio.port))
        other.listen()
        assert f"127.0.0.1:{studio.port} cannot be listened on" in refusal(studio)
    assert not studio.data.exists()


def test_a_host_that_is_not_of_this_machine_is_refused_by_its_name(
    make_studio: Callable[..., StudioProcess],
) -> None:
    studio = make_studio(STUDIO_HOST="203.0.113.1")  # of RFC 5737, for documentation: nobody's
    studio.folder.mkdir(parents=True)
    assert "Choose another with STUDIO_HOST." in refusal(studio)
    assert not studio.data.exists()


def test_a_folder_that_cannot_be_written_is_refused(
    make_studio: Callable[..., StudioProcess], tmp_path: Path
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    studio = make_studio(STUDIO_DATA=str(in_the_way))
    studio.folder.mkdir(parents=True)
    assert f"The data folder {in_the_way} cannot be used" in refusal(studio)
    assert in_the_way.read_text() == "not a folder"


@pytest.mark.parametrize("variable", ["STUDIO_STORAGE", "STUDIO_WORK"])
def test_so_is_another_place_that_cannot_be_written(
    make_studio: Callable[..., StudioProcess], tmp_path: Path, variable: str
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    studio = make_studio(**{variable: str(in_the_way / "below")})
    studio.folder.mkdir(parents=True)
    assert f"{variable}: {in_the_way / 'below'} cannot be used: Not a directory" in refusal(studio)
    assert not studio.data.exists()


def test_so_is_a_database_that_is_none_and_nothing_is_made_beside_it(
    make_studio: Callable[..., StudioProcess],
) -> None:
    studio = make_studio()
    (studio.data / "db.sqlite3").mkdir(parents=True)
    assert f"The database {studio.data / 'db.sqlite3'} cannot be used" in refusal(studio)
    assert sorted(path.name for path in studio.data.iterdir()) == ["db.sqlite3", "up.lock"]


def test_a_database_that_an_earlier_version_put_elsewhere_is_named(
    make_studio: Callable[..., StudioProcess], tmp_path: Path
) -> None:
    studio = make_studio(STUDIO_DATA=str(tmp_path / "a#b"))
    studio.folder.mkdir(parents=True)
    (tmp_path / "a#b").mkdir()
    (tmp_path / "a").write_bytes(b"SQLite format 3")
    assert f"is {tmp_path / 'a'}, where an earlier version put it" in refusal(studio)
    assert [path.name for path in (tmp_path / "a#b").iterdir()] == ["up.lock"]


def test_the_address_is_kept_whoever_owns_the_old_one(make_studio: Callable[..., StudioProcess]) -> None:
    studio = make_studio()
    studio.data.mkdir(parents=True)
    (studio.data / "address").symlink_to("/proc/version")  # root, too, may not write into it
    studio.start()
    assert (studio.data / "address").read_text() == studio.url
    assert not list(studio.data.glob("address.*"))


def test_an_address_that_cannot_be_kept_is_refused_before_anything_runs(
    make_studio: Callable[..., StudioProcess],
) -> None:
    studio = make_studio()
    (studio.data / "address").mkdir(parents=True)
    said = f"studio: The file {studio.data / 'address'} cannot be replaced: Is a directory."
    assert refusal(studio) == said
    assert sorted(path.name for path in studio.data.iterdir()) == ["address", "up.lock"]


def test_half_an_option_is_refused_and_nothing_is_made(make_studio: Callable[..., StudioProcess]) -> None:
    studio = make_studio()
    studio.folder.mkdir(parents=True)
    answer = subprocess.run([sys.executable, str(REPOSITORY / "manage.py"), "up", "--slot", "3"],
                            env=studio.env, capture_output=True, text=True, timeout=60)  # fmt: skip
    assert answer.returncode != 0
    assert "unrecognized arguments: --slot 3" in answer.stderr
    assert not studio.data.exists()


def test_an_option_without_a_value_is_refused(make_studio: Callable[..., StudioProcess]) -> None:
    studio = make_studio()
    studio.words += ["--targets", " "]
    studio.folder.mkdir(parents=True)
    assert refusal(studio) == "studio: --targets needs a value, or leave it out."
    assert not studio.data.exists()


def test_a_refused_start_leaves_somebody_elses_folder_as_it_was(
    make_studio: Callable[..., StudioProcess],
) -> None:
    studio = make_studio()
    studio.data.mkdir(parents=True)
    (studio.data / "thesis.txt").write_text("mine")
    with socket.socket() as other:
        other.bind(("127.0.0.1", studio.port))
        other.listen()
        refusal(studio)
    assert [each.name for each in studio.data.iterdir()] == ["thesis.txt"]


def test_a_folder_whose_name_the_system_refuses_is_refused(make_studio: Callable[..., StudioProcess]) -> None:
    studio = make_studio(STUDIO_DATA=f"/tmp/{'x' * 300}")
    assert "cannot be used: File name too long" in refusal(studio)


def test_a_database_that_does_not_answer_is_refused_and_nothing_is_made(
    make_studio: Callable[..., StudioProcess],
) -> None:
    studio = make_studio(STUDIO_DATABASE_URL=f"postgresql://ana@127.0.0.1:{free_port()}/none")
    studio.folder.mkdir(parents=True)
    assert "The database cannot be used" in refusal(studio)
    assert not studio.data.exists()


def test_nobody_else_reads_what_is_kept(make_studio: Callable[..., StudioProcess]) -> None:
    studio = make_studio()
    (studio.data / "storage").mkdir(parents=True)  # of a version that left it open to all
    (studio.data / "db.sqlite3").touch(mode=0o644)
    studio.start()
    for path in (studio.data / name for name in ("storage", "work", "broker")):
        assert stat.filemode(path.stat().st_mode) == "drwx------", path
    for path in (*studio.data.glob("db.sqlite3*"), studio.data / "secret_key"):
        assert stat.filemode(path.stat().st_mode) == "-rw-------", path


def test_everything_is_in_the_data_folder_whatever_it_is_called(
    make_studio: Callable[..., StudioProcess], tmp_path: Path
) -> None:
    studio = make_studio()
    studio.data = tmp_path / "in" / "z#1?2 %41;é"
    studio.env["STUDIO_DATA"] = str(studio.data)
    studio.start()
    submit_more(studio)
    answer = command("link", "--user", "admin", STUDIO_DATA=str(studio.data))
    assert answer.stdout.startswith(f"{studio.url}/sign-in/")
    assert [each.name for each in studio.data.parent.iterdir()] == [studio.data.name]
    wait_until(lambda: list(studio.data.glob("work/*/1/user_logs/std_log.txt")))


def test_a_node_that_hangs_alone_is_missed(make_studio: Callable[..., StudioProcess]) -> None:
    studio = make_studio(STUDIO_NOT_RESPONDING_AFTER="4")
    studio.start()
    submit_one(studio)
    node_of(studio).suspend()
    wait_until(lambda: statuses(studio) == ["NotResponding"], within_s=60)
    node_of(studio).resume()
    wait_until(lambda: statuses(studio) == ["Running"], within_s=60)


def test_ctrl_c_leaves_runs_and_the_next_start_takes_them_up(studio: StudioProcess) -> None:
    submit_one(studio)
    os.kill(studio.pid, signal.SIGINT)
    assert studio.process is not None
    assert studio.process.wait(60) == 0
    assert "Active: up #1. They go on" in studio.text
    assert statuses(studio) == ["Running"]
    studio.start()
    wait_until(lambda: "Active when Studio stopped: up #1. Looking after them again." in studio.text)
    os.kill(studio.pid, signal.SIGINT)
    wait_until(lambda: studio.text.count("Press Ctrl-C again") == 2)
    os.kill(studio.pid, signal.SIGINT)
    assert studio.process.wait(30) == 0
    assert statuses(studio) == ["Canceled"]


@pytest.fixture
def piped(make_studio: Callable[..., StudioProcess]) -> tuple[StudioProcess, int]:
    """One that is started, and the end of a pipe at which what it says can be read without waiting."""
    studio = make_studio()
    studio.folder.mkdir(parents=True, exist_ok=True)
    os.mkfifo(studio.output)
    reader = os.open(studio.output, os.O_RDONLY | os.O_NONBLOCK)
    studio.start()
    submit_one(studio)
    return studio, reader


def test_nobody_has_to_read_what_it_says(piped: tuple[StudioProcess, int]) -> None:
    studio, reader = piped
    os.close(reader)
    first = node_of(studio)
    first.kill()
    node_of(studio, after=first)  # which it says before it starts it
    assert studio.is_healthy()
    assert studio.stop() == 0
    assert statuses(studio) == ["Running"]


def test_a_second_ctrl_c_cancels_also_when_the_first_has_ended_the_reader(
    piped: tuple[StudioProcess, int],
) -> None:
    studio, reader = piped
    said = b""

    def read() -> bytes:
        nonlocal said
        with suppress(BlockingIOError):
            said += os.read(reader, 10_000)
        return said

    os.kill(studio.pid, signal.SIGINT)
    wait_until(lambda: b"Press Ctrl-C again" in read())
    os.close(reader)
    os.kill(studio.pid, signal.SIGINT)
    assert studio.process is not None
    assert studio.process.wait(60) == 0
    assert statuses(studio) == ["Canceled"]


def test_a_second_ctrl_c_cancels_what_runs_and_starts_nothing_else(
    make_studio: Callable[..., StudioProcess],
) -> None:
    studio = make_studio(STUDIO_SLOTS="1")
    studio.start()
    submit_one(studio)
    submit_more(studio)
    assert statuses(studio) == ["Running", "Queued"]
    assert studio.process is not None
    os.kill(studio.pid, signal.SIGINT)
    wait_until(lambda: "Press Ctrl-C again" in studio.text)
    assert "1 queued run waits for the next start" in studio.text
    os.kill(studio.pid, signal.SIGINT)
    assert studio.process.wait(30) == 0
    assert statuses(studio) == ["Canceled", "Queued"]
    studio.start()
    wait_until(lambda: statuses(studio) == ["Canceled", "Running"])


def test_a_target_that_cannot_be_is_refused_and_nothing_is_made(
    make_studio: Callable[..., StudioProcess],
) -> None:
    studio = make_studio(STUDIO_TARGETS="local,no good")
    studio.folder.mkdir(parents=True)
    assert "STUDIO_TARGETS: “no good” cannot be a compute target's name." in refusal(studio)
    assert not (studio.data / "db.sqlite3").exists()


def test_so_is_one_of_a_workspace_that_is_not_there(make_studio: Callable[..., StudioProcess]) -> None:
    studio = make_studio(STUDIO_TARGETS="nowhere/local")
    studio.folder.mkdir(parents=True)
    assert "STUDIO_TARGETS: There is no workspace nowhere. There is default" in refusal(studio)


def test_a_killed_node_is_started_again_and_its_run_goes_on(studio: StudioProcess) -> None:
    submit_one(studio)
    node = node_of(studio)
    node.kill()
    wait_until(lambda: "starting it again" in studio.text)
    assert node_of(studio, after=node).is_running()
    assert statuses(studio) == ["Running"]
    assert studio.is_healthy()


def test_a_node_does_not_outlive_a_studio_that_was_killed(studio: StudioProcess) -> None:
    submit_one(studio)
    node = node_of(studio)
    os.kill(studio.pid, signal.SIGKILL)
    assert studio.process is not None
    studio.process.wait(10)
    node.wait(30)
    assert statuses(studio) == ["Running"]
    studio.start()
    assert statuses(studio) == ["Running"]


def test_a_burst_of_signals_stops_it_as_one_does(studio: StudioProcess) -> None:
    """One handler then interrupts another, which may not wait for what the other one holds."""
    submit_one(studio)
    node = node_of(studio)
    for _ in range(40):
        os.kill(studio.pid, signal.SIGTERM)
        node.terminate()
    assert studio.process is not None
    assert studio.process.wait(30) == 0
    assert not node.is_running()
    assert statuses(studio) == ["Running"]


def command(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A command of manage.py with nothing of Studio in its environment but this."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STUDIO_", "DJANGO_"))}
    return subprocess.run([sys.executable, str(REPOSITORY / "manage.py"), *words],
                          env={**kept, **env}, capture_output=True, text=True, timeout=60)  # fmt: skip


def test_a_link_leads_to_where_studio_was_started(studio: StudioProcess) -> None:
    answer = command("link", "--user", "admin", STUDIO_DATA=str(studio.data))
    assert answer.stdout.startswith(f"{studio.url}/sign-in/")


@pytest.mark.parametrize("name", ["link", "token"])
def test_where_there_is_no_studio_a_command_says_so(name: str, tmp_path: Path) -> None:
    answer = command(name, "--user", "admin", STUDIO_DATA=str(tmp_path / "nothing"))
    assert answer.returncode != 0
    assert answer.stdout == ""
    [line] = answer.stderr.strip().splitlines()
    assert f"There is no Studio with STUDIO_DATA={tmp_path / 'nothing'}" in line
    assert not (tmp_path / "nothing").exists()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with an owner, in which nothing runs."""
    folder = tmp_path / "var"
    folder.mkdir()
    copy_migrated(folder / "db.sqlite3")
    make_owner = "from studio.accounts.services import ensure_first_start as make; make()"
    assert command("shell", "-v0", "-c", make_owner, STUDIO_DATA=str(folder)).returncode == 0
    return folder


def with_files_up_to(most_bytes: int, *words: str, data: Path) -> str:
    """The one line of a command that can write no file beyond this size, as on a full disk."""
    limited = f"ulimit -f {most_bytes // 1024} && exec python manage.py {' '.join(words)}"
    env = {**os.environ, "STUDIO_DATA": str(data), "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    env.pop("STUDIO_DATABASE_URL", None)
    answer = subprocess.run(["/bin/bash", "-c", limited], cwd=REPOSITORY, env=env, capture_output=True,
                            text=True, timeout=60)  # fmt: skip
    assert answer.returncode == 1
    assert answer.stdout == ""
    [line] = answer.stderr.strip().splitlines()
    return line


@pytest.mark.parametrize("name", ["link", "token"])
def test_a_command_says_in_a_line_that_the_disk_is_full(name: str, data: Path) -> None:
    said = "studio: The database cannot be used: disk I/O error"
    assert with_files_up_to(0, name, "--user", "admin", data=data) == said
    with closing(sqlite3.connect(data / "db.sqlite3")) as database:
        database.executescript("PRAGMA wal_autocheckpoint = 0; CREATE TABLE big (content)")
        database.execute("INSERT INTO big VALUES (zeroblob(300000))")
        database.commit()  # all is in the log, which can be read and not be added to
        assert with_files_up_to(200 * 1024, name, "--user", "admin", data=data) == said


def test_a_command_says_in_a_line_that_a_file_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "db.sqlite3").write_text("thesis " * 100)
    answer = command("token", "--user", "admin", STUDIO_DATA=str(tmp_path))
    assert answer.stderr == "studio: The database cannot be used: file is not a database\n"
    assert answer.returncode == 1


def test_any_python_finds_the_one_with_the_requirements(tmp_path: Path) -> None:
    """As a newcomer types it after `make run`: with a Python that knows nothing of Django."""
    project = tmp_path / "project"
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / "manage.py").write_bytes((REPOSITORY / "manage.py").read_bytes())
    own = project / ".venv" / "bin" / "python"
    own.write_text('#!/bin/sh\necho "own python: $*"\n')
    own.chmod(0o755)
    bare = [sys.executable, "-S", "manage.py", "token", "--user", "ana"]
    answer = subprocess.run(bare, cwd=project, capture_output=True, text=True, timeout=60)
    assert answer.stdout == "own python: manage.py token --user ana\n"
    own.unlink()
    answer = subprocess.run(bare, cwd=project, capture_output=True, text=True, timeout=60)
    assert answer.returncode != 0
    assert "make run" in answer.stderr
