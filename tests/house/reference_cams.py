"""Class activation maps as their papers write them: one image, one place, one channel at a time, in float64.

``a[k, i, j]`` is the activation of channel ``k`` at place ``i, j``; ``g[k, i, j]`` is the gradient of the score there.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor


def every(method: Callable[[Tensor, Tensor], Tensor], activations: Tensor, gradients: Tensor) -> Tensor:
    """A reference on ``(N, K, h, w)``, image by image."""
    return torch.stack([method(a, g) for a, g in zip(activations.double(), gradients.double(), strict=True)])


def places(a: Tensor) -> Iterator[tuple[int, int]]:
    _, height, width = a.shape
    return ((i, j) for i in range(height) for j in range(width))


def total(a: Tensor) -> float:
    """Sum over the places of one channel."""
    return sum(float(value) for row in a for value in row)


def weighted(a: Tensor, weights: list[float]) -> Tensor:
    """ReLU of the sum over channels of ``w_k A_k``."""
    result = torch.zeros(a.shape[1:], dtype=torch.float64)
    for i, j in places(a):
        result[i, j] = max(0.0, sum(weight * float(a[k, i, j]) for k, weight in enumerate(weights)))
    return result


def cam(a: Tensor, g: Tensor) -> Tensor:
    """Zhou et al. 2016, eq. 2. The score adds ``w_k`` times a mean over Z places, so ``g`` is ``w_k / Z``."""
    return weighted(a, [total(g[k]) for k in range(len(a))])


def grad_cam(a: Tensor, g: Tensor) -> Tensor:
    """Selvaraju et al. 2017, eq. 1 (weights) and 2 (map)."""
    return weighted(a, [total(g[k]) / (a.shape[1] * a.shape[2]) for k in range(len(a))])


def grad_cam_plus_plus(a: Tensor, g: Tensor) -> Tensor:
    """Chattopadhay et al. 2018: weights eq. 5, alpha eq. 19 with ``Y = exp(S)``, less its factor ``exp(S)``."""
    weights = []
    for k in range(len(a)):
        weight = 0.0
        for i, j in places(a):
            slope = float(g[k, i, j])
            alpha = 0.0 if slope == 0 else slope**2 / (2 * slope**2 + total(a[k]) * slope**3)
            weight += alpha * max(0.0, slope)
        weights.append(weight)
    return weighted(a, weights)


def hires_cam(a: Tensor, g: Tensor) -> Tensor:
    """Draelos and Carin 2020: gradient times activation, summed over channels; clipped at 0."""
    result = torch.zeros(a.shape[1:], dtype=torch.float64)
    for i, j in places(a):
        result[i, j] = max(0.0, sum(float(g[k, i, j]) * float(a[k, i, j]) for k in range(len(a))))
    return result


def layer_cam(a: Tensor, g: Tensor) -> Tensor:
    """Jiang et al. 2021: a place weighs what its gradient is, if positive."""
    result = torch.zeros(a.shape[1:], dtype=torch.float64)
    for i, j in places(a):
        result[i, j] = max(0.0, sum(max(0.0, float(g[k, i, j])) * float(a[k, i, j]) for k in range(len(a))))
    return result


def xgrad_cam(a: Tensor, g: Tensor) -> Tensor:
    """Fu et al. 2020: gradients averaged with activations as weights; a channel that sums to 0 weighs nothing."""
    return weighted(a, [0.0 if total(a[k]) == 0 else total(a[k] * g[k]) / total(a[k]) for k in range(len(a))])


def eigen_cam(a: Tensor, g: Tensor) -> Tensor:
    """Muhammad and Yeasin 2020: ``M V1``, with ``V1`` by power iteration on ``M^T M``; M is ``(h w, K)``, uncentred."""
    matrix = torch.stack([a[:, i, j] for i, j in places(a)])
    direction = torch.arange(1, len(a) + 1, dtype=torch.float64)
    for _ in range(3000):
        direction = matrix.T @ (matrix @ direction)
        if direction.norm() > 0:
            direction = direction / direction.norm()
    projection = matrix @ direction
    turned = -projection if projection.sum() < 0 else projection
    return turned.clamp(min=0).reshape(a.shape[1:])
