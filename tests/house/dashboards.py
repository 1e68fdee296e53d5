"""What a user writes who has image folders and a logger, and what a dashboard must then show."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from torchvision.utils import save_image

from lightning_cam import CAMCallback

from .read_back import Shown

SIZE = 32


STEPS = [0, 3, 5, 11]  # before training, optimizer step 4, and the ends of two epochs of six batches
OF_ALL_CHECKS = {"cam/evolution", "cam/map_groups"}  # drawn once, at the end


def discs(folder: Path) -> Path:
    """Discs and rings of many colours on white, as PNG files in class folders."""
    random = np.random.default_rng(0)
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    for split, n in (("train", 24), ("val", 8)):
        for i in range(n):
            name = ("disc", "ring")[i % 2]
            left, top = random.integers(10, 22, 2)
            distance = ((x - left) ** 2 + (y - top) ** 2).sqrt()
            inside = (distance < 8) if name == "disc" else (distance < 8) & (distance > 4)
            colour = torch.tensor(random.random(3) * 0.7, dtype=torch.float32)[:, None, None]
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            save_image(torch.where(inside, colour, torch.ones(3, 1, 1)), folder / split / name / f"{i}.png")
    return folder


class Net(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2),
        )  # fmt: skip

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", F.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), lr=0.01)


def trained(
    folder: Path, logger: Any, *others: Any, max_epochs: int = 2, on_error: str = "raise"
) -> tuple[CAMCallback, Any]:
    """Exactly what a user writes: files, transforms, loaders, a trainer and one more line."""
    tree = discs(folder / "data")
    to_input = v2.Compose(
        [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5, 0.5, 0.5], [0.25, 0.25, 0.25])]
    )
    train, val = (ImageFolder(str(tree / split), to_input) for split in ("train", "val"))
    callback = CAMCallback(on_error=on_error, max_overhead=1)
    trainer = pl.Trainer(
        max_epochs=max_epochs, callbacks=[callback, *others], logger=logger, log_every_n_steps=1, accelerator="cpu",
        default_root_dir=folder,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(Net(), DataLoader(train, 4, shuffle=True), DataLoader(val, 4))
    return callback, trainer


def finite(values: Any) -> dict[str, float]:
    return {key: value for key, value in values.items() if math.isfinite(value)}


def assert_shows_something(picture: Shown) -> None:
    assert picture.pixels.std() > 20
    assert picture.pixels.max() > 200
