"""The call surface of azureml.core 1.61: every public member, its parameters, and every imported name."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import azureml.core
import pytest
from azureml.core import Experiment, Workspace
from azureml.exceptions import UnsupportedException
from studio_client import records, vendor

from runs.status import TERMINAL, Status
from tests.sdk.conftest import SDK

SURFACE = json.loads(Path(__file__).with_name("signatures.json").read_text())
FRESH = {
    "ScriptRunConfig": lambda cls: cls(source_directory=".", script="script.py"),
    "RunConfiguration": lambda cls: cls(),
    "Environment": lambda cls: cls(name="probe"),
}
KINDS = {staticmethod: "staticmethod", classmethod: "classmethod", property: "property"}


def kind_of(cls: Any, name: str) -> str:
    """What a member is, in the words of the list."""
    raw = inspect.getattr_static(cls, name)
    for kind, word in KINDS.items():
        if isinstance(raw, kind):
            return word
    if inspect.isfunction(raw):
        return "constructor" if name == "__init__" else "method"
    return "constant"


def shown(default: Any) -> str | None:
    """A default as the list has it."""
    if default is inspect.Parameter.empty:
        return None
    return f"<class {default.__name__}>" if inspect.isclass(default) else repr(default)


@pytest.mark.parametrize("name", SURFACE)
def test_every_member_is_there_with_its_parameters(name: str) -> None:
    cls = getattr(azureml.core, name)
    lacking = []
    for member, (kind, *wanted) in SURFACE[name]["members"].items():
        if not hasattr(cls, member) and inspect.getattr_static(cls, member, None) is None:
            lacking.append(f"{member} is missing")
            continue
        if kind_of(cls, member) != kind:
            lacking.append(f"{member} is a {kind_of(cls, member)}, not a {kind}")
        if kind in ("property", "constant"):
            continue
        mine = inspect.signature(getattr(cls, member)).parameters
        public = [(p.name, shown(p.default)) for p in mine.values() if p.name in {w[0] for w in wanted}]
        takes_any = any(p.kind is p.VAR_KEYWORD for p in mine.values())
        if public != [(w[0], w[1]) for w in wanted if w[0] in mine or not takes_any]:
            lacking.append(f"{member}: {public} is not {wanted}")
    assert lacking == []


@pytest.mark.parametrize("name", FRESH)
def test_every_attribute_can_be_read(name: str) -> None:
    made = FRESH[name](getattr(azureml.core, name))
    for dotted in SURFACE[name]["attributes"]:
        value = made
        for word in dotted.split("."):
            value = getattr(value, word)


NAMES = """
azureml.core: VERSION __version__ Workspace Experiment Run ScriptRunConfig RunConfiguration Environment
azureml.core: ScriptRun ComputeTarget get_run ContainerRegistry
azureml.core: Dataset Datastore Model Keyvault Image Webservice LinkedService
azureml.core.run: Run get_run
azureml.core.experiment: Experiment ViewType
azureml.core.workspace: Workspace
azureml.core.script_run: ScriptRun
azureml.core.script_run_config: ScriptRunConfig
azureml.core.runconfig: RunConfiguration DEFAULT_CPU_IMAGE DEFAULT_GPU_IMAGE DockerConfiguration
azureml.core.runconfig: MpiConfiguration PyTorchConfiguration TensorflowConfiguration CondaDependencies
azureml.core.environment: Environment
azureml.core.conda_dependencies: CondaDependencies
azureml.core.compute: ComputeTarget AmlCompute ComputeInstance
azureml.core.compute_target: ComputeTargetException
azureml.core.authentication: InteractiveLoginAuthentication ServicePrincipalAuthentication
azureml.core.authentication: AzureCliAuthentication
azureml.exceptions: UserErrorException ActivityFailedException ServiceException SnapshotException
azureml.exceptions: ExperimentExecutionException RunEnvironmentException ComputeTargetException
azureml.exceptions: RunConfigurationException WorkspaceException ProjectSystemException AzureMLException
azureml.exceptions: AuthenticationException ModelPathNotFoundException AzureMLAggregatedException
azureml.widgets: RunDetails
azureml.core.model: Model
azureml.core.dataset: Dataset
azureml.pipeline.core: Pipeline PipelineData
azureml.pipeline.steps: PythonScriptStep
azureml.train.dnn: PyTorch
azureml.train.estimator: Estimator
azureml.train.hyperdrive: HyperDriveConfig
azureml.train.automl: AutoMLConfig
azureml.data: OutputFileDatasetConfig
azureml.data.data_reference: DataReference
azureml.data.dataset_factory: DataType
azureml.data.datapath: DataPath DataPathComputeBinding
azureml.train.hyperdrive.parameter_expressions: choice uniform
azureml.train.widgets: RunDetails
azureml.pipeline.core.graph: PipelineParameter
azureml.contrib.services.aml_request: AMLRequest
azureml.opendatasets: MNIST
azureml.mlflow: register_model
azureml.telemetry: set_diagnostics_collection
azureml.core.compute: AksCompute RemoteCompute KubernetesCompute
"""


@pytest.mark.parametrize("line", NAMES.strip().splitlines())
def test_names_are_imported_from_where_scripts_do(line: str) -> None:
    module, names = line.split(": ")
    for name in names.split():
        assert hasattr(importlib.import_module(module), name), f"{module}.{name}"


def test_what_is_not_there_says_so_when_it_is_used() -> None:
    from azureml.core import Dataset
    from azureml.train.hyperdrive import HyperDriveConfig

    with pytest.raises(UnsupportedException, match=r"Dataset\.get_by_name is not supported"):
        Dataset.get_by_name(None, "x")
    with pytest.raises(UnsupportedException, match="HyperDriveConfig is not supported"):
        HyperDriveConfig(run_config=None)
    assert not isinstance(3, Dataset)


def test_what_is_elsewhere_in_studio_is_said_with_its_place() -> None:
    workspace = Workspace.__new__(Workspace)
    for use in (workspace.update, workspace.delete, lambda: Workspace.create("new")):
        with pytest.raises(UnsupportedException, match=r"manage.py workspace add"):
            use()
    with pytest.raises(UnsupportedException, match=r"archived, by archive\(\)"):
        Experiment.delete(workspace, "x")


def test_modules_that_are_not_there_say_so_when_they_are_used() -> None:
    import azureml.opendatasets as open_data
    from azureml.core.compute import AksCompute
    from azureml.data.data_reference import DataReference
    from azureml.telemetry import set_diagnostics_collection

    for use in (
        lambda: DataReference(datastore=None),
        lambda: AksCompute.provisioning_configuration(),
        lambda: open_data.MNIST.get_file_dataset(),
    ):
        with pytest.raises(UnsupportedException, match="is not supported by Studio"):
            use()
    set_diagnostics_collection(send_diagnostics=True)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("azureml.core.unheard_of")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("azureml.datastores")


def test_the_version_is_one_that_scripts_accept() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", azureml.core.VERSION)
    assert tuple(map(int, azureml.core.VERSION.split("."))) >= (1, 0, 21)


#: Small modules of the standard library, which most programs have loaded anyway.
SMALL = {
    "array", "base64", "binascii", "collections", "contextlib", "copy", "copyreg", "enum", "functools",
    "genericpath", "heapq", "itertools", "json", "keyword", "math", "operator", "os", "posixpath", "re",
    "reprlib", "shlex", "sre_compile", "sre_constants", "sre_parse", "stat", "struct", "types", "typing",
    "warnings", "weakref",
}  # fmt: skip


def test_importing_loads_no_network_and_little_else() -> None:
    code = "import sys; had = {*sys.modules}; import azureml.core; print(*{*sys.modules} - had)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],  # what installed packages load at the start would count as loaded
        env={"PYTHONPATH": ":".join(SDK)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.split(".")[0] for name in done.stdout.split() if not name.startswith("_")}
    assert loaded <= SMALL | {"azureml", "studio_client"}


def test_the_vendors_package_beside_ours_is_told(tmp_path: Path) -> None:
    (tmp_path / "azureml_core-1.61.0.dist-info").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", "import azureml.core"],
        env={"PYTHONPATH": ":".join([*SDK, str(tmp_path)])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Both studio-azureml and the vendor's azureml-core are installed" in done.stderr
    assert "pip uninstall azureml-core" in done.stderr


def test_of_two_packages_azureml_the_one_that_is_imported_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = SDK[1]
    monkeypatch.setattr(sys, "path", [ours, str(tmp_path)])
    (tmp_path / "azureml" / "core").mkdir(parents=True)
    (tmp_path / "azureml" / "__init__.py").touch()
    (tmp_path / "azureml" / "core" / "__init__.py").write_bytes(b"\xff\xfe")
    assert vendor.warning() == ""
    monkeypatch.setattr(sys, "path", [str(tmp_path), ours])
    assert vendor.warning().startswith(f"In {tmp_path} `import azureml.core` is not Studio's.")


def test_the_statuses_are_those_that_the_server_sets() -> None:
    assert list(records.STATUSES) == [status.value for status in Status]
    assert {status.value for status in TERMINAL} == records.TERMINAL
