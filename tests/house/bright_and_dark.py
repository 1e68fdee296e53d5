"""A model that reads the grey of one place, and a probe whose squares, and perhaps their ground, are dark or bright."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightning_cam import Probe

from .natural import natural

SIZE = 32
MIDDLE = (slice(13, 19), slice(13, 19))
CORNER = (slice(0, 6), slice(0, 6))


class Reader(nn.Module):
    """Says "bright" (class 1) or "dark" by the mean grey of one region, on its convolution's map."""

    def __init__(self, region: tuple[slice, slice], *, certainty: float = 20.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([-1.0, 1.0])[:, None, None, None].expand(2, 3, 1, 1) / 3)
            self.conv.bias.copy_(torch.tensor([1.0, 0.0]))
        self.region = region
        self.certainty = certainty

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = self.region
        return self.certainty * self.conv(x)[:, :, rows, columns].mean((2, 3))


def probe(
    *,
    ground: bool = False,
    n: int = 48,
    masks: bool = True,
    preprocess: Callable[[Tensor], Tensor] | None = None,
) -> Probe:
    """Dark and bright squares before texture; where ``ground``, the background is dark and bright with them."""
    targets = torch.arange(n) % 2
    signs = (2.0 * targets - 1)[:, None, None, None]
    behind = 0.4 + 0.2 * natural(n, SIZE, SIZE)
    behind = behind + 0.2 * signs if ground else behind
    found = torch.zeros(n, SIZE, SIZE, dtype=torch.bool)
    found[:, 10:22, 10:22] = True
    images = torch.where(found[:, None], 0.5 + 0.3 * signs, behind)
    return Probe(images, targets, masks=found if masks else None, classes=["dark", "bright"], preprocess=preprocess)
