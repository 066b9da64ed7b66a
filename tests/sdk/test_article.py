"""The Python lines of the article, in their order, each with what must come out."""

from __future__ import annotations

import shutil
from pathlib import Path

import azureml.core
import psutil
import pytest
from azureml.core import Experiment, Run, RunConfiguration, ScriptRunConfig, Workspace

from tests.fixtures.processes import wait_until
from tests.sdk.live import Signed

ARTICLE = Path(__file__).with_name("article")
ENDED = {"Completed", "Failed", "Canceled"}


def processes_of(run: Run) -> list[psutil.Process]:
    """What runs on this machine under the id of a run."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("STUDIO_RUN_ID") == run.id:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def folder(attached: Path) -> Path:
    """The folder of the article's scripts."""
    for file in ARTICLE.glob("*.py"):
        shutil.copy(file, attached)
    return attached


def test_the_article(folder: Path, signed_in: Signed, capsys: pytest.CaptureFixture[str]) -> None:
    def printed() -> list[str]:
        return capsys.readouterr().out.splitlines()

    print(azureml.core.VERSION)
    assert tuple(int(part) for part in printed()[0].split(".")) >= (1, 0, 21)

    ws = Workspace.from_config()
    exp = Experiment(workspace=ws, name="explore-runs")

    notebook_run = exp.start_logging()
    notebook_run.log(name="message", value="Hello from run!")
    print(notebook_run.get_status())
    print(notebook_run.get_details())
    status, details = printed()
    assert status == "Running"
    assert f"'runId': '{notebook_run.id}'" in details
    assert "'startTimeUtc': '2" in details
    assert "endTimeUtc" not in details

    notebook_run.complete()
    print(notebook_run.get_status())
    assert printed() == ["Completed"]
    assert notebook_run.get_metrics() == {"message": "Hello from run!"}

    with exp.start_logging() as notebook_run:
        notebook_run.log(name="message", value="Hello from run!")
        print(notebook_run.get_status())
    print(notebook_run.get_status())
    assert printed() == ["Running", "Completed"]

    run_config = ScriptRunConfig(source_directory=".", script="hello_with_delay.py")
    local_script_run = exp.submit(run_config)
    print(local_script_run.get_status())
    assert printed()[0] not in ENDED
    wait_until(lambda: processes_of(local_script_run))
    local_script_run.cancel()
    print(local_script_run.get_status())
    assert printed() == ["Canceled"]
    assert processes_of(local_script_run) == []

    local_script_run = exp.submit(run_config)
    wait_until(lambda: processes_of(local_script_run))
    local_script_run.fail()
    print(local_script_run.get_status())
    assert printed() == ["Failed"]
    wait_until(lambda: not processes_of(local_script_run))

    run_config = ScriptRunConfig(source_directory=".", script="hello_with_children.py")
    local_script_run = exp.submit(run_config)
    local_script_run.wait_for_completion(show_output=True)
    print(local_script_run.get_status())
    lines = printed()
    assert lines[0] == f"RunId: {local_script_run.id}"
    assert lines[-1] == "Completed"
    children = list(local_script_run.get_children())
    assert [child.get_status() for child in children] == ["Completed"] * 5
    metrics = [child.get_metrics() for child in reversed(children)]
    assert metrics == [{"Hello from child run ": number} for number in range(5)]

    with exp.start_logging() as parent_run:
        for c, count in enumerate(range(5)):  # noqa: B007 (as it is printed)
            with parent_run.child_run() as child:
                child.log(name="Hello from child run", value=c)
    assert parent_run.get_status() == "Completed"
    print(parent_run.get_children())
    assert len(list(parent_run.get_children())) == 5
    assert "\n".join(printed()).count("Status: Completed") == 5

    local_script_run.add_properties({"author": "azureml-user"})
    print(local_script_run.get_properties())
    assert "'author': 'azureml-user'" in printed()[0]
    try:
        local_script_run.add_properties({"author": "different-user"})
    except Exception as e:
        print(e)
    text = "\n".join(printed())
    assert "UserErrorException" in text
    assert "author" in text
    assert "azureml-user" in text
    assert "different-user" in text
    assert local_script_run.get_properties()["author"] == "azureml-user"

    local_script_run.tag("quality", "great run")
    print(local_script_run.get_tags())
    local_script_run.tag("quality", "fantastic run")
    print(local_script_run.get_tags())
    local_script_run.tag("worth another look")
    print(local_script_run.get_tags())
    assert printed() == [
        "{'quality': 'great run'}",
        "{'quality': 'fantastic run'}",
        "{'quality': 'fantastic run', 'worth another look': None}",
    ]

    found = list(exp.get_runs(properties={"author": "azureml-user"}, tags={"quality": "fantastic run"}))
    assert [run.id for run in found] == [local_script_run.id]
    found = list(exp.get_runs(properties={"author": "azureml-user"}, tags="worth another look"))
    assert [run.id for run in found] == [local_script_run.id]


def test_a_parent_that_submits_its_children(folder: Path, signed_in: Signed) -> None:
    exp = Experiment(Workspace.from_config(), "parents")
    parent = exp.submit(ScriptRunConfig(source_directory=".", script="parent.py"))
    parent.wait_for_completion()
    children = list(parent.get_children())
    assert parent.get_metrics() == {"Status": ["Launching Apple", "Launching Banana", "Launching Orange"]}
    assert [child.get_status() for child in children] == ["Completed"] * 3
    assert {child.get_details()["target"] for child in children} == {"gpu-compute"}
    logs = [
        child.get_details_with_logs()["logFiles"]["user_logs/std_log.txt"] for child in reversed(children)
    ]
    assert logs == [f"{fruit} of parent {parent.id}\n" for fruit in ("Apple", "Banana", "Orange")]
    ended = max(child.get_details()["endTimeUtc"] for child in children)
    assert parent.get_details()["endTimeUtc"] >= ended


def test_a_child_that_fails_fails_its_waiting_parent(folder: Path, signed_in: Signed) -> None:
    text = (folder / "parent.py").read_text().replace('"Orange"', '"Rotten"')
    (folder / "parent.py").write_text(text)
    exp = Experiment(Workspace.from_config(), "parents")
    parent = exp.submit(ScriptRunConfig(source_directory=".", script="parent.py"))
    details = parent.wait_for_completion(raise_on_error=False)
    assert details["status"] == "Failed"
    assert "ActivityFailedException" in details["error"]["error"]["innerError"]["debugInfo"]["stackTrace"]


def test_parents_that_hold_every_slot_are_no_deadlock(folder: Path, signed_in: Signed) -> None:
    exp = Experiment(Workspace.from_config(), "parents")
    config = RunConfiguration()
    config.target = "gpu-compute"
    run_config = ScriptRunConfig(".", "parent.py", run_config=config)
    parents = [exp.submit(run_config) for _ in range(4)]
    for parent in parents:
        assert parent.wait_for_completion()["status"] == "Completed"
