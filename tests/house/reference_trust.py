"""Measures of trust, slow and obvious: loops in float64, from the papers, without the package."""

import math

import torch
from torch import Tensor


def curve(model, start: Tensor, end: Tensor, heat: Tensor, target: int, n_steps: int) -> list[float]:
    """RISE, algorithm 1, for one image: probability of the target while pixels change from start to end."""
    height, width = heat.shape
    places = [(-float(heat[y, x]), y * width + x, y, x) for y in range(height) for x in range(width)]
    places.sort()
    scores = []
    for step in range(n_steps + 1):
        picture = start.clone()
        for _, _, y, x in places[: round(step / n_steps * len(places))]:
            picture[:, y, x] = end[:, y, x]
        logits = [float(value) for value in model(picture[None])[0]]
        total = sum(math.exp(value - max(logits)) for value in logits)
        scores.append(math.exp(logits[target] - max(logits)) / total)
    return scores


def area(scores: list[float]) -> float:
    return sum((scores[i] + scores[i + 1]) / 2 for i in range(len(scores) - 1)) / (len(scores) - 1)


def spearman(one: list[float], other: list[float]) -> float:
    """Pearson's correlation of ranks; equal values share the mean of their ranks."""

    def ranks(values: list[float]) -> list[float]:
        return [
            sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2
            for value in values
        ]

    a, b = ranks(one), ranks(other)
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    covariance = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    spread = math.sqrt(sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b))
    return covariance / spread


def fast_gradient_sign(model, image: Tensor, target: int, epsilon: float) -> Tensor:
    """Goodfellow et al. 2015: each value moves by epsilon where the loss grows; by differences, without autograd."""
    moved = image.clone()
    for place in torch.cartesian_prod(*(torch.arange(n) for n in image.shape)).tolist():
        losses = []
        for by in (1e-6, -1e-6):
            other = image.clone()
            other[tuple(place)] += by
            losses.append(float(torch.nn.functional.cross_entropy(model(other[None]), torch.tensor([target]))))
        value = float(image[tuple(place)]) + epsilon * ((losses[0] > losses[1]) - (losses[0] < losses[1]))
        moved[tuple(place)] = min(max(value, 0.0), 1.0)
    return moved
