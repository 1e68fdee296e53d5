"""An ordinary training script: a small network, the pictures as most scripts load them, and the remedied way."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import transforms, tv_tensors
from torchvision.datasets import ImageFolder

from ..probe import Probe
from ..transforms import RandomBackground, RandomReencode

INPUT_SIZE = (64, 64)
NORMALIZE = transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
LOADING = [transforms.Resize(INPUT_SIZE), transforms.ToTensor(), NORMALIZE]

Batches = DataLoader[tuple[Tensor, Tensor]]


class SmallNet(pl.LightningModule):
    """Four convolutions and a mean, as anybody would write it."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _block(3, 24, stride=2),
            _block(24, 32),
            nn.MaxPool2d(2),
            _block(32, 64),
            nn.MaxPool2d(2),
            _block(64, 96),
        )
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 2))

    def forward(self, images: Tensor) -> Tensor:
        """Class scores ``(N, 2)``."""
        scores: Tensor = self.head(self.features(images))
        return scores

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Cross entropy."""
        images, targets = batch
        loss = F.cross_entropy(self(images), targets)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Logs the accuracy."""
        images, targets = batch
        self.log("val_acc", (self(images).argmax(1) == targets).float().mean(), prog_bar=True)

    def configure_optimizers(self) -> Any:
        """AdamW under one cycle of the learning rate."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=3e-3)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def batches_of(folder: Path, *, shuffle: bool = False) -> Batches:
    """The pictures as most scripts load them. `ImageFolder` converts to RGB: transparency is dropped, black appears."""
    return DataLoader(ImageFolder(str(folder), transforms.Compose(LOADING)), batch_size=16, shuffle=shuffle)


class MaskedFolder(ImageFolder):  # type: ignore[misc] # torchvision has no complete types
    """An `ImageFolder` that puts what the mask at the same place in another folder covers on a random background."""

    def __init__(self, root: Path, masks: Path, transform: Any) -> None:
        super().__init__(str(root))
        self.masks = masks
        self.on_any_background = RandomBackground()
        self.then = transform

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """The transformed picture and its class."""
        picture, target = super().__getitem__(index)
        place = Path(self.imgs[index][0])
        with Image.open(self.masks / place.parent.name / f"{place.stem}.png") as mask:
            picture, _ = self.on_any_background(picture, tv_tensors.Mask(mask))
        return self.then(picture), target


def remedied_batches(pictures: Path) -> Batches:
    """The same files through the remedies that audit and verdict name."""
    transform = transforms.Compose([RandomReencode(), *LOADING])
    folder = MaskedFolder(pictures / "train", pictures / "train_masks", transform)
    return DataLoader(folder, batch_size=16, shuffle=True)


def masked_probe(pictures: Path) -> Probe:
    """Validation pictures with the masks they were drawn with, which are more exact than those that can be found."""
    return Probe.from_folder(pictures / "val", 128, masks=pictures / "val_masks", size=INPUT_SIZE, preprocess=NORMALIZE)
