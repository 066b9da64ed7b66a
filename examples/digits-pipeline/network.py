"""A neural network for small pictures in nothing but Python's standard library.

Without a hidden layer it is softmax regression, with one it is a multi-layer perceptron with rectified
units. It learns by stochastic gradient descent on the cross-entropy, one picture at a time.
"""

from __future__ import annotations

import json
import math
import random
from itertools import pairwise
from operator import mul
from pathlib import Path

Vector = list[float]


class Network:
    """Layers of weights; `sizes` counts the units of each layer, from the pixels to the classes."""

    def __init__(self, sizes: list[int], seed: int) -> None:
        rng = random.Random(seed)
        self.sizes = sizes
        self.weights = [
            [[rng.gauss(0, math.sqrt(2 / before)) for _ in range(before)] for _ in range(after)]
            for before, after in pairwise(sizes)
        ]
        self.biases = [[0.0] * after for after in sizes[1:]]

    def probabilities(self, pixels: Vector) -> Vector:
        """How likely each class is."""
        return self._forward(pixels)[-1]

    def predict(self, pixels: Vector) -> int:
        """The likeliest class."""
        chances = self.probabilities(pixels)
        return chances.index(max(chances))

    def _forward(self, pixels: Vector) -> list[Vector]:
        """What each layer puts out, the pixels first and the probabilities last."""
        layers = [pixels]
        for weights, biases in zip(self.weights, self.biases, strict=True):
            sums = [bias + sum(map(mul, row, layers[-1])) for row, bias in zip(weights, biases, strict=True)]
            layers.append(sums if weights is self.weights[-1] else [max(0.0, value) for value in sums])
        highest = max(layers[-1])
        powers = [math.exp(value - highest) for value in layers[-1]]
        total = sum(powers)
        layers[-1] = [power / total for power in powers]
        return layers

    def learn(self, pixels: Vector, label: int, rate: float) -> float:
        """Take one step towards the label; returns the loss before the step."""
        layers = self._forward(pixels)
        loss = -math.log(max(layers[-1][label], 1e-12))
        errors = layers[-1][:]
        errors[label] -= 1.0
        for at in range(len(self.weights) - 1, -1, -1):
            weights, inputs = self.weights[at], layers[at]
            below = [0.0] * len(inputs) if at else []
            for unit, error in enumerate(errors):
                if error == 0.0:
                    continue
                row, step = weights[unit], rate * error
                if at:
                    below = [total + error * weight for total, weight in zip(below, row, strict=True)]
                weights[unit] = [weight - step * value for weight, value in zip(row, inputs, strict=True)]
                self.biases[at][unit] -= step
            if at:
                errors = [error if value > 0.0 else 0.0 for error, value in zip(below, inputs, strict=True)]
        return loss

    def score(self, examples: list[tuple[Vector, int]]) -> tuple[float, float]:
        """Mean loss, and the share of examples whose class is right."""
        loss = right = 0.0
        for pixels, label in examples:
            chances = self.probabilities(pixels)
            loss -= math.log(max(chances[label], 1e-12))
            right += chances.index(max(chances)) == label
        return loss / len(examples), right / len(examples)

    def save(self, path: Path) -> None:
        """Write the network as JSON."""
        path.write_text(json.dumps({"sizes": self.sizes, "weights": self.weights, "biases": self.biases}))

    @classmethod
    def load(cls, path: Path) -> Network:
        """The network that `save` has written."""
        saved = json.loads(path.read_text())
        network = cls(saved["sizes"], seed=0)
        network.weights, network.biases = saved["weights"], saved["biases"]
        return network

    def copy(self) -> Network:
        """A network of the same weights that learns apart from this one."""
        other = Network.__new__(Network)
        other.sizes = self.sizes
        other.weights = [[row[:] for row in rows] for rows in self.weights]
        other.biases = [row[:] for row in self.biases]
        return other
