"""Both distributions, installed into an empty environment of every Python that is found."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USE = """
import sys, azureml.core, studio_client, studio_client.api, studio_client.spool
from azureml.core import Run, RunConfiguration
RunConfiguration().save(name="x")
assert RunConfiguration.load(".", "x").target == "local"
run = Run.get_context()
with run:
    run.log("loss", 0.5)
assert azureml.core.__file__.startswith(sys.prefix), azureml.core.__file__
"""


def pythons() -> list[str]:
    """The oldest and the newest Python from 3.9 on, and the one of these tests."""
    found = [path for minor in range(9, 16) if (path := shutil.which(f"python3.{minor}"))]
    working = [
        path for path in found if subprocess.run([path, "-c", "import venv, ensurepip"]).returncode == 0
    ]
    return list(dict.fromkeys([*working[:1], *working[-1:]])) or [sys.executable]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels of both, built from copies so that nothing is left in the repository."""
    folder = tmp_path_factory.mktemp("wheels")
    for name in ("client", "azureml"):
        source = folder / f"source-{name}"
        shutil.copytree(ROOT / "sdk" / name, source, ignore=shutil.ignore_patterns("__pycache__", "build"))
        command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(source)]
        subprocess.run(command, check=True)
    return folder


def test_the_wheels_hold_all_modules_and_nothing_else(wheels: Path) -> None:
    built = sorted(path.name.split("-")[0] for path in wheels.glob("*.whl"))
    assert built == ["studio_azureml", "studio_client"]


@pytest.mark.parametrize("python", pythons())
def test_they_install_into_an_empty_environment_and_work(python: str, wheels: Path, tmp_path: Path) -> None:
    subprocess.run([python, "-m", "venv", str(tmp_path / "venv")], check=True)
    mine = str(tmp_path / "venv" / "bin" / "python")
    pip = [mine, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, *map(str, wheels.glob("*.whl"))], check=True)
    done = subprocess.run([mine, "-W", "error", "-c", USE], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    listed = subprocess.run(
        [mine, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True
    )
    brought = {line.split("==")[0].lower() for line in listed.stdout.split()} - {"pip", "setuptools"}
    assert brought <= {"studio-client", "studio-azureml", "click", "jmespath", "ruamel.yaml"}


_VENDORS = """
[project]
name = "azureml-core"
version = "1.61.0"
[tool.setuptools.packages.find]
include = ["azureml*"]
"""


@pytest.fixture(scope="module")
def vendors_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A distribution that brings the same files as the vendor's, with nothing in them."""
    source = tmp_path_factory.mktemp("vendor")
    (source / "azureml" / "core").mkdir(parents=True)
    for place in ("azureml", "azureml/core"):
        (source / place / "__init__.py").write_text("# the vendor's\n")
    (source / "pyproject.toml").write_text(_VENDORS)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(source), str(source)]
    subprocess.run(command, check=True)
    return next(source.glob("*.whl"))


def test_a_vendors_package_that_came_later_is_told_by_the_command_line(
    wheels: Path, vendors_wheel: Path, tmp_path: Path
) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    programs = tmp_path / "venv" / "bin"

    def pip(*words: str) -> None:
        command = [str(programs / "python"), "-m", "pip", "-q", "--disable-pip-version-check", *words]
        subprocess.run(command, check=True)

    def said() -> str:
        done = subprocess.run([str(programs / "studio"), "version"], capture_output=True, text=True)
        assert done.returncode == 0
        assert '"studio-client"' in done.stdout
        return done.stderr

    ours = [str(path) for path in wheels.glob("*.whl")]
    pip("install", *ours)
    assert said() == ""
    pip("install", str(vendors_wheel))
    told = said()
    assert "`import azureml.core` is not Studio's. The vendor's azureml-core is installed in" in told
    assert (
        "`pip uninstall azureml-core`, then `pip install --force-reinstall --no-deps ./sdk/azureml`" in told
    )
    assert told.count("WARNING") == 1
    pip("uninstall", "-y", "azureml-core")
    assert "is not Studio's. Only one of the two" in said()
    pip("install", "--force-reinstall", "--no-deps", *ours)
    assert said() == ""
