"""The table of recipes: batches, hooks, heads, data sets, loops. Each is written as somebody in the wild writes it."""

from collections import namedtuple
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import ConcatDataset, DataLoader, Subset, TensorDataset, WeightedRandomSampler
from torchvision.transforms import v2

from .parts import (
    MEAN,
    STD,
    TRAINING,
    VALIDATION,
    ByHand,
    DataModule,
    Items,
    Plain,
    Recipe,
    data,
    items,
    network,
    normal,
)

RECIPES: dict[str, Recipe] = {}


def as_bytes(images: Tensor) -> Tensor:
    return (images * 255).byte()


def as_picture(image: Tensor) -> Image.Image:
    return Image.fromarray(np.asarray(as_bytes(image).permute(1, 2, 0)))


# ---- where the preprocessing is --------------------------------------------------------------------------------------


class AfterTransfer(Plain):
    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return normal(batch[0]), batch[1]


class BeforeTransfer(Plain):
    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return normal(batch[0]), batch[1]


class InTransfer(Plain):
    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return normal(batch[0].to(device)), batch[1].to(device)


class BytesInForward(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return self.net(normal(x.float() / 255))


class BytesInTypedForward(Plain):
    """As `v2.ToDtype(scale=True)`: floats are not divided."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(normal(v2.functional.to_dtype(x, torch.float32, scale=True)))


class BytesInStep(Plain):
    def given(self, batch: Any) -> Any:
        return batch[0].float() / 255, batch[1]


class NormalInStep(Plain):
    def given(self, batch: Any) -> Any:
        return normal(batch[0]), batch[1]


class NormalByModule(Plain):
    """As kornia's ``Normalize``: a module beside the network."""

    def __init__(self) -> None:
        super().__init__()
        self.augment = nn.Sequential(v2.Normalize([MEAN] * 3, [STD] * 3))

    def given(self, batch: Any) -> Any:
        return self.augment(batch[0]), batch[1]


class NormalByBuffers(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((3, 1, 1), MEAN))

    def forward(self, x: Tensor) -> Tensor:
        return self.net((x - self.mean) / STD)


class PastForward(Plain):
    """Forward is for inference; the step calls the network itself."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(normal(x)).softmax(1)

    def logits(self, x: Any) -> Any:
        return self.net(normal(x))


class PastRawForward(Plain):
    def logits(self, x: Any) -> Any:
        return self.net(normal(x))


class NoForward(pl.LightningModule):
    """No forward at all, as many write it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def training_step(self, batch: Any, index: int) -> Tensor:
        return F.cross_entropy(self.net(normal(batch[0])), batch[1])

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_acc", (self.net(normal(batch[0])).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


class Smaller(Plain):
    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return F.interpolate(batch[0], (12, 12), mode="bilinear", antialias=True) - MEAN, batch[1]


class Cropped(Plain):
    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return normal(v2.functional.center_crop(batch[0], [12, 12])), batch[1]


class Bgr(Plain):
    def given(self, batch: Any) -> Any:
        return batch[0].flip(1) * 255 - 110, batch[1]


class Grey(Plain):
    n_in = 1

    def given(self, batch: Any) -> Any:
        return (batch[0] * torch.tensor([0.6, 0.1, 0.3])[:, None, None]).sum(1, keepdim=True) - 0.5, batch[1]


class EachByItself(Plain):
    def given(self, batch: Any) -> Any:
        x = batch[0]
        return (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True), batch[1]


class ChannelsLast(Plain):
    """The data set gives (H, W, C) bytes to the loader, the hook turns them."""

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return batch[0].permute(0, 3, 1, 2).float() / 255, batch[1]


class NoAffineMap(Plain):
    def given(self, batch: Any) -> Any:
        return 30 * (batch[0] - MEAN) ** 3 + torch.sin(40 * batch[0]), batch[1]


def processed(samples: list[Any]) -> Any:
    """As an image processor in ``collate_fn``: pictures of any size to normalised tensors of one."""
    resized = [np.asarray(picture.resize((14, 14), Image.Resampling.BILINEAR)) for picture, _ in samples]
    pixels = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2) / 255
    return {"pixel_values": normal(pixels), "labels": torch.tensor([label for _, label in samples])}


class Processed(Plain):
    def given(self, batch: Any) -> Any:
        return batch["pixel_values"], batch["labels"]


class GivesClasses(Plain):
    """Forward is what is deployed."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(normal(x)).argmax(1)

    def logits(self, x: Any) -> Any:
        return self.net(normal(x))


class WithTeacher(NoForward):
    def __init__(self) -> None:
        super().__init__()
        self.teacher = network().requires_grad_(False)


RECIPES |= {
    "plain": Recipe(Plain),
    "forward gives classes": Recipe(GivesClasses),
    "no forward, a teacher beside the network": Recipe(WithTeacher),
    "on_after_batch_transfer": Recipe(AfterTransfer),
    "on_before_batch_transfer": Recipe(BeforeTransfer),
    "transfer_batch_to_device": Recipe(InTransfer),
    "hook of a data module": Recipe(Plain, datamodule=DataModule),
    "bytes, divided in forward": Recipe(BytesInForward, lambda: data(as_bytes)),
    "bytes, divided in forward by their type": Recipe(BytesInTypedForward, lambda: data(as_bytes)),
    "bytes, divided in the step": Recipe(BytesInStep, lambda: data(as_bytes)),
    "0 to 255, divided in the step": Recipe(BytesInStep, lambda: data(lambda x: x * 255)),
    "normalised in the step": Recipe(NormalInStep),
    "normalised by a module in the step": Recipe(NormalByModule),
    "normalised by buffers in forward": Recipe(NormalByBuffers),
    "the step goes past forward": Recipe(PastForward),
    "the step goes past a forward without normalisation": Recipe(PastRawForward),
    "no forward": Recipe(NoForward),
    "resized in a hook": Recipe(Smaller),
    "cropped in a hook": Recipe(Cropped),
    "BGR in the step": Recipe(Bgr),
    "grey in the step": Recipe(Grey),
    "each image by itself": Recipe(EachByItself),
    "a step that is no map of the channels": Recipe(NoAffineMap, sentence="is not what the model sees"),
    "a processor in collate_fn": Recipe(
        Processed, lambda: items(lambda x, y, i: (as_picture(x), y)), loader={"collate_fn": processed}
    ),
    "a shuffled validation": Recipe(Plain, validation={"shuffle": True}),
    "a shuffled validation and a hook": Recipe(AfterTransfer, validation={"shuffle": True}),
    "no sanity check": Recipe(AfterTransfer, trainer={"num_sanity_val_steps": 0}),
    "the probe's preprocess is given": Recipe(AfterTransfer, callback={"preprocess": normal}),
    "the wrong preprocess is given": Recipe(
        AfterTransfer, callback={"preprocess": lambda x: x * 255}, sentence="is not what the model sees"
    ),
}

# ---- what a batch is -------------------------------------------------------------------------------------------------

Batch = namedtuple("Batch", ["image", "label"])


@dataclass
class Bundle:
    image: Tensor
    label: Tensor

    def to(self, *args: Any, **kwargs: Any) -> "Bundle":
        return Bundle(self.image.to(*args, **kwargs), self.label.to(*args, **kwargs))


def bundled(samples: list[Any]) -> Bundle:
    return Bundle(torch.stack([x for x, _ in samples]), torch.tensor([y for _, y in samples]))


class Keyed(Plain):
    def given(self, batch: Any) -> Any:
        return batch["image"], batch["label"]


class KeyedHook(Keyed):
    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return {**batch, "image": normal(batch["image"])}


class Named(Plain):
    def given(self, batch: Any) -> Any:
        return normal(batch.image), batch.label


class TakesTuple(Plain):
    def forward(self, batch: Any) -> Tensor:
        x, _ = batch
        return self.net(x)

    def given(self, batch: Any) -> Any:
        return batch, batch[1]


class TakesDict(Plain):
    def forward(self, batch: Any) -> Tensor:
        return self.net(normal(batch["image"]))

    def given(self, batch: Any) -> Any:
        return batch, batch["label"]


class TakesBundle(TakesTuple):
    def forward(self, batch: Any) -> Tensor:
        return self.net(batch.image)

    def given(self, batch: Any) -> Any:
        return batch, batch.label


class TakesKeywords(Plain):
    """As a Hugging Face model: keywords, and a loss beside the logits where there are labels."""

    def forward(self, *, pixel_values: Tensor, labels: Tensor | None = None) -> Any:
        logits = self.net(normal(pixel_values))
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return SimpleNamespace(loss=loss, logits=logits)

    def given(self, batch: Any) -> Any:
        return {"pixel_values": batch[0], "labels": batch[1]}, batch[1]

    def logits(self, x: Any) -> Any:
        return self(**x).logits


class WithTable(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Linear(4, 2)

    def forward(self, image: Tensor, table: Tensor) -> Tensor:
        return self.net(image) + self.table(table)

    def logits(self, x: Any) -> Any:
        return self(*x)

    def given(self, batch: Any) -> Any:
        return (batch["image"], batch["table"]), batch["label"]


def keyed(x: Tensor, y: int, i: int) -> Any:
    return {"image": x, "label": y}


def with_table(x: Tensor, y: int, i: int) -> Any:
    return {"image": x, "label": y, "table": torch.arange(4.0) * (i % 3) + y}


RECIPES |= {
    "dicts": Recipe(Keyed, lambda: items(keyed)),
    "dicts and a hook": Recipe(KeyedHook, lambda: items(keyed)),
    "named tuples": Recipe(Named, lambda: items(lambda x, y, i: Batch(x, y))),
    "a dataclass of collate_fn": Recipe(Named, loader={"collate_fn": bundled}),
    "forward takes the tuple": Recipe(TakesTuple),
    "forward takes the dict": Recipe(TakesDict, lambda: items(keyed)),
    "forward takes the dict, no sanity check": Recipe(
        TakesDict, lambda: items(keyed), trainer={"num_sanity_val_steps": 0}
    ),
    "forward takes the dataclass": Recipe(TakesBundle, loader={"collate_fn": bundled}),
    "forward takes keywords": Recipe(TakesKeywords),
    "images and a table": Recipe(WithTable, lambda: items(with_table), sentence="depend on more than the images"),
    "images and a table, forward given": Recipe(
        WithTable,
        lambda: items(lambda x, y, i: {**with_table(x, 0, 0), "label": y}),
        callback={"forward": lambda module, images: module(images, torch.zeros(len(images), 4))},
    ),
    "items of another order": Recipe(
        type("Third", (Plain,), {"given": lambda self, batch: (normal(batch[1]), batch[2])}),
        lambda: items(lambda x, y, i: (i, x, y)),
        callback={"read": lambda item: (item[1], item[2])},
    ),
}

# ---- what a model gives ----------------------------------------------------------------------------------------------


class OneScore(Plain):
    n_out = 1

    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(scores.flatten(), labels.float())

    def right(self, scores: Tensor, labels: Tensor) -> Tensor:
        return (scores.flatten() > 0) == labels


class Flat(OneScore):
    def forward(self, x: Any) -> Any:
        return self.net(x).squeeze(-1)


class Sigmoid(OneScore):
    def forward(self, x: Any) -> Any:
        return torch.sigmoid(self.net(x))

    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        return F.binary_cross_entropy(scores.flatten(), labels.float())

    def right(self, scores: Tensor, labels: Tensor) -> Tensor:
        return (scores.flatten() > 0.5) == labels


class FlatSigmoid(Sigmoid):
    def forward(self, x: Any) -> Any:
        return torch.sigmoid(self.net(normal(x)))[:, 0]


class Softmax(Plain):
    def forward(self, x: Any) -> Any:
        return self.net(x).softmax(1)

    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        return F.nll_loss(scores.clamp_min(1e-6).log(), labels)


class LogSoftmax(Plain):
    def forward(self, x: Any) -> Any:
        return self.net(x).log_softmax(1)


class OneVersusRest(Plain):
    def forward(self, x: Any) -> Any:
        return torch.sigmoid(self.net(x))

    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        return F.binary_cross_entropy(scores, F.one_hot(labels, 2).float())


class Cosines(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(2, 16))

    def forward(self, x: Any) -> Any:
        return F.linear(F.normalize(self.net[:-1](x)), F.normalize(self.prototypes))

    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(16 * scores, labels)


class Several(Plain):
    """Forward gives an object, of which the step takes the logits."""

    @staticmethod
    def give(features: Tensor, logits: Tensor) -> Any:
        return features, logits

    @staticmethod
    def take(output: Any) -> Tensor:
        return output[1]

    def forward(self, x: Any) -> Any:
        features = self.net[:-1](x)
        return self.give(features, self.net[-1](features))

    def logits(self, x: Any) -> Any:
        return self.take(self(x))


class InDict(Several):
    @staticmethod
    def give(features: Tensor, logits: Tensor) -> Any:
        return {"features": features, "out": logits}

    @staticmethod
    def take(output: Any) -> Tensor:
        return output["out"]


class InDataclass(Several):
    @staticmethod
    def give(features: Tensor, logits: Tensor) -> Any:
        return Bundle(features, logits)

    @staticmethod
    def take(output: Any) -> Tensor:
        return output.label


class WithAuxiliary(Several):
    @staticmethod
    def give(features: Tensor, logits: Tensor) -> Any:
        return {"aux": features[:, :2], "logits": logits}

    @staticmethod
    def take(output: Any) -> Tensor:
        return output["logits"]


class AuxiliaryFirst(Several):
    """Nothing but the accuracy tells which of two tensors counts."""

    @staticmethod
    def give(features: Tensor, logits: Tensor) -> Any:
        return -logits + 0 * features[:, :2], logits


class LoggedLate(AuxiliaryFirst):
    """Logs its accuracy after the callbacks have had their turn."""

    def __init__(self) -> None:
        super().__init__()
        self.n_right: list[Tensor] = []

    def validation_step(self, batch: Any, index: int, dataloader_idx: int = 0) -> None:
        x, labels = self.given(batch)
        self.n_right.append(self.right(self.logits(x), labels).float())

    def on_validation_epoch_end(self) -> None:
        self.log("val_acc", torch.cat(self.n_right).mean())
        self.n_right.clear()


class Embedding(Plain):
    """Forward gives features; the head is called in the step."""

    def forward(self, x: Any) -> Any:
        return self.net[:-1](x)

    def logits(self, x: Any) -> Any:
        return self.net[-1](self(x))


RECIPES |= {
    "a logit (N, 1)": Recipe(OneScore),
    "a logit (N,)": Recipe(Flat),
    "a sigmoid (N, 1)": Recipe(Sigmoid),
    "a sigmoid (N,), normalised in forward": Recipe(FlatSigmoid),
    "a softmax": Recipe(Softmax),
    "a log-softmax": Recipe(LogSoftmax),
    "sigmoids, one against the rest": Recipe(OneVersusRest),
    "cosines": Recipe(Cosines),
    "features and logits": Recipe(Several),
    "a dict of features and logits": Recipe(InDict),
    "a dataclass of features and logits": Recipe(InDataclass),
    "an auxiliary head": Recipe(WithAuxiliary),
    "two heads of one width": Recipe(AuxiliaryFirst, sentence="scores may be in another order"),
    "two heads of one width, accuracy at the end": Recipe(
        LoggedLate,
        sentence="scores may be in another order",
        trainer={"max_epochs": 1, "num_sanity_val_steps": 0},
    ),
    "an embedding": Recipe(Embedding),
    "an embedding, forward given": Recipe(Embedding, callback={"forward": lambda module, x: module.logits(x)}),
}

# ---- data sets, loops, loggers ---------------------------------------------------------------------------------------


class Manual(ByHand, NormalInStep):
    pass


class Named255(AfterTransfer):
    """Logs its accuracy in per cent, under a name of its own."""

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_acc", self.right(self(batch[0]), batch[1]).float().mean())
        self.log("valid/Accuracy", 100 * self.right(self(batch[0]), batch[1]).float().mean())


def halves() -> Any:
    training, validation = data()
    return training, Subset(validation, list(range(63, -1, -1)))


def joined() -> Any:
    training, validation = data()
    return training, ConcatDataset([Subset(validation, range(32)), Subset(validation, range(32, 64))])


def one_hot() -> Any:
    return (
        TensorDataset(TRAINING[0], F.one_hot(TRAINING[1]).float()),
        TensorDataset(VALIDATION[0], F.one_hot(VALIDATION[1]).float()),
    )


class OneHot(NormalInStep):
    def given(self, batch: Any) -> Any:
        return normal(batch[0]), batch[1].argmax(1)


def transformed() -> Any:
    change = v2.Normalize([MEAN] * 3, [STD] * 3)
    known = {"transform": change, "classes": ["cat", "dog"]}
    return items(lambda x, y, i: (change(x), y), **known)


class Wrapped:
    """As timm's ``PrefetchLoader``: normalises on the way."""

    def __init__(self, loader: Any) -> None:
        self.loader, self.dataset = loader, loader.dataset

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Any:
        return ((normal(x), y) for x, y in self.loader)


class Untouched(DataModule):
    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return batch


def wrapped(training: Any, validation: Any) -> Any:
    return Untouched(Wrapped(training), Wrapped(validation))


class Compiled(NormalInStep):
    def __init__(self) -> None:
        super().__init__()
        self.net = torch.compile(self.net, backend="eager")


class Nested(NormalInStep):
    def __init__(self) -> None:
        super().__init__()
        self.model = nn.ModuleDict({"body": self.net[:-1], "head": self.net[-1]})
        del self.net

    def forward(self, x: Any) -> Any:
        return self.model["head"](self.model["body"](x))


class Attention(NormalInStep):
    """In evaluation mode it has a fast path, which a hook would end."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.patches, self.encoder, self.net = nn.Conv2d(3, 16, 4, 4), nn.TransformerEncoder(layer, 1), nn.Linear(16, 2)

    def forward(self, x: Any) -> Any:
        return self.net(self.encoder(self.patches(x).flatten(2).mT).mean(1))


def two_loaders(training: Any, validation: Any) -> Any:
    return DataModule(training, [validation, DataLoader(validation.dataset, 16)])


RECIPES |= {
    "a Normalize in the transform": Recipe(Plain, transformed),
    "a Normalize in the transform, a factor in the step": Recipe(
        type("Twice", (Plain,), {"given": lambda self, batch: (batch[0] / 2, batch[1])}), transformed
    ),
    "a turned subset": Recipe(AfterTransfer, halves),
    "data sets joined": Recipe(AfterTransfer, joined),
    "one-hot labels": Recipe(OneHot, one_hot),
    "labels that must be read": Recipe(
        AfterTransfer, lambda: (Items(*TRAINING, lambda x, y, i: (x, y)), Items(*VALIDATION, lambda x, y, i: (x, y)))
    ),
    "two validation loaders": Recipe(Plain, datamodule=two_loaders),
    "workers": Recipe(AfterTransfer, loader={"num_workers": 1, "persistent_workers": True}),
    "a manual optimisation": Recipe(Manual),
    "accumulated gradients": Recipe(AfterTransfer, trainer={"accumulate_grad_batches": 2}),
    "validation inside the epoch": Recipe(AfterTransfer, trainer={"val_check_interval": 0.5}),
    "bfloat16": Recipe(AfterTransfer, trainer={"precision": "bf16-mixed"}),
    "an accuracy in per cent": Recipe(Named255),
    "a weighted sampler": Recipe(
        AfterTransfer, validation={"sampler": WeightedRandomSampler([1.0] * 64, 64, replacement=False)}
    ),
    "batches of one's own": Recipe(
        AfterTransfer, validation={"batch_size": 1, "batch_sampler": [list(range(i, 64, 4)) for i in range(4)]}
    ),
    "(H, W, C) bytes, turned in a hook": Recipe(
        ChannelsLast,
        lambda: data(lambda x: as_bytes(x).permute(0, 2, 3, 1)),
        callback={"read": lambda item: (item[0].permute(2, 0, 1), item[1])},
    ),
    "pictures of several sizes": Recipe(
        Processed,
        lambda: items(lambda x, y, i: (as_picture(x).resize((14 + i % 3, 14 + i % 2)), y)),
        loader={"collate_fn": processed},
    ),
    "a loader that normalises": Recipe(Plain, datamodule=wrapped, sentence="is not what the model sees"),
    "a compiled network": Recipe(Compiled),
    "a network in a network": Recipe(Nested),
    "loggers": Recipe(AfterTransfer, trainer={"logger": True}),
    "a network of attention": Recipe(Attention),
    "no inference mode": Recipe(AfterTransfer, trainer={"inference_mode": False}),
    "a batch of one": Recipe(AfterTransfer, validation={"batch_size": 1}),
}
