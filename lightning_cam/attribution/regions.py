"""What a model that gives scores for each pixel says of one region of each image."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .engine import predict_inside
from .heads import ClassScores

# Of a region's box, on each side. Overlap is counted there alone: another picture's background, pasted farther away,
# may hold objects of its own, and to find these is right.
_AROUND = 0.1
# The same where all objects are of one class. Masks hide them in other pictures, and a network that finds them
# everywhere must not overlap by more than a ninth.
_FAR_AROUND = 1.0
_SURE = 1e-6  # of an overlap: nearer to 0 and 1, single precision has no odds


@dataclass(frozen=True)
class RegionScores:
    """Scores ``(m, n_classes)`` for one region of each image: the mean over its pixels.

    Attributes:
        scores: Where the model's scores for each pixel are.
        regions: ``(n, H, W)`` bool, of the images in one pass, in their order; ``m`` is a multiple of ``n`` where
            several versions of all of them come one after another.
    """

    scores: ClassScores
    regions: Tensor

    def __call__(self, inputs: Tensor) -> Tensor:
        """The scores of model ``inputs``."""
        return self.of(self.scores.forward(inputs))

    def of(self, output: Any) -> Tensor:
        """The scores in an output."""
        dense = self.scores.head.dense(output)
        weights = F.interpolate(self.regions[:, None].to(dense), dense.shape[2:], mode="area")
        weights = weights.repeat(len(dense) // len(weights), 1, 1, 1)
        return (dense * weights).sum((2, 3)) / weights.sum((2, 3)).clamp_min(_SURE)


@dataclass(frozen=True)
class Overlaps:
    """Log odds ``(n, n_classes)`` of the overlap (IoU) of each predicted class with one region of each image.

    Where all objects are of one class, these are odds ``(n, 2)`` against the object's overlap and for it.
    """

    scores: ClassScores
    regions: Tensor

    def __call__(self, inputs: Tensor) -> Tensor:
        """The log odds of model ``inputs``; their sigmoid is the overlap."""
        dense, is_one = self.scores.head.dense(self.scores.forward(inputs)), bool(self.scores.head.region)
        regions = self.regions.to(dense.device)
        if dense.shape[2:] != regions.shape[1:]:
            dense = F.interpolate(dense, regions.shape[1:], mode="bilinear")
        near = boxes_around(regions, _FAR_AROUND if is_one else _AROUND)
        predicted = F.one_hot(dense.argmax(1), dense.shape[1]).bool().movedim(3, 1) & near[:, None]
        shared = (predicted & regions[:, None]).flatten(2).sum(2)
        either = (predicted | (regions & near)[:, None]).flatten(2).sum(2)
        odds = torch.logit(shared / either.clamp_min(1), eps=_SURE)
        return torch.cat([-odds[:, 1:], odds[:, 1:]], 1) if is_one else odds


def boxes_around(regions: Tensor, around: float = _AROUND) -> Tensor:
    """The boxes of regions ``(n, H, W)`` and a share of them around, bool of the same shape; none around nothing."""
    sides = []
    for axis, length in ((2, regions.shape[1]), (1, regions.shape[2])):
        holds = regions.any(axis)  # (n, length)
        places = torch.arange(length, device=regions.device)
        first = places.where(holds, length).amin(1)
        last = places.where(holds, -1).amax(1)
        margin = ((last - first + 1).clamp_min(0) * around).ceil().long()
        sides.append(
            (places >= (first - margin)[:, None]) & (places <= (last + margin)[:, None]) & holds.any(1)[:, None]
        )
    return sides[0][:, :, None] & sides[1][:, None, :]


def overlaps(model: nn.Module, inputs: Tensor, regions: Tensor, *, scores: ClassScores, batch_size: int) -> Tensor:
    """Log odds ``(n, n_classes)`` as `Overlaps`, for callers that hold `guard.untouched`."""
    parts = zip(torch.split(inputs, batch_size), torch.split(regions, batch_size), strict=True)
    return torch.cat(
        [predict_inside(model, some, forward=Overlaps(scores, theirs), batch_size=batch_size) for some, theirs in parts]
    )
