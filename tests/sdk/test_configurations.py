"""Run configurations, environments and the files that they are kept in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from azureml import _yaml
from azureml.core import Environment, RunConfiguration, ScriptRunConfig
from azureml.core.conda_dependencies import CondaDependencies
from azureml.core.runconfig import DockerConfiguration, DockerSection, MpiConfiguration
from azureml.exceptions import ExperimentExecutionException, UserErrorException
from studio_client import run_configs


def test_the_settings_of_the_article(project: Path) -> None:
    config = RunConfiguration()
    assert (config.target, config.framework, config.communicator, config.node_count) == (
        "local",
        "Python",
        "None",
        1,
    )
    config.target = "gpu-compute"
    config.environment.docker.enabled = True
    assert config.docker.use_docker is False
    config.environment.python.user_managed_dependencies = True
    assert config.environment.name == "default-environment"
    assert config.environment.environment_variables == {}


@pytest.mark.parametrize("target", [None, "", 3, object()])
def test_what_is_no_target_is_refused(target: Any) -> None:
    with pytest.raises(UserErrorException, match="name of a compute target"):
        RunConfiguration().target = target


def test_a_target_may_be_an_object_with_a_name() -> None:
    class Target:
        name = "gpu"

    config = RunConfiguration()
    config.target = Target()
    assert config.target == "gpu"


def test_a_slip_of_the_pen_is_caught() -> None:
    with pytest.raises(AttributeError, match="Did you mean environment"):
        RunConfiguration().enviroment = None
    with pytest.raises(AttributeError):
        RunConfiguration().environment.python.packages = []


def test_what_is_saved_is_what_is_loaded(project: Path) -> None:
    config = RunConfiguration(script="train.py", arguments=["--lr", 0.1])
    config.target = "gpu"
    config.environment_variables = {"A": "1"}
    config.max_run_duration_seconds = 60
    config.environment.python.conda_dependencies = CondaDependencies.create(
        pip_packages=["scikit-learn==1.5"], conda_packages=["numpy"], python_version="3.11"
    )
    config.save(name="train")
    assert sorted(path.name for path in (project / ".azureml").iterdir()) == [
        "conda_dependencies.yml",
        "train.runconfig",
    ]
    text = (project / ".azureml" / "train.runconfig").read_text()
    assert "maxRunDurationSeconds: 60" in text
    assert "condaDependenciesFile: .azureml/conda_dependencies.yml" in text
    found = RunConfiguration.load(".", "train")
    assert (found.script, found.arguments, found.target) == ("train.py", ["--lr", "0.1"], "gpu")
    assert found.environment_variables == {"A": "1"}
    assert found.environment.python.conda_dependencies.pip_packages == [
        "azureml-defaults",
        "scikit-learn==1.5",
    ]
    assert found.environment.python.conda_dependencies.conda_packages == ["python=3.11", "numpy"]
    assert RunConfiguration.load(str(project / ".azureml" / "train.runconfig")).target == "gpu"


def test_an_environment_can_have_a_file_of_its_own(project: Path) -> None:
    config = RunConfiguration()
    config.environment.name = "mine"
    config.save(str(project), "train", separate_environment_yaml=True)
    assert (project / ".azureml" / "environment.yml").exists()
    assert RunConfiguration.load(str(project), "train").environment.name == "mine"


def test_files_of_before_are_read_with_defaults_for_what_they_lack(project: Path) -> None:
    (project / "aml_config").mkdir()
    (project / "aml_config" / "old.runconfig").write_text("script: a.py\nunknown: 1\nhistory:\n  more: 2\n")
    found = RunConfiguration.load(".", "old")
    assert (found.script, found.target, found.history.output_collection) == ("a.py", "local", True)
    found.save(name="new")
    assert (project / "aml_config" / "new.runconfig").exists()
    (project / "bare.runconfig").write_text("target: there\n")
    assert RunConfiguration.load(".", "bare").target == "there"


def test_a_missing_configuration_names_those_that_there_are(project: Path) -> None:
    RunConfiguration().save(name="train")
    with pytest.raises(UserErrorException, match=r"'sklearn'.*sklearn\.runconfig.*train\.runconfig"):
        RunConfiguration.load(".", "sklearn")
    with pytest.raises(UserErrorException, match="under a name"):
        RunConfiguration().save()


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "just text"])
def test_a_file_that_is_none_is_named(project: Path, text: str) -> None:
    (project / "x.runconfig").write_text(text)
    with pytest.raises(UserErrorException, match=r"x\.runconfig"):
        RunConfiguration.load(".", "x")


def test_a_password_reaches_no_file(project: Path) -> None:
    config = RunConfiguration()
    config.environment.docker.base_image_registry.password = "hunter2"
    config.save(name="x")
    assert "hunter2" not in (project / ".azureml" / "x.runconfig").read_text()


def test_environments(project: Path) -> None:
    with pytest.raises(TypeError):
        Environment(3)  # type: ignore[arg-type]
    environment = Environment("one")
    assert environment.version is None
    copy = environment.clone("two")
    copy.python.conda_dependencies.add_pip_package("x")
    assert (copy.name, environment.python.conda_dependencies.pip_packages) == ("two", ["azureml-defaults"])
    with pytest.raises(UserErrorException, match="can not start with"):
        environment.clone("AzureML-x")
    (project / "requirements.txt").write_text("# these\nnumpy>=1  # yes\n\npandas\n")
    made = Environment.from_pip_requirements("three", "requirements.txt")
    assert made.python.conda_dependencies.pip_packages == ["numpy>=1", "pandas"]
    (project / "conda.yml").write_text("name: x\ndependencies: [python=3.9, {pip: [a]}]\n")
    made = Environment.from_conda_specification("four", "conda.yml")
    assert made.python.conda_dependencies.python_version == "3.9"
    made.save_to_directory("kept")
    assert Environment.load_from_directory("kept") == made
    with pytest.raises(UserErrorException):
        Environment.from_conda_specification("five", "missing.yml")


def test_an_image_is_described_in_one_way() -> None:
    environment = Environment("x")
    environment.docker.base_image = "a"
    environment.validate()
    environment.docker.base_dockerfile = "FROM b"
    with pytest.raises(UserErrorException, match=r"docker\.base_image and docker\.base_dockerfile"):
        environment.validate()


def test_conda_dependencies() -> None:
    made = CondaDependencies.create(conda_packages=["numpy=1.0"], pip_packages=["a==1", "b"])
    made.add_conda_package("numpy=2.0")
    made.add_pip_package("a==2")
    made.set_pip_option("--index-url x")
    assert made.conda_packages == ["python=3.8.13", "numpy=2.0"]
    assert made.pip_packages == ["azureml-defaults", "b", "a==2"]
    assert _yaml.loads(made.serialize_to_string()) == made.as_dict()
    with pytest.raises(TypeError):
        CondaDependencies.create(pip_packages="a")


def test_a_script_run_config_is_what_was_given(project: Path) -> None:
    (project / "train.py").touch()
    config = ScriptRunConfig(".", "train.py", ["--n", 3, project], compute_target="gpu")
    assert config.arguments == ["--n", "3", str(project)]
    assert config.run_config.target == "gpu"
    folder, content = config.to_submit()
    assert (folder, content["script"], content["time_limit_s"]) == (str(project), "train.py", None)
    assert content["run_configuration"]["target"] == "gpu"


def test_more_processes_than_one_are_told_not_to_run(project: Path) -> None:
    (project / "train.py").touch()
    one = MpiConfiguration(process_count_per_node=1, node_count=1)
    ScriptRunConfig(".", "train.py", distributed_job_config=one).to_submit()
    several = MpiConfiguration(process_count_per_node=1, node_count=2)
    with pytest.warns(UserWarning, match="as one process on one node"):
        ScriptRunConfig(".", "train.py", distributed_job_config=several).to_submit()


@pytest.mark.parametrize(
    ("text", "is_several"),
    [
        ("{mpi: {processCountPerNode: '4'}}", True),
        ("{mpi: {processCountPerNode: 4}}", True),
        ("{nodeCount: 2}", True),
        ("{pytorch: {processCount: 2}}", True),
        ("{tensorflow: {workerCount: 2, parameterServerCount: 1}}", True),
        ("{tensorflow: {workerCount: 1, parameterServerCount: 2}}", True),
        ("{nodeCount: 1, mpi: {processCountPerNode: '1'}, pytorch: {processCount: null}}", False),
        ("{nodeCount: many, mpi: {processCountPerNode: []}, tensorflow: 3}", False),
    ],
)
def test_more_processes_than_one_are_told_of_whatever_asks_for_them(
    project: Path, recwarn: pytest.WarningsRecorder, text: str, is_several: bool
) -> None:
    (project / "train.py").touch()
    (project / "several.runconfig").write_text(text)
    run_config = RunConfiguration.load(str(project), "several")
    ScriptRunConfig(".", "train.py", run_config=run_config).to_submit()
    assert [str(one.message) for one in recwarn] == [run_configs.ONE_PROCESS] * is_several


def test_a_run_config_wins_over_what_else_is_given(project: Path) -> None:
    run_config = RunConfiguration()
    run_config.target = "there"
    with pytest.warns(UserWarning, match="compute_target are ignored"):
        config = ScriptRunConfig(".", "a.py", run_config=run_config, compute_target="here")
    assert config.run_config.target == "there"
    config.run_config.target = "elsewhere"
    assert run_config.target == "there"


def test_a_command_takes_the_place_of_a_script(project: Path) -> None:
    config = ScriptRunConfig(".", command=["echo", "a", "&&", "echo", "b"])
    content = config.to_submit()[1]
    assert content["command"] == ["/bin/sh", "-c", "echo a && echo b"]
    assert content["run_configuration"]["command"] == "echo a && echo b"


def test_the_definition_says_only_what_is_run(project: Path) -> None:
    (project / "a.py").touch()
    run_config = RunConfiguration(command="echo a")
    definition = ScriptRunConfig(".", "a.py", ["x"], run_config).to_submit()[1]["run_configuration"]
    assert (definition["script"], definition["command"], definition["arguments"]) == ("a.py", "", ["x"])
    run_config = RunConfiguration("a.py", ["x"])
    config = ScriptRunConfig(".", run_config=run_config, command="echo a")
    definition = config.to_submit()[1]["run_configuration"]
    assert (definition["script"], definition["command"], definition["arguments"]) == (None, "echo a", [])


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], ""),
        (["python", "a b.py"], "python 'a b.py'"),
        (["/bin/sh", "-c", "echo a", "b"], "/bin/sh -c 'echo a' b"),
    ],
)
def test_the_text_of_a_command_that_no_shell_was_given(words: list[str], text: str) -> None:
    assert run_configs.shell_text(words) == text


@pytest.mark.parametrize("script", [None, "missing.py", "../out.py", "/etc/passwd"])
def test_a_script_has_to_be_in_the_folder(project: Path, script: str | None) -> None:
    (project.parent / "out.py").touch()
    with pytest.raises(ExperimentExecutionException):
        ScriptRunConfig(".", script).to_submit()


def test_variables_of_the_configuration_win_over_those_of_the_environment(project: Path) -> None:
    (project / "a.py").touch()
    config = ScriptRunConfig(".", "a.py")
    config.run_config.environment.environment_variables = {"A": "1", "B": "1"}
    config.run_config.environment_variables["A"] = 2  # type: ignore[assignment]
    assert config.to_submit()[1]["environment_variables"] == {"A": "2", "B": "1"}


def test_docker_settings_are_taken(project: Path) -> None:
    docker = DockerConfiguration()
    docker.use_docker = True
    assert ScriptRunConfig(".", "a.py", docker_runtime_config=docker).run_config.docker.use_docker is True


def test_a_section_takes_its_own_kind_whatever_it_holds_now() -> None:
    class Special(MpiConfiguration):  # type: ignore[misc, valid-type]
        pass

    config = RunConfiguration()
    config.mpi = Special()
    config.mpi = MpiConfiguration(node_count=2)
    assert config.mpi.node_count == 2
    config.environment.docker = DockerConfiguration(use_docker=True)
    config.environment.validate()
    assert config.environment.docker.use_docker
    config.environment.docker = DockerSection()
    assert not config.environment.docker.enabled
