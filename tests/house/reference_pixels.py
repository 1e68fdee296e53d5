"""Explanations of pixels as their papers write them: one image, one number at a time, in float64.

The network is a chain of layers: `Convolution` (3 x 3, padding 1), `ReLU`, `MaxPool` (2 x 2), and a `Head` on the means
of the channels. A map of channels is a nested list ``x[c][i][j]``.
"""

from dataclasses import dataclass, field
from typing import Any

Map = list[list[list[float]]]


def zeros(like: Map) -> Map:
    return [[[0.0 for _ in row] for row in channel] for channel in like]


@dataclass
class Convolution:
    weight: list[list[list[list[float]]]]
    bias: list[float]
    given: Map = field(default_factory=list)

    def forward(self, x: Map) -> Map:
        self.given = x
        height, width = len(x[0]), len(x[0][0])
        result = [[[bias] * width for _ in range(height)] for bias in self.bias]
        for o, c, i, j, y, z in self.terms(x):
            result[o][i][j] += self.weight[o][c][y - i + 1][z - j + 1] * x[c][y][z]
        return result

    def backward(self, r: Map, rule: str) -> Map:
        """Transposed filters (Zeiler and Fergus 2014, section 2.1), which is the gradient."""
        result = zeros(self.given)
        for o, c, i, j, y, z in self.terms(self.given):
            result[c][y][z] += self.weight[o][c][y - i + 1][z - j + 1] * r[o][i][j]
        return result

    def terms(self, x: Map) -> Any:
        """Output channel and place, with each input channel and place that it reads."""
        height, width = len(x[0]), len(x[0][0])
        return (
            (o, c, i, j, y, z)
            for o in range(len(self.weight))
            for c in range(len(x))
            for i in range(height)
            for j in range(width)
            for y in range(max(0, i - 1), min(height, i + 2))
            for z in range(max(0, j - 1), min(width, j + 2))
        )


@dataclass
class ReLU:
    ceiling: float = float("inf")
    given: Map = field(default_factory=list)

    def forward(self, x: Map) -> Map:
        self.given = x
        return [[[min(max(value, 0.0), self.ceiling) for value in row] for row in channel] for channel in x]

    def backward(self, r: Map, rule: str) -> Map:
        """Springenberg et al. 2015, figure 1c: one line for each of the three rules."""
        result = zeros(r)
        for c, channel in enumerate(r):
            for i, row in enumerate(channel):
                for j, value in enumerate(row):
                    is_open = 0 < self.given[c][i][j] < self.ceiling
                    if rule == "gradient":
                        passes = is_open
                    elif rule == "deconvnet":
                        passes = value > 0
                    else:
                        passes = is_open and value > 0
                    result[c][i][j] = value if passes else 0.0
        return result


@dataclass
class MaxPool:
    given: Map = field(default_factory=list)

    def forward(self, x: Map) -> Map:
        self.given = x
        rows, columns = range(len(x[0]) // 2), range(len(x[0][0]) // 2)
        return [
            [[max(value for _, _, value in self.window(channel, i, j)) for j in columns] for i in rows] for channel in x
        ]

    def backward(self, r: Map, rule: str) -> Map:
        """Switches: a value goes back to where the maximum was."""
        result = zeros(self.given)
        for c, channel in enumerate(r):
            for i, row in enumerate(channel):
                for j, value in enumerate(row):
                    y, z, _ = max(self.window(self.given[c], i, j), key=lambda place: place[2])
                    result[c][y][z] += value
        return result

    @staticmethod
    def window(channel: list[list[float]], i: int, j: int) -> list[tuple[int, int, float]]:
        return [(y, z, channel[y][z]) for y in (2 * i, 2 * i + 1) for z in (2 * j, 2 * j + 1)]


@dataclass
class Head:
    weight: list[list[float]]
    bias: list[float]
    given: Map = field(default_factory=list)

    def forward(self, x: Map) -> list[float]:
        self.given = x
        means = [sum(map(sum, channel)) / (len(channel) * len(channel[0])) for channel in x]
        sums = [sum(w * m for w, m in zip(row, means, strict=True)) for row in self.weight]
        return [total + bias for total, bias in zip(sums, self.bias, strict=True)]

    def backward(self, r: list[float]) -> Map:
        result = zeros(self.given)
        for c, channel in enumerate(self.given):
            slope = sum(self.weight[k][c] * r[k] for k in range(len(r))) / (len(channel) * len(channel[0]))
            result[c] = [[slope for _ in row] for row in channel]
        return result


Chain = list[Any]


def logits(chain: Chain, image: Map) -> list[float]:
    x: Any = image
    for layer in chain:
        x = layer.forward(x)
    return list(x)


def gradient(chain: Chain, image: Map, weights: list[float], rule: str = "gradient") -> Map:
    """Of ``sum_k weights[k] logit_k``, back through the layers by the rule."""
    logits(chain, image)
    r = chain[-1].backward(weights)
    for layer in reversed(chain[:-1]):
        r = layer.backward(r, rule)
    return r


def one_hot(label: int, n: int) -> list[float]:
    return [float(k == label) for k in range(n)]


def largest_magnitude(r: Map) -> list[list[float]]:
    """Simonyan et al. 2014, section 3.1: ``M_ij = max_c |w_cij|``."""
    return [[max(abs(channel[i][j]) for channel in r) for j in range(len(r[0][0]))] for i in range(len(r[0]))]
