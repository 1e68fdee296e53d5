"""Maps of a score of the user's own: a word of a caption, an answer, a region, a similarity, a value.

The score of each image travels as two more columns beside its class scores, so that one pass gives both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor

from .engine import Forward
from .outputs import as_logits
from .structures import Path, mapped, tensors_in

Score: TypeAlias = Callable[[Any], Tensor]
"""A model's outputs, as the model or ``forward`` gives them, to one number ``(N,)`` for each image."""

_FORM = "a function from the model's outputs to one number for each image, such as score=lambda outputs: outputs[:, 0]"


def check_callable(score: Any) -> None:
    """Raises `TypeError` for what cannot be a score."""
    if score is not None and not callable(score):
        raise TypeError(f"score must be {_FORM}; got {type(score).__name__}")


@dataclass(frozen=True, eq=False)
class OwnScore:
    """A score that was tried on a few outputs.

    Attributes:
        function: The user's own.
        n_images: Of the probe.
        takes_all: Whether it knows something of each image of the probe, such as the answer to its question, and so
            takes a row for all of them. Rows of other images are zeros then.
    """

    function: Score
    n_images: int
    takes_all: bool

    def __call__(self, outputs: Any, rows: Tensor, n_outputs: int) -> Tensor:
        """Scores ``(n_outputs,)`` for outputs of the probe's images ``rows (n,)``, or of several versions of all."""
        if not self.takes_all:
            return self.function(outputs)
        starts = range(0, n_outputs, len(rows))
        parts = [_in_place(outputs, rows, self.n_images, start, n_outputs) for start in starts]
        return torch.cat([self.function(part)[rows] for part in parts])


@dataclass(frozen=True, eq=False)
class Scored:
    """Model inputs to ``(N, n_classes + 2)``: class scores as `as_logits` gives them, and what `own_score` reads.

    Attributes:
        run: Model inputs to outputs.
        class_scores: Outputs to class scores; None where the model gives none, or where nobody wants them.
        score: The score.
        rows: ``(n,)`` which images of the probe the inputs are of.
    """

    run: Forward
    class_scores: Callable[[Any], Tensor] | None
    score: OwnScore
    rows: Tensor

    def __call__(self, inputs: Tensor) -> Tensor:
        """The columns of model ``inputs``."""
        outputs = self.run(inputs)
        half = self.score(_copied(outputs), self.rows, len(inputs)).float()[:, None] / 2
        columns = [] if self.class_scores is None else [as_logits(self.class_scores(outputs))]
        return torch.cat([*columns, -half, half], 1)  # a negative column, so that no row reads as probabilities


def own_score(columns: Tensor) -> Tensor:
    """The `Target` for the columns of `Scored`."""
    return columns[:, -1] - columns[:, -2]


def checked_score(score: Score, outputs: Any, n_outputs: int, n_images: int, *, needs_gradient: bool) -> OwnScore:
    """The score, tried on the outputs of the probe's first images.

    Args:
        score: The user's own.
        outputs: Of ``n_outputs`` images, with gradients.
        n_outputs: How many images these are of.
        n_images: Of the whole probe.
        needs_gradient: Whether maps are made by gradients.

    Raises:
        ValueError: It raises, or does not return one real number for each image, or has no gradient.
    """
    own = OwnScore(score, n_images, takes_all=False)
    try:
        scores = score(_copied(outputs))
        is_of_few = isinstance(scores, Tensor) and scores.shape == (n_outputs,)
    except Exception as error:
        own, scores = _of_all(score, outputs, n_outputs, n_images, error)
        is_of_few = False
    if not is_of_few and not own.takes_all and n_images > n_outputs:
        own, scores = _of_all(score, outputs, n_outputs, n_images, None, scores)
    _check(scores, n_images if own.takes_all else n_outputs, needs_gradient=needs_gradient)
    if not scores.isfinite().any() and all(each.isfinite().all() for _, each in tensors_in(outputs)):
        raise ValueError("score= returned NaN or infinity for every image; see to the logarithms and divisions in it")
    return own


def _of_all(
    score: Score, outputs: Any, n_outputs: int, n_images: int, error: Exception | None, scores: Any = None
) -> tuple[OwnScore, Any]:
    """The score of a row for each image of the probe; of the few, as ``scores`` or ``error``, where it takes none."""
    try:
        of_all = score(_in_place(outputs, torch.arange(n_outputs), n_images, 0, n_outputs))
        if isinstance(of_all, Tensor) and of_all.shape == (n_images,):
            return OwnScore(score, n_images, takes_all=True), of_all
    except Exception:  # the user's own code; what it said of the few images is clearer
        pass
    if error is None:
        return OwnScore(score, n_images, takes_all=False), scores
    form = ", ".join(f"{'.'.join(path) or 'a tensor'} of shape {tuple(each.shape)}" for path, each in _some(outputs))
    raise ValueError(
        f"score= raised {type(error).__name__}: {error}; it was given the model's outputs for {n_outputs} images, "
        f"{form or type(outputs).__name__}, and must be {_FORM}"
    ) from error


def _check(scores: Any, n: int, *, needs_gradient: bool) -> None:
    if not isinstance(scores, Tensor):
        raise ValueError(f"score= must return a tensor ({n},), got {type(scores).__name__}; it must be {_FORM}")
    if scores.shape != (n,):
        way = "leave out the mean over the images" if not scores.ndim else "choose or average along the other axes"
        raise ValueError(f"score= must return one number for each of {n} images, got {tuple(scores.shape)}; {way}")
    if scores.is_complex():
        raise ValueError("score= returned complex numbers, and a map explains a real one; take .real, .imag or .abs()")
    if needs_gradient and not scores.requires_grad:
        raise ValueError(
            "score= returns numbers without a gradient, so no map can tell where they come from; compute them with "
            "torch from the outputs, without argmax, detach(), item() or numpy, or pass method=cams.score_cam, which "
            "needs no gradient"
        )


def _some(outputs: Any) -> list[tuple[Path, Tensor]]:
    return list(tensors_in(outputs))[:3]


def _in_place(outputs: Any, rows: Tensor, n_images: int, start: int, n_outputs: int) -> Any:
    """Outputs as of all images of a probe: those from ``start`` on at their rows, zeros at all others."""
    return mapped(outputs, partial(_placed, rows=rows, n_images=n_images, start=start, n_outputs=n_outputs))


def _copied(outputs: Any) -> Any:
    """Outputs that a score may write into: the class scores are read from the same ones."""
    return mapped(outputs, lambda _, leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf)


def _placed(_path: Path, leaf: Any, *, rows: Tensor, n_images: int, start: int, n_outputs: int) -> Any:
    if not isinstance(leaf, Tensor) or leaf.shape[:1] != (n_outputs,):
        return leaf
    some = leaf[start : start + len(rows)]
    return some.new_zeros(n_images, *some.shape[1:]).index_copy(0, rows.to(some.device), some)


def of_part(score: Score | None, rows: Tensor, n_images: int) -> Score | None:
    """The score of a probe for a part of its images ``rows (n,)``."""
    if score is None:
        return None
    return lambda outputs: score(_in_place(outputs, rows, n_images, 0, len(rows)))[rows]
