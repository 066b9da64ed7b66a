"""The bundled examples, submitted to a real Studio: figures and pictures are with the run, not in its log."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from azureml.core import Experiment, Run, ScriptRunConfig, Workspace

from tests.fixtures.processes import REPOSITORY

DIGITS = REPOSITORY / "examples" / "digits"
UNTRAINED = """
from pathlib import Path
from network import Network
Network([64, 10], seed=1).save(Path("inputs/train/model.json"))
"""


@pytest.fixture
def exp(attached: Path) -> Experiment:
    return Experiment(Workspace.from_config(), "digits")


def submitted(exp: Experiment, folder: Path, script: str, *arguments: str) -> Run:
    """The run of a script, Completed."""
    run = exp.submit(ScriptRunConfig(str(folder), script, list(arguments)))
    assert run.wait_for_completion()["status"] == "Completed"
    return run


def log_of(run: Run) -> str:
    return run.get_details_with_logs()["logFiles"]["user_logs/std_log.txt"]


def test_training_gives_curves(exp: Experiment) -> None:
    run = submitted(exp, DIGITS, "train.py", "--epochs", "2", "--width", "8")
    metrics = run.get_metrics()
    assert {name: len(metrics[name]) for name in ("train_loss", "val_loss", "val_acc")} == {
        "train_loss": 2, "val_loss": 2, "val_acc": 2,
    }  # fmt: skip
    assert f"test_acc {metrics['test_acc']:.4f}" in log_of(run)
    assert "Attempted" not in log_of(run)
    assert run.get_tags() == {"model": "mlp"}


def test_evaluating_gives_a_matrix_and_a_picture(exp: Experiment, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(DIGITS, tmp_path / "digits"))
    (folder / "inputs" / "train").mkdir(parents=True)
    subprocess.run([sys.executable, "prepare.py"], cwd=folder, check=True)
    subprocess.run([sys.executable, "-c", UNTRAINED], cwd=folder, check=True)
    shutil.move(folder / "outputs", folder / "inputs" / "prepare")
    run = submitted(exp, folder, "evaluate.py")
    metrics = run.get_metrics()
    assert set(metrics) == {"models", "test_acc", "confusion", "mistakes"}
    assert metrics["models"]["model"] == "train"
    assert sum(map(sum, metrics["confusion"]["data"]["matrix"])) == 299
    assert "mistakes.png" in run.get_file_names()
    assert "Attempted" not in log_of(run)
    assert run.get_tags() == {"best": "train"}
