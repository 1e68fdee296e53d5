"""Where a map looks, as one number per sample.

Maps are ``(N, h, w)``, float32 or float64, non-negative and raw: nothing is scaled before it is measured, and no
epsilon hides an empty map. Masks are ``(N, H, W)`` bool at image size, True on the object; an all-False mask means that
none is known. Measures of mass average the mask over the map's cells. Stretching a coarse map to the image instead
would carry mass across the object's outline. Every measure gives ``(N,)`` values. Maps ``(N, d, h, w)`` of volumes
have masks ``(N, D, H, W)``.

Undefined is NaN, for that sample only. A map that is empty, not finite or a single cell looks at no place. A mask that
is missing or covers the whole image cannot tell maps apart.
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from ..spatial import area_average, at_cell_centres, border_ring, largest_component, mask_boxes, upsample

__all__ = [
    "Measure",
    "attention_drift",
    "attention_entropy",
    "background_attention_lift",
    "background_attention_ratio",
    "border_attention_ratio",
    "box_iou",
    "is_constant",
    "is_empty",
    "is_finite",
    "nan_mean",
    "pointing_accuracy",
]

Measure: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""``(maps (N, h, w), masks (N, H, W)) -> values (N,)``, NaN where undefined."""


_BOX_SHARE = 0.2  # of the maximum, from which a pixel belongs to the box (Zhou et al. 2016, section 3.2)
_ROUNDING = 1e-6


def background_attention_ratio(maps: Tensor, masks: Tensor) -> Tensor:
    """Share of a map's mass that lies outside the object, 0..1; a uniform map has the background's share of the image.

    One minus the energy-based pointing game (Wang et al. 2020, Score-CAM, section 4.3), on the map's own grid.

    >>> background_attention_ratio(torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[True, False]]]))
    tensor([0.2500])
    """
    outside, inside = _split(maps, masks)
    return outside / (outside + inside)


def background_attention_lift(maps: Tensor, masks: Tensor) -> Tensor:
    """Log odds of the background attention ratio minus log odds of the background's area; 0 = uniform attention.

    Written as ``ln(density outside / density inside)``, density being share of mass over share of area, which is the
    same number. Above 0 the background gets more than its share, below 0 the object does; swapping background and
    object swaps the sign.

    A ratio of exactly 0 or 1, common for sparse maps, would be infinite. One such sample would decide every mean, and
    dropping it as NaN would remove the clearest cases. But a map of ``n`` cells cannot resolve less than the mass of
    one cell, so each density counts as at least ``1 / n`` of the uniform one. The value then lies between
    ``-ln(n / object area)`` and ``ln(n / background area)``. Order and symmetry stay, and a map that gives both sides
    more than that does not change.

    >>> background_attention_lift(torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[True, False]]])).exp()
    tensor([0.3333])
    """
    outside, inside = _split(maps, masks)
    area_outside, area_inside = _split(torch.ones_like(maps), masks)
    lowest = 1 / math.prod(maps.shape[1:])
    return (outside / area_outside).clamp(min=lowest).log() - (inside / area_inside).clamp(min=lowest).log()


def pointing_accuracy(maps: Tensor, masks: Tensor) -> Tensor:
    """Whether the map's peak lies on the object: 1 or 0, or a share if several cells are equally high.

    The pointing game (Zhang et al. 2018) without its 15 px tolerance. The peak is the centre of the highest cell. With
    several equal peaks, the value is the share of them on the object. A centre that lies between two or four pixels
    counts as their mean. A constant map has no peak: NaN.
    """
    check_maps_and_masks(maps, masks)
    space = space_of(maps)
    peaks = (maps == maps.amax(dim=space, keepdim=True)).to(maps)
    hits = (peaks * at_cell_centres(masks, maps.shape[1:])).sum(dim=space) / peaks.sum(dim=space)
    return _defined(hits, is_finite(maps) & ~is_constant(maps) & _can_be_missed(masks))


def box_iou(maps: Tensor, masks: Tensor) -> Tensor:
    """Overlap, 0..1, of the map's box with the smallest box around the mask, in pixels of the mask.

    The map's box surrounds the largest 4-connected region of ``map >= 20 % of its maximum`` (Zhou et al. 2016, section
    3.2), after bilinear resizing to the mask's size. A constant map would get the whole image as its box, a hit on
    every large object: NaN instead. A mask that covers the image has a box like any other.
    """
    check_maps_and_masks(maps, masks)
    overlap = box_overlap(map_boxes(maps, masks.shape[1:], _BOX_SHARE), mask_boxes(masks))
    return _defined(overlap.to(maps), is_finite(maps) & ~is_constant(maps))


def border_attention_ratio(maps: Tensor) -> Tensor:
    """Share of a map's mass in the outer ring of 10 % of height and width, 0..1; 0.36 is uniform."""
    ring = border_ring(maps.shape[1:]).to(maps)
    return (_attention(maps) * ring).sum(dim=space_of(maps)).clamp(max=1)


def attention_entropy(maps: Tensor) -> Tensor:
    """Entropy of a map's mass over its ``n`` cells, divided by ``ln(n)``: 0 = in one cell, 1 = uniform.

    >>> attention_entropy(torch.tensor([[[2.0, 2.0, 0.0, 0.0]]]))
    tensor([0.5000])
    """
    attention = _attention(maps)
    entropy: Tensor = torch.special.entr(attention).sum(dim=space_of(maps))
    return (entropy / math.log(max(math.prod(maps.shape[1:]), 2))).clamp(max=1)


def attention_drift(maps: Tensor, previous: Tensor) -> Tensor:
    """One minus the cosine between each map and its predecessor, 0..1: 0 = equal up to scale, 1 = no cell in common.

    Computed as half the squared distance of the unit vectors: the same number, and exactly 0 for equal maps.

    Raises:
        ValueError: The shapes differ, as they do after a change of the layer or the probe.
    """
    if maps.shape != previous.shape:
        raise ValueError(f"expected previous maps of shape {tuple(maps.shape)}, got {tuple(previous.shape)}")
    change = _unit(_attention(maps)) - _unit(_attention(previous))
    return (change.square().sum(dim=space_of(maps)) / 2).clamp(max=1)


def is_empty(maps: Tensor) -> Tensor:
    """Whether each map ``(N, h, w)`` is zero everywhere."""
    return (maps == 0).flatten(1).all(dim=1)


def is_constant(maps: Tensor) -> Tensor:
    """Whether each map ``(N, h, w)`` has the same value everywhere, as empty maps and single cells do."""
    return maps.amax(dim=space_of(maps)) == maps.amin(dim=space_of(maps))


def is_finite(maps: Tensor) -> Tensor:
    """Whether each map ``(N, h, w)`` is free of NaN and infinity."""
    return maps.isfinite().flatten(1).all(dim=1)


def nan_mean(values: Tensor) -> Tensor:
    """Mean of the defined values, as a 0-dim tensor; NaN if none is.

    >>> nan_mean(torch.tensor([1.0, float("nan"), 0.0]))
    tensor(0.5000)
    """
    return values.nanmean()


def _split(maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of a map's mass outside and inside the object, ``(N,)`` each; NaN where undefined."""
    check_maps_and_masks(maps, masks)
    attention, covered = _attention(maps), area_average(masks, maps.shape[1:])
    outside, inside = (attention * (1 - covered)).sum(dim=space_of(maps)), (attention * covered).sum(dim=space_of(maps))
    return _defined(outside, _can_be_missed(masks)), _defined(inside, _can_be_missed(masks))


def _attention(maps: Tensor) -> Tensor:
    """Share of each cell in its map's mass; NaN for a map that has no shares: empty, not finite, negative, one cell."""
    mass = maps.sum(dim=space_of(maps), keepdim=True)
    has_shares = mass.isfinite() & (maps.amin(dim=space_of(maps), keepdim=True) >= 0) & (math.prod(maps.shape[1:]) > 1)
    return _defined(maps / mass, has_shares)  # an empty map is 0 / 0


def _unit(maps: Tensor) -> Tensor:
    """Maps scaled to Euclidean length 1."""
    return maps / maps.square().sum(dim=space_of(maps), keepdim=True).sqrt()


def space_of(maps: Tensor) -> tuple[int, ...]:
    """The axes of a map, without that of the samples."""
    return tuple(range(1, maps.ndim))


def map_boxes(maps: Tensor, size: tuple[int, ...], share: float) -> Tensor:
    """Boxes around the largest region of a map, stretched to ``size``, from that share of its maximum on."""
    resized = upsample(maps, size)
    # Rounding may put a pixel of exactly the share on either side; without the slack a flipped map could lose it.
    high = resized >= (share - _ROUNDING) * resized.amax(dim=space_of(maps), keepdim=True)
    return mask_boxes(largest_component(high))


def box_overlap(boxes: Tensor, others: Tensor) -> Tensor:
    """Overlap of box ``i`` with other box ``i``, both as `mask_boxes` gives them; NaN where a box is NaN."""
    (first, last), (other_first, other_last) = boxes.chunk(2, 1), others.chunk(2, 1)
    common = (torch.minimum(last, other_last) - torch.maximum(first, other_first)).clamp(min=0).prod(dim=1)
    areas = (last - first).prod(dim=1) + (other_last - other_first).prod(dim=1)
    return common / (areas - common)


def _can_be_missed(masks: Tensor) -> Tensor:
    """Whether each mask has an inside and an outside."""
    return masks.flatten(1).any(dim=1) & ~masks.flatten(1).all(dim=1)


def _defined(values: Tensor, where: Tensor) -> Tensor:
    return values.where(where, torch.nan)


def check_maps_and_masks(maps: Tensor, masks: Tensor) -> None:
    """Shapes and type as they must be: anything else would broadcast to a plausible number."""
    are_alike = maps.ndim == masks.ndim in (3, 4) and len(maps) == len(masks)
    if masks.dtype != torch.bool or not are_alike:
        raise ValueError(
            f"expected maps (N, h, w) and bool masks (N, H, W), "
            f"got maps {tuple(maps.shape)} and {masks.dtype} masks {tuple(masks.shape)}"
        )
