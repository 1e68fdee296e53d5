"""Drawn scenes that are as rough as photographs, with the exact masks of their objects."""

import torch
import torch.nn.functional as F
from torch import Tensor


def photographs(n: int, side: int = 64, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rough scenes with a spotted blob of another colour somewhere about the middle, and the blobs' exact masks."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    scenes = sum(_clouds(n, side, cells, generator) for cells in (3, 8, side // 2)) / 3
    blobs = (_clouds(n, side, 12, generator) + torch.tensor([1.0, 0.5, 0.1])[:, None, None]) / 2
    places, radii = (0.35 + 0.3 * torch.rand(n, 2, generator=generator)) * side, torch.rand(n, 2, generator=generator)
    (y, x), (a, b) = places.T[..., None, None], ((0.12 + 0.12 * radii) * side).T[..., None, None]
    masks = ((rows - y) / a) ** 2 + ((columns - x) / b) ** 2 < 1
    return torch.where(masks[:, None], blobs, scenes * torch.tensor([0.5, 0.8, 1.0])[:, None, None]), masks


def _clouds(n: int, side: int, cells: int, generator: torch.Generator) -> Tensor:
    return F.interpolate(torch.rand(n, 3, cells, cells, generator=generator), size=(side, side), mode="bilinear")
