"""Models that do something in their forward, each with the training that it is for."""

import random
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric

from . import models
from .models import Compilations
from .twins import Body, Net, Twin


class Merging(Body):
    """As LoRA layers do: the adapter is merged into the weights for evaluation and taken out again for training."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(2, 6) / 10)
        self.up = nn.Parameter(torch.randn(2, 2) / 10)

    def train(self, mode: bool = True) -> "Merging":
        if mode != self.training:
            self.head.weight.data += (self.up @ self.down).detach() * (-1 if mode else 1)
        return super().train(mode)


class Observing(Body):
    """As in quantisation-aware training: every forward widens the range that weights and maps are rounded to."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("highest", torch.zeros(0))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    def forward(self, images: Tensor) -> Tensor:
        scores = super().forward(images)
        highest = max(0.1, float(scores.detach().abs().max()), *self.highest.tolist())
        self.highest.resize_(1).fill_(highest)
        self.seen += 1
        return torch.fake_quantize_per_tensor_affine(scores, highest / 127, 0, -128, 127)


class Drawing(Body):
    """Adds noise from generators of its own, in evaluation too."""

    def __init__(self) -> None:
        super().__init__()
        self.rngs = [torch.Generator().manual_seed(1), np.random.default_rng(2), random.Random(3)]

    def forward(self, images: Tensor) -> Tensor:
        torchs, numpys, pythons = self.rngs
        noise = torch.rand(1, generator=torchs) + numpys.random() + pythons.random()
        return super().forward(images + noise / 10)


class Sampling(Body):
    """Monte Carlo dropout: on in evaluation as well, from the global generator."""

    def forward(self, images: Tensor) -> Tensor:
        return self.head(F.dropout(self.features(images), 0.3).mean((2, 3)))


class Weighted(Body):
    """Every forward moves the running mean that its scores are shifted by."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = MeanMetric()

    def forward(self, images: Tensor) -> Tensor:
        scores = super().forward(images)
        self.mean.update(scores.detach())
        return scores - self.mean.compute()


class Reporting(Net):
    """Logs a metric and several values from its forward."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = MeanMetric()

    def forward(self, images: Tensor) -> Tensor:
        scores = super().forward(images)
        if not self.training:
            self.mean(scores)
            self.log("mean", self.mean)
            self.log_dict({"lowest": scores.min(), "highest": scores.max()}, on_epoch=True)
        return scores


class Teaching(Net):
    """An averaged copy of itself, moved after every step, and a queue of what was seen."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher = Body().requires_grad_(False)
        self.register_buffer("queue", torch.zeros(4, 2))

    def forward(self, images: Tensor) -> Tensor:
        scores = super().forward(images) + 0.1 * self.teacher(images) + 0.1 * self.queue.mean(0)
        self.queue = torch.cat([scores.detach()[:1].float(), self.queue[:-1]])
        return scores

    def on_train_batch_end(self, *_: Any) -> None:
        for mine, theirs in zip(self.body.parameters(), self.teacher.parameters(), strict=True):
            theirs.lerp_(mine.detach(), 0.1)


def lazy() -> nn.Module:
    """Draws its weights in its first forward."""
    return nn.Sequential(nn.LazyConv2d(6, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))


def hooked() -> nn.Module:
    """A user who keeps a layer's outputs, and everything that a backward pass brings, and scales gradients by both."""
    body = Body()
    body.watched, brought = [], []

    def scaled(_layer: nn.Module, gradients: Any, _: Any) -> Any:
        brought.append(gradients[0])
        return (None if gradients[0] is None else gradients[0] * len(brought),)

    body.features[0].register_forward_hook(lambda _layer, _inputs, output: body.watched.append(output.detach()))
    body.head.register_full_backward_hook(scaled)
    body.head.weight.register_hook(lambda gradient: gradient / len(body.watched))
    return body


class Sharing(Body):
    """Its scores hang on what earlier passes left in plain objects, arrays and variables of hooks."""

    def __init__(self) -> None:
        super().__init__()
        self.state = SimpleNamespace(n=0, means=deque(maxlen=3), previous=torch.zeros(6))
        self.n_array = np.zeros(1)
        self.pop = keep_outputs(self.features[0])

    def forward(self, images: Tensor) -> Tensor:
        means = self.features(images).mean((2, 3))
        self.state.n += 1
        self.n_array += 1
        self.state.means.append(means.detach().mean(0))
        shift = torch.stack(list(self.state.means)).mean(0) + self.state.previous
        self.state.previous = means.detach().mean(0)
        scale = 1 + (self.state.n + float(self.n_array[0]) + self.pop()) / 100
        return self.head(means + shift / 10) * scale


def keep_outputs(layer: nn.Module) -> Callable[[], float]:
    """As for a penalty on activations: a list and a counter that a hook and a method close over."""
    outputs, n_calls = [], 0

    def keep(_layer: nn.Module, _inputs: Any, output: Tensor) -> None:
        nonlocal n_calls
        n_calls += 1
        outputs.append(float(output.detach().mean()))

    layer.register_forward_hook(keep)
    return lambda: sum(outputs[-5:]) + len(outputs) + n_calls


def spectral() -> nn.Module:
    body = Body()
    nn.utils.parametrizations.spectral_norm(body.head)
    nn.utils.parametrizations.weight_norm(body.features[0])
    return body


MODELS: dict[str, Twin] = {
    "merging adapter": Twin(lambda: Net(Merging)),
    "fake quantisation": Twin(lambda: Net(Observing)),
    "own generators": Twin(lambda: Net(Drawing)),
    "dropout in evaluation": Twin(lambda: Net(Sampling)),
    "metric in forward": Twin(lambda: Net(Weighted)),
    "logging in forward": Twin(Reporting),
    "teacher and queue": Twin(Teaching),
    "everything changes": Twin(lambda: Net(models.Restless)),
    "lazy": Twin(lambda: Net(lazy)),
    "lazy, no sanity check": Twin(lambda: Net(lazy), options={"num_sanity_val_steps": 0}),
    "hooks": Twin(lambda: Net(hooked)),
    "plain objects, arrays, closures": Twin(lambda: Net(Sharing)),
    "spectral and weight norm": Twin(lambda: Net(spectral)),
    "checkpointed": Twin(lambda: Net(models.Checkpointed)),
    "transformer": Twin(lambda: Net(models.Tokens)),
    "shared layer": Twin(lambda: Net(models.Twice)),
    "frozen backbone": Twin(lambda: Net(models.NoGradBackbone)),
    "channels last": Twin(lambda: Net(Body).to(memory_format=torch.channels_last)),
}


def in_place(compiler: Compilations) -> nn.Module:
    body = Body()
    body.compile(backend=compiler)
    return body


def with_compiled_stage(compiler: Compilations) -> nn.Module:
    body = Body()
    body.features = torch.compile(body.features, backend=compiler)
    return body


COMPILED: dict[str, Callable[[Compilations], Twin]] = {
    "module": lambda compiler: Twin(lambda: Net(lambda: torch.compile(Body(), backend=compiler))),
    "in place": lambda compiler: Twin(lambda: Net(lambda: in_place(compiler))),
    "part": lambda compiler: Twin(lambda: Net(lambda: with_compiled_stage(compiler))),
    "by Lightning": lambda compiler: Twin(
        prepare=lambda net: torch.compile(net, backend=compiler),
        options={"max_epochs": 1, "limit_train_batches": 2, "limit_val_batches": 1},
    ),
}
