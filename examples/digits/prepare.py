"""Split the pictures into three files for the later steps: train.csv, validation.csv and test.csv."""

from __future__ import annotations

import argparse
import collections
from pathlib import Path

import digits

HERE = Path(__file__).resolve().parent
OUTPUTS = Path("outputs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7, help="of the shuffling")
    options = parser.parse_args()
    examples = digits.load(HERE / "digits.csv.gz")
    print(f"{len(examples)} pictures of {digits.SIDE} x {digits.SIDE} pixels")
    OUTPUTS.mkdir(exist_ok=True)
    names = ("train", "validation", "test")
    for name, part in zip(names, digits.split(examples, options.seed), strict=True):
        counts = collections.Counter(digit for _, digit in part)
        print(f"{name:<10} {len(part):5d}   " + "  ".join(f"{d}: {counts[d]}" for d in range(10)), flush=True)
        digits.save(part, OUTPUTS / f"{name}.csv")


if __name__ == "__main__":
    main()
