"""Masks of the object: read from values, drawn from boxes, or found by flooding a plain background."""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

UNIFORM = 0.95
"""Share of the border's pixels that must agree before the border counts as plain background."""
AGREES, CLOSE = 0.06, 0.10
"""How far a border pixel may lie from the border's colour, and how far a background pixel may, in any channel."""
SPECK = 0.05
"""Pieces smaller than this share of the largest one are compression noise, not object."""
SOFT = 0.75
"""Outermost pixels are mixed with the background where they differ from it by less than this share of those behind."""
THIN = 0.7
"""Objects of which less than this share lies within their outermost pixels are lines, and keep these."""
FEW_LEVELS = 8
"""A grey mask with more levels than two, but no more than these, has numbered regions rather than a soft edge."""
FRAMED, LARGE = 0.97, 0.5
"""A region that fills this share of its box, and more than this share of the image, is a photograph in a frame."""
TRIMAP = (1.0, 2.0, 3.0)
"""Of a trimap: the object, its surroundings, the outline between them. There is no 0, as maps of regions have."""
SENSIBLE = (0.01, 0.95)
"""Share of the image that a found object covers."""

_ROUNDING = 1e-3  # of sums of probabilities, in half precision
_OF_ONE = "keep masks[k], with k the number of the object's class"
_OF_SHARES = "keep mask > 0.5, or less where the object would stick out"


def binary(values: Tensor) -> Tensor:
    """``(H, W)`` bool from a mask ``(H, W)`` or a stack of them ``(k, H, W)``, of bools or of two grey levels.

    Brighter than half of the maximum is the object. A soft or compressed edge, which has many levels in few pixels, is
    fine; a few levels, or many in many pixels, mean something that only the maker of the mask knows. The three of a
    trimap are known: the object, its surroundings, and the outline, which counts as object (Oxford-IIIT Pets).

    >>> binary(torch.tensor([[0, 255], [0, 255]], dtype=torch.uint8))
    tensor([[False,  True],
            [False,  True]])
    """
    stack = values.float().reshape(-1, *values.shape[-2:])
    levels = np.unique(stack.numpy())
    if {*TRIMAP[:2]} <= {*levels.tolist()} <= {*TRIMAP}:
        return (stack != TRIMAP[1]).any(0)
    if len(stack) > 1 and levels[0] >= 0 and bool((stack.sum(0) - 1).abs().max() < _ROUNDING):
        raise ValueError(f"a mask must be of the object, got {len(stack)} maps that sum to 1, as of classes; {_OF_ONE}")
    shares = stack / max(float(levels[-1]), torch.finfo().tiny)
    between, bright = ((shares > 0.1) & (shares < 0.9)).sum(), (shares >= 0.9).sum()
    several = len({0.0, *levels.tolist()}) > 2 and (len(levels) <= FEW_LEVELS or between > bright)
    if several or levels[0] < 0:
        some = ", ".join(f"{level:g}" for level in levels[:5])
        kept = _OF_SHARES if levels[-1] <= 1 else "keep mask == level_of_the_object"
        kept = "keep mask > 0 of scores" if levels[0] < 0 else kept
        raise ValueError(f"a mask must have two levels, got {some} ...; {kept}")
    return (shares > 0.5).any(0)


def binary_volume(values: Tensor) -> Tensor:
    """``(D, H, W)`` bool from a mask ``(D, H, W)`` or ``(k, D, H, W)`` of two levels, as `binary`."""
    *stack, depth, height, width = values.shape
    flat = binary(values.reshape(*stack, depth * height, width))
    return flat.reshape(depth, height, width)


def find_object(pixels: Tensor) -> Tensor | None:
    """Mask ``(H, W)`` of what stands before a plain background in ``pixels (C, H, W)``; None where that is in doubt.

    The background is what is connected to the border and close to its dominant colour, so holes in the object belong
    to the object; outermost pixels that the background is mixed into do not. In doubt means: the border is not
    of one colour, nothing or nearly everything is left, or what is left is a large upright rectangle, which is a
    photograph in a frame rather than an object.
    """
    border = _on_border(pixels.shape[-2:])
    colour = pixels[:, border].median(1).values
    distance = (pixels - colour[:, None, None]).abs().amax(0)
    if (distance[border] <= AGREES).float().mean() < UNIFORM:
        return None
    region = _without_specks(~_touching(distance <= CLOSE, border))
    low, high = SENSIBLE
    return (
        _without_soft_rim(region, distance) if low <= region.float().mean() <= high and not _is_framed(region) else None
    )


def _on_border(size: tuple[int, ...]) -> Tensor:
    border = torch.ones(size, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    return border


def _touching(region: Tensor, border: Tensor) -> Tensor:
    """The 4-connected parts of ``region`` that reach the border."""
    parts, _ = ndimage.label(region.numpy())
    numbers = torch.from_numpy(parts)
    return region & torch.isin(numbers, numbers[border])


def _without_specks(region: Tensor) -> Tensor:
    parts, _ = ndimage.label(region.numpy())
    numbers = torch.from_numpy(parts).long()
    areas = numbers.flatten().bincount()
    areas[0] = 0
    return (areas >= max(SPECK * int(areas.max()), 1))[numbers]


def _without_soft_rim(region: Tensor, distance: Tensor) -> Tensor:
    """Without its outermost pixels where these are much nearer to the background's colour than those behind them."""
    inner = _eroded(region)
    if inner.sum() < THIN * region.sum():
        return region
    rim, behind = region & ~inner, inner & ~_eroded(inner)
    return inner if distance[rim].median() < SOFT * distance[behind].median() else region


def _eroded(region: Tensor) -> Tensor:
    return torch.from_numpy(ndimage.binary_erosion(region.numpy(), border_value=1))


def _is_framed(region: Tensor) -> bool:
    rows, columns = region.any(1).nonzero(), region.any(0).nonzero()
    box = (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
    return bool(region.sum() >= FRAMED * box and region.float().mean() > LARGE)
