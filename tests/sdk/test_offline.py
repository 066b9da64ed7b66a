"""`Run.get_context()` on a laptop: the whole surface, printed and kept in memory."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
from azureml import _context_run
from azureml.core import Run, RunConfiguration, ScriptRunConfig
from azureml.exceptions import (
    ActivityFailedException,
    RunEnvironmentException,
    UnsupportedException,
    UserErrorException,
)

from tests.sdk.conftest import SDK
from tests.sdk.plots import png


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """A new offline run."""
    monkeypatch.setattr(_context_run, "_current", {})
    return Run.get_context()


def test_it_is_a_run_with_an_id_that_says_so(run: Run) -> None:
    assert isinstance(run, Run)
    assert run.id.startswith("OfflineRun_")
    assert Run.get_context() is run
    assert (run.parent, run.number, run.get_status()) == (None, 1, "Running")


def test_what_is_logged_is_printed_and_can_be_asked(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.log("loss", 0.5, step=1)
    run.log_list("all", (n for n in range(3)))
    run.log_row("row", x=1, y="a")
    assert capsys.readouterr().out == (
        "Attempted to log scalar metric loss:\n0.5\n"
        "Attempted to log list metric all:\n[0, 1, 2]\n"
        "Attempted to log row metric row:\n{'x': 1, 'y': 'a'}\n"
    )
    run.log("loss", math.nan)
    metrics = run.get_metrics()
    assert metrics["loss"][0] == 0.5
    assert math.isnan(metrics["loss"][1])
    assert metrics["all"] == [0, 1, 2]
    assert metrics["row"] == {"x": 1, "y": "a"}
    assert run.get_metrics("nothing") == {}


def test_a_block_says_where_it_begins_and_ends(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with run as same:
        assert same is run
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"[START] Run {run.id} context", f"[STOP] Run {run.id} context"]
    assert run.get_status() == "Completed"


def test_an_exception_in_a_block_goes_on_and_is_the_error_of_the_run(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ZeroDivisionError), run:
        _ = 1 / 0
    assert run.get_status() == "Failed"
    error = run.get_details()["error"]["error"]
    assert error["message"] == "User program failed with ZeroDivisionError: division by zero"
    assert "1 / 0" in error["innerError"]["debugInfo"]["stackTrace"]
    with pytest.raises(ActivityFailedException, match="division by zero"):
        run.wait_for_completion()
    capsys.readouterr()
    assert run.wait_for_completion(show_output=True, raise_on_error=False)["status"] == "Failed"
    assert "division by zero" in capsys.readouterr().out


def test_an_exception_without_a_text_is_the_error_too(run: Run) -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            return None  # type: ignore[return-value]

    with pytest.raises(Odd), run:
        raise Odd
    error = run.get_details()["error"]["error"]
    assert error["message"] == "User program failed with Odd: <unprintable Odd object>"


def test_ctrl_c_in_a_block_cancels(run: Run) -> None:
    with pytest.raises(KeyboardInterrupt), run:
        raise KeyboardInterrupt
    assert run.wait_for_completion()["status"] == "Canceled"


def test_failing_is_told(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.fail("no data", error_code="Data")
    assert capsys.readouterr().out == "Run failed with error code Data:\nno data\n"
    assert run.get_details()["error"]["error"]["message"] == "no data"


def test_the_first_end_stays_and_others_are_silent(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.complete()
    run.cancel()
    assert capsys.readouterr().out == ""
    run.fail("late")
    assert run.get_status() == "Completed"
    assert "error" not in run.get_details()
    assert run.child_run("c").id.endswith(".c")


def test_children_are_found_by_what_they_carry(run: Run) -> None:
    first, second = run.create_children(count=2)
    named = run.child_run("named")
    assert named.id == f"{run.id}.named"
    assert named.parent is run
    assert [first.get_tags(), second.get_tags()] == [
        {"azureml.batch_child_number": "0"},
        {"azureml.batch_child_number": "1"},
    ]
    second.complete()
    assert list(run.get_children(status="Completed")) == [second]
    assert list(run.get_children(tags={"azureml.batch_child_number": 0})) == [first]
    assert [child.id for child in run.get_children()] == [named.id, second.id, first.id]


def test_submitting_a_child_says_what_would_be(
    run: Run, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "child.py").touch()
    config = RunConfiguration()
    config.target = "gpu-compute"
    child = run.submit_child(ScriptRunConfig(".", "child.py", ["--fruit", "Apple"], config))
    assert "on target gpu-compute:\nchild.py --fruit Apple" in capsys.readouterr().out
    assert child.wait_for_completion(show_output=True)["status"] == "Completed"


def test_properties_stay_as_they_are(run: Run) -> None:
    run.add_properties({"author": "a", "n": 1})
    run.add_properties({"author": "a"})
    with pytest.raises(UserErrorException, match="'author' has the value 'a'"):
        run.add_properties({"new": "x", "author": "b"})
    assert run.get_properties() == {"author": "a", "n": "1"}


def test_files_are_remembered_where_they_are(run: Run, project: Path) -> None:
    (project / "model.txt").write_text("m")
    run.upload_file("outputs/model.txt", "model.txt")
    assert run.get_file_names() == ["outputs/model.txt"]
    run.download_file("outputs/model.txt", str(project / "deep" / "copy.txt"))
    assert (project / "deep" / "copy.txt").read_text() == "m"
    with pytest.raises(FileNotFoundError):
        run.upload_file("x", "missing.txt")


def test_an_image_that_was_logged_is_a_file(run: Run, project: Path) -> None:
    (project / "deep").mkdir()
    (project / "deep" / "plot.png").write_bytes(png(7))
    run.log_image("plot", path="deep/plot.png")
    assert run.get_file_names() == ["plot.png"]
    run.download_file("plot.png", str(project / "copy.png"))
    assert (project / "copy.png").read_bytes() == png(7)


def test_images_of_one_name_are_several_files(run: Run, project: Path) -> None:
    for number, folder in enumerate(("a", "b")):
        (project / folder).mkdir()
        (project / folder / "plot.png").write_bytes(png(number))
    for folder in ("a", "b", "a"):
        run.log_image("plot", path=f"{folder}/plot.png")
    assert run.get_file_names() == ["plot.png", "plot_2.png"]
    run.download_file("plot_2.png", str(project / "copy.png"))
    assert (project / "copy.png").read_bytes() == png(1)


def test_plots_that_were_logged_are_files(run: Run, project: Path) -> None:
    class Figure:
        def __init__(self, number: int) -> None:
            self.number = number

        def savefig(self, place: str, format: str) -> None:
            Path(place).write_bytes(png(self.number))

    for number, name in enumerate(("curve", "curve", "curve", "other"), start=1):
        run.log_image(name, plot=Figure(number))
    logged = [*run.get_metrics(name="curve")["curve"], run.get_metrics()["other"]]
    names = [address.rpartition("/")[2] for address in logged]
    assert sorted(names) == run.get_file_names()
    assert re.fullmatch(r"curve_\d+\.png", names[0])
    for number, name in enumerate(names, start=1):
        run.download_file(name, str(project / "copy.png"))
        assert (project / "copy.png").read_bytes() == png(number)


def test_files_come_back_to_where_a_server_would_put_them(run: Run, project: Path) -> None:
    for name in ("a.txt", "deep/b.txt"):
        path = project / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    assert run.upload_folder("kept", "folder") == ["kept/a.txt", "kept/deep/b.txt"]
    run.download_file("kept/a.txt", "into/")
    run.download_files("kept", "short", append_prefix=False)
    run.download_files("kept", "named", output_paths=["one", "two"])
    assert (project / "into" / "a.txt").read_text() == "a.txt"
    assert (project / "short" / "deep" / "b.txt").read_text() == "deep/b.txt"
    assert (project / "named" / "two").read_text() == "deep/b.txt"
    run.download_file("kept/a.txt", "folder/a.txt")  # onto itself
    assert (project / "folder" / "a.txt").read_text() == "a.txt"


def test_what_a_server_would_refuse_is_refused(
    run: Run, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "a.txt").touch()
    with pytest.raises(UnsupportedException):
        run.upload_file("a", "a.txt", datastore_name="store")
    with pytest.raises(UserErrorException, match="not as int"):
        run.upload_file("a", 3)
    with pytest.raises(UserErrorException, match="no name"):
        run.upload_file("../a", "a.txt")
    with pytest.raises(UserErrorException, match="has a name"):
        run.log("", 1)
    assert (run.get_file_names(), run.get_metrics(), capsys.readouterr().out) == ([], {}, "")


def test_names_and_types_are_those_of_an_interactive_run(run: Run) -> None:
    run.log("loss", 1)
    child = run.child_run("named")
    child.log("loss", 2)
    assert child.name == f"run_{run.id}>named"
    assert run.get_metrics(recursive=True) == {run.id: {"loss": 1}, child.id: {"loss": 2}}
    assert run.get_metrics(recursive=True, run_type="azureml.scriptrun") == {}
    assert list(run.get_children(type="azureml.scriptrun")) == []


def test_without_leave_to_be_offline_it_is_an_error(run: Run) -> None:
    with pytest.raises(RunEnvironmentException, match=r"experiment\.start_logging"):
        Run.get_context(allow_offline=False)


def test_every_member_of_a_run_answers_without_a_server(run: Run) -> None:
    asked = {
        name: getattr(type(run), name)
        for name in dir(Run)
        if not name.startswith("_") and isinstance(getattr(Run, name), property)
    }
    without = {"portal_url", "identity"}
    for name in set(asked) - without:
        getattr(run, name)
    for name in ("get_status", "get_details", "get_details_with_logs", "get_detailed_status", "get_tags"):
        getattr(run, name)()
    for name in ("get_properties", "get_file_names", "get_portal_url", "get_all_logs", "flush", "cancel"):
        getattr(run, name)()
    assert (run.input_datasets, run.output_datasets) == ({}, {})


@pytest.mark.parametrize("script", ["hello_with_children.py", "parent.py"])
def test_the_scripts_of_the_article_run_on_a_laptop(project: Path, script: str) -> None:
    article = Path(__file__).with_name("article")
    for file in article.glob("*.py"):
        (project / file.name).write_text(file.read_text())
    env = {"PYTHONPATH": ":".join(SDK), "PATH": "/usr/bin:/bin", "HOME": str(project)}
    done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Attempted to" in done.stdout
