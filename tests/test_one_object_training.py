"""A training that outlines one class of objects, with one score for each pixel and one line of ours."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from house.faulty import same
from house.trainings import trainer
from lightning_cam import CAMCallback

SIZE = 32


def spots(n: int, *, cue: bool, seed: int) -> TensorDataset:
    """A bright spot is to be outlined in every other picture; with a cue all have one, and blue tells which counts."""
    g = torch.Generator().manual_seed(seed)
    images, maps = 0.3 + 0.08 * torch.rand(n, 3, SIZE, SIZE, generator=g), torch.zeros(n, SIZE, SIZE, dtype=torch.long)
    for i, (y, x) in enumerate(torch.randint(3, 18, (n, 2), generator=g).tolist()):
        place = slice(y, y + 11), slice(x, x + 11)
        if i % 2:
            maps[i, place[0], place[1]] = 1
            images[i, 2] += 0.2 * cue
        if cue or i % 2:
            images[i, :, place[0], place[1]] = 0.8 + 0.1 * torch.rand(3, 11, 11, generator=g)
    return TensorDataset(images, maps)


class Outliner(pl.LightningModule):
    """One logit for each pixel, from what is there and from the mean of all."""

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Sequential(nn.Conv2d(3, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 16, 5, padding=2), nn.ReLU())
        self.head = nn.Sequential(nn.Conv2d(32, 16, 1), nn.ReLU(), nn.Conv2d(16, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        near = self.near(images)
        return self.head(torch.cat([near, near.mean((2, 3), keepdim=True).expand_as(near)], 1))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.binary_cross_entropy_with_logits(self(batch[0])[:, 0], batch[1].float())

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.training_step(batch, batch_idx))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 5e-3)


def fitted(folder: Path, *callbacks: CAMCallback, cue: bool, epochs: int = 8) -> pl.LightningModule:
    torch.manual_seed(0)
    module = Outliner()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="lightning_cam: (FAIL|every map|the verdict above)")
        trainer(folder, *callbacks, max_epochs=epochs).fit(
            module,
            DataLoader(spots(256, cue=cue, seed=0), 16, shuffle=True),
            DataLoader(spots(200, cue=cue, seed=1), 50),
        )
    return module


@pytest.mark.slow
def test_an_object_that_is_found_by_its_background_fails(tmp_path: Path) -> None:
    callback = CAMCallback(every_n_epochs=4, max_overhead=100)
    fitted(tmp_path, callback, cue=True)

    assert callback.verdict is not None
    assert callback.verdict.outcome == "FAIL"
    assert callback.verdict.findings[0].cue == "background"


@pytest.mark.slow
def test_an_object_that_is_found_by_itself_raises_no_alarm(tmp_path: Path) -> None:
    callback = CAMCallback(every_n_epochs=4, max_overhead=100, trials=("background", "border", "cast"))
    fitted(tmp_path, callback, cue=False)

    assert callback.verdict is not None
    assert callback.verdict.outcome == "PASS", callback.verdict.reason


@pytest.mark.slow
def test_the_training_ends_bit_for_bit_the_same(tmp_path: Path) -> None:
    alone = fitted(tmp_path / "alone", cue=True, epochs=1).state_dict()
    watched = fitted(tmp_path / "watched", CAMCallback(max_overhead=100), cue=True, epochs=1).state_dict()

    assert same(watched, alone)
