"""Class scores in a model's output, which may be a tensor, a tuple, a dictionary or a Hugging Face output."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

ORDINAL = (
    "if these tell whether a class is higher than each of the others, as in ordinal regression, pass forward=lambda "
    "module, images: -torch.diff(module(images).sigmoid(), dim=1, prepend=images.new_ones(len(images), 1), "
    "append=images.new_zeros(len(images), 1))"
)
NO_ANSWER = -1  # in place of a class, no index of one
SUM_TOLERANCE = 0.01  # a softmax in bfloat16 has 8 bits of precision; its rows sum to 1 up to about 2**-8


def as_logits(output: Any) -> Tensor:
    """``(N, n_classes)`` float32 class scores from the output of a classifier.

    In tuples, dicts and outputs with ``.logits`` the logits are used, else the first tensor. One score ``z`` per
    image becomes two classes, ``[-z/2, z/2]``, whose softmax is the sigmoid of ``z``. Probabilities become their
    logarithm.

    >>> as_logits({"loss": torch.tensor(0.7), "scores": torch.tensor([[3.0], [-1.0]])})
    tensor([[-1.5000,  1.5000],
            [ 0.5000, -0.5000]])

    Raises:
        ValueError: The output has no tensor of class scores.
    """
    scores = scores_in(output)
    if scores is None or scores.ndim > 2:
        description = type(output).__name__ if scores is None else f"a tensor of shape {tuple(scores.shape)}"
        raise ValueError(f"expected (N, n_classes) class scores, found {description}; pass forward= that returns them")
    scores = scores.float()
    if scores.ndim == 1 or scores.shape[1] == 1:
        half = scores.reshape(-1, 1) / 2
        return torch.cat([-half, half], 1)
    return scores.clamp_min(torch.finfo(scores.dtype).tiny).log() if _are_probabilities(scores) else scores


def in_pairs(scores: Tensor) -> Tensor:
    """``(N, K)`` log odds of several labels as two scores for each, against it and for it, ``(N, 2 K)``.

    >>> in_pairs(torch.tensor([[3.0, -1.0]]))
    tensor([[-1.5000,  1.5000,  0.5000, -0.5000]])
    """
    half = scores / 2
    return torch.stack([-half, half], 2).flatten(1)


def asked(logits: Tensor, answers: Tensor) -> Tensor:
    """``(N, 2 K)`` scores in pairs, of which each image keeps the pair that holds its right answer.

    The softmax of that pair is the sigmoid of its label. All other scores are minus infinity.

    >>> asked(torch.tensor([[-1.5, 1.5, 0.5, -0.5]]), torch.tensor([2])).softmax(1)
    tensor([[0.0000, 0.0000, 0.7311, 0.2689]])
    """
    labels = torch.arange(logits.shape[1], device=logits.device) // 2
    return logits.masked_fill(labels != answers.to(logits.device)[:, None] // 2, -torch.inf)


def predicted_classes(scores: Tensor) -> Tensor:
    """Index ``(N,)`` of the highest of ``(N, n_classes)`` scores; `NO_ANSWER` where one is NaN or infinite.

    There argmax takes the first NaN for the highest, which would be a right answer wherever it is the true class.

    >>> predicted_classes(torch.tensor([[0.2, 0.8], [torch.nan, torch.nan]]))
    tensor([ 1, -1])
    """
    return scores.argmax(1).where(scores.amax(1).isfinite(), NO_ANSWER)


def scores_in(output: Any) -> Tensor | None:
    """The tensor of class scores inside a model's output, as it is: no conversion, so gradients flow.

    A value called ``logits`` comes first, else the first floating-point tensor with at least one axis.
    None if there is no such tensor.
    """
    if isinstance(output, Tensor):
        return output if output.is_floating_point() and output.ndim else None
    if hasattr(output, "logits"):
        return scores_in(output.logits)
    if isinstance(output, Mapping):
        return scores_in(output["logits"] if "logits" in output else list(output.values()))
    if isinstance(output, (tuple, list)):
        return next((scores for scores in map(scores_in, output) if scores is not None), None)
    return None


def _are_probabilities(scores: Tensor) -> bool:
    """Whether every row looks like the output of a softmax. The tolerance allows for half precision."""
    rows = scores.detach()
    return bool((rows >= 0).all() and ((rows.sum(1) - 1).abs() < SUM_TOLERANCE).all())
