"""Runs against a real Studio: made, ended, labelled, found and shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from azureml.core import (
    ComputeTarget,
    Environment,
    Experiment,
    Run,
    ScriptRun,
    ScriptRunConfig,
    Workspace,
    get_run,
)
from azureml.core.compute import AmlCompute
from azureml.exceptions import (
    AuthenticationException,
    AzureMLException,
    ComputeTargetException,
    ExperimentExecutionException,
    ServiceException,
    SnapshotException,
    UserErrorException,
    WorkspaceException,
)
from azureml.widgets import RunDetails

from tests.fixtures.processes import wait_until
from tests.sdk.conftest import SDK
from tests.sdk.live import Signed, environment_of


@pytest.fixture
def ws(attached: Path) -> Workspace:
    """The workspace of the working folder."""
    return Workspace.from_config()


@pytest.fixture
def exp(ws: Workspace, request: pytest.FixtureRequest) -> Experiment:
    """An experiment named after the test."""
    return Experiment(ws, request.node.name.split("[")[0].replace("_", "-")[:100])


def interactive(exp: Experiment, **options: object) -> Run:
    """A run without a snapshot and without outputs."""
    return exp.start_logging(snapshot_directory=None, outputs=None, **options)


def test_a_workspace_tells_what_it_is(ws: Workspace, tmp_path: Path) -> None:
    assert (ws.name, ws.resource_group) == ("default", "my-group")
    assert isinstance(ws.location, str)
    assert repr(ws).startswith("Workspace.create(name='default', subscription_id='1111")
    assert ws.get_details()["id"].endswith("/workspaces/default")
    assert ws.get_portal_url().startswith("http://127.0.0.1")
    ws.write_config(str(tmp_path / "other"))
    assert Workspace.from_config(str(tmp_path / "other" / ".azureml" / "config.json")).name == "default"
    assert [one.name for one in Workspace.list("any")["default"]] == ["default"]
    assert Workspace.get("default").name == "default"
    with pytest.raises(WorkspaceException, match="'nowhere' is not on http"):
        Workspace("s", "g", "nowhere")


def test_experiments_are_made_once_and_labelled(ws: Workspace, exp: Experiment) -> None:
    again = Experiment(ws, exp.name)
    assert again.id == exp.id
    exp.tag("area", 51)
    exp.set_tags({"plain": None, "gone": "x"})
    exp.remove_tags(["gone"])
    again.refresh()
    assert again.tags == {"area": "51", "plain": None}
    assert [one.name for one in Experiment.list(ws, experiment_name=exp.name)] == [exp.name]
    assert exp.name in ws.experiments
    exp.archive()
    assert exp.archived_time is not None
    assert exp.name not in ws.experiments
    assert exp.name in [one.name for one in Experiment.list(ws, view_type="ArchivedOnly")]
    with pytest.raises(UserErrorException):
        exp.reactivate("other")
    exp.reactivate()
    assert exp.archived_time is None


def test_what_notebooks_show(exp: Experiment, capsys: pytest.CaptureFixture[str]) -> None:
    run = interactive(exp)
    assert repr(exp) == f"Experiment(Name: {exp.name},\nWorkspace: default)"
    assert repr(run) == f"Run(Experiment: {exp.name},\nId: {run.id},\nType: None,\nStatus: Running)"
    for shown, page in ((exp._repr_html_(), exp.get_portal_url()), (run._repr_html_(), run.get_portal_url())):
        assert shown.startswith("<table")
        assert f'href="{page}"' in shown
        assert "Docs Page" in shown
    run.complete()
    RunDetails(run).show()
    assert run.id in capsys.readouterr().out


def test_a_run_tells_what_it_is(ws: Workspace, exp: Experiment) -> None:
    run = interactive(exp, display_name="mine", description="why", tags={"n": 1}, properties={"p": 2})
    assert (run.number, run.status, run.type, run.parent) == (1, "Running", None, None)
    assert (run.display_name, run.description) == ("mine", "why")
    assert (run.tags, run.properties) == ({"n": "1"}, {"p": "2"})
    run.display_name = "other"
    run.description = "because"
    run.complete()
    for same in (Run(exp, run.id), Run.get(ws, run.id), ws.get_run(run.id), get_run(exp, run.id)):
        assert (same.id, same.display_name, same.description) == (run.id, "other", "because")
        assert same == run
    details = run.get_details()
    assert set(details) >= {"runId", "target", "status", "startTimeUtc", "endTimeUtc", "services", "logFiles"}
    assert None not in details.values()
    assert (details["target"], details["properties"], details["submittedBy"]) == (
        "local",
        {"p": "2"},
        "admin",
    )


def test_a_run_id_can_be_chosen(exp: Experiment) -> None:
    assert interactive(exp, run_id="chosen-by-me").id == "chosen-by-me"


def test_unknown_runs_are_404(ws: Workspace, exp: Experiment) -> None:
    other = Experiment(ws, "another-experiment")
    run = interactive(other)
    for run_id in ("missing", run.id):
        with pytest.raises(ServiceException) as refused:
            Run(exp, run_id)
        assert refused.value.status_code == 404


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "Completed"),
        (ValueError("boom"), "Failed"),
        (SystemExit(0), "Completed"),
        (SystemExit(None), "Completed"),
        (SystemExit(3), "Failed"),
        (KeyboardInterrupt(), "Canceled"),
    ],
)
def test_how_a_block_ends_is_how_the_run_ends(
    exp: Experiment, error: BaseException | None, status: str
) -> None:
    def block() -> None:
        with run as same:
            assert same is run
            print("in the block")
            if error is not None:
                raise error

    run = interactive(exp)
    if error is None:
        block()
    else:
        with pytest.raises(type(error)):
            block()
    assert run.get_status() == status
    assert run.get_details_with_logs()["logFiles"]["user_logs/std_log.txt"] == "in the block\n"
    if status == "Failed":
        inner = run.get_details()["error"]["error"]
        assert inner["message"] == f"User program failed with {type(error).__name__}: {error}"
        assert "Traceback" in inner["innerError"]["debugInfo"]["stackTrace"]


def test_a_run_ended_by_hand_in_its_block_stays_so(exp: Experiment) -> None:
    with interactive(exp) as run:
        run.fail("by hand", error_code="Mine")
    assert run.get_status() == "Failed"
    error = Run(exp, run.id).get_details()["error"]["error"]
    assert (error["code"], error["message"]) == ("Mine", "by hand")


def test_ending_twice(exp: Experiment) -> None:
    run = interactive(exp)
    run.complete()
    run.complete()
    with pytest.raises(UserErrorException):
        run.fail()
    with pytest.raises(UserErrorException):
        run.cancel()
    with pytest.raises(UserErrorException, match="text or an exception"):
        run.fail(error_details=3)
    assert run.get_status() == "Completed"


def test_outputs_are_kept_at_the_end(exp: Experiment, attached: Path) -> None:
    with exp.start_logging(snapshot_directory=None) as run:
        (attached / "outputs" / "deep").mkdir(parents=True)
        (attached / "outputs" / "deep" / "model.txt").write_text("m")
    assert "outputs/deep/model.txt" in run.get_file_names()


def test_the_working_folder_is_frozen(exp: Experiment, attached: Path, tmp_path: Path) -> None:
    (attached / ".amlignore").write_text("/outputs\n")
    (attached / "train.py").write_text("print(1)\n")
    run = exp.start_logging()
    run.complete()
    again = exp.start_logging()
    again.complete()
    assert run.get_snapshot_id() == again.get_snapshot_id()
    place = run.restore_snapshot(path="snapshots")
    assert place == str(attached / "snapshots" / f"{run.get_snapshot_id()}.zip")
    assert run.get_details()["properties"]["ContentSnapshotId"] == run.get_snapshot_id()
    without = interactive(exp)
    with pytest.raises(SnapshotException):
        without.restore_snapshot()


def test_labels(exp: Experiment) -> None:
    run = interactive(exp)
    run.complete()
    run.tag("Competition Rank", 1)
    run.tag("plain")
    run.set_tags({"a": "x", "b": True})
    run.remove_tags(["a", "missing"])
    for nameless in (lambda: run.tag(None), lambda: run.set_tags({None: "x", "c": "y"})):
        with pytest.raises(UserErrorException, match="has a name"):
            nameless()
    assert run.get_tags() == {"Competition Rank": "1", "plain": None, "b": "True"}
    run.add_properties({})
    run.add_properties({"author": "ana", "n": 1})
    run.add_properties({"author": "ana"})
    with pytest.raises(UserErrorException, match=r"author.*ana.*eve") as refused:
        run.add_properties({"fresh": "x", "author": "eve"})
    assert "run_finished" not in str(refused.value)
    assert run.get_properties() == {"author": "ana", "n": "1"}


def test_runs_are_found_by_what_they_carry(exp: Experiment) -> None:
    runs = [
        interactive(exp, tags={"n": number, "odd=": None} if number % 2 else {"n": number})
        for number in range(4)
    ]
    child = runs[0].child_run()

    def found(**filters: object) -> list[int]:
        return [runs.index(run) for run in exp.get_runs(**filters)]

    assert found() == [3, 2, 1, 0]
    assert found(tags="odd=") == [3, 1]
    assert found(tags={"odd=": None, "n": 1}) == [1]
    assert found(tags={"n": "2"}) == [2]
    assert found(properties="none") == []
    assert found(type="azureml.scriptrun") == []
    assert found(type="unheard-of") == []
    assert child in list(exp.get_runs(include_children=True))
    runs[2].complete()
    assert [run.id for run in Run.list(exp, status="Completed")] == [runs[2].id]
    assert next(exp.get_runs()).id == runs[3].id
    with pytest.raises(UserErrorException):
        list(exp.get_runs(tags=3))


def test_children(exp: Experiment) -> None:
    parent = interactive(exp)
    batch = parent.create_children(tag_key="fruit", tag_values=["apple", "plum", 3])
    assert [child.get_tags() for child in batch] == [{"fruit": "apple"}, {"fruit": "plum"}, {"fruit": "3"}]
    named = parent.child_run("named")
    assert (named.get_status(), named.get_details()["target"]) == ("Running", "sdk")
    assert named.parent.id == parent.id
    assert named.name == f"run_{parent.id}>named"
    grandchild = named.child_run()
    assert [run.id for run in parent.get_children()] == [named.id, *(run.id for run in reversed(batch))]
    assert {run.id for run in parent.get_children(recursive=True)} >= {grandchild.id, named.id}
    assert [run.id for run in parent.get_children(tags={"fruit": "plum"})] == [batch[1].id]
    children = parent.get_children()
    assert next(children).id == named.id
    assert len(list(children)) == 4
    assert f"Id: {batch[0].id}" in repr(children)
    assert parent.create_children(count=0) == []
    assert len(parent.create_children(count=100)) == 100
    batch[0].start()
    assert [child.get_status() for child in batch] == ["Running"] * 3
    batch[1].complete()
    details = batch[1].get_details()
    assert details["startTimeUtc"] <= details["endTimeUtc"]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"count": 101},
        {"count": -1},
        {"tag_key": "x"},
        {"tag_values": ["x"]},
        {"count": 1, "tag_key": "x", "tag_values": ["y"]},
    ],
)
def test_batches_of_children_that_make_no_sense(exp: Experiment, wrong: dict[str, object]) -> None:
    with pytest.raises(UserErrorException):
        interactive(exp).create_children(**wrong)


def test_a_submitted_run(exp: Experiment, attached: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (attached / "hello.py").write_text(
        "import os, sys\nprint('Grüße', sys.argv[1:], os.environ['A'])\n"
        "os.makedirs('outputs', exist_ok=True)\n"
        "open('outputs/x.txt', 'w').write('x')\n"
    )
    config = ScriptRunConfig(".", "hello.py", ["--n", 3])
    config.run_config.environment_variables["A"] = "b"
    run = exp.submit(config, tags={"n": 1})
    assert isinstance(run, ScriptRun)
    assert run.id.startswith(f"{exp.name}_")
    assert run.type == "azureml.scriptrun"
    details = run.wait_for_completion(show_output=True)
    page = run.get_portal_url()
    assert re.sub("^Queued: .*\n", "", capsys.readouterr().out, flags=re.MULTILINE) == (
        f"RunId: {run.id}\nWeb View: {page}\n\n"
        "Streaming user_logs/std_log.txt\n===============================\n\n"
        "Grüße ['--n', '3'] b\n"
        f"\nExecution Summary\n=================\nRunId: {run.id}\nWeb View: {page}\n\n"
    )
    assert details["status"] == "Completed"
    ran = {key: details["runDefinition"][key] for key in ("script", "command", "arguments", "target")}
    assert ran == {"script": "hello.py", "command": "", "arguments": ["--n", "3"], "target": "local"}
    assert run.get_tags() == {"n": "1"}
    assert {"outputs/x.txt", "user_logs/std_log.txt"} <= set(run.get_file_names())
    assert isinstance(run.get_environment(), Environment)
    again = exp.submit(config)
    assert again.id != run.id
    assert again.wait_for_completion()["status"] == "Completed"
    assert again.get_snapshot_id() == run.get_snapshot_id()
    assert isinstance(next(exp.get_runs()), ScriptRun)


def test_a_run_that_fails_is_raised_or_printed(
    exp: Experiment, attached: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (attached / "bad.py").write_text("raise ValueError('no data here')\n")
    run = exp.submit(ScriptRunConfig(".", "bad.py"))
    with pytest.raises(AzureMLException, match=r"Activity Failed:\n\{[\s\S]*no data here"):
        run.wait_for_completion()
    assert run.wait_for_completion(show_output=True, raise_on_error=False)["status"] == "Failed"
    assert "Error:\n{" in capsys.readouterr().out


def test_a_command(exp: Experiment, attached: Path) -> None:
    run = exp.submit(ScriptRunConfig(".", command="echo one && echo two"))
    run.wait_for_completion()
    details = run.get_details_with_logs()
    assert details["logFiles"]["user_logs/std_log.txt"] == "one\ntwo\n"
    ran = {key: details["runDefinition"][key] for key in ("script", "command", "arguments")}
    assert ran == {"script": "", "command": "echo one && echo two", "arguments": []}


def test_what_cannot_be_submitted(exp: Experiment, attached: Path) -> None:
    (attached / "a.py").touch()
    with pytest.raises(ExperimentExecutionException, match=r"missing\.py is not in"):
        exp.submit(ScriptRunConfig(".", "missing.py"))
    with pytest.raises(ComputeTargetException, match=r"ComputeTargetNotFound.*nowhere"):
        exp.submit(ScriptRunConfig(".", "a.py", compute_target="nowhere"))
    with pytest.raises(AzureMLException, match="submit a ScriptRunConfig"):
        exp.submit("a.py")
    config = ScriptRunConfig(".", "a.py")
    config.run_config.environment_variables["STUDIO_TOKEN"] = "x"
    with pytest.raises(UserErrorException, match="STUDIO_TOKEN"):
        exp.submit(config)
    assert list(exp.get_runs()) == []


def test_compute_targets(ws: Workspace) -> None:
    assert {"local", "gpu-compute"} <= set(ws.compute_targets)
    target = ComputeTarget(ws, "local")
    assert (target.name, target.provisioning_state) == ("local", "Succeeded")
    assert target.get_status().slots == 3
    assert ComputeTarget.create(ws, "local", AmlCompute.provisioning_configuration("any")).name == "local"
    with pytest.raises(ComputeTargetException, match="ComputeTargetNotFound"):
        ComputeTarget(ws, "nowhere")
    with pytest.raises(ComputeTargetException, match="adds it on the Compute page"):
        ComputeTarget.create(ws, "nowhere", None)


def test_environments_are_registered(ws: Workspace) -> None:
    made = Environment("sklearn")
    made.python.conda_dependencies.add_pip_package("scikit-learn")
    assert made.register(ws).version == "1"
    assert made.register(ws).version == "1"
    made.environment_variables["A"] = "1"
    assert made.register(ws).version == "2"
    assert Environment.get(ws, "sklearn").environment_variables == {"A": "1"}
    assert Environment.get(ws, "sklearn", version="1").environment_variables == {}
    assert list(ws.environments) == ["sklearn"]
    with pytest.raises(UserErrorException, match="'nothing'"):
        Environment.get(ws, "nothing")
    with pytest.raises(UserErrorException):
        Environment.get(ws, "sklearn", version="1", label="latest")


def test_a_script_knows_its_run(exp: Experiment, attached: Path) -> None:
    (attached / "who.py").write_text(
        "import time\n"
        "from azureml.core import Run\n"
        "run = Run.get_context()\n"
        "assert run is Run.get_context()\n"
        "while run.get_status() == 'Starting':\n    time.sleep(0.1)\n"
        "print(run.id, run.number, run.experiment.name, run.parent, run.get_status())\n"
        "run.tag('from', 'script')\n"
        "run.add_properties({'p': 'q'})\n"
        "run.upload_file('up/me.py', 'who.py')\n"
        "with run:\n    pass\n"
        "run.complete()\n"
        "print(run.get_status(), run.experiment.workspace.name, run.input_datasets)\n"
    )
    run = exp.submit(ScriptRunConfig(".", "who.py"))
    run.wait_for_completion(show_output=True)
    text = run.get_details_with_logs()["logFiles"]["user_logs/std_log.txt"]
    assert text == f"{run.id} 1 {exp.name} None Running\nRunning default {{}}\n"
    assert run.get_tags() == {"from": "script"}
    assert run.get_properties() == {"p": "q", "ContentSnapshotId": run.get_snapshot_id()}
    assert "up/me.py" in run.get_file_names()


def test_a_script_that_fails_or_cancels_itself(exp: Experiment, attached: Path) -> None:
    (attached / "fail.py").write_text(
        "from azureml.core import Run\n"
        "Run.get_context().fail('bad data', error_code='Data')\nraise SystemExit(1)\n"
    )
    (attached / "cancel.py").write_text(
        "import time\nfrom azureml.core import Run\nRun.get_context().cancel()\ntime.sleep(60)\n"
    )
    failed = exp.submit(ScriptRunConfig(".", "fail.py"))
    canceled = exp.submit(ScriptRunConfig(".", "cancel.py"))
    error = failed.wait_for_completion(raise_on_error=False)["error"]["error"]
    assert (error["code"], error["message"]) == ("Data", "bad data")
    assert canceled.wait_for_completion()["status"] == "Canceled"


def test_a_process_that_dies_leaves_no_run_that_looks_alive(exp: Experiment, signed_in: Signed) -> None:
    code = (
        "import os, sys\nfrom azureml.core import *\n"
        f"exp = Experiment(Workspace.from_config(), '{exp.name}')\n"
        "run = exp.start_logging(snapshot_directory=None, outputs=None)\n"
        "print(run.id, flush=True)\nos.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment_of(signed_in),
        capture_output=True,
        text=True,
        cwd=os.getcwd(),
    )
    run = Run(exp, done.stdout.strip())
    wait_until(lambda: run.get_status() == "NotResponding", within_s=60, every_s=0.5)


def test_a_living_process_keeps_its_run_alive(exp: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    from studio_client import heartbeat

    monkeypatch.setattr(heartbeat, "beats", heartbeat.Heartbeat(every_s=0.2))
    run = interactive(exp)
    first = run._fetch()["heartbeat_at"]
    wait_until(lambda: run._fetch()["heartbeat_at"] != first)
    run.complete()


def test_a_wrong_token_is_told_and_never_shown(signed_in: Signed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_TOKEN", "stu_" + "x" * 40)
    with pytest.raises(AuthenticationException) as refused:
        Workspace("s", "g", "default")
    assert "x" * 40 not in str(refused.value)
    assert "Make a token on the page Tokens" in str(refused.value)


def test_what_outlives_its_script_is_told_that_the_runs_token_ended(exp: Experiment, attached: Path) -> None:
    """A process that a script leaves, as far as its token goes; no token may ever be printed in earnest."""
    (attached / "spill.py").write_text("import os\nprint(os.environ['AZUREML_RUN_TOKEN'])\n")
    run = exp.submit(ScriptRunConfig(".", "spill.py"))
    run.wait_for_completion()
    token = run.get_details_with_logs()["logFiles"]["user_logs/std_log.txt"].strip()
    env = {**os.environ, "PYTHONPATH": ":".join(SDK), "AZUREML_RUN_ID": run.id, "AZUREML_RUN_TOKEN": token}
    del env["STUDIO_TOKEN"]
    code = "from azureml.core import Run\nrun = Run.get_context()\nrun.log('m', 1)\nrun.tag('late')\n"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    why = f"The run {run.id} is Completed, and its own token ended with its script."
    assert f"1 metrics of run {run.id} are not sent yet: {why} To go on" in done.stderr
    assert f"Message: {why} To go on with it from elsewhere, use a token of your own" in done.stderr
    assert token not in done.stderr


def test_a_warning_free_import(signed_in: Signed) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        subprocess.run(
            [sys.executable, "-W", "error", "-c", "import azureml.core"],
            env=environment_of(signed_in),
            check=True,
        )
