"""A small network, pictures it learns in a second, and trainings with the callback beside it."""

import itertools
from pathlib import Path
from typing import Any

import lightning.pytorch
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_cam import CAMCallback, Probe

SIZE = 16


def pictures(n: int = 24) -> TensorDataset:
    """A bright square in the left (class 0) or right half (class 1)."""
    images = torch.rand(n, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) / 2
    targets = torch.arange(n) % 2
    images[targets == 0, :, 4:10, 1:7] += 0.5
    images[targets == 1, :, 4:10, 9:15] += 0.5
    return TensorDataset(images, targets)


def probe(n: int = 6) -> Probe:
    images, targets = pictures(n).tensors
    return Probe(images, targets, masks=images.mean(1) > 0.5)


class Step:
    """Losses and an optimizer, for both Lightnings."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def build(self) -> None:
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.head = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images).mean((2, 3)))


class Net(Step, pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.build()


class NewNet(Step, lightning.pytorch.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.build()


def loader(n: int = 24) -> DataLoader[Any]:
    return DataLoader(pictures(n), batch_size=4)


def trainer(folder: Path, *callbacks: Any, lightning_: Any = pl, **options: Any) -> Any:
    quiet = {
        "max_epochs": 2,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": any(isinstance(c, pl.callbacks.Checkpoint) for c in callbacks),
        "default_root_dir": folder,
        "accelerator": "cpu",
        "log_every_n_steps": 1,
    }
    return lightning_.Trainer(callbacks=list(callbacks), **quiet | options)


def watched(folder: Path, callback: CAMCallback, net: Any = None, **options: Any) -> Any:
    """A finished training with the callback, on six batches an epoch."""
    run = trainer(folder, callback, **options)
    run.fit(net if net is not None else Net(), loader(), loader(8))
    return run


def steps(callback: CAMCallback) -> list[int]:
    return [reading.step for reading in callback.history]


class Started(pl.Callback):
    """Notices whether a training step was taken."""

    steps = 0

    def on_train_batch_start(self, *_: Any) -> None:
        self.steps += 1


def moody(good_calls: int) -> Net:
    """A network that fails on the probe once it has seen it so many times."""
    seen = itertools.count()

    class Moody(Net):
        def forward(self, images: Tensor) -> Tensor:
            if len(images) in (3, 6) and next(seen) >= good_calls:  # all of the probe, or one of two processes' share
                raise RuntimeError("not today")
            return super().forward(images)

    return Moody()


def assert_judged(callback: CAMCallback, outcome: str, cue: str) -> None:
    """That a fit ended with this outcome, by this cue among others; empty without a finding."""
    assert callback.verdict is not None
    assert callback.verdict.outcome == outcome, callback.verdict.reason
    assert {finding.cue for finding in callback.verdict.findings} >= ({cue} - {""})
