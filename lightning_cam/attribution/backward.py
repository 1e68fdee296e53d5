"""Gradients of scores, which leave every ``.grad`` of the model as it is."""

from collections.abc import Sequence

import torch
from torch import Tensor

_OF_CHECKPOINT = (
    "use_reentrant=True",
    "Checkpointing is not compatible",
)  # in torch's words, of this and of old versions


def gradients_of(score: Tensor, inputs: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
    """Gradients of one score; None for each input that autograd finds no way to. The graph is kept.

    Raises:
        RuntimeError: A reentrant checkpoint lies between, which knows no way but `backward`.
    """
    try:
        return torch.autograd.grad(score, inputs, retain_graph=True, allow_unused=True)
    except RuntimeError as error:
        if any(words in str(error) for words in _OF_CHECKPOINT):
            raise RuntimeError(
                "gradients cannot be traced through the model's own checkpoint(..., use_reentrant=True): give it "
                "use_reentrant=False, or look at a layer behind it, layer='...'"
            ) from error
        raise
