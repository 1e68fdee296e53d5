"""Questions to a Lightning module: how it gives class scores, and whether it has run yet."""

import inspect
from dataclasses import replace
from functools import partial
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from ..examination import ScoresOf
from ..probe.rest import Carrying


class NoForwardError(ValueError):
    """A module does not show how it gives class scores for images alone."""


def forward_of(module: nn.Module, given: ScoresOf | None) -> ScoresOf | None:
    """How to get class scores: as given, the module's own ``forward`` (None), or its only network.

    Raises:
        NoForwardError: The module has no ``forward`` and not exactly one child with parameters, or its ``forward``
            wants more than images.
    """
    if isinstance(given, Carrying) and given.forward is None and not given.rest:
        return replace(given, forward=forward_of(module, None))
    if given is not None:
        return given
    if type(module).forward.__qualname__ not in ("LightningModule.forward", "_forward_unimplemented"):
        _check_takes_images(module)
        return None
    networks = {name: child for name, child in module.named_children() if next(child.parameters(), None) is not None}
    if len(networks) == 1:
        (network,) = networks.values()
        return lambda _, inputs: network(inputs)
    raise NoForwardError(
        f"{type(module).__name__} has no forward() and {len(networks)} networks ({', '.join(networks) or 'none'}); "
        "define forward(), or pass CAMCallback(forward=lambda module, images: class_scores)"
    )


def _check_takes_images(module: nn.Module) -> None:
    try:
        inspect.signature(module.forward).bind("images")
    except TypeError as error:
        raise NoForwardError(
            f"{type(module).__name__}.forward() must take images alone ({error}); "
            "pass CAMCallback(forward=lambda module, images: class_scores)"
        ) from error


def has_run(module: nn.Module) -> bool:
    """Whether no lazy parameter is left: the first forward pass creates them, and must be the training's own."""
    return not any(map(is_lazy, module.parameters()))


def ignored_by(module: nn.Module) -> int | None:
    """The number in maps of classes that the losses of a module leave out; None where they name none, or several.

    A negative number marks no class in any map, and 0 is the background.
    """
    losses = [loss for part in module.modules() for loss in (part, *vars(part).values())]
    named = [loss.keywords if isinstance(loss, partial) else vars(loss) for loss in losses if _may_ignore(loss)]
    numbers = {number for each in named if isinstance(number := each.get("ignore_index"), int) and number > 0}
    return numbers.pop() if len(numbers) == 1 else None


def _may_ignore(loss: Any) -> bool:
    return isinstance(loss, (partial, nn.Module))
