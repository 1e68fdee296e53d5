"""Score-CAM and Ablation-CAM as their papers write them: one image, one channel, one forward pass at a time."""

import math
from collections.abc import Callable

import torch
from torch import Tensor


def score_cam(x: Tensor, a: Tensor, score: Callable[[Tensor], float]) -> Tensor:
    """Wang et al. 2020, algorithm 1. ``x`` is a model input ``(C, H, W)``, ``a`` its activations ``(K, h, w)``.

    ``score`` is the score of the class for a model input.
    """
    black = score(torch.zeros_like(x))
    increases = []
    for channel in a:
        large = stretched(channel, x.shape[1], x.shape[2])
        low, high = float(large.min()), float(large.max())
        mask = torch.zeros_like(large) if high == low else (large - low) / (high - low)
        increases.append(score(torch.stack([each * mask for each in x])) - black)
    largest = max(increases)  # cancels, and no exponential overflows
    total = sum(math.exp(increase - largest) for increase in increases)
    return clipped_sum(a, [math.exp(increase - largest) / total for increase in increases])


def ablation_cam(a: Tensor, score: Callable[[Tensor], float]) -> Tensor:
    """Desai and Ramaswamy 2020, times the score. ``score`` is the score of the class for activations."""
    weights = []
    for k in range(len(a)):
        without = a.clone()
        without[k] = 0
        weights.append(score(a) - score(without))
    return clipped_sum(a, weights)


def clipped_sum(a: Tensor, weights: list[float]) -> Tensor:
    result = torch.zeros(a.shape[1:], dtype=torch.float64)
    for i in range(a.shape[1]):
        for j in range(a.shape[2]):
            result[i, j] = max(0.0, sum(weight * float(a[k, i, j]) for k, weight in enumerate(weights)))
    return result


def stretched(channel: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, edge to edge: cell centres lie at the middle of the cells."""
    result = torch.zeros(height, width, dtype=torch.float64)
    for i in range(height):
        for j in range(width):
            result[i, j] = sum(
                weight_y * weight_x * float(channel[y, x])
                for y, weight_y in neighbours(i, height, channel.shape[0])
                for x, weight_x in neighbours(j, width, channel.shape[1])
            )
    return result


def neighbours(i: int, n_pixels: int, n_cells: int) -> list[tuple[int, float]]:
    """The two cells beside a pixel and their weights."""
    place = min(max((i + 0.5) * n_cells / n_pixels - 0.5, 0.0), n_cells - 1.0)
    first = min(int(place), n_cells - 1)
    return [(first, 1 - (place - first)), (min(first + 1, n_cells - 1), place - first)]
