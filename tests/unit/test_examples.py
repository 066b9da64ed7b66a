"""The bundled examples, run as real processes with Python and the SDK alone: they do what they say."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from runs.errors import NotFound
from runs.services.examples import Example, examples_folder, list_examples, load_example

DIGITS = examples_folder() / "digits"
SDK = [examples_folder().parent / "sdk" / part for part in ("client", "azureml")]
#: No site packages, and nothing in the environment but what examples/README.md says for running them by hand.
PYTHON = [sys.executable, "-S"]
BY_HAND = {"PYTHONPATH": os.pathsep.join(map(str, SDK))}


@dataclass(frozen=True)
class Done:
    """How a process ended, and what it printed, its carriage returns kept."""

    returncode: int
    stdout: str
    stderr: str


def run(folder: Path, script: str, *arguments: str) -> Done:
    command = [*PYTHON, script, *arguments]
    done = subprocess.run(command, cwd=folder, env=BY_HAND, capture_output=True, timeout=120, check=False)
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def logged(done: Done) -> list[tuple[str, str]]:
    """What an offline run says that it was told: kind and name of each metric, in order."""
    return re.findall(r"^Attempted to log (\w+) metric (\w+):$", done.stdout, re.MULTILINE)


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DIGITS, tmp_path / "digits"))


def test_the_examples_are_listed_the_simplest_first() -> None:
    assert [example.name for example in list_examples()] == ["hello", "digits", "digits-pipeline"]


@pytest.mark.parametrize("example", list_examples(), ids=lambda example: example.name)
def test_an_example_declares_what_can_be_submitted(example: Example) -> None:
    assert example.title
    assert example.description.endswith(".")
    assert re.fullmatch(r"[a-z][a-z-]+", example.experiment_name)
    before: set[str] = set()
    for step in example.steps:
        assert (example.folder / step.script).is_file()
        assert set(step.after) <= before  # declared in an order in which they can run
        assert all(isinstance(argument, str) for argument in step.arguments)
        before.add(step.name)
    assert len(before) == len(example.steps)


def test_the_pipeline_has_three_levels_and_two_steps_in_parallel() -> None:
    steps = {step.name: step.after for step in load_example("digits-pipeline").steps}
    assert steps == {
        "prepare": [],
        "train-mlp": ["prepare"],
        "train-softmax": ["prepare"],
        "evaluate": ["train-mlp", "train-softmax"],
    }


@pytest.mark.parametrize("name", ["", "nope", "..", "../runs", "digits/"])
def test_an_unknown_example_is_not_found(name: str) -> None:
    with pytest.raises(NotFound):
        load_example(name)


def test_the_data_is_the_named_one_with_its_licence() -> None:
    note = (DIGITS / "DATA.md").read_text()
    assert hashlib.sha256((DIGITS / "digits.csv.gz").read_bytes()).hexdigest() in note
    assert "Creative Commons Attribution 4.0" in note


def test_hello_greets_and_keeps_a_file(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(examples_folder() / "hello", tmp_path / "hello"))
    done = run(folder, "hello.py", "--name", "Ana", "--seconds", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Hello Ana!\n")
    assert (folder / "outputs" / "hello.txt").read_text() == "Hello Ana!\n"


def test_training_prints_each_epoch_and_keeps_a_model_that_reads_digits(digits: Path) -> None:
    done = run(digits, "train.py", "--epochs", "3", "--width", "48", "--seed", "1")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.rsplit("\r", 1)[-1] for line in done.stdout.split("\n")]
    epochs = [
        line
        for line in lines
        if re.match(r"epoch +\d/3  train_loss \d\.\d{4}  val_loss .* val_acc 0\.\d+", line)
    ]
    assert len(epochs) == 3
    assert done.stdout.count("\r") > 3 * 40  # the progress bar
    curves = [("scalar", name) for name in ("train_loss", "val_loss", "val_acc")]
    assert logged(done) == [*curves * 3, ("scalar", "test_loss"), ("scalar", "test_acc")]
    assert "Attempted to tag model:\nmlp\n" in done.stdout
    (accuracy,) = re.findall(r"test_acc (\d\.\d+)", done.stdout)
    assert float(accuracy) > 0.85
    outputs = digits / "outputs"
    assert {path.name for path in outputs.iterdir()} == {"model.json", "history.csv", "report.md"}
    assert json.loads((outputs / "model.json").read_text())["sizes"] == [64, 48, 10]
    assert len((outputs / "history.csv").read_text().splitlines()) == 4
    (percent,) = re.findall(r"\*\*(\d+\.\d)%\*\*", (outputs / "report.md").read_text())
    assert float(percent) == pytest.approx(100 * float(accuracy), abs=0.06)


def test_the_same_seed_gives_the_same_figures(digits: Path) -> None:
    first, again = (run(digits, "train.py", "--epochs", "1", "--width", "8") for _ in range(2))
    figures = [re.findall(r"(?:loss|acc) (\d\.\d+)", done.stdout) for done in (first, again)]
    assert figures[0] == figures[1] != []


def test_training_that_is_stopped_keeps_its_best_model(digits: Path) -> None:
    process = subprocess.Popen(
        [*PYTHON, "train.py", "--epochs", "500", "--width", "8"],
        cwd=digits,
        env=BY_HAND,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "val_acc" in line:
            break
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert "The best model is in outputs/model.json" in rest
    assert json.loads((digits / "outputs" / "model.json").read_text())["sizes"] == [64, 8, 10]


@pytest.mark.parametrize("arguments", [["--epochs", "0"], ["--lr", "-1"], ["--epochs", "many"], ["--nope"]])
def test_nonsense_is_refused(arguments: list[str], digits: Path) -> None:
    done = run(digits, "train.py", *arguments)
    assert done.returncode == 2
    assert "error:" in done.stderr
    assert not (digits / "outputs").exists()


def test_the_pipeline_runs_through_from_pictures_to_a_report(tmp_path: Path) -> None:
    example = load_example("digits-pipeline")
    quick = {
        "train-mlp": ["--model", "mlp", "--epochs", "2", "--width", "32"],
        "train-softmax": ["--model", "softmax", "--epochs", "4"],
    }
    for step in example.steps:
        folder = Path(shutil.copytree(DIGITS, tmp_path / step.name))
        for earlier in tmp_path.iterdir():
            if earlier.name != step.name:
                shutil.copytree(earlier / "outputs", folder / "inputs" / earlier.name)
        done = run(folder, step.script, *quick.get(step.name, step.arguments))
        assert (done.returncode, done.stderr) == (0, "")
    outputs = tmp_path / "evaluate" / "outputs"
    report = json.loads((outputs / "report.json").read_text())
    assert set(report["models"]) == {"train-mlp", "train-softmax"}
    assert report["best"] in report["models"]
    assert min(model["test_acc"] for model in report["models"].values()) > 0.85
    table = [
        [int(cell) for cell in row.replace(".", "0").split()[1:]]
        for row in (outputs / "confusion.txt").read_text().splitlines()[1:]
    ]
    assert sum(map(sum, table)) == report["test_pictures"] == 299
    right = sum(table[digit][digit] for digit in range(10)) / 299
    assert right == pytest.approx(report["models"][report["best"]]["test_acc"], abs=1e-4)
    assert (tmp_path / "evaluate" / "mistakes.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert logged(done) == [
        *[("row", "models")] * 2, ("scalar", "test_acc"), ("confusion_matrix", "confusion"),
        ("image", "mistakes"),
    ]  # fmt: skip
    assert f"Attempted to tag best:\n{report['best']}\n" in done.stdout


def test_evaluating_nothing_fails_with_a_word(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(DIGITS, tmp_path / "evaluate"))
    run(folder, "prepare.py")
    shutil.move(folder / "outputs", folder / "inputs" / "prepare")
    done = run(folder, "evaluate.py")
    assert done.returncode == 1
    assert "ERROR there is no inputs/<step>/model.json" in done.stderr
