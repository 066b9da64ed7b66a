"""Metrics against a real Studio: what is logged comes back, exactly once, whatever happens in between."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from base64 import b64encode
from pathlib import Path

import pytest
from azureml.core import Experiment, Run, Workspace
from azureml.exceptions import AzureMLException, UserErrorException
from studio_client import spool

from tests.fixtures.processes import wait_until
from tests.sdk.live import Signed, environment_of
from tests.sdk.plots import Plot, png
from tests.sdk.spooling import IN_SILENCE


@pytest.fixture
def exp(attached: Path) -> Experiment:
    """An experiment of the working folder's workspace."""
    return Experiment(Workspace.from_config(), "metrics")


@pytest.fixture
def run(exp: Experiment) -> Run:
    """An interactive run."""
    return exp.start_logging(snapshot_directory=None, outputs=None)


def test_what_is_logged_comes_back(run: Run) -> None:
    for value in (0.5, 1, 2):
        run.log("mixed", value, "what it is", step=3)
    for number in range(3):
        run.log("whole", number)
    run.log("text", "Hello from run!")
    run.log("odd", math.nan)
    run.log("odd", math.inf)
    run.log("odd", -math.inf)
    run.log("nothing", None)
    run.log("truth", True)
    run.log_list("list", (n / 2 for n in range(3)))
    run.log_list("one", [7])
    run.log_list("none", [])
    run.log_list("strange", [1, "a", None, math.nan])
    run.log_row("row", x=1, y=2.5)
    for number in range(3):
        run.log_row("rows", angle=number, label=str(number))
    run.log_table("table", {"x": [1, 2], "y": [0.1, 0.2]})
    metrics = run.get_metrics()
    assert metrics["mixed"] == [0.5, 1.0, 2.0]
    assert [type(value) for value in metrics["mixed"]] == [float] * 3
    assert metrics["whole"] == [0, 1, 2]
    assert (metrics["text"], metrics["nothing"], metrics["truth"]) == ("Hello from run!", None, True)
    assert [str(value) for value in metrics["odd"]] == ["nan", "inf", "-inf"]
    assert (metrics["list"], metrics["one"], metrics["none"]) == ([0.0, 0.5, 1.0], 7, [])
    assert metrics["strange"][1:3] == ["a", None]
    assert metrics["row"] == {"x": 1, "y": 2.5}
    assert metrics["rows"] == {"angle": [0, 1, 2], "label": ["0", "1", "2"]}
    assert metrics["table"] == {"x": [1, 2], "y": [0.1, 0.2]}
    assert run.get_metrics(name="row") == {"row": {"x": 1, "y": 2.5}}
    assert run.get_metrics("unknown") == {}


@pytest.mark.parametrize("is_online", [True, False])
def test_a_name_of_values_and_rows_gives_both_in_their_order(exp: Experiment, is_online: bool) -> None:
    run = exp.start_logging(snapshot_directory=None, outputs=None) if is_online else Run.get_context()
    run.log("value first", 1)
    run.flush()
    run.log_row("value first", a=2)
    run.log_list("list first", [0.5, 1])
    run.log_row("list first", a="x", b=2)
    run.log_row("row first", a=2)
    run.log("row first", 1)
    run.log_table("row first", {"b": [3, 4]})
    assert run.get_metrics() == {
        "value first": [1, {"a": 2}],
        "list first": [0.5, 1, {"a": "x", "b": 2}],
        "row first": [{"a": 2}, 1, {"b": 3}, {"b": 4}],
    }


def test_a_value_under_the_name_of_an_image_is_given_back(run: Run, attached: Path) -> None:
    (attached / "a.png").write_bytes(png())
    run.log_image("picture", path="a.png")
    run.log("picture", 0.5)
    run.log_row("picture", a=1)
    address, *others = run.get_metrics()["picture"]
    assert address.endswith("/a.png")
    assert others == [0.5, {"a": 1}]


def test_images_are_kept_and_named(run: Run, attached: Path) -> None:
    (attached / "picture.png").write_bytes(png())
    run.log_image("file", path="picture.png")
    run.log_image("plot", plot=Plot(1))
    run.log_image("plot", plot=Plot(2))
    metrics = run.get_metrics()
    start = f"aml://artifactId/ExperimentRun/dcid.{run.id}/"
    assert metrics["file"] == f"{start}picture.png"
    assert all(text.startswith(f"{start}plot_") and text.endswith(".png") for text in metrics["plot"])
    assert len(set(metrics["plot"])) == 2
    assert {text[len(start) :] for text in [metrics["file"], *metrics["plot"]]} == set(run.get_file_names())
    for wrong in ({}, {"path": "picture.png", "plot": Plot(3)}):
        with pytest.raises(AzureMLException):
            run.log_image("x", **wrong)
    with pytest.raises(FileNotFoundError):
        run.log_image("x", path="missing.png")
    with pytest.raises(UserErrorException, match=r"plot of 'x' .*with savefig, not of type int"):
        run.log_image("x", plot=5)


IMAGES = {
    "a.png": png(),
    "a.jpg": b"\xff\xd8\xff\xe0",
    "a.gif": b"GIF89a",
    "a.webp": b"RIFF\0\0\0\0WEBP",
    "a.bmp": b"BM",
    "a.tif": b"II*\0",
    "b.tiff": b"MM\0*",
}
NO_IMAGES = {
    "text.txt": b"text",
    "text.png": b"text",
    "empty.png": b"",
    "a.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "a.wav.png": b"RIFF\0\0\0\0WAVE",
}


def test_an_image_is_what_begins_like_one_whatever_its_name_says(run: Run, attached: Path) -> None:
    for name, content in {**IMAGES, **NO_IMAGES, "unnamed": png()}.items():
        (attached / name).write_bytes(content)
    for name in (*IMAGES, "unnamed"):
        run.log_image("image", path=name)
    for name in NO_IMAGES:
        with pytest.raises(UserErrorException, match=rf"Malformed argument: {name} is no image") as refused:
            run.log_image("image", path=name)
        assert "MalformedArgument" in str(refused.value)
    assert set(run.get_file_names()) == {*IMAGES, "unnamed"}


def test_documents_come_back_as_they_were(run: Run) -> None:
    value = {"schema_type": "x", "schema_version": "v1", "data": {"a": [1, 2.5, math.nan]}}
    run.log_confusion_matrix("confusion", value)
    run.log_accuracy_table("accuracy", json.dumps(value))
    run.log_residuals("residuals", value)
    run.log_predictions("predictions", value)
    metrics = run.get_metrics()
    assert set(metrics) == {"confusion", "accuracy", "residuals", "predictions"}
    for found in metrics.values():
        assert found["schema_version"] == "v1"
        assert found["data"]["a"][:2] == [1, 2.5]
        assert math.isnan(found["data"]["a"][2])
    with pytest.raises(UserErrorException):
        run.log_residuals("x", "{")


def test_more_than_one_answer_takes_come_in_several(run: Run) -> None:
    million = 1_000_000
    (child,) = run.create_children(1)
    zeros = b64encode(bytes(8 * million)).decode()
    series = [{"name": name, "columns": [{"name": "", "type": "i8", "data": zeros}]} for name in "aaaccc"]
    for seq, one in enumerate(series, start=1):
        run._api.send_metrics(run.id, json.dumps({"writer": "w", "seq": seq, "series": [one]}).encode())
    child.log("b", 1)
    found = run.get_metrics(recursive=True)
    assert found.pop(child.id) == {"b": 1}
    assert {name: len(values) for name, values in found.pop(run.id).items()} == dict.fromkeys(
        "ac", 3 * million
    )
    assert found == {}


def test_children_are_found_with_theirs(run: Run) -> None:
    child, silent = run.create_children(2)
    child.log("m", 1)
    assert run.get_metrics(recursive=True) == {child.id: {"m": 1}}
    assert run.get_metrics(recursive=True, run_type="azureml.scriptrun") == {}
    assert silent.get_metrics() == {}


def test_a_sweep_of_many_names_and_rows_takes_seconds(run: Run) -> None:
    begin = time.monotonic()
    for number in range(1_000):
        run.log_row("table", **{f"c{column}": number * column for column in range(15)})
    for number in range(300):
        run.log(f"name {number}", number)
    run.flush()
    assert time.monotonic() - begin < 30
    metrics = run.get_metrics()
    assert len(metrics) == 301
    assert metrics["table"]["c14"][-1] == 999 * 14


def test_threads_lose_nothing(run: Run) -> None:
    def log(name: str) -> None:
        for number in range(500):
            run.log(name, number)

    threads = [threading.Thread(target=log, args=(f"t{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert run.get_metrics() == {f"t{number}": list(range(500)) for number in range(4)}


def in_process(server: Signed, code: str) -> subprocess.CompletedProcess[str]:
    """Python of its own, in the working folder."""
    return subprocess.run(
        [sys.executable, "-c", f"from azureml.core import *\nimport os, sys, time\n{code}"],
        env=environment_of(server),
        capture_output=True,
        text=True,
        cwd=os.getcwd(),
        timeout=120,
    )


def test_a_normal_exit_sends_what_is_left(run: Run, exp: Experiment, signed_in: Signed) -> None:
    done = in_process(
        signed_in,
        f"run = Workspace.from_config().get_run('{run.id}')\nfor n in range(1000): run.log('n', n)\n",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert run.get_metrics() == {"n": list(range(1000))}


def test_a_killed_process_loses_nothing(run: Run, signed_in: Signed, home: Path) -> None:
    done = in_process(
        signed_in,
        "from studio_client import spool\n"
        f"{IN_SILENCE}run = Workspace.from_config().get_run('{run.id}')\n"
        "for n in range(10): run.log('n', n)\nrun.flush()\n"
        "for n in range(10, 30): run.log('n', n)\nos.kill(os.getpid(), 9)\n",
    )
    assert done.returncode == -signal.SIGKILL
    assert [one.entries for one in spool.send_left_behind(run._api)] == [20]
    assert spool.send_left_behind(run._api) == []
    assert run.get_metrics() == {"n": list(range(30))}
    assert list((home / "spool").iterdir()) == []


def test_a_fork_writes_under_a_name_of_its_own(run: Run, signed_in: Signed) -> None:
    done = in_process(
        signed_in,
        f"run = Workspace.from_config().get_run('{run.id}')\nrun.log('parent', 1)\n"
        "if os.fork() == 0:\n    run.log('child', 2)\n    run.flush()\n    os._exit(0)\n"
        "os.wait()\nrun.log('parent', 3)\n",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert run.get_metrics() == {"parent": [1, 3], "child": 2}


def test_a_fork_in_a_block_leaves_the_run_and_the_locks_to_its_parent(
    attached: Path, signed_in: Signed
) -> None:
    done = in_process(
        signed_in,
        "import threading\n"
        "run = Experiment(Workspace.from_config(), 'metrics').start_logging(snapshot_directory=None)\n"
        "held, go = threading.Event(), threading.Event()\n"
        "def hold():\n    with run._capture._lock:\n        held.set()\n        go.wait()\n"
        "with run:\n"
        "    threading.Thread(target=hold).start()\n    held.wait()\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n        print('child')\n        run.log('child', 1)\n        sys.exit(0)\n"
        "    os.waitpid(pid, 0)\n    go.set()\n"
        "    print(run.get_status())\n    run.log('parent', 2)\n"
        "print(run.id)\n",
    )
    assert (done.returncode, done.stderr) == (0, "")
    *printed, run_id = done.stdout.split()
    assert printed == ["child", "Running"]
    run = Workspace.from_config().get_run(run_id)
    assert run.get_status() == "Completed"
    assert run.get_metrics() == {"child": 1, "parent": 2}
    assert run.get_details_with_logs()["logFiles"]["user_logs/std_log.txt"] == "Running\n"


def test_a_server_that_is_away_stops_nobody(run: Run, signed_in: Signed) -> None:
    code = (
        "from studio_client import spool\nspool.EXIT_PATIENCE_S = 1\n"
        f"os.environ['STUDIO_URL'] = 'http://127.0.0.1:9'\nos.environ['AZUREML_RUN_ID'] = '{run.id}'\n"
        "os.environ['AZUREML_RUN_TOKEN'] = 'x'\ndel os.environ['STUDIO_TOKEN']\n"
        "run = Run.get_context()\nbegin = time.monotonic()\n"
        "for n in range(1000): run.log('n', n)\nassert time.monotonic() - begin < 5\nprint('trained')\n"
    )
    done = in_process(signed_in, code)
    assert (done.returncode, done.stdout) == (0, "trained\n")
    assert "1,000 metrics of run" in done.stderr
    assert "studio sync" in done.stderr


def test_what_comes_after_the_end_is_kept_too(run: Run) -> None:
    run.complete()
    run.log("late", 1)
    assert run.get_metrics() == {"late": 1}


def test_metrics_appear_while_the_script_goes_on(run: Run) -> None:
    run.log("live", 1)
    wait_until(lambda: run._api.metric_values(run.id))
