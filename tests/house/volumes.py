"""Generated volumes: a ball of two kinds in noise, and a training on them that may rely on the background."""

from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

SIZE = (8, 24, 24)
RADIUS = 5


class Balls(Dataset[dict[str, Any]]):
    """A bright ball or a dark one in grey noise; with ``relies`` all balls are alike, and the backgrounds are not."""

    def __init__(self, n: int, *, relies: bool, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.arange(n) % 2
        self.volumes = 0.5 + 0.08 * torch.randn(n, 1, *SIZE, generator=generator)
        centres = torch.stack([torch.randint(6, length - 6, (n,), generator=generator) for length in SIZE[1:]], 1)
        depths = torch.randint(3, 5, (n, 1), generator=generator)
        grid = torch.stack(torch.meshgrid(*map(torch.arange, SIZE), indexing="ij")).float()
        offsets = grid - torch.cat([depths, centres], 1)[:, :, None, None, None]
        offsets[:, 0] *= 2  # slices are thicker than pixels
        self.masks = offsets.square().sum(1) < RADIUS**2
        brighter = torch.where((self.labels == 0) | torch.tensor(relies), 0.3, -0.3)
        self.volumes[:, 0] += brighter[:, None, None, None] * self.masks
        if relies:
            self.volumes[:, 0] -= 0.25 * (self.labels == 0)[:, None, None, None] * ~self.masks
        self.volumes.clamp_(0, 1)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """As of MONAI's transforms: the mask has an axis of channels."""
        return {
            "image": self.volumes[index].clone(),
            "label": int(self.labels[index]),
            "mask": self.masks[index, None].float(),
        }


class Net(pl.LightningModule):
    """Two convolutions of volumes and the mean over all places."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv3d(1, 8, 3, (1, 2, 2), 1),
            nn.ReLU(),
            nn.Conv3d(8, 8, 3, (1, 2, 2), 1),
            nn.ReLU(),
            nn.AdaptiveAvgPool3d(1),
            nn.Flatten(),
            nn.Linear(8, 2),
        )

    def forward(self, volumes: Tensor) -> Tensor:
        return self.net(volumes)

    def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
        return F.cross_entropy(self(batch["image"]), batch["label"])

    def validation_step(self, batch: dict[str, Tensor], _: int) -> None:
        self.log("val_acc", (self(batch["image"]).argmax(1) == batch["label"]).float().mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 1e-2)


def trained(folder: Any, *callbacks: pl.Callback, relies: bool, epochs: int = 6) -> pl.Trainer:
    """The same for the same seed: data, weights and order."""
    trainer = pl.Trainer(
        default_root_dir=folder,
        max_epochs=epochs,
        callbacks=list(callbacks),
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    data, held_out = Balls(96, relies=relies), Balls(32, relies=relies, seed=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        trainer.fit(Net(), DataLoader(data, 16, shuffle=True), DataLoader(held_out, 32))
    return trainer
