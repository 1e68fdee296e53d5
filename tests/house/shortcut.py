"""A training that ends in a shortcut: grey noise whose border alone tells the class, and a verdict of "FAIL"."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_cam import CAMCallback, Probe
from lightning_cam.intervention import STANDARD

SIZE = (24, 32)
CLASSES = ["dark", "light"]
BORDER = tuple(trial for trial in STANDARD if trial.cue == "border")


def framed(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """``n`` images ``(n, 3, *SIZE)``: a grey box before noise, in a dark (0) or light (1) frame of three pixels."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(n, 3, *SIZE, generator=generator) * 0.2 + 0.4
    images[..., 8:-8, 8:-8] += 0.2
    targets = torch.arange(n) % 2
    frame = torch.ones(SIZE, dtype=torch.bool)
    frame[3:-3, 3:-3] = False
    return torch.where(frame, (0.1 + 0.8 * targets)[:, None, None, None], images), targets


def framed_probe(**options: Any) -> Probe:
    """64 images, with the masks of their boxes."""
    masks = torch.zeros(64, *SIZE, dtype=torch.bool)
    masks[:, 8:-8, 8:-8] = True
    return Probe(*framed(64, seed=1), masks=masks, **options)


class Framed(pl.LightningModule):
    """Learns the frame in a second."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), lr=0.02)


def trained_on_frames(
    folder: Path,
    logger: Any = False,
    *,
    epochs: int = 4,
    classes: list[str] = CLASSES,
    extra: Sequence[Any] = (),
    **options: Any,
) -> tuple[CAMCallback, pl.Trainer]:
    """A callback with ``options`` and the trainer of its fit; a folder sink's files are below ``folder``."""
    torch.manual_seed(0)
    callback = CAMCallback(
        framed_probe(classes=classes),
        **{"trials": BORDER, "n_images": 2, "every_n_epochs": 1, "on_error": "raise", **options},
    )
    trainer = pl.Trainer(
        max_epochs=epochs, callbacks=[callback, *extra], logger=logger, default_root_dir=folder, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="lightning_cam: FAIL")
        trainer.fit(Framed(), DataLoader(TensorDataset(*framed(64, seed=0)), 8))
    return callback, trainer
