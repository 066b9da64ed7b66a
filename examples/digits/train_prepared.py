"""Train one model on what the step `prepare` has left, and write outputs/model.json and outputs/history.csv.

When it is asked to stop (SIGTERM) it keeps the best model so far.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

import digits
from azureml.core import Run
from network import Network
from training import Training, train

INPUTS = Path("inputs/prepare")
OUTPUTS = Path("outputs")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=["mlp", "softmax"], default="mlp")
    parser.add_argument("--epochs", type=int, default=15, help="how often to see every picture")
    parser.add_argument("--lr", type=float, default=0.05, help="learning rate at the start")
    parser.add_argument("--width", type=int, default=96, help="hidden units of the mlp")
    parser.add_argument("--shift", type=int, default=0, help="move each picture by up to so many pixels")
    parser.add_argument("--seed", type=int, default=7, help="of the first weights and the order")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    learning, validation = digits.load(INPUTS / "train.csv"), digits.load(INPUTS / "validation.csv")
    sizes = [digits.SIDE**2, *([options.width] if options.model == "mlp" else []), 10]
    print(f"{options.model}: {' - '.join(map(str, sizes))} units, {len(learning)} pictures", flush=True)
    Run.get_context().tag("model", options.model)
    training = Training(Network(sizes, options.seed))
    try:
        train(
            training,
            learning,
            validation,
            epochs=options.epochs,
            rate=options.lr,
            seed=options.seed,
            shift=options.shift,
        )
    finally:
        training.save(OUTPUTS)
        print("\nThe best model is in outputs/model.json", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
