"""The module of the guides: any network that gives class scores. Nothing in it knows about the callback."""

from itertools import pairwise

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

SIZE, MEAN, STD = (64, 64), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
TRANSFORM = transforms.Compose([transforms.Resize(SIZE), transforms.ToTensor(), transforms.Normalize(MEAN, STD)])


def normalize(pixels: torch.Tensor) -> torch.Tensor:
    """Pixels ``(N, 3, H, W)`` from 0 to 1 as the network gets them, for a probe of files."""
    return transforms.functional.normalize(pixels, MEAN, STD)


def small_network(n_classes=2):
    """Three convolutions: enough for the drawn pictures, and quick."""
    widths = [3, 16, 32, 64]
    blocks = [
        nn.Sequential(nn.Conv2d(n_in, n_out, 3, stride=2, padding=1), nn.BatchNorm2d(n_out), nn.ReLU())
        for n_in, n_out in pairwise(widths)
    ]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], n_classes))


class Classifier(pl.LightningModule):
    """Cross entropy and AdamW."""

    def __init__(self, net=None, lr=3e-3):
        super().__init__()
        self.net = net or small_network()
        self.lr = lr

    def forward(self, images):
        return self.net(images)

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.log("val_acc", (self(batch[0]).argmax(1) == batch[1]).float().mean(), sync_dist=True)

    def configure_optimizers(self):
        return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=self.lr)


def loaders(pictures, transform=TRANSFORM):
    """Batches of `train/` and `val/`."""
    train, val = (ImageFolder(str(pictures / split), transform) for split in ("train", "val"))
    return DataLoader(train, 16, shuffle=True), DataLoader(val, 16)
