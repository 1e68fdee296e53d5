"""Which tensor of a model's output holds the class scores, and whether it holds logits, probabilities or cosines.

Of several tensors the one as wide as the class list is chosen; of equals the name decides, and then the order.
`score_kinds` tells what the numbers are.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..probe.task import OBJECTS, VALUES, Task
from . import engine, inference
from .engine import Forward
from .guard import untouched
from .outputs import ORDINAL, in_pairs
from .score_kinds import Kind, is_of_softmax, kind_by_operation, kind_by_range
from .structures import Path, tensors_in

_TRIED = 32  # images that decide on the range: an untrained logit lies in [0, 1] once or twice, not 32 times
_TRACED = 3  # images that decide on the last operation; three, so that a tensor of two weights has no row per image
_MOST_NAMED = 3  # tensors in a message; a detector gives three for each image
_FIRST = ("logits", "logit", "class_logits", "pred_logits")
_THEN = ("out", "output", "outputs", "pred", "preds", "prediction", "predictions", "scores", "y_hat", "y_pred", "probs")
_LAST = ("aux", "loss", "feature", "embed", "hidden")
# A softmax of cosines themselves is nearly even. ArcFace and CosFace multiply by 10 to 64 and CLIP by up to 100.
_COSINE_SCALE = 16.0
_LEAST_SHARE = 1e-6  # of a probability: nearer to 0 and 1, single precision has no odds
_NO_SCORES = (
    "if these are no class scores, pass forward=lambda module, images: class_scores, and of an embedding "
    "forward=Similarity(lambda module, images: embedding)"
)


@dataclass(frozen=True)
class Head:
    """The place of the class scores in a model's output, and their kind.

    Attributes:
        path: Keys, attributes and positions that lead to the tensor.
        kind: Logits stay as they are, and values; log-probabilities are logits, too. Of regions, scores are means over
            all pixels; see `regions`. Other kinds are converted.
        width: Number of scores of each image; 1 for a single score of two classes.
        remark: A sentence for people about the choice; empty if there was only one candidate.
        is_guess: Whether other tensors may be the class scores as well.
        region: Of pixels that show one class of objects alone, its number; see `Head.dense`.
        are_shares: Whether the numbers of pixels are probabilities.
    """

    path: Path
    kind: Kind
    width: int
    remark: str = ""
    is_guess: bool = False
    region: int = 0
    are_shares: bool = False

    def found(self, output: Any) -> Tensor:
        """The tensor of scores, as the model gives it."""
        scores = dict(_tensors(output)).get(self.path)
        if scores is None:
            raise ValueError(
                f"the model's output has no {'.'.join(self.path)!r} any more, where its class scores were; "
                "pass forward= that returns the class scores"
            )
        return scores

    def scores(self, output: Any) -> Tensor:
        """``(N, width)`` scores that a softmax, or a sigmoid for one score, turns into the model's probabilities."""
        if self.kind == "regions":
            return self.dense(output).mean((2, 3))
        scores = self.found(output)
        rows = scores.reshape(len(scores), -1)
        if self.kind == "cosines":
            return rows * _COSINE_SCALE
        # A softmax has a logarithm as good as a logit; sigmoids side by side are odds, one for each class.
        return _log_odds(rows) if self.kind == "probabilities" else rows

    def dense(self, output: Any) -> Tensor:
        """Scores ``(N, n_classes, h, w)`` of each pixel; of one class of objects ``(N, 2, h, w)``, against and for it.

        Of several channels the object's stands against the highest of the others, so that it is predicted as by argmax.
        """
        scores = self.found(output).float()
        scores = scores[:, None] if scores.ndim == 3 else scores
        if not self.region:
            return scores
        if scores.shape[1] == 1:
            odds = torch.logit(scores, eps=_LEAST_SHARE) if self.are_shares else scores
        else:
            own = self.region if self.region < scores.shape[1] else scores.shape[1] - 1
            others = torch.cat([scores[:, :own], scores[:, own + 1 :]], 1)
            odds = scores[:, own : own + 1] - others.amax(1, keepdim=True)
        return torch.cat([-odds / 2, odds / 2], 1)


@dataclass(frozen=True)
class ClassScores:
    """A model's class scores alone: ``(N, n_classes)``, or ``(N, 1)`` for two classes in one score.

    Of several labels, or of values, these are pairs, against each label and for it, ``(N, 2 K)``.
    """

    forward: Forward
    head: Head
    task: Task | None = None

    def __call__(self, inputs: Tensor) -> Tensor:
        """The scores of model ``inputs``."""
        return self.of(self.forward(inputs))

    def of(self, output: Any) -> Tensor:
        """The scores in an output."""
        scores = self.head.scores(output)
        return in_pairs(self.task.odds(scores.float())) if self.task is not None and self.task.asks else scores


def class_scores(
    model: nn.Module,
    inputs: Tensor,
    n_classes: int | None,
    forward: Forward | None = None,
    *,
    task: Task | None = None,
) -> ClassScores:
    """How to get class scores from a model. The model is the same before and after.

    Args:
        model: Any classifier.
        inputs: ``(N, ...)`` model inputs; the model is called with the first of them.
        n_classes: Length of the class list; None if it is unknown.
        forward: How to get an output from model inputs; None calls the model.
        task: What is asked; None for classes, of which one is right.

    Raises:
        ValueError: No tensor of the output can be the class scores, or several can.
    """
    run = model if forward is None else forward
    asks, are_values = task is not None and task.asks, task is not None and task.kind == VALUES
    with untouched(model):
        placed = engine.placed(model, inputs[:_TRIED])
        traced = traced_output(model, run, placed[:_TRACED])
        if task is not None and task.has_maps:
            return ClassScores(run, _dense_head(traced, min(_TRACED, len(inputs)), task), task)
        if task is not None and task.kind == OBJECTS:  # their detections are read already, see `probe.matching`
            return ClassScores(run, Head((), "logits", task.n_scores), task)
        equals, remark = _choice(traced, min(_TRACED, len(inputs)), n_classes, asks)
        if are_values and remark:
            raise ValueError(_no_values(dict(_tensors(traced))[equals[0]], n_classes))
        if len(equals) > 1:
            with torch.enable_grad(), inference.left(model):
                equals = _trained(equals, run(placed[:_TRACED].clone()))
            remark = _several(equals) if len(equals) > 1 else ""
        path = equals[0]
        scores = dict(_tensors(traced))[path]
        width = scores.numel() // len(scores)
        kind: Kind | None = "values" if are_values else None
        if kind is None:
            kind = "probabilities" if asks and is_of_softmax(scores) else kind_by_operation(scores, width)
        if kind is None:
            kind = kind_by_range(dict(_tensors(run(placed.clone())))[path].detach().float().reshape(len(placed), -1))
    return ClassScores(run, Head(path, kind, width, remark, len(equals) > 1), task)


def traced_output(model: nn.Module, run: Forward, inputs: Tensor) -> Any:
    """An output that knows the operations it came from; without them where a model calls ``numpy()`` on the way."""
    try:
        with torch.enable_grad(), inference.left(model):
            leaf = inputs.detach().clone().requires_grad_(inputs.is_floating_point())
            return run(leaf.clone())  # some forwards write into their input, which no leaf allows
    except RuntimeError:  # any other error comes again
        with torch.no_grad():
            return run(inputs.clone())


def _tensors(output: Any) -> Iterator[tuple[Path, Tensor]]:
    """Every floating-point tensor in an output, in order, with the way to it."""
    return ((path, tensor) for path, tensor in tensors_in(output) if tensor.is_floating_point())


# ---- which tensor ----------------------------------------------------------------------------------------------------


def _choice(output: Any, n_images: int, n_classes: int | None, asks: bool = False) -> tuple[list[Path], str]:
    """The paths to tensors that may equally well be the class scores, and a remark about the choice for people."""
    rows = {path: tensor for path, tensor in _tensors(output) if _has_a_row_each(tensor, n_images)}
    if not rows:
        raise ValueError(_no_scores(output))
    widths = {path: tensor.numel() // n_images for path, tensor in rows.items()}
    if n_classes is not None and n_classes > 2 and set(widths.values()) == {1}:
        raise ValueError(
            f"the model gives one number per image where the labels make {n_classes} classes, as in regression; if the "
            'labels are values to predict, pass CAMCallback(Probe.from_dataset(dataset, task="values")); if they are '
            "classes, pass forward= that returns class scores"
        )
    fit = (n_classes,) if asks or n_classes is None else _fit(n_classes)
    fitting = [path for path in rows if n_classes is None or widths[path] in fit]
    if fitting:
        ranked = sorted(fitting, key=lambda path: (n_classes == 2 and widths[path] == 1, _rank(path)))
        equals = [path for path in ranked if (widths[path], _rank(path)) == (widths[ranked[0]], _rank(ranked[0]))]
        return equals if n_classes is not None else ranked[:1], ""
    path, remark = _choice_by_name(widths, n_classes)
    return [path], remark


def _trained(paths: list[Path], output: Any) -> list[Path]:
    """Those of the tensors that parameters with gradients lead to, unless there is none: a frozen teacher gives others.

    The output is one of images without gradients.
    """
    tensors = dict(_tensors(output))
    return [path for path in paths if path in tensors and tensors[path].requires_grad] or paths


def _choice_by_name(widths: Mapping[Path, int], n_classes: int | None) -> tuple[Path, str]:
    """As `_choice`, where no tensor is as wide as the class list."""
    best = sorted(widths, key=_rank)
    if len(widths) > 1 and _rank(best[0]) > 1:
        listed = " and ".join(str(width) for width in widths.values())
        raise ValueError(
            f"the model returns {len(widths)} tensors, {listed} numbers wide, and the class list has {n_classes} "
            "names; pass forward=lambda module, images: class_scores"
        )
    return best[0], f"the model gives {widths[best[0]]} scores for {n_classes} classes; " + (
        ORDINAL if n_classes == widths[best[0]] + 1 else _NO_SCORES
    )


def _has_a_row_each(tensor: Tensor, n_images: int) -> bool:
    """Whether a tensor is ``(N,)`` or ``(N, K)``, perhaps with further axes of length one."""
    return len(tensor) == n_images and sum(length > 1 for length in tensor.shape[1:]) <= 1


def _fit(n_classes: int) -> tuple[int, ...]:
    return (2, 1) if n_classes == 2 else (n_classes,)


def _rank(path: Path) -> int:
    """Rank of a name among names for class scores; 0 is the most usual kind."""
    name = path[-1].lower() if path else ""
    if name in _FIRST:
        return 0
    if any(word in part.lower() for part in path for word in _LAST):
        return 3
    return 1 if name in _THEN else 2


def _several(paths: list[Path]) -> str:
    names = " and ".join(".".join(path) for path in paths)
    return (
        f"the model returns several tensors as wide as the class list ({names}), and the first is used; "
        "pass forward=lambda module, images: class_scores for another"
    )


def _dense_head(output: Any, n_images: int, task: Task) -> Head:
    """Where scores for each pixel are, ``(N, n_classes, h, w)``; of one class of objects one channel is enough.

    Raises:
        ValueError: No tensor is of that form, or it has too few channels.
    """
    fewest, axes = (1, (3, 4)) if task.region else (max(task.n_scores, 2), (4,))
    dense = {path: each for path, each in _tensors(output) if each.ndim in axes and len(each) == n_images}
    fitting = [path for path, each in dense.items() if each.ndim == 3 or each.shape[1] >= fewest]
    if not fitting:
        found = ", ".join(
            f"{'.'.join(path) or 'a tensor'} of shape {tuple(each.shape)}" for path, each in dense.items()
        )
        raise ValueError(
            f"expected scores (N, {fewest}, H, W) for each pixel, as the targets are maps of classes, found "
            f"{found or type(output).__name__}; pass forward= that returns them"
        )
    path = min(fitting, key=_rank)
    scores = dense[path]
    width = scores.shape[1] if scores.ndim == 4 else 1
    return Head(path, "regions", width, region=task.region, are_shares=width == 1 and _are_shares(scores))


def _are_shares(scores: Tensor) -> bool:
    """Whether the single score of each pixel is a probability."""
    kind = kind_by_operation(scores, 1) or kind_by_range(scores.detach().float().reshape(len(scores), -1))
    return kind == "probabilities"


def _no_values(numbers: Tensor, n_values: int | None) -> str:
    width = numbers.numel() // len(numbers)
    return (
        f"the model gives {width} numbers for each picture, and each has {n_values} to predict; pass "
        "forward=lambda module, images: predicted_values, with one number for each value"
    )


def _no_scores(output: Any) -> str:
    shapes = [f"{'.'.join(path) or 'a tensor'} of shape {tuple(tensor.shape)}" for path, tensor in _tensors(output)]
    more = [f"{len(shapes) - _MOST_NAMED} more"] if len(shapes) > _MOST_NAMED else []
    given = ", ".join(shapes[:_MOST_NAMED] + more) if shapes else type(output).__name__
    return f"expected (N, n_classes) class scores, found {given}; pass forward= that returns them"


def _log_odds(probabilities: Tensor) -> Tensor:
    return torch.logit(probabilities.float(), eps=torch.finfo(torch.float32).eps)
