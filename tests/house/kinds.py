"""Models of many kinds, each in a state that looking must leave alone."""

from collections.abc import Callable

import torch
from torch import nn

from . import models
from .models import Net, fixed

KINDS: dict[str, Callable[[], nn.Module]] = {
    "training": lambda: fixed(Net).train(),
    "evaluating": lambda: fixed(Net).eval(),
    "partly frozen": lambda: models.partly_frozen(fixed(Net)),
    "frozen": lambda: models.frozen(fixed(Net)),
    "accumulating": lambda: models.trained_halfway(fixed(Net)),
    "in-place": lambda: fixed(models.Residual),
    "no_grad backbone": lambda: fixed(models.NoGradBackbone),
    "no_grad forward": lambda: fixed(models.NoGradForward),
    "checkpointed": lambda: fixed(models.Checkpointed),
    "twice": lambda: fixed(models.Twice),
    "restless": lambda: fixed(models.Restless),
    "logging": lambda: fixed(models.Logging),
    "tokens": lambda: fixed(models.Tokens),
    "bfloat16": lambda: fixed(Net).bfloat16(),
    "channels last": lambda: fixed(Net).to(memory_format=torch.channels_last),
    "spectral norm": lambda: fixed(spectral),
    "compiled": lambda: torch.compile(fixed(Net), backend="eager"),
    "hooked": lambda: hooked(fixed(Net)),
    "detached head": lambda: fixed(models.DetachedHead),
    "inference forward": lambda: fixed(models.InferenceForward),
}


def spectral() -> nn.Module:
    net = Net()
    nn.utils.parametrizations.spectral_norm(net.head)
    return net


def hooked(model: nn.Module) -> nn.Module:
    """A user who watches a layer."""
    model.watched = []
    model.stage.register_forward_hook(lambda _layer, _inputs, output: model.watched.append(output))
    return model


def changed(before: dict[str, str], after: dict[str, str]) -> list[str]:
    return [name for name in before if before[name] != after[name]]
