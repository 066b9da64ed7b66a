"""What the SDK may be given, and what it refuses with a sentence that says what would be right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azureml.core import Experiment, Run, RunConfiguration, ScriptRunConfig, Workspace
from azureml.core.container_registry import ContainerRegistry
from azureml.core.experiment import texts
from azureml.core.runconfig import (
    DockerConfiguration,
    HistoryConfiguration,
    MpiConfiguration,
    PyTorchConfiguration,
    TensorflowConfiguration,
)
from azureml.exceptions import ServiceException, UserErrorException

from tests.sdk.live import Signed, studio_command

_READER = """
from studio.accounts.models import Membership, Role, User, Workspace
from studio.accounts.services import make_token
reader, _ = User.objects.get_or_create(username="rita")
Membership.objects.get_or_create(
    user=reader, workspace=Workspace.objects.get(name="default"), defaults={"role": Role.READER}
)
print(make_token(reader, "reading")[1])
"""


@pytest.fixture
def ws(attached: Path) -> Workspace:
    """The workspace of the working folder."""
    return Workspace.from_config()


@pytest.fixture
def exp(ws: Workspace) -> Experiment:
    """An experiment."""
    return Experiment(ws, "arguments")


def started(exp: Experiment, **options: Any) -> Run:
    """An interactive run without a snapshot."""
    return exp.start_logging(**{"snapshot_directory": None, "outputs": None, **options})


def test_a_reader_opens_an_experiment_that_is_there(
    exp: Experiment, signed_in: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = started(exp)
    token = studio_command(signed_in.studio, "shell", "-v0", "-c", _READER).splitlines()[-1]
    monkeypatch.setenv("STUDIO_TOKEN", token)
    mine = Workspace.get("default")
    found = Experiment(mine, "arguments")
    assert found.id == exp.id
    assert run in list(found.get_runs())
    with pytest.raises(ServiceException) as refused:
        Experiment(mine, "not-there-yet")
    assert refused.value.status_code == 403
    with pytest.raises(ServiceException):
        started(found)


def test_an_archived_experiment_says_how_it_comes_back(ws: Workspace) -> None:
    mine = Experiment(ws, "put-away")
    mine.archive()
    with pytest.raises(ServiceException, match=r"is archived.*experiment\.reactivate\(\)") as refused:
        started(mine)
    assert refused.value.status_code == 409
    mine.reactivate()
    started(mine).complete()


def test_sections_take_their_attributes_by_name_and_in_order() -> None:
    assert DockerConfiguration(use_docker=True).use_docker is True
    assert DockerConfiguration(True, False, None, "8g").to_dict() == {
        "useDocker": True,
        "sharedVolumes": False,
        "arguments": [],
        "shmSize": "8g",
    }
    mpi = MpiConfiguration(process_count_per_node=2, node_count=3)
    assert (mpi.process_count_per_node, mpi.node_count) == (2, 3)
    assert PyTorchConfiguration("Gloo", 4, 2).process_count == 4
    assert TensorflowConfiguration(worker_count=2).parameter_server_count == 1
    assert HistoryConfiguration(output_collection=False).directories_to_watch == ["logs"]
    assert ContainerRegistry(address="a.io").address == "a.io"
    config = ScriptRunConfig(".", "a.py", distributed_job_config=mpi).run_config
    assert (config.mpi.process_count_per_node, config.node_count) == (2, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DockerConfiguration(use_dokcer=True), "'use_dokcer' is not known. Did you mean use_docker?"),
        (lambda: DockerConfiguration(True, use_docker=True), "'use_docker' was given twice"),
        (lambda: MpiConfiguration(1, 2, 3), "takes 2 values, not 3"),
    ],
)
def test_a_section_names_the_argument_that_it_does_not_know(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError) as refused:
        make()
    assert message in str(refused.value)


def _set(name: str, value: Any) -> Callable[[], None]:
    return lambda: setattr(RunConfiguration(), name, value)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: ScriptRunConfig(".", "a.py", arguments=5), "arguments of a script are a list"),
        (lambda: ScriptRunConfig(".", "a.py", arguments={"--rate": 1}), "arguments of a script are a list"),
        (lambda: RunConfiguration("a.py", 5), "arguments of a script are a list"),
        (lambda: ScriptRunConfig(".", "a.py", max_run_duration_seconds="x"), "number of seconds, not 'x'"),
        (lambda: ScriptRunConfig(".", "a.py", max_run_duration_seconds=-1), "max_run_duration_seconds is a"),
        (lambda: texts({"": "x"}), "which is a text and not empty"),
        (lambda: ScriptRunConfig(".", "a.py", distributed_job_config=3), "one of MpiConfiguration"),
        (lambda: ScriptRunConfig(".", "a.py", environment="x"), "is of Environment, not 'x'"),
        (
            lambda: ScriptRunConfig(".", "a.py", arguments="--name 'x"),
            "cannot be split: No closing quotation",
        ),
        (_set("environment", "x"), "RunConfiguration.environment is of Environment, not 'x'"),
        (_set("docker", True), "RunConfiguration.docker is of DockerConfiguration, not True"),
        (lambda: Workspace("s", "g", None), "name of a workspace is a text, not None"),
        (lambda: Workspace("s", "g", ""), "name of a workspace is a text, not ''"),
        (lambda: Experiment(None, "x"), "is in a Workspace, not in None"),
        (lambda: Experiment("default", "x"), "is in a Workspace, not in 'default'"),
        (lambda: Run(None, "x"), "is in an Experiment, not in None"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(act: Callable[[], Any], message: str) -> None:
    with pytest.raises(UserErrorException) as refused:
        act()
    assert message in refused.value.message


def test_a_limit_that_is_set_later_is_checked_at_submit(project: Path) -> None:
    (project / "a.py").touch()
    config = ScriptRunConfig(".", "a.py")
    config.run_config.max_run_duration_seconds = "soon"
    with pytest.raises(UserErrorException, match="number of seconds, not 'soon'"):
        config.to_submit()


def test_none_brings_a_section_back_to_its_defaults() -> None:
    config = RunConfiguration()
    config.docker.use_docker = True
    config.docker = None
    config.environment = None
    assert (config.docker.use_docker, config.environment.name) == (False, "default-environment")


@pytest.mark.parametrize("run_id", [None, 5, ""])
def test_the_id_of_a_run_is_a_text(exp: Experiment, run_id: Any) -> None:
    with pytest.raises(UserErrorException, match="id of a run is a text"):
        Run(exp, run_id)


def test_outputs_that_cannot_be_are_refused_before_there_is_a_run(exp: Experiment) -> None:
    parent = started(exp)
    before = len(list(exp.get_runs(include_children=True)))
    for outputs in ("/proc/x", 5):
        for start in (exp.start_logging, parent.child_run):
            given = {"snapshot_directory": None} if start == exp.start_logging else {}
            with pytest.raises(UserErrorException, match="outputs"):
                start(outputs=outputs, **given)
    assert len(list(exp.get_runs(include_children=True))) == before


@pytest.mark.parametrize("status", ["Provisioning", "Paused", "Pausing", "Unapproved"])
def test_a_status_that_runs_have_in_azure_only_finds_none(exp: Experiment, status: str) -> None:
    assert list(Run.list(exp, status=status)) == []
    assert list(started(exp).get_children(status=status)) == []


def test_a_status_that_no_run_has_is_refused_with_those_there_are(exp: Experiment) -> None:
    for find in (
        lambda: Run.list(exp, status="completed"),
        lambda: started(exp).get_children(status="completed"),
        lambda: Run.list_by_compute(exp, status="completed"),
    ):
        with pytest.raises(UserErrorException, match=r"'completed'. Did you mean Completed\? Known: NotSt"):
            find()
    with pytest.raises(UserErrorException, match="No run has the status"):
        Run.list(exp, status=["Running"])
    with pytest.raises(UserErrorException, match=r"type of runs is a text, .*, not \['a'"):
        Run.list(exp, type=["a"])


def test_properties_are_text(exp: Experiment) -> None:
    run = started(exp)
    for add in (
        lambda: run.add_properties({"author": "ana", "x": None}),
        lambda: started(exp, properties={"x": None}),
        lambda: Run.get_context().add_properties({"x": None}),
    ):
        with pytest.raises(UserErrorException, match=r"Properties are text; there is none for 'x'"):
            add()
    assert run.get_properties() == {}
    assert list(exp.get_runs(properties={"x": None})) == []
    assert list(run.get_children(properties={"x": None})) == []


def test_a_metric_has_a_name(exp: Experiment) -> None:
    run = started(exp)
    for log in (
        lambda: run.log(None, 1),
        lambda: run.log_list(None, [1]),
        lambda: run.log_table("t", {None: [1]}),
        lambda: run.log_row(None, a=1),
    ):
        with pytest.raises(UserErrorException, match="a text and not None"):
            log()
    assert run.get_metrics() == {}


def test_the_snapshot_is_a_property_wherever_properties_are_read(exp: Experiment, attached: Path) -> None:
    (attached / "a.txt").touch()
    run = started(exp, snapshot_directory=".", properties={"p": "1"})
    wanted = {"p": "1", "ContentSnapshotId": run.get_snapshot_id()}
    assert run.get_properties() == run.properties == run.get_details()["properties"] == wanted
    assert Run(exp, run.id).get_properties() == wanted
