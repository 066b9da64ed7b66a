"""Train a network that reads handwritten digits, and judge it on pictures that it has never seen.

Writes to outputs/: model.json (the weights), history.csv (a row for each epoch) and report.md. When it is
asked to stop (SIGTERM) it keeps the best model so far.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

import digits
from azureml.core import Run
from network import Network
from training import Training, train

HERE = Path(__file__).resolve().parent
OUTPUTS = Path("outputs")


def main() -> int:
    options = read_options()
    run = Run.get_context()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    learning, validation, test = digits.split(digits.load(HERE / "digits.csv.gz"), options.seed)
    print(
        f"{len(learning)} pictures to learn from, {len(validation)} to choose by, {len(test)} to judge with"
    )
    sizes = [digits.SIDE**2, options.width, 10] if options.width else [digits.SIDE**2, 10]
    run.tag("model", "mlp" if options.width else "softmax")
    training = Training(Network(sizes, options.seed))
    started = time.monotonic()
    try:
        train(training, learning, validation, epochs=options.epochs, rate=options.lr, seed=options.seed)
    finally:
        training.save(OUTPUTS)
        print("\nThe best model is in outputs/model.json", flush=True)
    loss, accuracy = training.best.score(test)
    print(f"test_loss {loss:.4f}  test_acc {accuracy:.4f}  {time.monotonic() - started:.1f} s")
    run.log("test_loss", loss)
    run.log("test_acc", accuracy)
    write_report(options, training, accuracy)
    return 0


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15, help="how often to see every picture")
    parser.add_argument("--lr", type=float, default=0.05, help="learning rate at the start")
    parser.add_argument("--width", type=int, default=128, help="hidden units; 0 for softmax regression")
    parser.add_argument("--seed", type=int, default=7, help="of the split and of the first weights")
    options = parser.parse_args()
    if options.epochs < 1 or options.lr <= 0 or options.width < 0:
        parser.error("--epochs has to be at least 1, --lr above 0, and --width at least 0")
    return options


def write_report(options: argparse.Namespace, training: Training, accuracy: float) -> None:
    best = min(training.history, key=lambda row: row["val_loss"])
    lines = [
        "# Handwritten digits",
        "",
        f"**{accuracy:.1%}** of the test pictures were read right.",
        "",
        "| Setting | Value |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in vars(options).items()),
        "",
        f"Best epoch: {best['epoch']}, validation loss {best['val_loss']}, accuracy {best['val_acc']:.1%}.",
    ]
    (OUTPUTS / "report.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
