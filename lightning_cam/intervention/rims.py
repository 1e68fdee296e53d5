"""The rim of objects: what cutting out and pasting leaves beside an outline, such as a halo or a dark fringe.

A background that is pasted around an object covers its rim, and so does the donor's own, so that its swap says nothing
of rims. Read is how rings around the mask differ from the background, which is continued inwards from beyond them.
Rims are brought from class to class where the classes surely differ in them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..statistics import differ
from .filters import by_parts, fill
from .known import Known
from .levels import Levels
from .masks import has_background, widened

_WIDTH = 0.05  # of the shorter side, 3 pixels of 64: no rim is thought to be wider. Chosen, not measured.
# Of full brightness, 8 grey levels: typical rims of two classes differ by more. Of 70 small networks on creatures,
# figures and leaves no probe did, of 96 or of 256 images, though objects and backgrounds have colours of their own.
_LEAST = 0.03
_FLAT = 1e-3  # variance, of a spread of 8 grey levels: no slope is read over a background that is flatter


@dataclass(frozen=True, eq=False)
class _Rims:
    """The typical rims of the classes: a ring is ``slope`` times the background there, plus ``offset``.

    Attributes:
        slopes: ``(classes, rings)``.
        offsets: ``(classes, rings, C)``.
        usable: ``(N,)`` images whose rims can be read and drawn.
        are_unlike: Whether classes surely differ.
    """

    slopes: Tensor
    offsets: Tensor
    usable: Tensor
    are_unlike: bool


def rim_levels(images: Tensor, masks: Tensor, targets: Tensor) -> Levels:
    """Levels of rims, one for each class. At every level a typical rim is drawn, so that both arms are edited alike."""
    rims = _rims_of(images, masks, targets)
    changes = (rims.usable & rims.are_unlike)[:, None].expand(-1, len(rims.slopes)).clone()

    def bring(chosen: Tensor, wanted: Tensor) -> Tensor:
        pictures, (rings, behind) = images[chosen], _surroundings(images[chosen], masks[chosen])
        for number, ring in enumerate(rings):
            drawn = rims.slopes[wanted, number, None, None, None] * behind + rims.offsets[wanted, number, :, None, None]
            pictures = torch.where(ring[:, None], drawn.clamp(0, 1), pictures)
        return pictures

    return Levels(targets, changes, bring)


def _read(images: Tensor, masks: Tensor, targets: Tensor) -> _Rims:
    channels, usable = images.shape[1], has_background(masks)
    shape = int(targets.max()) + 1, len(_thicknesses(masks))
    slopes, offsets = torch.ones(shape), torch.zeros(*shape, channels)
    if len(set(targets[usable].tolist())) < 2:
        return _Rims(slopes, offsets, usable, are_unlike=False)
    values, labels = by_parts(_of_images, images[usable], masks[usable]), targets[usable]
    present = sorted(set(labels.tolist()))
    typical = torch.stack([values[labels == label].median(0).values for label in present])
    slopes[present], offsets[present] = typical[:, :, 0], typical[:, :, 1 : 1 + channels]
    # The first pixel beside an outline is a mixture with the object, of which it has the colour.
    contrast, of_class = values[:, 1:, -1], typical[:, 1:, -1]
    is_far = bool((of_class.amax(0) - of_class.amin(0) > _LEAST).any())
    return _Rims(slopes, offsets, usable, are_unlike=is_far and differ(contrast, labels))


def _of_images(images: Tensor, masks: Tensor) -> Tensor:
    """``(N, rings, 1 + C + 1)``: slope over the background, offset of each channel, and mean difference from it."""
    rings, behind = _surroundings(images, masks)
    columns = []
    for ring in rings:
        weights = ring[:, None] / ring.sum((1, 2)).clamp_min(1)[:, None, None, None]
        of_ring, of_behind = ((each * weights).sum((2, 3), keepdim=True) for each in (images, behind))
        moves = (behind - of_behind) * ring[:, None]
        spread = (moves.square() * weights).sum((1, 2, 3)) / images.shape[1]
        shared = (moves * (images - of_ring) * weights).sum((1, 2, 3)) / images.shape[1]
        slope = ((shared + _FLAT) / (spread + _FLAT))[:, None]
        of_ring, of_behind = of_ring[:, :, 0, 0], of_behind[:, :, 0, 0]
        difference = (of_ring - of_behind).mean(1, keepdim=True)
        columns.append(torch.cat([slope, of_ring - slope * of_behind, difference], 1))
    return torch.stack(columns, 1)


def _surroundings(images: Tensor, masks: Tensor) -> tuple[list[Tensor], Tensor]:
    """The rings around objects, each ``(N, H, W)``, and the background continued from beyond them."""
    rings, inside = [], masks
    for thickness in _thicknesses(masks):
        wider = widened(inside, thickness)
        rings.append(wider & ~inside)
        inside = wider
    return rings, fill(images, ~widened(inside, 1))


def _thicknesses(masks: Tensor) -> list[int]:
    """Pixels of each ring: three of one pixel, then twice as many as before, as far as a rim may reach."""
    width = max(2, round(_WIDTH * min(masks.shape[1:])))
    thicknesses = [1, 1]
    while (left := width - sum(thicknesses)) > 0:
        thicknesses.append(min(left, max(1, sum(thicknesses) - 2)))
    return thicknesses


_rims_of: Known[_Rims] = Known(_read)
