"""What a script is run with: the command, the environment, and that it is started once."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runs.errors import Conflict, InvalidInput
from runs.execution import launch
from tests.execution_kit import Place, ended, printed, wait_for


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.clear()


@pytest.mark.parametrize(
    ("script", "command"),
    [
        ("train.py", ["/venv/python", "train.py", "--lr", "0.1"]),
        ("src/Train.PY", ["/venv/python", "src/Train.PY", "--lr", "0.1"]),
        ("run.sh", ["/bin/sh", "run.sh", "--lr", "0.1"]),
        ("bin/tool", ["./bin/tool", "--lr", "0.1"]),
    ],
)
def test_the_name_of_a_script_says_what_runs_it(script: str, command: list[str]) -> None:
    assert launch.command_for(script, ["--lr", "0.1"], "/venv/python") == command


def test_a_script_gets_of_the_worker_only_what_is_allowed() -> None:
    worker = {
        "PATH": "/bin",
        "HOME": "/home/ana",
        "LC_ALL": "C.UTF-8",
        "CUDA_VISIBLE_DEVICES": "0",
        "https_proxy": "p",
        "HTTP_PROXY": "http://someone:secret@proxy:3128",
        "OMP_NUM_THREADS": "4",
        "SSL_CERT_FILE": "/c",
        "VIRTUAL_ENV": "/venv",
        "SECRET_KEY": "s",
        "STUDIO_DATABASE_URL": "postgres://u:p@h/d",
        "AWS_SECRET_ACCESS_KEY": "s",
        "PGPASSWORD": "s",
        "DJANGO_SETTINGS_MODULE": "studio.settings",
        "PYTHONPATH": "/srv",
        "PATHS": "x",
        "LD_PRELOAD": "x",
        "NOTIFY_SOCKET": "x",
        "CELERY_BROKER_URL": "x",
    }
    env = launch.build_env(worker, run_env={}, user_env={})
    assert set(env) == {
        "PATH",
        "HOME",
        "LC_ALL",
        "CUDA_VISIBLE_DEVICES",
        "https_proxy",
        "OMP_NUM_THREADS",
        "SSL_CERT_FILE",
        "VIRTUAL_ENV",
        "PYTHONUNBUFFERED",
    }


def test_the_run_comes_over_the_worker_and_the_person_over_both() -> None:
    env = launch.build_env(
        {"HOME": "worker", "TZ": "worker", "LANG": "worker"},
        run_env={"TZ": "run", "LANG": "run", "AZUREML_RUN_TOKEN": "secret", "AZUREML_RUN_ID": "r"},
        user_env={"LANG": "person", "PYTHONUNBUFFERED": "", "PYTHONPATH": "src", "AZUREML_CUSTOM": "1"},
    )
    assert env == {
        "HOME": "worker",
        "TZ": "run",
        "LANG": "person",
        "PYTHONUNBUFFERED": "",
        "PYTHONPATH": "src",
        "AZUREML_RUN_TOKEN": "secret",
        "AZUREML_RUN_ID": "r",
        "AZUREML_CUSTOM": "1",
    }


def test_modules_are_found_where_the_person_says_and_then_where_the_node_has_them() -> None:
    env = launch.build_env({}, run_env={}, user_env={"PYTHONPATH": "src"}, python_path=["/sdk/a", "/sdk/b"])
    assert env["PYTHONPATH"] == os.pathsep.join(["src", "/sdk/a", "/sdk/b"])
    assert launch.build_env({}, run_env={}, user_env={}, python_path=["/sdk"])["PYTHONPATH"] == "/sdk"


@pytest.mark.parametrize("name", ["AZUREML_RUN_TOKEN", "STUDIO_RUN_ID", "STUDIO_URL", "", "A=B", "A\0"])
def test_a_name_that_a_person_may_not_set_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        launch.build_env({}, run_env={}, user_env={name: "x"})
    assert refusal.value.field == "environment_variables"
    assert (name in str(refusal.value)) or repr(name) in str(refusal.value)


def test_a_script_sees_no_more_than_its_environment(place: Place) -> None:
    folder = place.start("import json, os\nprint(json.dumps(dict(os.environ)))\n", GREETING="grüß 😀\n")
    ended(folder)
    seen = json.loads(printed(folder))
    allowed = launch.build_env(os.environ, run_env={}, user_env={})
    assert seen == {**allowed, "GREETING": "grüß 😀\n", "STUDIO_RUN_ID": folder.run_id, "STUDIO_ATTEMPT": "1"}


def test_a_run_starts_also_when_the_bytecode_was_cleaned_away(place: Place) -> None:
    compiled = Path(launch._compiled_shim())
    assert compiled.suffix == ".pyc"  # and never the source
    compiled.unlink(missing_ok=True)
    folder = place.start("print('here')\n")
    ended(folder)
    assert printed(folder) == "here\n"


def test_no_value_of_the_environment_is_left_on_disk(place: Place) -> None:
    folder = place.start("pass\n", TOKEN="very-secret")
    ended(folder)
    files = [path.read_bytes() for path in folder.path.rglob("*") if path.is_file()]
    assert files
    assert not any(b"very-secret" in content for content in files)
    assert "TOKEN" in (folder.read_launch() or {})["env_names"]


def test_a_big_environment_arrives_whole(place: Place) -> None:
    values = {f"BIG_{number}": "x" * 100_000 for number in range(5)}
    script = "import os\nprint(sum(len(os.environ[name]) for name in os.environ if name[:4] == 'BIG_'))\n"
    folder = place.start(script, **values)
    ended(folder)
    assert printed(folder) == "500000\n"


def test_an_attempt_is_started_once(place: Place) -> None:
    folder = place.start("import time\ntime.sleep(300)\n")
    with pytest.raises(Conflict, match="started already"):
        place.launch(folder)
    folder.request_stop()
    ended(folder)
    with pytest.raises(Conflict, match="started already"):
        place.launch(folder)


def test_of_many_starters_one_wins(place: Place) -> None:
    folder = place.prepare("print('once')\n")
    barrier = threading.Barrier(8)
    results: list[str] = []

    def compete() -> None:
        barrier.wait()
        try:
            place.launch(folder)
            results.append("won")
        except Conflict:
            results.append("lost")

    threads = [threading.Thread(target=compete) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(results) == ["lost"] * 7 + ["won"]
    ended(folder)
    assert printed(folder) == "once\n"


def test_starting_waits_for_nothing_that_the_script_does(place: Place) -> None:
    folder = place.prepare(
        "import os, time\nwhile not os.path.exists('go'):\n    time.sleep(0.01)\nprint('hello')\n"
    )
    place.launch(folder)
    (folder.code / "go").touch()
    wait_for(lambda: printed(folder) == "hello\n")


def test_a_watcher_that_cannot_be_started_is_a_launch_error(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    folder = place.start("pass\n", python="/no/such/python")
    facts = ended(folder)
    assert facts["reason"] == "launch"
    assert "could not be started: No such file or directory." in facts["message"]
    assert not folder.is_watched()


@pytest.mark.parametrize("argument", ["a\0b", "\ud800"])
def test_an_argument_that_no_command_can_hold_is_refused_before_anything_is_written(
    place: Place, argument: str
) -> None:
    folder = place.prepare("pass\n")
    with pytest.raises(InvalidInput):
        place.launch(folder, arguments=[argument])
    assert folder.read_launch() is None
