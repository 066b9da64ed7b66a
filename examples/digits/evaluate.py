"""Judge every model of the steps before this one on the test pictures, and say which is best.

Writes to outputs/: report.json and confusion.txt (what the best model took for what). Logs the same to the
run, with a picture of all digits that the best model read wrong.
"""

from __future__ import annotations

import json
import math
import struct
import sys
import zlib
from pathlib import Path

import digits
from azureml.core import Run
from network import Network

INPUTS = Path("inputs")
OUTPUTS = Path("outputs")
MISTAKES = Path("mistakes.png")
SCALE = 12


def main() -> int:
    test = digits.load(INPUTS / "prepare" / "test.csv")
    models = {path.parent.name: Network.load(path) for path in sorted(INPUTS.glob("*/model.json"))}
    if not models:
        print("ERROR there is no inputs/<step>/model.json to judge", file=sys.stderr)
        return 1
    run = Run.get_context()
    results = {}
    for name, network in models.items():
        loss, accuracy = network.score(test)
        results[name] = {"test_loss": round(loss, 4), "test_acc": round(accuracy, 4), "sizes": network.sizes}
        print(f"{name:<14}  test_loss {loss:.4f}  test_acc {accuracy:.4f}", flush=True)
        run.log_row("models", model=name, test_loss=loss, test_acc=accuracy)
    best = max(results, key=lambda name: results[name]["test_acc"])
    print(f"\x1b[32mbest: {best}\x1b[0m on {len(test)} pictures that no model has seen")
    run.tag("best", best)
    run.log("test_acc", results[best]["test_acc"])

    OUTPUTS.mkdir(exist_ok=True)
    report = {"best": best, "test_pictures": len(test), "models": results}
    (OUTPUTS / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    guesses = [models[best].predict(pixels) for pixels, _ in test]
    counts = confusion(guesses, [digit for _, digit in test])
    table = confusion_text(counts)
    (OUTPUTS / "confusion.txt").write_text(table)
    print(table)
    run.log_confusion_matrix(
        "confusion",
        {
            "schema_type": "confusion_matrix",
            "schema_version": "v1",
            "data": {"class_labels": [str(digit) for digit in range(10)], "matrix": counts},
        },
    )
    wrong = [pixels for (pixels, digit), guess in zip(test, guesses, strict=True) if guess != digit]
    if wrong:
        MISTAKES.write_bytes(png(wrong))
        run.log_image("mistakes", path=str(MISTAKES))
    return 0


def confusion(guesses: list[int], labels: list[int]) -> list[list[int]]:
    """How often each digit (row) was taken for each digit (column)."""
    counts = [[0] * 10 for _ in range(10)]
    for guess, label in zip(guesses, labels, strict=True):
        counts[label][guess] += 1
    return counts


def confusion_text(counts: list[list[int]]) -> str:
    """The same as a table for people."""
    head = "is \\ read as" + "".join(f"{digit:5d}" for digit in range(10))
    rows = [
        f"{digit:12d}" + "".join(f"{count or '.':>5}" for count in row) for digit, row in enumerate(counts)
    ]
    return "\n".join([head, *rows]) + "\n"


def png(pictures: list[list[float]]) -> bytes:
    """The pictures as a PNG in shades of grey, black on white, about as many in a row as there are rows."""
    per_row = math.ceil(math.sqrt(len(pictures)))
    side = (digits.SIDE + 1) * SCALE
    width, height = side * per_row, side * math.ceil(len(pictures) / per_row)
    shades = bytearray(b"\xff" * width * height)
    for at, picture in enumerate(pictures):
        left, top = at % per_row * side, at // per_row * side
        for y in range(digits.SIDE * SCALE):
            row = picture[y // SCALE * digits.SIDE : (y // SCALE + 1) * digits.SIDE]
            start = (top + y) * width + left
            shades[start : start + len(row) * SCALE] = b"".join(
                bytes([int(255 * (1 - v))]) * SCALE for v in row
            )
    lines = b"".join(b"\0" + shades[y * width : (y + 1) * width] for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    )


if __name__ == "__main__":
    sys.exit(main())
