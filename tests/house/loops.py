"""Training loops without a trainer, on bars before a ground that may give their direction away."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_cam import Probe

SIZE = 24
CLASSES = ("lying", "standing")


def bars(n: int, seed: int, *, planted: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures ``(n, 3, SIZE, SIZE)`` of a bright bar that lies (0) or stands (1), their classes, and their masks.

    The ground is grey noise; where ``planted`` it is dark behind bars that lie and brighter behind those that stand.
    """
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(n) % 2
    masks = torch.zeros(n, SIZE, SIZE, dtype=torch.bool)
    for mask, stands, (row, column) in zip(
        masks, targets.tolist(), torch.randint(3, 12, (n, 2), generator=generator).tolist(), strict=True
    ):
        height, width = (9, 3) if stands else (3, 9)
        mask[row : row + height, column : column + width] = True
    grey = torch.rand(n, 1, 1, 1, generator=generator) * 0.2
    ground = 0.2 + (0.3 * targets[:, None, None, None] if planted else grey)
    ground = ground + 0.1 * torch.rand(n, 3, SIZE, SIZE, generator=generator)
    return torch.where(masks[:, None], 0.9, ground), targets, masks


def probe(*, planted: bool, n: int = 96) -> Probe:
    images, targets, masks = bars(n, 1, planted=planted)
    return Probe(images, targets, masks=masks, classes=CLASSES)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(),
        nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(16, 2),
    )  # fmt: skip


def trained(
    look: Callable[[nn.Module, int], object] = lambda model, step: None,
    *,
    planted: bool,
    epochs: int = 6,
) -> nn.Module:
    """A finished training by hand; ``look`` is called before it and after every third epoch."""
    model = network()
    images, targets, _ = bars(256, 0, planted=planted)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    look(model, 0)
    for epoch in range(1, epochs + 1):
        model.train()
        for rows in torch.randperm(len(images)).split(32):
            optimizer.zero_grad()
            F.cross_entropy(model(images[rows]), targets[rows]).backward()
            optimizer.step()
        if epoch % 3 == 0:
            look(model, epoch)
    return model
