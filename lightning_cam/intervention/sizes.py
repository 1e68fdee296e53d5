"""The size and the proportions of objects: what the distance of a camera, or a way to cut pictures out, gives a class.

An object is enlarged or shrunk to what is typical of another class, before its own background filled in.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..spatial import mask_boxes
from .edits import cut_out
from .known import Known
from .levels import Levels, class_steps
from .masks import has_background, widened

# Logarithms of a factor: what classes of objects may differ in by themselves, see `class_steps`. Largest steps of ten
# drawn figures are 0.28 in size and 0.32 in height over the mean of both sides; of two kinds of creatures, 0.05 and
# 0.13. Two classes must be 0.13 and 0.20 apart, and ten 0.34 and 0.52. Objects of 0.75 and 0.9 of a size are 0.18.
_SPREAD_OF_SIZE, _SPREAD_OF_SHAPE = 0.11, 0.17
_WITHIN = 1 / 12  # variance of places within one pixel: it keeps a single row's spread above 0


@dataclass(frozen=True, eq=False)
class _Steps:
    """What brings objects to the size of each class.

    Attributes:
        factors: ``(classes, classes, 2)`` of height and width, from a class to each class.
        differ: ``(classes, classes)`` whether a step is long enough to be taken.
        usable: ``(N,)`` images whose object and background can be told apart.
    """

    factors: Tensor
    differ: Tensor
    usable: Tensor


def size_levels(images: Tensor, masks: Tensor, targets: Tensor) -> Levels:
    """Levels of size, one for each class. At its own level an object is pasted as well: both arms are edited alike."""
    steps = _steps_of(images, masks, targets)
    has_steps = steps.differ.any(1)
    reached = steps.differ | (torch.eye(len(has_steps)).bool() & has_steps)
    changes = reached[targets] & steps.usable[:, None]

    def bring(chosen: Tensor, wanted: Tensor) -> Tensor:
        (_, objects, through), (_, backgrounds) = cut_out(images[chosen], masks[chosen])
        layers, boxes = torch.cat([objects, 1 - through], 1), mask_boxes(widened(masks[chosen]))
        factors = steps.factors[targets[chosen], wanted]
        each = zip(layers, boxes.int().tolist(), factors.tolist(), strict=True)
        resized = torch.stack([_resized(*one) for one in each]) if len(chosen) else layers
        return (resized[:, :-1] + (1 - resized[:, -1:]) * backgrounds).clamp(0, 1)

    return Levels(targets, changes, bring)


def _read(images: Tensor, masks: Tensor, targets: Tensor) -> _Steps:
    n_classes, usable = int(targets.max()) + 1, has_background(masks)
    none = torch.zeros(n_classes, n_classes, dtype=torch.bool)
    if len(set(targets[usable].tolist())) < 2:
        return _Steps(torch.ones(n_classes, n_classes, 2), none, usable)
    labels, (rows, columns) = targets[usable], _spreads(masks[usable]).T[:, :, None]
    size, shape = (
        class_steps(values, labels, n_classes, spread)
        for values, spread in (((rows + columns) / 2, _SPREAD_OF_SIZE), ((rows - columns) / 2, _SPREAD_OF_SHAPE))
    )
    return _Steps(torch.stack([size + shape, size - shape], 2).exp(), (size != 0) | (shape != 0), usable)


def _spreads(masks: Tensor) -> Tensor:
    """Logarithm of the standard deviation of rows and columns on the object, ``(n, 2)``. An odd pixel counts little."""
    spreads = []
    for dim in (2, 1):
        shares = masks.sum(dim) / masks.sum((1, 2))[:, None]
        places = torch.arange(shares.shape[1], dtype=shares.dtype)
        centre = (shares * places).sum(1, keepdim=True)
        spreads.append(((shares * (places - centre) ** 2).sum(1) + _WITHIN).log() / 2)
    return torch.stack(spreads, 1)


def _resized(layers: Tensor, box: list[int], factors: list[float]) -> Tensor:
    """What lies in a box, larger or smaller around its middle, as far as it stays whole; nothing elsewhere."""
    left, top, right, bottom = box
    piece, canvas = layers[:, top:bottom, left:right], torch.zeros_like(layers)
    sides = [
        min(max(round(side * factor), 1), whole)
        for side, factor, whole in zip(piece.shape[1:], factors, layers.shape[1:], strict=True)
    ]
    if sides != list(piece.shape[1:]):
        piece = F.interpolate(piece[None], size=sides, mode="bicubic", antialias=True)[0]
    y, x = (
        min(max((start + end - side) // 2, 0), whole - side)
        for start, end, side, whole in zip((top, left), (bottom, right), sides, layers.shape[1:], strict=True)
    )
    canvas[:, y : y + sides[0], x : x + sides[1]] = piece
    return canvas


_steps_of: Known[_Steps] = Known(_read)
