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
