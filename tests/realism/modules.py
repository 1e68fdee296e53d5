"""Recipes of modules whose step calls their parts, with and without ``forward`` and validation, and of odd items."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from .further import Distilled, Pair
from .parts import TRAINING, VALIDATION, ByHand, DataModule, Plain, Recipe, items, normal, pictures

MODULES: dict[str, Recipe] = {}


class Parts(Plain):
    """No ``forward``: the step calls a body and a head, one after the other."""

    forward = nn.Module.forward

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = self.net[:7], self.net[7]
        del self.net

    def logits(self, x: Any) -> Any:
        return self.head(self.body(x))


class Frozen(Parts):
    """Features of a backbone that is not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.body.requires_grad_(False)

    def logits(self, x: Any) -> Any:
        with torch.no_grad():
            features = self.body.eval()(x)
        return self.head(features)


class Pooled(Parts):
    def __init__(self) -> None:
        super().__init__()
        self.body = self.body[:5]

    def logits(self, x: Any) -> Any:
        return self.head(self.body(x).mean((2, 3)))


class InDict(nn.Sequential):
    def forward(self, x: Tensor) -> Any:
        return {"features": super().forward(x), "size": len(x)}


class OfDict(Parts):
    def __init__(self) -> None:
        super().__init__()
        self.body = InDict(*self.body)

    def logits(self, x: Any) -> Any:
        return self.head(self.body(x)["features"])


class Heads(Parts):
    """Two tasks, of which one has the classes."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleDict({"colour": nn.Linear(16, 3), "class": self.head})
        del self.head

    def logits(self, x: Any) -> Any:
        features = self.body(x)
        self.heads["colour"](features)
        return self.heads["class"](features)


class TwoHeads(Parts):
    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Linear(16, 2)

    def logits(self, x: Any) -> Any:
        features = self.body(x)
        return self.head(features) + self.second(features)


class TwoHeadsInSilence(TwoHeads):
    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_loss", F.cross_entropy(self.logits(batch[0]), batch[1]))


class Twisted(Parts):
    """Nobody guesses what lies between."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(48, 2)

    def logits(self, x: Any) -> Any:
        features = self.body(x)
        return self.head(torch.cat([features, features.sin(), features**2], 1))


class FeaturesFirst(Plain):
    """``forward`` gives features, for retrieval, and the step calls the head."""

    def __init__(self) -> None:
        super().__init__()
        self.head = self.net.pop(7)

    def forward(self, x: Any) -> Any:
        return self.net(normal(x))

    def logits(self, x: Any) -> Any:
        return self.head(self(x))


class NormalParts(Parts):
    """Normalised by its first layer, so that a batch in any order shows all there is."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.BatchNorm2d(3), *self.body)


class Manual(ByHand, NormalParts):
    pass


class NormalInStep(Parts):
    def given(self, batch: Any) -> Any:
        return normal(batch[0]), batch[1]


class RawStudent(Distilled):
    def training_step(self, batch: Any, index: int) -> Tensor:
        return F.cross_entropy(self.answers(batch[0])[1], batch[1])


def alone(module: Any, **options: Any) -> Recipe:
    """Without validation."""
    return Recipe(module, trainer={"limit_val_batches": 0, "max_epochs": 6}, **options)


OF_PARTS = r"forward=lambda module, images: module\.head\(between\(module\.body\(images\)\)\)"

MODULES |= {
    "a body and a head, no forward": Recipe(Parts),
    "a frozen body and a head, no forward": Recipe(Frozen),
    "a body, a mean and a head, no forward": Recipe(Pooled),
    "a body that gives a dict, and a head, no forward": Recipe(OfDict),
    "heads of two tasks, no forward": Recipe(Heads),
    "heads that are added, no forward": Recipe(TwoHeads),
    "heads that are added, no forward, no accuracy": Recipe(
        TwoHeadsInSilence,
        sentence=r"forward=lambda module, images: module\.second\(module\.body\(images\)\)\); where your step adds",
    ),
    "a body, something else and a head, no forward": Recipe(Twisted, sentence=OF_PARTS),
    "a forward of features, and a head": Recipe(FeaturesFirst),
    "a body and a head, no forward, no sanity check": Recipe(Parts, trainer={"num_sanity_val_steps": 0}),
    "a body and a head, no forward, no validation": alone(NormalParts, own=lambda module, x: module.logits(x)),
    "a body, something else and a head, no forward, no validation": alone(Twisted, sentence=OF_PARTS),
    "a body and a head, normalised in the step, no validation": alone(NormalInStep, sentence="not what the model sees"),
    "a teacher first, no validation": alone(RawStudent, own=lambda module, x: module.student(x)),
    "two networks, no validation": alone(Pair, sentence="Say which ones count|is not what the model sees"),
    "a manual optimisation, no validation": alone(ByHand, own=lambda module, x: module(x)),
    "a manual optimisation of a body and a head, no validation": alone(Manual, own=lambda module, x: module.logits(x)),
}

# ---- odd items -------------------------------------------------------------------------------------------------------


class Turned(Plain):
    """The step turns and divides bytes that end in colours."""

    def given(self, batch: Any) -> Any:
        return normal(batch[0].permute(0, 3, 1, 2) / 255), batch[1]


class Third(Plain):
    place = 1

    def given(self, batch: Any) -> Any:
        return normal(batch[self.place]), batch[2]


class Marked(Plain):
    """Some pictures have no label yet."""

    def given(self, batch: Any) -> Any:
        return normal(batch[0]), batch[1]

    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(scores, labels, ignore_index=int(labels.max() if labels.max() > 1 else -100))

    def validation_step(self, batch: Any, index: int) -> None:
        x, labels = self.given(batch)
        is_labelled = (labels >= 0) & (labels < 2)
        right = (self(x).argmax(1) == labels)[is_labelled].float().mean()
        self.log("val_acc", right, batch_size=int(is_labelled.sum()))


def marked(mark: int) -> Any:
    return items(lambda x, y, i: (x, mark if i % 8 == 5 else y))


class Ordinal(Plain):
    """Each of two numbers tells whether the class is a higher one."""

    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(scores, (labels[:, None] > torch.arange(2)).float())

    def right(self, scores: Tensor, labels: Tensor) -> Tensor:
        return (scores > 0).sum(1) == labels


def three() -> Any:
    return [TensorDataset(*pictures(n, seed, n_classes=3)) for n, seed in ((96, 0), (64, 1))]


class OtherFirst(DataModule):
    """The first validation set has no labels."""

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return [normal(batch[0]), *batch[1:]]

    def val_dataloader(self) -> Any:
        return [DataLoader(TensorDataset(VALIDATION[0]), 16), self.validation]


class OnlySecond(Plain):
    def validation_step(self, batch: Any, index: int, dataloader_idx: int = 0) -> None:
        if dataloader_idx:
            super().validation_step(batch, index)


class Batches(IterableDataset[Any]):
    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.batches = list(zip(images.split(16), labels.split(16), strict=True))

    def __iter__(self) -> Any:
        return iter(self.batches)


class Ready(DataModule):
    """Batches are made by the data set."""

    def train_dataloader(self) -> Any:
        return DataLoader(Batches(*TRAINING), batch_size=None)

    def val_dataloader(self) -> Any:
        return DataLoader(Batches(*VALIDATION), batch_size=None)


def by_ordinal(module: Any, images: Tensor) -> Tensor:
    higher = module(images).sigmoid()
    return -torch.diff(higher, dim=1, prepend=images.new_ones(len(images), 1), append=images.new_zeros(len(images), 1))


MODULES |= {
    "(H, W, C) bytes, turned in the step": Recipe(
        Turned, lambda: items(lambda x, y, i: ((x * 255).byte().permute(1, 2, 0), y))
    ),
    "an index before the image": Recipe(Third, lambda: items(lambda x, y, i: (i, x, y))),
    "an index after the image": Recipe(
        type("First", (Third,), {"place": 0}),
        lambda: items(lambda x, y, i: (x, i, y)),
        sentence=r"read=lambda item: \(item\[0\], item\[2\]\)",
    ),
    "some labels are 255": Recipe(Marked, lambda: marked(255)),
    "some labels are -100": Recipe(Marked, lambda: marked(-100)),
    "ordinal scores": Recipe(Ordinal, three, sentence=r"as in ordinal regression, pass forward=lambda module, images"),
    "ordinal scores, forward given": Recipe(Ordinal, three, callback={"forward": by_ordinal}),
    "a first loader without labels": Recipe(
        OnlySecond, datamodule=OtherFirst, sentence=r"another loader, pass CAMCallback\(Probe\.from_dataset\("
    ),
    "batches of the data set's own": Recipe(
        Plain, datamodule=Ready, sentence=r"batch of 16.*CAMCallback\(probe=Probe\(images, targets\)\)"
    ),
}
