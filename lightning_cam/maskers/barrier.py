"""What stands out from the frame of its own picture: minimum barrier distance and unlike border colours (MB+).

Zhang et al. 2015, "Minimum Barrier Salient Object Detection at 80 FPS", for all images at once.
"""

import torch
from torch import Tensor

_ROUNDS = 3  # sweeps in each of four directions; more changed nothing that a threshold keeps (the paper: 3)
_STRIP = 0.10  # of a side: the four strips whose colours stand for the background (the paper: 30 of 300 pixels)
_REGULAR = 4.0  # added to the variance of each channel (2 levels of Lab): plain strips would make distances infinite
_TINY = 1e-6


def saliency(colours: Tensor) -> Tensor:
    """``(N, H, W)`` in [0, 1] from ``colours (N, C, H, W)``: higher where a pixel cannot be reached from the frame."""
    barrier = _scaled(_barriers(colours).sum(1)) + _scaled(_unlike_strips(colours))
    return _scaled(barrier * _centred(colours.shape[2], colours.shape[3]))


def _barriers(colours: Tensor) -> Tensor:
    """Least (highest - lowest value) over paths from the frame, ``(N, C, H, W)``, by sweeps (the paper, eq. 2-3)."""
    distance = torch.full_like(colours, torch.inf)
    for edge in (distance[:, :, 0], distance[:, :, -1], distance[..., 0], distance[..., -1]):
        edge.zero_()
    state = [colours.clone(), colours.clone(), distance]
    for _ in range(_ROUNDS):
        for dim in (2, 3):
            _sweep(colours, state, dim, range(1, colours.shape[dim]), -1)
            _sweep(colours, state, dim, range(colours.shape[dim] - 2, -1, -1), 1)
    return state[2]


def _sweep(colours: Tensor, state: list[Tensor], dim: int, lines: range, step: int) -> None:
    """Goes through the lines of one dimension; each takes over the paths of the line before, where they are better."""
    highest, lowest, distance = state
    for line in lines:
        values = colours.select(dim, line)
        high = torch.maximum(highest.select(dim, line + step), values)
        low = torch.minimum(lowest.select(dim, line + step), values)
        is_better = high - low < distance.select(dim, line)
        for kept, new in ((highest, high), (lowest, low), (distance, high - low)):
            kept.select(dim, line).copy_(torch.where(is_better, new, kept.select(dim, line)))


def _unlike_strips(colours: Tensor) -> Tensor:
    """Sum over the four strips of a pixel's distance to their colours, without the largest (the paper, eq. 7-8).

    An object that touches one side of the frame spoils that strip alone.
    """
    rows, columns = (max(1, round(_STRIP * side)) for side in colours.shape[2:])
    strips = colours[:, :, :rows], colours[:, :, -rows:], colours[..., :columns], colours[..., -columns:]
    distances = torch.stack([_scaled(_mahalanobis(colours, strip.flatten(2))) for strip in strips])
    return distances.sum(0) - distances.amax(0)


def _mahalanobis(colours: Tensor, strip: Tensor) -> Tensor:
    mean = strip.mean(2, keepdim=True)
    centred = strip - mean
    covariance = centred @ centred.mT / strip.shape[2]
    covariance += _REGULAR * torch.eye(colours.shape[1], dtype=colours.dtype, device=colours.device)
    difference = colours.flatten(2) - mean
    solved: Tensor = torch.linalg.solve(covariance, difference)
    squares = (difference * solved).sum(1).clamp_min(0)
    return squares.sqrt().reshape(len(colours), *colours.shape[2:])


def _centred(height: int, width: int) -> Tensor:
    """1 in the middle, down to a half in the corners."""
    rows, columns = (torch.linspace(-1, 1, side, dtype=torch.float32, device="cpu") for side in (height, width))
    return 1 - (rows[:, None].square() + columns.square()).sqrt() / (2 * 2**0.5)


def _scaled(values: Tensor) -> Tensor:
    return values / values.amax((1, 2), keepdim=True).clamp_min(_TINY)
