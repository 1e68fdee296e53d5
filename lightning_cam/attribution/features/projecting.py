"""From one value of a layer back to the pixels that it depends on, and to what it answers to there."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import inference
from ..backward import gradients_of
from ..layers import class_name
from ..layouts import layout_of
from ..rectifiers import Rule, activations_between, deconvolved, guided, kind_of, nodes_behind, ruled
from ..tracing import Traced
from .answers import Reader, answers

PictureRule: TypeAlias = Literal["guided", "deconvnet"]
RULES: dict[PictureRule, Rule] = {"guided": guided, "deconvnet": deconvolved}


@dataclass(frozen=True, eq=False)
class Projection:
    """Of one value in each of ``M`` images.

    Attributes:
        reached: ``(M, H, W)`` bool, the pixels of the model input that the value can depend on.
        pictures: ``(M, C, H, W)`` float32; None where the model has other activations than ReLUs alone.
    """

    reached: Tensor
    pictures: Tensor | None


def grid_of(answer: Tensor, inputs: Tensor) -> Tensor:
    """``(N, K, h, w)``; a layer that answers with a vector has one place."""
    if answer.ndim == 2:
        return answer[:, :, None, None]
    return layout_of(answer, (inputs.shape[-2], inputs.shape[-1]), n_images=len(inputs)).grid(answer)


def project(reader: Reader, layer: str, inputs: Tensor, values: Tensor, picture: PictureRule) -> Projection:
    """Traces one value of the layer's grid in each of one batch of inputs.

    Args:
        reader: The model.
        layer: Its name.
        inputs: ``(M, C, H, W)`` model inputs.
        values: ``(M, 3)`` channel, row and column of each one's value.
        picture: The rule at ReLUs.

    Raises:
        RuntimeError: Autograd finds no way from the layer to the pixels.
    """
    leaf = inputs.detach().clone().requires_grad_()
    name = class_name(reader.model)
    with torch.enable_grad(), Traced():
        _, (answer,) = inference.explained(lambda: answers(reader.model, [layer], reader.run, leaf))
        grid = grid_of(answer, leaf)
        channels, rows, columns = values.to(grid.device).unbind(1)
        chosen = grid[torch.arange(len(leaf), device=grid.device), channels, rows, columns].sum()
        between = activations_between(leaf, chosen, name)
        with _ruled(_reaches, between.rectifiers), _spread_pools(chosen):
            field = _gradient(chosen, leaf, name, layer)
        if between.others and not between.rectifiers:
            return Projection(_is_reached(field), None)
        with _ruled(RULES[picture], between.rectifiers):
            return Projection(_is_reached(field), _gradient(chosen, leaf, name, layer).float())


def _is_reached(field: Tensor) -> Tensor:
    return (field != 0).any(1)


def _gradient(chosen: Tensor, leaf: Tensor, name: str, layer: str) -> Tensor:
    gradient = gradients_of(chosen, [leaf])[0] if chosen.requires_grad else None
    if gradient is None:
        raise RuntimeError(
            f"autograd finds no way from layer {layer!r} of {name} to the pixels, so nobody knows which patch it sees. "
            "Usually a detach() lies between: choose a layer before it, layer='...'"
        )
    return gradient


def _reaches(_before: Tensor, behind: Tensor) -> Tensor:
    """At a ReLU that is open for every input. Ones, because a product over many layers would become zero."""
    return (behind != 0).to(behind.dtype)


@contextmanager
def _ruled(rule: Rule, rectifiers: Sequence[Any]) -> Iterator[None]:
    """While open, a rule holds at these nodes of the graph."""
    with ExitStack() as stack:
        for node in rectifiers:
            stack.callback(ruled(rule, node).remove)
        yield


@contextmanager
def _spread_pools(chosen: Tensor) -> Iterator[None]:
    """While open, max-pooling hands the gradient to its whole window: the maximum may lie anywhere in it."""
    with ExitStack() as stack:
        for node in nodes_behind(chosen):
            if kind_of(node) == "MaxPool2DWithIndices":
                stack.callback(ruled(partial(_over_window, _Window.of(node)), node).remove)
        yield


@dataclass(frozen=True)
class _Window:
    """Geometry of a pooling, by axis."""

    side: Sequence[int]
    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]

    @classmethod
    def of(cls, node: Any) -> "_Window":
        """As autograd keeps it. Its names are private, and the tests would notice others."""
        side = node._saved_kernel_size
        return cls(side, node._saved_stride or side, node._saved_padding, node._saved_dilation)


def _over_window(window: _Window, before: Tensor, behind: Tensor) -> Tensor:
    reached = _reaches(before, behind).reshape(-1, 1, *behind.shape[-2:])
    ones = reached.new_ones(1, 1, *window.side)
    spread = F.conv_transpose2d(reached, ones, stride=list(window.stride), dilation=list(window.dilation))
    (top, left), (height, width) = window.padding, before.shape[-2:]
    missing = (-left, width + left - spread.shape[-1], -top, height + top - spread.shape[-2])  # below 0: cut off
    return F.pad(spread, missing).view_as(before)
