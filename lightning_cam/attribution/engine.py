"""Activations and gradients of a layer or of several, from one forward pass.

The graph is cut at the layer, or at the one of several that runs first. Up to there the model runs without gradients;
a hook then turns them on and hands a clone of a fresh leaf downstream. So only what lies behind the layer is kept for
the backward pass, no parameter's ``.grad`` is reached, frozen models work, and an in-place operation behind the layer
cannot overwrite what was captured.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..spatial import VOLUME_AXES
from . import inference
from .backward import gradients_of
from .cutting import cut
from .guard import untouched
from .layers import check_layers, module_of
from .layouts import layout_of, size_of
from .outputs import as_logits
from .targets import Target

Forward: TypeAlias = Callable[[Tensor], Any]


@dataclass(frozen=True, eq=False)
class Capture:
    """A layer's activations and the gradients of the scores there. Detached, on the model's device.

    Attributes:
        layer: Dotted name, as `check_layer` gives it.
        logits: ``(N, n_classes)`` float32.
        activations: ``(N, K, h, w)`` float32.
        gradients: One ``(N, K, h, w)`` float32 tensor per target; zero where that score does not depend on the layer.
        n_calls: The largest number of times that the layer ran in one forward pass. Only its last call is captured.
    """

    layer: str
    logits: Tensor
    activations: Tensor
    gradients: tuple[Tensor, ...]
    n_calls: int


def capture(
    model: nn.Module,
    inputs: Tensor,
    targets: Sequence[Target],
    *,
    layer: str,
    forward: Forward | None = None,
    batch_size: int = 32,
) -> Capture:
    """Activations of a layer and their gradients for every target. The model is the same before and after.

    As `capture_all`, with one layer.

    >>> model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> captured = capture(model, torch.rand(5, 1, 4, 5), [lambda logits: logits[:, 0]], layer="0")
    >>> captured.activations.shape, captured.gradients[0][0, :, 0, 0]
    (torch.Size([5, 2, 4, 5]), tensor([0.0500, 0.0000]))
    """
    (captured,) = capture_all(model, inputs, targets, layers=[layer], forward=forward, batch_size=batch_size)
    return captured


def capture_all(
    model: nn.Module,
    inputs: Tensor,
    targets: Sequence[Target],
    *,
    layers: Sequence[str],
    forward: Forward | None = None,
    batch_size: int = 32,
    may_be_unreached: bool = False,
) -> tuple[Capture, ...]:
    """A capture for each layer, all from the same passes. The model is the same before and after.

    Args:
        model: Any classifier: in training mode, frozen, compiled, in half precision.
        inputs: ``(N, C, H, W)`` model inputs. They are moved to the model's device and precision.
        targets: The scores to explain. Each target is called with ``(N, n_classes)`` logits.
        layers: Dotted names. If a layer runs several times in one forward, its last call counts.
        forward: How to get class scores from model inputs; None calls the model.
        batch_size: Images per pass. Keep it fixed over time: results depend on it in the last bit.
        may_be_unreached: Whether gradients are zero where no score depends on a layer, as where nothing is detected.

    Raises:
        ValueError: No such layer, its output is no map, or a target does not give one score per image.
        RuntimeError: A layer does not run, or no score depends on it as far as autograd can see.
    """
    names = check_layers(model, layers)
    tap = _Tap([_TappedLayer(name, module_of(model, name)) for name in names], model if forward is None else forward)
    with untouched(model):
        batches = _traced_batches(model, tap, placed(model, inputs), targets, batch_size)
        if batches is None and may_be_unreached:
            batches = _all_batches(replace(tap, may_be_unreached=True), placed(model, inputs), targets, batch_size)
        if batches is None:
            raise RuntimeError(
                f"autograd finds no way from the class scores to layer {written(names)}, so there is nothing to draw. "
                "Usually a detach(), no_grad or inference_mode lies between them: choose a layer behind it, "
                "layer='...'. If the model uses checkpoint(), give it use_reentrant=False"
            )
        logits, *columns = (torch.cat(parts) for parts in zip(*batches, strict=True))
    n = 1 + len(targets)
    return tuple(
        Capture(layer.name, logits, columns[i * n], tuple(columns[i * n + 1 : (i + 1) * n]), max(layer.n_calls))
        for i, layer in enumerate(tap.layers)
    )


def written(names: Sequence[str]) -> str:
    """Names of layers for a message.

    >>> written(["layer3", "layer4"])
    "'layer3' or 'layer4'"
    """
    return " or ".join(map(repr, names))


def predict(model: nn.Module, inputs: Tensor, *, forward: Forward | None = None, batch_size: int = 32) -> Tensor:
    """``(N, n_classes)`` float32 logits, by a forward pass alone. The model is the same before and after."""
    with untouched(model):
        return predict_inside(model, inputs, forward=forward, batch_size=batch_size)


def predict_inside(model: nn.Module, inputs: Tensor, *, forward: Forward | None = None, batch_size: int = 32) -> Tensor:
    """As `predict`, for callers that hold `untouched` around many calls."""
    run = model if forward is None else forward
    batches = torch.split(placed(model, inputs), batch_size)
    return torch.cat([as_logits(run(batch.clone())).detach() for batch in batches])  # some forwards write into it


def placed(model: nn.Module, inputs: Tensor) -> Tensor:
    """Inputs where the model's parameters are, in their precision, and no inference tensors, which autograd refuses."""
    like = next((parameter for parameter in model.parameters() if parameter.is_floating_point()), inputs)
    placed = inputs.to(like.device, like.dtype)
    return placed.clone() if placed.is_inference() else placed


@dataclass(frozen=True)
class _TappedLayer:
    """A layer of a model, and how often it ran in each pass."""

    name: str
    module: nn.Module
    n_calls: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class _Tap:
    """Layers of a model, how to get class scores from the model, and whether these may depend on no layer."""

    layers: Sequence[_TappedLayer]
    forward: Forward
    may_be_unreached: bool = False


def _traced_batches(
    model: nn.Module, tap: _Tap, inputs: Tensor, targets: Sequence[Target], batch_size: int
) -> list[list[Tensor]] | None:
    """As `_all_batches`, by the cheapest way on which autograd finds every layer; None if it does on none.

    Most models need no graph before the layer. Some run the layer in a `no_grad` block, and a few in an
    `inference_mode` block, which only hooks on all modules can end. So each way is taken only after the cheaper failed.
    """
    try:
        batches = _all_batches(tap, inputs, targets, batch_size)
        batches = batches or _all_batches(tap, inputs, targets, batch_size, graph_before=True)
    except RuntimeError as error:
        if not inference.is_of_inference(error):
            raise
        batches = None
    if batches is None:
        with inference.left(model):
            batches = inference.explained(lambda: _all_batches(tap, inputs, targets, batch_size, graph_before=True))
    return batches


def _all_batches(
    tap: _Tap, inputs: Tensor, targets: Sequence[Target], batch_size: int, *, graph_before: bool = False
) -> list[list[Tensor]] | None:
    """For each micro-batch the logits, and of each layer the activations and a gradient per target.

    None if there is a layer on which no score depends.

    A graph before the layer is needed if the layer runs in a `no_grad` block of the model's own: leaving that block
    restores the mode outside of it, and everything behind would run without gradients.
    """
    batches = []
    for start in range(0, len(inputs), batch_size):
        local = [partial(own_rows, target, start, len(inputs)) for target in targets]
        batch = _one_batch(tap, inputs[start : start + batch_size], local, graph_before=graph_before)
        if batch is None:
            return None
        batches.append(batch)
    return batches


def own_rows(target: Target, start: int, total: int, logits: Tensor) -> Tensor:
    """The scores of a micro-batch. A target such as `true_class` knows the labels of all images: logits are padded."""
    scores = target(F.pad(logits, (0, 0, start, total - start - len(logits))))
    if scores.shape != (total,):
        raise ValueError(f"expected a target that gives ({total},) scores, one per image, found {tuple(scores.shape)}")
    return scores[start : start + len(logits)]


def _one_batch(tap: _Tap, batch: Tensor, targets: Sequence[Target], *, graph_before: bool) -> list[Tensor] | None:
    """One micro-batch of `_all_batches`. The hook goes before autograd runs: checkpointed layers run again there."""
    with torch.set_grad_enabled(graph_before), cut([layer.module for layer in tap.layers]) as cuts:
        output = tap.forward(batch.clone())  # some forwards write into it
    leaves = []
    for layer, made in zip(tap.layers, cuts, strict=True):
        if made.leaf is None:
            raise RuntimeError(f"layer {layer.name!r} does not run in a forward pass; choose another one, layer='...'")
        leaves.append(made.leaf)
        layer.n_calls.append(made.n_calls)
    with torch.enable_grad():
        logits = as_logits(output)
        per_target = [_gradients(target(logits), leaves) for target in targets]
    lacks = any(all(each is None for each in gradients) for gradients in zip(*per_target, strict=True))
    if targets and lacks and not tap.may_be_unreached:
        return None
    columns = (_on_grid(leaf, [each[i] for each in per_target], batch) for i, leaf in enumerate(leaves))
    return [logits.detach(), *chain.from_iterable(columns)]


def _on_grid(leaf: Tensor, gradients: Sequence[Tensor | None], batch: Tensor) -> Iterator[Tensor]:
    """Activations and gradients as ``(N, K, h, w)`` float32: methods sum over thousands of channels and places."""
    layout = layout_of(leaf.detach(), size_of(batch), n_images=len(batch) if batch.ndim == VOLUME_AXES else None)
    zeros = torch.zeros_like(leaf)
    for values in (leaf, *(zeros if gradient is None else gradient for gradient in gradients)):
        yield layout.grid(values.detach()).float()


def _gradients(scores: Tensor, leaves: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """Gradients of each image's own score; None where autograd finds no way from the scores to a leaf.

    The scores may be summed because in evaluation mode no image influences another's score.
    """
    return gradients_of(scores.sum(), leaves) if scores.requires_grad else [None] * len(leaves)
