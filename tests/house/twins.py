"""Twin trainings, one with a callback beside it and one without, and digests of everything that they leave behind."""

import hashlib
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lightning_cam import CAMCallback, Probe
from lightning_cam.intervention import STANDARD
from lightning_cam.sinks.memory import MemorySink

SIZE = 12
FEW = tuple(trial for trial in STANDARD if trial.cue in ("background", "cast"))


class Augmented(Dataset[tuple[Tensor, int]]):
    """Images that draw from torch's, numpy's and python's global generators, as many training sets do."""

    def __len__(self) -> int:
        return 30

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = torch.full((3, SIZE, SIZE), index / 30)
        noise = torch.rand(3, SIZE, SIZE) / 4 + float(np.random.rand()) / 4 + random.random() / 4
        return (image / 4 + noise).clamp(0, 1), index % 2


class Body(nn.Module):
    """Convolution, BatchNorm, in-place ReLU, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(6, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.drop(self.features(images)).mean((2, 3)))


class Net(pl.LightningModule):
    """A scheduler, a counter, and a log call in forward."""

    def __init__(self, body: Callable[[], nn.Module] = Body) -> None:
        super().__init__()
        self.body = body()
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        scores = self.body(images)
        if not self.training:
            self.log("activity", scores.mean(), on_step=False, on_epoch=True)
        return scores

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.05, eps=1e-4)  # half precision has no 1e-8
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.7)]


class FrozenBatchNorm(Net):
    def on_train_epoch_start(self) -> None:
        self.body.features[1].eval()


class ByHand(Net):
    """Two optimizers, stepped by the module itself, as in adversarial training."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        for optimizer in self.optimizers():
            self.toggle_optimizer(optimizer)
            loss = F.cross_entropy(self(batch[0]), batch[1])
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            self.untoggle_optimizer(optimizer)
        return {"loss": loss.detach()}

    def configure_optimizers(self) -> Any:
        parts = (self.body.features, self.body.head)
        return [torch.optim.SGD(part.parameters(), lr=0.1, momentum=0.9) for part in parts]


class Losses(pl.Callback):
    """Every loss of the run, in order, and the gradients of the last step."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.gradients: list[str] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
        self.values.append(float(outputs["loss"]))

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.gradients = [digest(parameter.grad) for parameter in pl_module.parameters()]


@dataclass(frozen=True, eq=False)  # options have no hash
class Twin:
    """How both of two trainings are set up."""

    build: Callable[[], pl.LightningModule] = Net
    options: Mapping[str, Any] = field(default_factory=dict)
    first: Callable[[], Sequence[pl.Callback]] = tuple  # callbacks before the one in question
    last: Callable[[], Sequence[pl.Callback]] = tuple
    workers: int = 0
    prepare: Callable[[pl.LightningModule], Any] = lambda module: module
    checkpoint: Path | None = None


def trained(folder: Path, callbacks: Sequence[pl.Callback] = (), twin: Twin = Twin()) -> dict[str, str]:
    """Digests of everything that a training leaves behind."""
    for seed in (torch.manual_seed, np.random.seed, random.seed):
        seed(7)
    net = twin.build()
    losses = Losses()
    loader = DataLoader(Augmented(), 6, shuffle=True, num_workers=twin.workers, persistent_workers=twin.workers > 0)
    options: dict[str, Any] = {
        "max_epochs": 2,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "default_root_dir": folder,
        "accelerator": "cpu",
        "log_every_n_steps": 1,
        **twin.options,
    }
    trainer = pl.Trainer(callbacks=[losses, *twin.first(), *callbacks, *twin.last()], **options)
    trainer.fit(twin.prepare(net), loader, DataLoader(Augmented(), 6), ckpt_path=twin.checkpoint)
    assert all(parameter.isfinite().all() for parameter in net.parameters())  # two NaN are the same whatever was done
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return {
        "weights": digest(net.state_dict()),
        "roles": digest([(p.grad is None, p.requires_grad, p._version) for p in net.parameters()]),
        "gradients": digest(losses.gradients),
        "optimizer": digest([optimizer.state_dict() for optimizer in trainer.optimizers]),
        "schedulers": digest([config.scheduler.state_dict() for config in trainer.lr_scheduler_configs]),
        "scaler": digest(scaler.state_dict() if scaler else None),
        "losses": digest(losses.values),
        "random": digest([torch.get_rng_state(), np.random.get_state(), random.getstate(), gpus]),
        "flags": digest([(name, module.training) for name, module in net.named_modules()]),
        "attributes": digest([contents(vars(module)) for module in net.modules()]),
        "metrics": digest({k: v for k, v in sorted(trainer.callback_metrics.items()) if not k.startswith("cam/")}),
    }


@cache
def alone(twin: Twin) -> dict[str, str]:
    """What the training without a callback leaves behind; it is the same each time, so once is enough."""
    return trained(Path(), twin=twin)


def differences(one: Mapping[str, str], other: Mapping[str, str]) -> set[str]:
    return {key for key in one if one[key] != other[key]}


def digest(thing: object) -> str:
    """One string for tensors, dictionaries and numbers, to the last bit."""
    return hashlib.sha256(repr(contents(thing)).encode()).hexdigest()


def contents(value: Any) -> Any:
    """Tensors by bytes, containers by content, numbers and texts as they are, everything else by its type."""
    if isinstance(value, Tensor):
        values = value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
        return str(value.dtype), tuple(value.shape), value.stride(), hashlib.sha256(values).hexdigest()
    if isinstance(value, (np.ndarray, torch.Generator)):
        return value.tolist() if isinstance(value, np.ndarray) else value.get_state().tolist()
    if isinstance(value, dict):  # hooks have a number in the process for a key
        items = ((key, item) for key, item in value.items() if key != "_torchdynamo_wrapper_id")
        return [(key if isinstance(key, str) else "", contents(item)) for key, item in items]
    if isinstance(value, (list, tuple, deque)):
        return [contents(item) for item in value]
    return value if isinstance(value, (bool, int, float, str, type(None))) else type(value).__name__


def probe() -> Probe:
    images = torch.rand(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))
    return Probe(images, torch.arange(4) % 2, masks=images[:, 0] > 0.5)


def ours(**options: Any) -> CAMCallback:
    """Whatever goes wrong in it is an error of the test."""
    return CAMCallback(
        probe(), **{"sinks": [MemorySink()], "on_error": "raise", "trials": FEW, "n_images": 1, **options}
    )
