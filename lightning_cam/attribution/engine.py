"""Activations and gradients of one layer, from one forward pass.

The graph is cut at the layer. Up to there the model runs without gradients; a hook then turns them on and hands a
clone of a fresh leaf downstream. So only what lies behind the layer is kept for the backward pass, no parameter's
``.grad`` is reached, frozen models work, and an in-place operation behind the layer cannot overwrite what was
captured.
"""

import copy
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import inference
from .backward import gradients_of
from .guard import untouched
from .layers import check_layer, module_of
from .layouts import layout_of
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

    >>> model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> captured = capture(model, torch.rand(5, 1, 4, 5), [lambda logits: logits[:, 0]], layer="0")
    >>> captured.activations.shape, captured.gradients[0][0, :, 0, 0]
    (torch.Size([5, 2, 4, 5]), tensor([0.0500, 0.0000]))

    Args:
        model: Any classifier: in training mode, frozen, compiled, in half precision.
        inputs: ``(N, C, H, W)`` model inputs. They are moved to the model's device and precision.
        targets: The scores to explain. Each target is called with ``(N, n_classes)`` logits.
        layer: Dotted name. If it runs several times in one forward, its last call counts.
        forward: How to get class scores from model inputs; None calls the model.
        batch_size: Images per pass. Keep it fixed over time: results depend on it in the last bit.

    Raises:
        ValueError: No such layer, its output is no map, or a target does not give one score per image.
        RuntimeError: The layer does not run, or no score depends on it as far as autograd can see.
    """
    name = check_layer(model, layer)
    tap = _Tap(name, module_of(model, name), model if forward is None else forward)
    with untouched(model):
        batches = _traced_batches(model, tap, placed(model, inputs), targets, batch_size)
        if batches is None:
            raise RuntimeError(
                f"autograd finds no way from the class scores to layer {name!r}, so there is nothing to draw. "
                "Usually a detach(), no_grad or inference_mode lies between them: choose a layer behind it, "
                "layer='...'. If the model uses checkpoint(), give it use_reentrant=False"
            )
        logits, activations, *gradients = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return Capture(name, logits, activations, tuple(gradients), max(tap.n_calls))


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
class _Tap:
    """A layer of a model, how to get class scores from the model, and how often the layer ran in each pass."""

    name: str
    layer: nn.Module
    forward: Forward
    n_calls: list[int] = field(default_factory=list)


def _traced_batches(
    model: nn.Module, tap: _Tap, inputs: Tensor, targets: Sequence[Target], batch_size: int
) -> list[list[Tensor]] | None:
    """As `_all_batches`, by the cheapest way on which autograd finds the layer; None if it does on none.

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
    """Logits, activations and a gradient per target for each micro-batch; None if no score depends on the layer.

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
    with torch.set_grad_enabled(graph_before), _cut(tap.layer) as cut:
        output = tap.forward(batch.clone())  # some forwards write into it
    if cut.leaf is None:
        raise RuntimeError(f"layer {tap.name!r} does not run in a forward pass; choose another one, layer='...'")
    leaf = cut.leaf
    tap.n_calls.append(cut.n_calls)
    with torch.enable_grad():
        logits = as_logits(output)
        gradients = [_gradient(target(logits), leaf) for target in targets]
    if gradients and all(gradient is None for gradient in gradients):
        return None
    # From here on float32: methods sum over thousands of channels and places, where half precision loses small values.
    layout = layout_of(leaf.detach(), (batch.shape[-2], batch.shape[-1]))
    zeros = torch.zeros_like(leaf)
    kept = [leaf.detach(), *(zeros if gradient is None else gradient for gradient in gradients)]
    return [logits.detach(), *(layout.grid(values).float() for values in kept)]


def _gradient(scores: Tensor, leaf: Tensor) -> Tensor | None:
    """Gradient of each image's own score; None if autograd finds no way from the scores to the leaf.

    The scores may be summed because in evaluation mode no image influences another's score.
    """
    if not scores.requires_grad:
        return None
    (gradient,) = gradients_of(scores.sum(), [leaf])
    return gradient


@dataclass
class _Cut:
    """The leaf of a layer's last call, and the number of calls."""

    leaf: Tensor | None = None
    n_calls: int = 0


@contextmanager
def _cut(layer: nn.Module) -> Iterator[_Cut]:
    """While open, the layer hands a clone of a fresh leaf downstream.

    All threads share a module's hooks; in any other than this one the model may be training.
    """
    owner = threading.get_ident()
    made = _Cut()

    def cut(_layer: nn.Module, _inputs: Any, output: Any) -> Any:
        if threading.get_ident() != owner:
            return output
        torch.set_grad_enabled(True)  # off up to here; `_one_batch` closes this after the forward pass
        original = _map_in(output)
        made.leaf = original.detach().requires_grad_()
        made.n_calls += 1
        # A clone, because autograd forbids in-place operations on a leaf, and a ReLU behind the layer may be one.
        return _replaced(output, original, made.leaf.clone())

    handle = layer.register_forward_hook(cut)
    try:
        yield made
    finally:
        handle.remove()


def _map_in(output: Any) -> Tensor:
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


def _replaced(output: Any, old: Tensor, new: Tensor) -> Any:
    """The same structure with one tensor replaced."""
    if output is old:
        return new
    if isinstance(output, MutableMapping):
        changed = copy.copy(output)
        changed.update({key: _replaced(item, old, new) for key, item in output.items()})
        return changed
    if isinstance(output, (tuple, list)):
        items = [_replaced(item, old, new) for item in output]
        return type(output)(*items) if hasattr(output, "_fields") else type(output)(items)
    return output
