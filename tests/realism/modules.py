"""Recipes of modules whose step calls their parts: bodies and heads, with and without ``forward`` and validation."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .further import Distilled, Pair
from .parts import Plain, Recipe, normal

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
