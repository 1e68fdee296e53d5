"""Questions to a Lightning module: how it gives class scores, and whether it has run yet."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy


def forward_of(module: nn.Module, given: Callable[[nn.Module, Tensor], Any] | None) -> Callable[[Tensor], Any] | None:
    """How to get class scores: as given, the module's own ``forward`` (None), or its only network.

    Raises:
        ValueError: The module has no ``forward`` and not exactly one child with parameters, or its ``forward`` wants
            more than images.
    """
    if given is not None:
        return partial(given, module)
    if type(module).forward.__qualname__ not in ("LightningModule.forward", "_forward_unimplemented"):
        _check_takes_images(module)
        return None
    networks = {name: child for name, child in module.named_children() if next(child.parameters(), None) is not None}
    if len(networks) == 1:
        return next(iter(networks.values()))
    raise ValueError(
        f"{type(module).__name__} has no forward() and {len(networks)} networks ({', '.join(networks) or 'none'}); "
        "define forward(), or pass CAMCallback(forward=lambda module, images: class_scores)"
    )


def _check_takes_images(module: nn.Module) -> None:
    try:
        inspect.signature(module.forward).bind("images")
    except TypeError as error:
        raise ValueError(
            f"{type(module).__name__}.forward() must take images alone ({error}); "
            "pass CAMCallback(forward=lambda module, images: class_scores)"
        ) from error


def has_run(module: nn.Module) -> bool:
    """Whether no lazy parameter is left: the first forward pass creates them, and must be the training's own."""
    return not any(map(is_lazy, module.parameters()))
