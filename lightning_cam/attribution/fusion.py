"""Maps of several layers as one: fine ones of shallow layers beside the sure ones of deep layers."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..spatial import upsample

GAMMA = 2.0  # the paper's: half of the maximum becomes 0.76, so that weak parts of a shallow map are seen


def fused(maps: Sequence[Tensor]) -> Tensor:
    """Maps of several layers as one, by the multi-layer fusion of LayerCAM (Jiang et al. 2021).

    Each map ``M`` becomes ``tanh(gamma M / max(M))``, and the result is their maximum at every place. The paper scales
    the maps of shallow layers only; here all are scaled, since the raw ones have no common unit. They are stretched
    bilinearly to the finest grid after that; the paper leaves open when. An empty map stays empty. The result is
    between 0 and ``tanh(gamma)``, no longer in the units of the score. The map of one layer stays as it is.

    >>> fused([torch.tensor([[[4.0, 0.0]]]), torch.tensor([[[0.0, 1.0, 1.0, 0.0]]])])
    tensor([[[0.9640, 0.9640, 0.9640, 0.0000]]])

    Args:
        maps: ``(N, h, w)`` non-negative maps of each layer, each layer with a grid of its own.
    """
    if len(maps) == 1:
        return maps[0]
    size = tuple(max(lengths) for lengths in zip(*(each.shape[1:] for each in maps), strict=True))
    return torch.stack([upsample(_scaled(each), size) for each in maps]).amax(0)


def _scaled(maps: Tensor) -> Tensor:
    """``tanh(gamma M / max(M))``; 0 for an empty map, NaN for one with a NaN."""
    most = maps.amax(tuple(range(1, maps.ndim)), keepdim=True)
    return torch.tanh(GAMMA * maps / most).where(most != 0, 0.0)
