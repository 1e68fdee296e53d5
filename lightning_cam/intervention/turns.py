"""How pictures are turned: upside down, mirrored or on their side, as a habit or a scanner leaves those of a class.

Nobody knows from a picture how it was held. But most objects look otherwise when they are turned, and what lies at the
bottom of one class's objects often lies at the bottom of another's. Where it surely lies elsewhere instead, whole
pictures are turned from class to class.
"""

import math
from collections.abc import Callable
from itertools import combinations

import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor

from ..spatial import mask_boxes
from .known import Known
from .levels import Levels
from .masks import has_background

_TURNS: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda pictures: pictures.flip(-2),
    lambda pictures: pictures.flip(-1),
    lambda pictures: pictures.rot90(1, (-2, -1)),
    lambda pictures: pictures.rot90(-1, (-2, -1)),
)
_BACK = (0, 1, 3, 2)  # which of them takes each back
_QUARTERS = (2, 3)
_NONE = -1
_CELLS = 8  # a side of the small picture of an object. Of 4, 8 and 16, 8 told turned creatures best.
# Of a probe, over pairs of classes and all ways to turn; the usual level. For two classes that is a limit of 2.4. Where
# one class of 192 creatures was turned, the sureness was 3.0 to 4.0, and of 96 it was 2.4 to 3.0. In planted probes
# of three tasks it was 0.9 at most, and 1.5 among ten classes.
_LEVEL = 0.05
_TINY = 1e-9  # keeps 0 / 0 defined where all objects are alike


def turn_levels(images: Tensor, masks: Tensor, targets: Tensor) -> Levels:
    """Levels of orientation, one for each class. Pictures are turned as a whole, so the first arm needs no edit."""
    turns = _turns_of(images, masks, targets)

    def bring(chosen: Tensor, wanted: Tensor) -> Tensor:
        pictures, ways = images[chosen], turns[targets[chosen], wanted]
        for way, turn in enumerate(_TURNS):
            rows = ways == way
            if rows.any():  # a quarter turn of none would have another shape
                pictures[rows] = turn(pictures[rows])
        return pictures

    return Levels(targets, (turns != _NONE)[targets] & has_background(masks)[:, None], bring)


def _read(images: Tensor, masks: Tensor, targets: Tensor) -> Tensor:
    """The turn that lays pictures of a class as those of another, ``(classes, classes)``; `_NONE` mostly."""
    n_classes, usable = int(targets.max()) + 1, has_background(masks)
    turns = torch.full((n_classes, n_classes), _NONE)
    counts = targets[usable].bincount(minlength=n_classes)
    pairs = list(combinations((counts > 1).nonzero()[:, 0].tolist(), 2))
    if not pairs:
        return turns
    small, labels = _small(masks[usable]), targets[usable]
    ways = [way for way in range(len(_TURNS)) if masks.shape[1] == masks.shape[2] or way not in _QUARTERS]
    limit = float(stats.norm.isf(_LEVEL / len(pairs) / (len(ways) + len({*_QUARTERS} & {*ways}))))  # of either class
    for pair in pairs:
        found = [
            (_sureness(small[labels == one], small[labels == other], way), one, other, way)
            for one, other in (pair, pair[::-1])
            for way in ways
        ]
        sureness, one, other, way = max(found)
        if sureness > limit:
            turns[other, one], turns[one, other] = way, _BACK[way]
    return turns


def _sureness(ones: Tensor, others: Tensor, way: int) -> float:
    """How surely the others ``(m, cells, cells)`` lie as the ones once they are turned, in standard errors.

    Compared is only in what objects are not the same upside down, or mirrored: one class may be tall and another wide.
    """
    if way not in _QUARTERS:
        return -_likeness(_odd(ones, _TURNS[way]), _odd(others, _TURNS[way]))
    upright, as_it_is = (_odd(each, _TURNS[0]) for each in (ones, others))
    turned = _odd(_TURNS[way](others), _TURNS[0])
    return min(_likeness(upright, turned), _likeness(upright, turned - as_it_is))


def _odd(small: Tensor, turn: Callable[[Tensor], Tensor]) -> Tensor:
    """What changes its sign by the turn, ``(n, cells * cells)``."""
    return ((small - turn(small)) / 2).flatten(1)


def _likeness(ones: Tensor, others: Tensor) -> float:
    """Mean product of the objects ``(n, P)`` of two classes, in its standard errors (Hoeffding 1948)."""
    products = ones @ others.T
    variance = sum(float(products.mean(dim).var()) / products.shape[1 - dim] for dim in (0, 1))
    return float(products.mean()) / max(math.sqrt(variance), _TINY)


def _small(masks: Tensor) -> Tensor:
    """Objects, stretched to squares ``(n, cells, cells)``: how much of each cell they fill."""
    boxes = zip(masks, mask_boxes(masks).int().tolist(), strict=True)
    pieces = (mask[None, top:bottom, left:right].float() for mask, (left, top, right, bottom) in boxes)
    return torch.cat([F.adaptive_avg_pool2d(piece, _CELLS) for piece in pieces])


_turns_of: Known[Tensor] = Known(_read)
