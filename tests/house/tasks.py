"""Small trainings that the callback cannot look at: other tasks, other data, other models."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

N, SIZE = 16, 16


class Listed(Dataset[Any]):
    """Items as a list."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class Stream(IterableDataset[Any]):
    """Items that come one after another."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __iter__(self) -> Any:
        return iter(self.items)


def randomly(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def whole(high: int, *shape: int) -> Tensor:
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(1))


IMAGES = randomly(N, 3, SIZE, SIZE)
LABELS = torch.arange(N) % 2


class Module(pl.LightningModule):
    """A network, and a loss of its output and a batch."""

    def __init__(self, network: nn.Module, loss: Callable[[Any, Any], Tensor], key: str) -> None:
        super().__init__()
        self.key = key
        self.network = network
        self.loss = loss

    def forward(self, inputs: Any) -> Any:
        return self.network(inputs)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.loss(self(self.inputs(batch)), batch)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.loss(self(self.inputs(batch)), batch))

    def inputs(self, batch: Any) -> Any:
        if isinstance(batch, dict):
            return batch.get(self.key, batch)
        return batch if isinstance(batch, Tensor) else batch[0]

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def conv(n_out: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, n_out)
    )


class Boxes(nn.Module):
    """A detector: in training a number, else a list with the boxes of each image."""

    def __init__(self) -> None:
        super().__init__()
        self.body = conv(4)

    def forward(self, images: Any) -> Any:
        return [{"boxes": row[None], "scores": row[:1]} for row in self.body(torch.stack(tuple(images)))]


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, batch: Any) -> Tensor:
        return self.head(self.table(batch["input_ids"] if isinstance(batch, dict) else batch).mean(1))


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = conv(2)

    def forward(self, views: Any) -> Tensor:
        return sum(self.body(view) for view in views)


@dataclass(frozen=True)
class Task:
    """A training.

    Attributes:
        network: Makes the network.
        loss: Of its output and the batch.
        items: The data set.
        said: Words that the one warning must have.
        collate: Items to a batch; None for the usual way.
        key: Of the network's input in a batch that is a dict; without it the network gets the batch.
        lightning_module: The class.
    """

    network: Callable[[], nn.Module]
    loss: Callable[[Any, Any], Tensor]
    items: Any
    said: tuple[str, ...]
    collate: Callable[[list[Any]], Any] | None = None
    key: str = "image"
    lightning_module: type[Module] = Module

    def module(self) -> pl.LightningModule:
        torch.manual_seed(0)
        return self.lightning_module(self.network(), self.loss, self.key)

    def loader(self) -> DataLoader[Any]:
        return DataLoader(self.items, batch_size=8, collate_fn=self.collate)


def classes(output: Tensor, batch: Any) -> Tensor:
    return F.cross_entropy(output, batch[1] if isinstance(batch, (list, tuple)) else batch["labels"])


def squares(output: Tensor, batch: Any) -> Tensor:
    return F.mse_loss(output, batch[1].float())


def pair(items: list[Any]) -> Any:
    return tuple(zip(*items, strict=True))


BOX = torch.tensor([[1.0, 2.0, 9.0, 8.0], [3.0, 3.0, 12.0, 14.0]])


def detected(n_objects: int) -> Listed:
    kinds = torch.arange(1, n_objects + 1)
    return Listed([(image, {"boxes": BOX[:n_objects], "labels": kinds}) for image in IMAGES])


def box_loss(output: Any, batch: Any) -> Tensor:
    return torch.stack(
        [(each["boxes"] - target["boxes"]).abs().mean() for each, target in zip(output, batch[1], strict=True)]
    ).mean()


TASKS = {
    "detection": Task(Boxes, box_loss, detected(2), ("boxes, scores and labels of each image",), pair),
    "detection of one object": Task(Boxes, box_loss, detected(1), ("boxes, scores and labels",), pair),
    "keypoints": Task(
        lambda: nn.Sequential(conv(10), nn.Unflatten(1, (5, 2))),
        squares,
        TensorDataset(IMAGES, randomly(N, 5, 2)),
        ("(5, 2)", "as in regression"),
    ),
    "vectors": Task(lambda: nn.Linear(7, 2), classes, TensorDataset(randomly(N, 7), LABELS), ("(7,)",)),
    "flattened pictures": Task(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 2)),
        classes,
        TensorDataset(IMAGES, LABELS),
        ("no layer of Module gives a map", "layer='...'"),
    ),
    "TorchScript": Task(
        lambda: torch.jit.script(conv(2)), classes, TensorDataset(IMAGES, LABELS), ("before torch.jit.script",)
    ),
    "several volumes": Task(
        lambda: nn.Sequential(nn.Flatten(1, 2), nn.Conv3d(2, 2, 3), nn.AdaptiveAvgPool3d(1), nn.Flatten()),
        classes,
        TensorDataset(randomly(N, 2, 1, 8, 8, 8), LABELS),
        ("(2, 1, 8, 8, 8)", "a volume or a video has four axes, (C, D, H, W)"),
    ),
    "text": Task(Tokens, classes, TensorDataset(whole(50, N, 9), LABELS), ("an image must be (C, H, W)", "(9,)")),
    "text in dicts": Task(
        Tokens,
        classes,
        Listed(
            [
                {"input_ids": ids, "attention_mask": ids > 0, "labels": y}
                for ids, y in zip(whole(50, N, 9), LABELS, strict=True)
            ]
        ),
        ("got keys ['attention_mask', 'input_ids', 'labels'], as in text",),
    ),
    "audio": Task(
        lambda: nn.Sequential(nn.Conv1d(1, 2, 5), nn.AdaptiveAvgPool1d(1), nn.Flatten()),
        classes,
        TensorDataset(randomly(N, 1, 80), LABELS),
        ("(1, 80)",),
    ),
    "autoencoder": Task(
        lambda: nn.Conv2d(3, 3, 3, padding=1),
        lambda out, batch: F.mse_loss(out, batch[0]),
        TensorDataset(IMAGES),
        ("an item must be (image, target, ...)", "got tuple of 1"),
    ),
    "images alone": Task(
        lambda: nn.Conv2d(3, 3, 3, padding=1),
        lambda out, batch: out.square().mean(),
        Listed(list(IMAGES)),
        ("got Tensor of shape (3, 16, 16).",),
    ),
    "two views": Task(
        Twice,
        classes,
        Listed([((x, x), y) for x, y in zip(IMAGES, LABELS, strict=True)]),
        ("an image must be", "tuple"),
    ),
    "captions": Task(
        lambda: conv(2),
        lambda out, batch: out.square().mean(),
        Listed([(x, "a cat") for x in IMAGES]),
        ("one class index, got 'a cat'", "read="),
    ),
    "a stream of texts": Task(
        Tokens, classes, Stream(list(zip(whole(50, N, 9), LABELS, strict=True))), ("an image must be", "(9,)", "read=")
    ),
}
