"""Which score a map explains: functions from ``(N, n_classes)`` logits to ``(N,)`` scores.

An image's score may depend on its own row of logits only. Anything of that shape will do, ``lambda logits: -logits[:,
3]`` (what speaks against class 3) as well as what is here.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from .outputs import ORDINAL, asked

Target: TypeAlias = Callable[[Tensor], Tensor]


def true_class(targets: Tensor) -> Target:
    """Logit of each image's own class; ``targets`` are ``(N,)`` class indices.

    >>> true_class(torch.tensor([2, 0]))(torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    tensor([3., 4.])
    """
    labels = targets.cpu()

    def score(logits: Tensor) -> Tensor:
        return logits.gather(1, _columns(labels, logits))[:, 0]

    return score


def predicted_class() -> Target:
    """Highest logit of each image; the first one of several equal ones."""
    return lambda logits: logits.max(1).values


def predicted_answer(answers: Tensor) -> Target:
    """The higher score of the label that each image is asked for, of scores in pairs; see `asked`."""
    return lambda logits: asked(logits, answers).max(1).values


def one_class(index: int) -> Target:
    """Logit of the same class for every image."""

    def score(logits: Tensor) -> Tensor:
        return true_class(torch.full((len(logits),), index))(logits)

    return score


def contrast(targets: Tensor) -> Target:
    """Log odds of each image's own class against all others together.

    Explains what tells the class from the rest; evidence that all classes share cancels.

    >>> contrast(torch.tensor([1]))(torch.tensor([[1.0, 3.0]]))
    tensor([2.])
    """
    labels = targets.cpu()

    def score(logits: Tensor) -> Tensor:
        own = _columns(labels, logits)
        others = logits.scatter(1, own, -torch.inf)
        return logits.gather(1, own)[:, 0] - others.logsumexp(1)

    return score


def own_loss(labels: Tensor, *, asks: bool) -> Target:
    """Cross-entropy of each image's own class or, of several labels, of the answer for the label it is asked for."""

    def loss(logits: Tensor) -> Tensor:
        return (asked(logits, labels) if asks else logits).logsumexp(1) - true_class(labels)(logits)

    return loss


def _way_out(lowest: int, highest: int, n_scores: int) -> str:
    if highest == n_scores > 1:  # one too many
        return ORDINAL if lowest == 0 else "if they count from 1, pass read=lambda item: (item[0], item[1] - 1)"
    return "pass labels the model knows, or forward= that returns its class scores"


def _columns(labels: Tensor, logits: Tensor) -> Tensor:
    """``(N, 1)`` indices on the logits' device, checked on the host: a wrong index there would end a CUDA context."""
    if labels.shape != logits.shape[:1]:
        raise ValueError(
            f"expected one class index for each of {len(logits)} images, found indices of shape {tuple(labels.shape)}; "
            "pass an (N,) tensor"
        )
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < logits.shape[1]:
        indices = f"{int(labels.min())} to {int(labels.max())}"
        raise ValueError(
            f"expected class indices from 0 to {logits.shape[1] - 1}, the model's last class, found {indices}; "
            f"{_way_out(int(labels.min()), int(labels.max()), logits.shape[1])}"
        )
    return labels.long().to(logits.device)[:, None]
