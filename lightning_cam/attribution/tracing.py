"""Gradients of scores at the model's own input: what `engine` does for a layer, for the image."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from . import inference
from .backward import gradients_of
from .engine import Forward, own_rows
from .layers import class_name
from .outputs import as_logits
from .rectifiers import Rule, beside_view, impose, is_in_place_on_view
from .targets import Target


def input_gradients(
    model: nn.Module, inputs: Tensor, score: Target, *, forward: Forward, batch_size: int, rule: Rule | None = None
) -> Tensor:
    """Gradients ``(N, C, H, W)`` float32 of each image's score at its own pixels. For callers that hold `untouched`.

    The model's own `no_grad` and `inference_mode` blocks, which frozen backbones have, are seen through. An image whose
    score is not finite has NaN.

    Args:
        model: For messages.
        inputs: As `engine.placed` gives them.
        score: Called with ``(N, n_classes)`` logits.
        forward: Inputs to class scores.
        batch_size: Images per pass.
        rule: What happens to the gradient at ReLUs; None is the plain gradient.

    Raises:
        RuntimeError: No score depends on the pixels as far as autograd can see.
        ValueError: There is a rule, but no ReLU.
    """
    gradients = []
    for start in range(0, len(inputs), batch_size):
        own_score = partial(own_rows, score, start, len(inputs))
        gradients.append(_one_batch(model, inputs[start : start + batch_size], own_score, forward, rule))
    return torch.cat(gradients)


def _one_batch(model: nn.Module, batch: Tensor, score: Target, forward: Forward, rule: Rule | None) -> Tensor:
    """One micro-batch. The mode stays on in the backward pass, where checkpointed layers run again."""
    leaf = batch.detach().clone().requires_grad_()
    with torch.enable_grad(), Traced():
        logits = as_logits(inference.explained(lambda: forward(leaf.clone())))  # some forwards write into it
        if rule is not None:
            impose(rule, leaf, logits, class_name(model))
        scores = score(logits)
        gradient = gradients_of(scores.sum(), [leaf])[0] if scores.requires_grad else None
    if gradient is None:
        raise RuntimeError(
            f"autograd finds no way from the class scores of {class_name(model)} to the pixels, so there is no "
            "gradient to draw. Usually a detach() lies between. Use pixels.occlusion, which needs no gradients"
        )
    is_defined = scores.detach().isfinite().reshape(-1, *(1,) * (gradient.ndim - 1))
    return gradient.float().where(is_defined, torch.nan)


class Traced(TorchFunctionMode):
    """Torch functions run with gradients, whatever switch the model has set around them, and the graph is whole.

    What a model writes to its own counters, means or weights while gradients are off stays out of the graph.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        options = kwargs or {}
        call = beside_view if is_in_place_on_view(func, args, options) else _plainly
        is_on = torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
        # The switch itself would be undone at the end of the blocks below.
        if is_on or func is torch._C._set_grad_enabled or _writes_to_state(func, args, options):
            return call(func, args, options)
        with torch.inference_mode(mode=False), torch.enable_grad():
            return call(func, args, options)


def _writes_to_state(function: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Whether a call changes a tensor in place that no traced operation has made."""
    name = getattr(function, "__name__", "")
    is_method = name.endswith("_") and not name.endswith("__")
    writes = is_method or name.startswith(("__i", "__set")) or options.get("inplace", False)
    is_own = writes and bool(arguments) and isinstance(arguments[0], Tensor) and arguments[0].is_leaf
    return is_own or options.get("out") is not None


def _plainly(function: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    return function(*arguments, **options)
