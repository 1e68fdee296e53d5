"""Pictures, a tiny network and a plain Lightning module: what every recipe starts from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

MEAN, STD = 0.5, 0.1


def pictures(n: int, seed: int, size: int = 16, n_classes: int = 2) -> tuple[Tensor, Tensor]:
    """Noise with a tint of the class, and labels of which one in ten is wrong: no model is right on all of them."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % n_classes
    tints = torch.eye(3)[:n_classes] * 0.3
    images = torch.rand(n, 3, size, size, generator=generator) * 0.3 + 0.3 + tints[labels][:, :, None, None]
    wrong = torch.rand(n, generator=generator) < 0.1
    return images, torch.where(wrong, (labels + 1) % n_classes, labels)


TRAINING, VALIDATION = pictures(96, 0), pictures(64, 1)


def data(change: Callable[[Tensor], Tensor] = lambda images: images) -> tuple[Dataset[Any], Dataset[Any]]:
    """Both data sets, with their images changed."""
    return TensorDataset(change(TRAINING[0]), TRAINING[1]), TensorDataset(change(VALIDATION[0]), VALIDATION[1])


def normal(images: Tensor) -> Tensor:
    return (images - MEAN) / STD


def network(n_out: int = 2, n_in: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, n_out),
    )  # fmt: skip


class Plain(pl.LightningModule):
    """A classifier as in Lightning's first page; recipes override what they write otherwise."""

    n_out, n_in = 2, 3

    def __init__(self) -> None:
        super().__init__()
        self.net = network(self.n_out, self.n_in)

    def forward(self, x: Any) -> Any:
        return self.net(x)

    def given(self, batch: Any) -> tuple[Any, Tensor]:
        """What the step gives to the model, and the labels."""
        return batch[0], batch[1]

    def logits(self, x: Any) -> Any:
        """Logits as the step has them."""
        return self(x)

    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(scores, labels)

    def right(self, scores: Tensor, labels: Tensor) -> Tensor:
        return scores.argmax(1) == labels

    def training_step(self, batch: Any, index: int) -> Tensor:
        x, labels = self.given(batch)
        return self.loss(self.logits(x), labels)

    def validation_step(self, batch: Any, index: int, dataloader_idx: int = 0) -> None:
        x, labels = self.given(batch)
        right = self.right(self.logits(x), labels).float().mean()
        if not dataloader_idx:
            self.log("val_acc", right, batch_size=len(labels), add_dataloader_idx=False)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 3e-2)


class ByHand(Plain):
    """Steps its optimizer itself."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, index: int) -> Any:
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(super().training_step(batch, index))
        optimizer.step()


class Items(Dataset[Any]):
    """Any items, with labels that are known or have to be read."""

    def __init__(self, images: Tensor, labels: Tensor, item: Callable[[Tensor, int, int], Any], **known: Any) -> None:
        self.images, self.labels_, self.item = images, labels, item
        for name, value in known.items():
            setattr(self, name, value)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        return self.item(self.images[index], int(self.labels_[index]), index)


def items(item: Callable[[Tensor, int, int], Any], **known: Any) -> tuple[Dataset[Any], Dataset[Any]]:
    return Items(*TRAINING, item, **known), Items(*VALIDATION, item, **known)


@dataclass(frozen=True)
class Recipe:
    """One way to write a training.

    Attributes:
        module: Makes the Lightning module.
        data: Makes the training and the validation data set.
        sentence: What the callback must say; empty where the probe's accuracy must be the user's own.
        loader: Options of both loaders.
        validation: Options of the validation loader alone.
        trainer: Options of the trainer.
        callback: Options of the callback.
        datamodule: Makes a data module of the two loaders; None hands them to ``fit``.
        own: The user's own way from pixels to scores, where no accuracy is logged.
    """

    module: Callable[[], Any]
    data: Callable[[], Sequence[Dataset[Any]]] = data
    sentence: str = ""
    loader: dict[str, Any] = field(default_factory=dict)
    validation: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    callback: dict[str, Any] = field(default_factory=dict)
    datamodule: Callable[[Any, Any], pl.LightningDataModule] | None = None
    own: Callable[[Any, Tensor], Tensor] | None = None

    def loaders(self) -> tuple[Any, Any]:
        """The loaders of training and validation."""
        training, validation = self.data()
        return (
            DataLoader(training, 16, shuffle=True, **self.loader),
            DataLoader(validation, **{"batch_size": 16, **self.loader, **self.validation}),
        )


class DataModule(pl.LightningDataModule):
    def __init__(self, training: Any, validation: Any) -> None:
        super().__init__()
        self.training, self.validation = training, validation

    def train_dataloader(self) -> Any:
        return self.training

    def val_dataloader(self) -> Any:
        return self.validation

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return normal(batch[0]), batch[1]
