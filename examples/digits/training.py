"""Training a network epoch by epoch, telling the run and standard output how it goes."""

from __future__ import annotations

import csv
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import digits
from azureml.core import Run
from network import Network

VIEWS = 2
BAR_WIDTH = 30


@dataclass
class Training:
    """What came out: the best network by its validation loss, and a row of figures for each epoch."""

    best: Network
    best_loss: float = float("inf")
    history: list[dict[str, float]] = field(default_factory=list)

    def save(self, folder: Path) -> None:
        """Write model.json and history.csv."""
        folder.mkdir(parents=True, exist_ok=True)
        self.best.save(folder / "model.json")
        with (folder / "history.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["epoch", "train_loss", "val_loss", "val_acc", "seconds"])
            writer.writeheader()
            writer.writerows(self.history)


def train(
    training: Training,
    examples: list[digits.Example],
    validation: list[digits.Example],
    *,
    epochs: int,
    rate: float,
    seed: int,
    shift: int = 1,
) -> None:
    """Learn for some epochs, and leave in `training` what is best so far after each of them.

    In an epoch each picture is seen `VIEWS` times, each time moved by up to `shift` pixels, and from epoch
    to epoch the rate falls in a straight line.
    """
    run = Run.get_context()
    rng = random.Random(seed)
    network = training.best.copy()
    for epoch in range(1, epochs + 1):
        started = time.monotonic()
        step = rate * (1 - (epoch - 1) / epochs)
        loss = _learn_epoch(network, examples, step, rng, shift, f"epoch {epoch:2d}/{epochs}")
        val_loss, val_acc = network.score(validation)
        if val_loss < training.best_loss:
            training.best, training.best_loss = network.copy(), val_loss
        seconds = time.monotonic() - started
        training.history.append(
            {
                "epoch": epoch,
                "train_loss": round(loss, 4),
                "val_loss": round(val_loss, 4),
                "val_acc": round(val_acc, 4),
                "seconds": round(seconds, 2),
            }
        )
        figures = f"train_loss {loss:.4f}  val_loss {val_loss:.4f}  val_acc {val_acc:.4f}  {seconds:.1f} s"
        print(f"\repoch {epoch:2d}/{epochs}  {figures}".ljust(BAR_WIDTH + 50), flush=True)
        run.log("train_loss", loss, step=epoch)
        run.log("val_loss", val_loss, step=epoch)
        run.log("val_acc", val_acc, step=epoch)


def _learn_epoch(
    network: Network, examples: list[digits.Example], step: float, rng: random.Random, shift: int, title: str
) -> float:
    order = rng.sample(examples * VIEWS, len(examples) * VIEWS)
    total = 0.0
    for count, (pixels, label) in enumerate(order, 1):
        moved = digits.shifted(pixels, rng.choice((-shift, 0, 0, shift)), rng.choice((-shift, 0, 0, shift)))
        total += network.learn(moved, label, step)
        if count % 50 == 0 or count == len(order):
            filled = BAR_WIDTH * count // len(order)
            bar = "█" * filled + "░" * (BAR_WIDTH - filled)
            sys.stdout.write(f"\r{title} {bar} {count}/{len(order)}  loss {total / count:.4f}")
            sys.stdout.flush()
    return total / len(order)
