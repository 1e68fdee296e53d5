"""How pictures are turned: upside down or mirrored, as a scanner or a habit of a photographer leaves those of a class.

Nobody knows from a picture how it was held. But objects are mostly not the same upside down, and what lies at the
bottom of one class's objects often lies at the bottom of another's. Where it surely lies at the top of another's
instead, whole pictures are turned from class to class.
"""

import math
from itertools import combinations

import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor

from ..spatial import mask_boxes
from .known import Known
from .levels import Levels
from .masks import has_background

_AXES = (-2, -1)  # upside down, and mirrored. Quarter turns are not read: one class may be tall and another wide.
_CELLS = 8  # a side of the small picture of an object. Of 4, 8 and 16, 8 told turned creatures best.
# Of a probe, over pairs of classes and both ways to turn, as of `differ`. Of 192 creatures of which one class was
# upside down, the sums lay 3.0 and 4.0 standard errors below 0; in planted probes of three tasks at most 0.9 below.
_LEVEL = 0.01
_TINY = 1e-9  # keeps 0 / 0 defined where all objects are alike


def turn_levels(images: Tensor, masks: Tensor, targets: Tensor) -> Levels:
    """Levels of orientation, one for each class. Pictures are turned as a whole, so the first arm needs no edit."""
    turns = _turns_of(images, masks, targets)

    def bring(chosen: Tensor, wanted: Tensor) -> Tensor:
        pictures, turned = images[chosen], turns[targets[chosen], wanted]
        for number, axis in enumerate(_AXES):
            rows = turned[:, number]
            pictures[rows] = pictures[rows].flip(axis)
        return pictures

    return Levels(targets, turns.any(2)[targets] & has_background(masks)[:, None], bring)


def _read(images: Tensor, masks: Tensor, targets: Tensor) -> Tensor:
    """By which axes pictures of a class are flipped to lie as those of another, ``(classes, classes, 2)`` bool."""
    n_classes, usable = int(targets.max()) + 1, has_background(masks)
    turns = torch.zeros(n_classes, n_classes, len(_AXES), dtype=torch.bool)
    sizes = targets[usable].bincount(minlength=n_classes)
    pairs = list(combinations((sizes > 1).nonzero()[:, 0].tolist(), 2))
    if not pairs:
        return turns
    small, labels = _small(masks[usable]), targets[usable]
    limit = float(stats.norm.ppf(_LEVEL / len(pairs) / len(_AXES)))
    for number, axis in enumerate(_AXES):
        odd = ((small - small.flip(axis)) / 2).flatten(1)
        for one, other in pairs:
            is_turned = _likeness(odd[labels == one], odd[labels == other]) < limit
            turns[one, other, number] = turns[other, one, number] = is_turned
    return turns


def _likeness(ones: Tensor, others: Tensor) -> float:
    """Mean product of the objects ``(n, P)`` of two classes, in its standard errors (Hoeffding 1948).

    It is below 0 where what is at the bottom of the ones is at the top of the others.
    """
    products = ones @ others.T
    variance = sum(float(products.mean(dim).var()) / products.shape[1 - dim] for dim in (0, 1))
    return float(products.mean()) / max(math.sqrt(variance), _TINY)


def _small(masks: Tensor) -> Tensor:
    """Objects, stretched to squares ``(n, cells, cells)``: how much of each cell they fill."""
    boxes = zip(masks.float(), mask_boxes(masks).int().tolist(), strict=True)
    pieces = (mask[None, top:bottom, left:right] for mask, (left, top, right, bottom) in boxes)
    return torch.cat([F.adaptive_avg_pool2d(piece, _CELLS) for piece in pieces])


_turns_of: Known[Tensor] = Known(_read)
