"""More recipes: what real code bases add to a training, such as compiling, averaged weights, mixing and margins."""

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torchmetrics
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, default_collate, get_worker_info
from torchvision.transforms import v2

from .parts import MEAN, STD, TRAINING, VALIDATION, DataModule, Plain, Recipe, data, items, network, normal

FURTHER: dict[str, Recipe] = {}
NORMALIZE = v2.Normalize([MEAN] * 3, [STD] * 3)


class InStep(Plain):
    def given(self, batch: Any) -> Any:
        return normal(batch[0]), batch[1]


class Transforms(Plain):
    """Two pipelines for the GPU, of which training's is random."""

    in_training = v2.Compose([v2.RandomHorizontalFlip(), NORMALIZE])
    in_validation: Any = NORMALIZE

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        change = self.in_training if self.trainer.training else self.in_validation
        return torch.stack([change(image) for image in batch[0]]), batch[1]


class AlwaysFlipping(Transforms):
    in_validation = Transforms.in_training


class Jittering(Transforms):
    """Random, but of one range."""

    in_training = in_validation = v2.Compose([v2.ColorJitter(0.1, 0.1), v2.RandomHorizontalFlip()])


class OtherColours(Plain):
    def given(self, batch: Any) -> Any:
        high, low = batch[0].amax(1, keepdim=True), batch[0].amin(1, keepdim=True)
        return torch.cat([(high - low) / high, high, (batch[0][:, :1] - batch[0][:, 2:]).abs()], 1), batch[1]


class LateConstants(Plain):
    """Constants of the data, which the sanity check runs without."""

    mean, std = 0.0, 1.0

    def on_train_start(self) -> None:
        self.mean, self.std = MEAN, STD

    def given(self, batch: Any) -> Any:
        return (batch[0] - self.mean) / self.std, batch[1]


class LateInHook(LateConstants):
    def given(self, batch: Any) -> Any:
        return batch

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return LateConstants.given(self, batch)


class RunningMeans(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.normalise = nn.BatchNorm2d(3, affine=False)

    def given(self, batch: Any) -> Any:
        return self.normalise(batch[0]), batch[1]


class Gan(Plain):
    """Its ``forward`` takes noise, and its discriminator, ``net``, classifies."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Linear(4, 3 * 16 * 16)
        self.automatic_optimization = False

    def forward(self, noise: Tensor) -> Tensor:
        return self.generator(noise).view(-1, 3, 16, 16)

    def training_step(self, batch: Any, index: int) -> None:
        noise = torch.randn(len(batch[1]), 4)
        for optimizer, images in zip(self.optimizers(), (None, normal(batch[0])), strict=True):
            self.toggle_optimizer(optimizer)
            scores = self.net(self(noise) if images is None else images)
            optimizer.zero_grad()
            self.manual_backward(F.cross_entropy(scores, batch[1]))
            optimizer.step()
            self.untoggle_optimizer(optimizer)
        self.log("val_acc", 0.5)

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_acc", self.net(self(torch.randn(8, 4))).argmax(1).float().mean())

    def configure_optimizers(self) -> Any:
        return [torch.optim.Adam(each.parameters(), 1e-2) for each in (self.generator, self.net)], []


class TwoHooks(DataModule):
    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return batch[0].float() / 255, batch[1]


FURTHER |= {
    "constants set when training starts": Recipe(LateConstants),
    "constants set when training starts, in a hook": Recipe(LateInHook),
    "constants set when training starts, shuffled validation": Recipe(LateConstants, validation={"shuffle": True}),
    "running means of the input": Recipe(RunningMeans),
    "a GAN": Recipe(Gan, sentence=r"forward=lambda module, images: module\.net\(images\)"),
    "a GAN without validation": Recipe(Gan, sentence=r"module\.net\(images\)", trainer={"limit_val_batches": 0}),
    "random transforms in training's hook": Recipe(Transforms),
    "random transforms in every hook": Recipe(
        AlwaysFlipping, sentence=r"v2\.Normalize\(\[0\.5, 0\.5, 0\.5\], \[0\.1, 0\.1, 0\.1\]\) comes close"
    ),
    "a jitter in every hook": Recipe(Jittering),
    "saturation and lightness in the step": Recipe(OtherColours, sentence="Of the same pictures other numbers arrive"),
    "random transforms in every hook, preprocess given": Recipe(AlwaysFlipping, callback={"preprocess": NORMALIZE}),
    "bytes in one hook, a normalisation in the other": Recipe(
        Plain, lambda: data(lambda images: (images * 255).byte()), datamodule=TwoHooks
    ),
}

# ---- how the network is written and run ------------------------------------------------------------------------------


class InPlaceCompiled(InStep):
    def __init__(self) -> None:
        super().__init__()
        self.net.compile(backend="eager")


class CompiledBackbone(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = torch.compile(self.net[:5], backend="eager"), self.net[5:]
        del self.net

    def forward(self, x: Any) -> Any:
        return self.head(self.backbone(normal(x)))


class WritesIntoItsInput(Plain):
    def forward(self, x: Any) -> Any:
        return self.net(x.sub_(MEAN).div_(STD))


class Parts(nn.Module):
    """As models of timm."""

    def __init__(self) -> None:
        super().__init__()
        layers = network()
        self.body, self.pool, self.fc = layers[:5], layers[5:7], layers[7]

    def forward_features(self, x: Tensor) -> Tensor:
        return self.body(x)

    def forward_head(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


class PartByPart(InStep):
    def __init__(self) -> None:
        super().__init__()
        self.net = Parts()

    def logits(self, x: Any) -> Any:
        return self.net.forward_head(self.net.forward_features(x))


class Checkpointed(Plain):
    def forward(self, x: Any) -> Any:
        return self.net[3:](checkpoint(self.net[:3], normal(x), use_reentrant=False))


class Averaged(Plain):
    """Validated with weights that are averaged over the steps."""

    def __init__(self) -> None:
        super().__init__()
        self.average = AveragedModel(self.net, multi_avg_fn=get_ema_multi_avg_fn(0.8))

    def on_train_batch_end(self, *_: Any) -> None:
        self.average.update_parameters(self.net)

    def forward(self, x: Any) -> Any:
        return (self.net if self.training else self.average)(normal(x))


class LastInMemory(InStep):
    def __init__(self) -> None:
        super().__init__()
        self.to(memory_format=torch.channels_last)

    def given(self, batch: Any) -> Any:
        return normal(batch[0]).to(memory_format=torch.channels_last), batch[1]


class Counting(Plain):
    """A metric that the forward updates and the loss reads."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = torchmetrics.MeanMetric()

    def forward(self, x: Any) -> Any:
        scores = self.net(normal(x))
        self.largest.update(scores.detach().amax(1))
        return scores

    def training_step(self, batch: Any, index: int) -> Tensor:
        return super().training_step(batch, index) * (1 + 0.01 * self.largest.compute())


FURTHER |= {
    "net.compile()": Recipe(InPlaceCompiled),
    "a compiled backbone": Recipe(CompiledBackbone),
    "features and head, called one after the other": Recipe(PartByPart),
    "a forward that writes into its input": Recipe(WritesIntoItsInput, lambda: items(lambda x, y, i: (x.clone(), y))),
    "gradient checkpoints": Recipe(Checkpointed),
    "averaged weights": Recipe(Averaged),
    "channels last in memory": Recipe(LastInMemory),
    "a metric inside forward": Recipe(Counting),
    "bfloat16 throughout": Recipe(InStep, trainer={"precision": "bf16-true"}),
    "float64 throughout": Recipe(InStep, trainer={"precision": "64-true"}),
}

# ---- what the loss wants ---------------------------------------------------------------------------------------------


def mixed(samples: list[Any]) -> Any:
    images, labels = default_collate(samples)
    order, share = torch.randperm(len(images)), float(torch.rand(()))
    soft = F.one_hot(labels, 2).float()
    return share * images + (1 - share) * images[order], share * soft + (1 - share) * soft[order]


class Mixing(TwoHooks):
    """Mixes the pictures of training's batches alone."""

    def train_dataloader(self) -> Any:
        return DataLoader(self.training.dataset, 16, shuffle=True, collate_fn=mixed)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return batch


class Smoothed(Plain):
    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(scores, labels, label_smoothing=0.1)


class Margin(Plain):
    """As ArcFace: with labels the forward lowers the right class's score by a margin."""

    def __init__(self) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(2, 16))

    def forward(self, x: Any, labels: Tensor | None = None) -> Any:
        cosines = F.linear(F.normalize(self.net[:-1](normal(x))), F.normalize(self.prototypes))
        return 16 * (cosines if labels is None else cosines - 0.2 * F.one_hot(labels, 2))

    def training_step(self, batch: Any, index: int) -> Tensor:
        return F.cross_entropy(self(*batch), batch[1])


class MarginAlways(Margin):
    def forward(self, x: Any, labels: Tensor) -> Any:
        return super().forward(x, labels)

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_acc", (self(*batch).argmax(1) == batch[1]).float().mean())


class Views(Plain):
    """Two views of each picture, whose scores are added."""

    def forward(self, views: Any) -> Any:
        return self.net(normal(views[0])) + self.net(normal(views[1]))

    def given(self, batch: Any) -> Any:
        return [batch[0], batch[0].flip(3)], batch[1]


class Adversarial(InStep):
    """Two optimisers, of which one makes pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.painter = nn.Linear(4, 3 * 16 * 16)

    def training_step(self, batch: Any, index: int) -> Any:
        x, labels = self.given(batch)
        painted = self.painter(torch.randn(len(labels), 4)).view(-1, 3, 16, 16)
        for optimizer, images in zip(self.optimizers(), (painted, x), strict=True):
            self.toggle_optimizer(optimizer)
            self.manual_backward(F.cross_entropy(self(images), labels))
            optimizer.step()
            optimizer.zero_grad()
            self.untoggle_optimizer(optimizer)

    def configure_optimizers(self) -> Any:
        of_painter = torch.optim.Adam(self.painter.parameters(), 1e-3)
        return [of_painter, torch.optim.Adam(self.net.parameters(), 3e-2)], []


class TwoTasks(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.colours = nn.Linear(16, 3)

    def forward(self, x: Any) -> Any:
        features = self.net[:-1](normal(x))
        return {"colour": self.colours(features), "class": self.net[-1](features)}

    def logits(self, x: Any) -> Any:
        return self(x)["class"]


class Mirrored(InStep):
    """Validated on each picture and on its mirror image."""

    def validation_step(self, batch: Any, index: int) -> None:
        x, labels = self.given(batch)
        self.log("val_acc", ((self(x) + self(x.flip(3))).argmax(1) == labels).float().mean())


FURTHER |= {
    "mixed pictures and smoothed labels": Recipe(Smoothed, datamodule=Mixing),
    "a margin where labels are given": Recipe(Margin),
    "a margin that needs labels": Recipe(MarginAlways, sentence="your step also gives 'labels' to module"),
    "a margin that needs labels, forward given": Recipe(
        MarginAlways, callback={"forward": lambda module, images: Margin.forward(module, images)}
    ),
    "a list of views": Recipe(Views, sentence=r"'views\[1\]' to module.*module\(\[images, images\]\)"),
    "two optimisers": Recipe(Adversarial),
    "two tasks": Recipe(TwoTasks),
    "validated on mirror images as well": Recipe(Mirrored),
}

# ---- more than one network -------------------------------------------------------------------------------------------


def teacher() -> nn.Sequential:
    """A frozen network that knows the classes by their wrong names: whoever takes it for the student sees it."""
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), 3e-2)
    for _ in range(30):
        optimizer.zero_grad()
        F.cross_entropy(net(normal(TRAINING[0])), 1 - TRAINING[1]).backward()
        optimizer.step()
    return net.requires_grad_(False)


class Distilled(pl.LightningModule):
    """The teacher comes first, there is no ``forward``, and the key of the accuracy is an unusual one."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher, self.student = teacher(), network()

    def answers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            wrong = self.teacher(x)
        return wrong, self.student(x)

    def training_step(self, batch: Any, index: int) -> Tensor:
        wrong, scores = self.answers(normal(batch[0]))
        return F.cross_entropy(scores, wrong.flip(1).softmax(1))

    def validation_step(self, batch: Any, index: int) -> None:
        right = self.answers(normal(batch[0]))[1].argmax(1) == batch[1]
        self.log("val_right", right.float().mean(), batch_size=len(right))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.student.parameters(), 3e-2)


class NotStepped(Distilled):
    """The teacher has gradients, and no optimizer."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher.requires_grad_(True)


class InDict(Distilled):
    def __init__(self) -> None:
        super().__init__()
        self.networks = nn.ModuleDict({"teacher": self.teacher, "student": self.student})
        del self.teacher, self.student

    def answers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.networks["teacher"](x).detach(), self.networks["student"](x)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.networks["student"].parameters(), 3e-2)


class ForwardOfBoth(Distilled):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.teacher(x), self.student(x)

    def answers(self, x: Tensor) -> Any:
        return self(x)


class Otherwise(Distilled):
    """Only the student is given normalised pictures."""

    def answers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.teacher(x).detach(), self.student(x / 4 + 1)


class OwnAverage(Distilled):
    """Validated by averaged weights alone."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher.load_state_dict(self.student.state_dict())

    def training_step(self, batch: Any, index: int) -> Tensor:
        wrong, scores = self.answers(normal(batch[0]))
        return F.cross_entropy(scores, batch[1]) + F.mse_loss(scores, wrong)

    def on_train_batch_end(self, *_: Any) -> None:
        for average, own in zip(self.teacher.state_dict().values(), self.student.state_dict().values(), strict=True):
            average.copy_(average + 0.3 * (own - average))

    def validation_step(self, batch: Any, index: int) -> None:
        right = self.teacher(normal(batch[0])).argmax(1) == batch[1]
        self.log("val_right", right.float().mean(), batch_size=len(right))


class Pair(Distilled):
    """Two networks are trained, and nothing tells which one counts."""

    def training_step(self, batch: Any, index: int) -> Tensor:
        return sum(F.cross_entropy(each, batch[1]) for each in self.answers(normal(batch[0])))

    def answers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.teacher(x), self.student(x)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.requires_grad_(True).parameters(), 3e-2)


class PairThatSaysIt(Pair):
    def validation_step(self, batch: Any, index: int) -> None:
        right = sum(self.answers(normal(batch[0]))).argmax(1) == batch[1]
        self.log("val_right", right.float().mean(), batch_size=len(right))
        self.log("val_acc", right.float().mean(), batch_size=len(right))


class Siamese(Plain):
    """Tells whether two pictures are of one class."""

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return self.net((one - other).abs())

    def given(self, batch: Any) -> Any:
        return normal(batch[0]), (batch[1] == batch[1].roll(1)).long()

    def logits(self, x: Any) -> Any:
        return self(x, x.roll(1, 0))


class TwoHeads(Plain):
    """No accuracy tells which of two tensors counts."""

    def forward(self, x: Any) -> Any:
        scores = self.net(x)
        return scores, 2 * scores

    def logits(self, x: Any) -> Any:
        return self(x)[0]

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_loss", F.cross_entropy(self(batch[0])[0], batch[1]))


class Swapped(InStep):
    """The step counts the classes from the other end."""

    def given(self, batch: Any) -> Any:
        return normal(batch[0]), 1 - batch[1]


class SwappedInSilence(Swapped):
    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_loss", self.loss(self(self.given(batch)[0]), self.given(batch)[1]))


class NoForwardButAModule(InStep):
    """As kornia beside a network, in a module without ``forward``."""

    forward = pl.LightningModule.forward

    def __init__(self) -> None:
        super().__init__()
        self.augment = nn.Sequential(NORMALIZE)

    def logits(self, x: Any) -> Any:
        return self.net(self.augment(x))

    def given(self, batch: Any) -> Any:
        return batch


FURTHER |= {
    "a teacher first": Recipe(Distilled),
    "a teacher first, shuffled validation": Recipe(Distilled, validation={"shuffle": True}),
    "a teacher with gradients": Recipe(NotStepped),
    "a teacher and a student in a dict": Recipe(InDict),
    "a teacher's scores before the student's": Recipe(ForwardOfBoth),
    "a teacher that is given other numbers": Recipe(Otherwise),
    "a teacher that is given other numbers, shuffled validation": Recipe(Otherwise, validation={"shuffle": True}),
    "averaged weights alone are validated": Recipe(OwnAverage),
    "two networks": Recipe(
        Pair, sentence=r"forward=lambda module, images: module\.student\(images\)\); where your step adds them up"
    ),
    "two networks, one chosen": Recipe(Pair, callback={"forward": lambda module, images: module.student(images)}),
    "two networks and an accuracy": Recipe(PairThatSaysIt),
    "pairs of pictures": Recipe(Siamese, sentence="your step also gives 'other' to module"),
    "two heads, no accuracy": Recipe(TwoHeads, sentence=r"several tensors as wide as the class list \(0 and 1\)"),
    "labels swapped in the step": Recipe(
        Swapped, sentence="by your own 'val_acc'. The labels or scores may be in another order"
    ),
    "labels swapped in the step, no accuracy": Recipe(
        SwappedInSilence, sentence="far fewer than by chance; labels or scores may be in another order"
    ),
    "labels swapped in the step, read given": Recipe(Swapped, callback={"read": lambda item: (item[0], 1 - item[1])}),
    "a module that normalises, no forward": Recipe(NoForwardButAModule),
}

# ---- batches and loops -----------------------------------------------------------------------------------------------


class Rows(Plain):
    """Batches are lists of dicts, as for detectors."""

    def given(self, batch: Any) -> Any:
        images = torch.stack([row["image"] for row in batch])
        return normal(images), torch.tensor([row["label"] for row in batch])


class ListOfImages(Plain):
    def forward(self, images: list[Tensor]) -> Any:
        sized = [F.interpolate(image[None], (12, 12), mode="bilinear", antialias=True) for image in images]
        return self.net(normal(torch.cat(sized)))


def listed(samples: list[Any]) -> Any:
    return [image for image, _ in samples], torch.tensor([int(label) for _, label in samples])


class Nested(Plain):
    def given(self, batch: Any) -> Any:
        return normal(batch[0][0]), batch[1]


class Stream(IterableDataset[Any]):
    """As shards of WebDataset, which each process and worker opens for itself."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __iter__(self) -> Any:
        worker = get_worker_info()
        mine = slice(0, None) if worker is None else slice(worker.id, None, worker.num_workers)
        return ({"jpg": x, "cls": y} for x, y in zip(self.images[mine], self.labels[mine].tolist(), strict=True))


class Streamed(Plain):
    def given(self, batch: Any) -> Any:
        return batch["jpg"], batch["cls"]


class Iterated:
    """A loader of one's own, which does not say what its data set is."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Any:
        return iter(self._loader)


class OwnLoader(TwoHooks):
    def val_dataloader(self) -> Any:
        return Iterated(self.validation)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return batch


class Streams(TwoHooks):
    """Loaders of streams, which have no order of their own to shuffle."""

    n_workers = 0

    def train_dataloader(self) -> Any:
        return DataLoader(Stream(*TRAINING), 16)

    def val_dataloader(self) -> Any:
        return DataLoader(Stream(*VALIDATION), 16, num_workers=self.n_workers)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return batch

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return {**batch, "jpg": normal(batch["jpg"])}


class WithWorkers(Streams):
    n_workers = 2


class Dark(TwoHooks):
    """A second validation set, of another kind."""

    def val_dataloader(self) -> Any:
        images, labels = VALIDATION
        return [self.validation, DataLoader(TensorDataset(images.flip(0) / 2, labels.flip(0)), 8)]

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return batch


def from_one() -> Any:
    return [TensorDataset(images, labels + 1) for images, labels in (TRAINING, VALIDATION)]


def with_holes(samples: list[Any]) -> Any:
    return default_collate([sample for sample in samples if sample is not None])


FURTHER |= {
    "lists of dicts": Recipe(
        Rows, lambda: items(lambda x, y, i: {"image": x, "label": y}), loader={"collate_fn": lambda rows: rows}
    ),
    "lists of images": Recipe(ListOfImages, loader={"collate_fn": listed}),
    "nested items, read given": Recipe(
        Nested,
        lambda: items(lambda x, y, i: ((x, np.float32(i)), y)),
        callback={"read": lambda item: (item[0][0], item[1])},
    ),
    "a second validation set of another kind": Recipe(Plain, datamodule=Dark),
    "a loader of one's own": Recipe(Plain, datamodule=OwnLoader, sentence="is not what the model sees"),
    "streams": Recipe(Streamed, datamodule=Streams),
    "streams, shared out to workers": Recipe(Streamed, datamodule=WithWorkers),
    "streams, read given": Recipe(
        Streamed, datamodule=Streams, callback={"read": lambda item: (item["jpg"], item["cls"])}
    ),
    "labels from one": Recipe(type("Three", (InStep,), {"n_out": 3}), from_one),
    "items of None": Recipe(
        Plain,
        lambda: items(lambda x, y, i: None if i % 7 == 3 else (normal(x), y)),
        loader={"collate_fn": with_holes},
    ),
    "four validations in an epoch": Recipe(InStep, trainer={"num_sanity_val_steps": 0, "val_check_interval": 0.25}),
    "a validation every third epoch": Recipe(InStep, trainer={"check_val_every_n_epoch": 3, "max_epochs": 3}),
}
