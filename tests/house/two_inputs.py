"""A model of an image and a flag, and pictures whose class neither of them tells alone."""

import torch
from torch import Tensor, nn

from . import loops


def pictures(n: int, seed: int, *, planted: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Bars, flags, classes and masks: the class is the direction of the bar, turned round where the flag is up.

    So neither the picture nor the flag tells it. Where ``planted``, the ground does.
    """
    images, standing, masks = loops.bars(n, seed, planted=False)
    flags = torch.arange(n) // 2 % 2
    targets = standing ^ flags
    if planted:
        ground = (0.1 + 0.3 * targets)[:, None, None, None] + 0.1 * torch.rand(images.shape)
        images = torch.where(masks[:, None], 0.9, ground)
    return images, flags.float()[:, None], targets, masks


class Two(nn.Module):
    """Image and flag to class scores."""

    def __init__(self) -> None:
        super().__init__()
        self.body = loops.network()[:5]
        self.head = nn.Linear(16, 2)
        self.whole = nn.Linear(16, 2)

    def forward(self, images: Tensor, flag: Tensor) -> Tensor:
        maps = self.body(images)
        turned = self.head(maps.amax((2, 3))) * (1 - 2 * flag)
        return turned + self.whole(maps.mean((2, 3)))
