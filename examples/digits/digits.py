"""The handwritten digits: 1,797 pictures of 8 x 8 pixels, each 0 to 16 dark, and which digit each shows."""

from __future__ import annotations

import csv
import gzip
import random
from pathlib import Path

SIDE = 8
DARKEST = 16

# The pixels of one picture, 0.0 to 1.0, row by row, and its digit.
Example = tuple[list[float], int]


def load(path: Path) -> list[Example]:
    """The pictures of a CSV file, gzipped or not: 64 pixels and the digit in each row."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", newline="") as file:
        rows = [[int(cell) for cell in row] for row in csv.reader(file)]
    return [([pixel / DARKEST for pixel in row[:-1]], row[-1]) for row in rows]


def save(examples: list[Example], path: Path) -> None:
    """Write pictures so that `load` reads the same again."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([*(round(pixel * DARKEST) for pixel in pixels), digit] for pixels, digit in examples)


def split(examples: list[Example], seed: int) -> tuple[list[Example], list[Example], list[Example]]:
    """Shuffled into two thirds to learn from, a sixth to choose by, and a sixth to judge with at the end."""
    shuffled = examples[:]
    random.Random(seed).shuffle(shuffled)
    sixth = len(shuffled) // 6
    return shuffled[2 * sixth :], shuffled[:sixth], shuffled[sixth : 2 * sixth]


def shifted(pixels: list[float], down: int, right: int) -> list[float]:
    """The picture moved by whole pixels; what moves in from outside is white."""
    return [
        pixels[(row - down) * SIDE + column - right]
        if 0 <= row - down < SIDE and 0 <= column - right < SIDE
        else 0.0
        for row in range(SIDE)
        for column in range(SIDE)
    ]
