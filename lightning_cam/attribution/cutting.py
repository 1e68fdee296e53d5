"""Cuts of the graph at layers, and the feature map in what a layer returns."""

import copy
import threading
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class Cut:
    """What a layer's last call handed on before its clone, and the number of calls. A leaf, if it ran first."""

    leaf: Tensor | None = None
    n_calls: int = 0


@contextmanager
def cut(layers: Sequence[nn.Module]) -> Iterator[list[Cut]]:
    """While open, the layer that runs first hands a clone of a fresh leaf downstream, the others one of their output.

    All threads share a module's hooks; in any other than this one the model may be training.
    """
    owner = threading.get_ident()
    cuts = [Cut() for _ in layers]

    def take(made: Cut, _layer: nn.Module, _inputs: Any, output: Any) -> Any:
        if threading.get_ident() != owner:
            return output
        torch.set_grad_enabled(True)  # off up to here; the caller restores it after the forward pass
        original = map_in(output)
        # Behind another of the layers the graph goes on: that one's gradient comes through this layer.
        goes_on = original.requires_grad and any(other.leaf is not None for other in cuts if other is not made)
        made.leaf = original if goes_on else original.detach().requires_grad_()
        made.n_calls += 1
        # A clone, because autograd forbids in-place operations on a leaf, and a ReLU behind the layer may be one.
        return replaced(output, original, made.leaf.clone())

    with ExitStack() as hooks:
        for layer, made in zip(layers, cuts, strict=True):
            hooks.callback(layer.register_forward_hook(partial(take, made)).remove)
        yield cuts


def map_in(output: Any) -> Tensor:
    """The first floating tensor with space or tokens in it."""
    feature_map = next((t for t in _tensors_in(output) if t.is_floating_point() and t.ndim >= 3), None)
    if feature_map is None:
        raise ValueError(
            f"expected a layer that returns a feature map, found {type(output).__name__}; choose another, layer='...'"
        )
    return feature_map


def _tensors_in(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, (tuple, list, Mapping)):
        for item in output.values() if isinstance(output, Mapping) else output:
            yield from _tensors_in(item)


def replaced(output: Any, old: Tensor, new: Tensor) -> Any:
    """The same structure with one tensor replaced."""
    if output is old:
        return new
    if isinstance(output, MutableMapping):
        changed = copy.copy(output)
        changed.update({key: replaced(item, old, new) for key, item in output.items()})
        return changed
    if isinstance(output, (tuple, list)):
        items = [replaced(item, old, new) for item in output]
        return type(output)(*items) if hasattr(output, "_fields") else type(output)(items)
    return output
