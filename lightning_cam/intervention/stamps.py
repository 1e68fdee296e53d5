"""Patches that recur in one class: a stamp is taken out of an image, and that of another class is put in its place."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..patches import WINDOW, Patch, find, points_of, together
from .filters import fill, in_parts
from .known import Known
from .levels import Levels
from .masks import widened

_MOST_CLASSES = 5  # whose patches are swapped: each costs a pass of all images. Chosen, not measured.
_REACH = 8  # a stamp is looked for within an eighth of the shorter side around its window. Chosen, not measured.
_COVERED = 0.5  # what a stamp hides of its background at least, to count as part of it. Chosen, not measured.
_LEAST_SPREAD = 1 / 255  # of brightness: keeps shares of it finite where all pictures are alike
# Of its places: what looks the same on objects and beside them is no part of an object. Chosen, not measured.
_OFF_OBJECT = 0.25


@dataclass(frozen=True, eq=False)
class _Stamp:
    """What a patch adds to a picture: ``pixels (C, h, w)`` over ``1 - opacity (h, w)`` of what was there.

    Attributes:
        patch: Where it was found.
        reach: How far the stamp's upper left corner lies above and left of the patch's.
        opacity: 0 to 1, 0 outside the stamp.
        pixels: Already weighted by the opacity.
    """

    patch: Patch
    reach: int
    opacity: Tensor
    pixels: Tensor


def patch_levels(images: Tensor, masks: Tensor, targets: Tensor) -> Levels:
    """Levels of patches that recur: none is level 0, the patches of a class are another level.

    An image has one place for all levels: that of its own patch, or one where another image has a patch. At level 0
    this place is filled in from around, so that whatever lies below a patch is hidden at every level.
    """
    stamps = _stamps_of(images, targets)
    if not stamps:
        same = torch.zeros(len(images), 1, dtype=torch.bool)
        return Levels(torch.zeros_like(targets), same, lambda chosen, _: images[chosen])
    groups = _by_class(stamps)
    of, shown, places = _own_patches(stamps, groups, len(images))
    changes = torch.ones(len(images), 1 + len(groups), dtype=torch.bool)
    changes[of > 0, of[of > 0]] = False

    def bring(chosen: Tensor, wanted: Tensor) -> Tensor:
        pictures = _without(images[chosen], [stamps[shown[row]] for row in chosen.tolist()], places[chosen])
        for at, (row, level) in enumerate(zip(chosen.tolist(), wanted.tolist(), strict=True)):
            if level:
                group = groups[level - 1]
                pictures[at] = _stamped(pictures[at], stamps[group[row % len(group)]], places[row])
        return pictures

    return Levels(of, changes, bring)


def patches_of(images: Tensor, targets: Tensor) -> list[Patch]:
    """The patches that are swapped, the most frequent first."""
    return [stamp.patch for stamp in _stamps_of(images, targets)]


def patches_lie_off_object(images: Tensor, masks: Tensor, targets: Tensor) -> bool:
    """Whether patches lie beside objects often enough to be no part of them."""
    stamps = _stamps_of(images, targets)
    if not stamps:
        return False
    near, half = widened(masks), WINDOW // 2
    middles = [near[s.patch.rows, s.patch.places[:, 0] + half, s.patch.places[:, 1] + half] for s in stamps]
    return bool((~torch.cat(middles)).float().mean() >= _OFF_OBJECT)


def _own_patches(stamps: list[_Stamp], groups: list[list[int]], n: int) -> tuple[Tensor, list[int], Tensor]:
    """Of ``n`` images the level, which stamp lies at its place or is to lie there, and the place ``(n, 2)``."""
    of, first = torch.zeros(n, dtype=torch.long), stamps[0].patch
    shown, places = [0] * n, first.places[torch.arange(n) % len(first.rows)]
    # The most frequent stamps come last, and count where an image has several.
    for level, index in reversed([(level, index) for level, group in enumerate(groups, 1) for index in group]):
        patch = stamps[index].patch
        of[patch.rows], places[patch.rows] = level, patch.places
        for row in patch.rows.tolist():
            shown[row] = index
    return of, shown, places


def _read(images: Tensor, targets: Tensor) -> list[_Stamp]:
    parts = in_parts(torch.arange(len(images)), images)  # of all at once, large ones would be held several times
    points = together([points_of(images[part]) for part in parts])
    return [_stamp(images, patch) for patch in find(points, targets)]


_stamps_of: Known[list[_Stamp]] = Known(_read)


def _by_class(stamps: list[_Stamp]) -> list[list[int]]:
    """Which stamps belong to each class, most frequent class first."""
    groups: dict[int, list[int]] = {}
    for index, stamp in enumerate(stamps):
        groups.setdefault(stamp.patch.label, []).append(index)
    return list(groups.values())[:_MOST_CLASSES]


def _stamp(images: Tensor, patch: Patch) -> _Stamp:
    """What the pictures that show a patch have in common around it.

    With opacity ``a``, a pixel is ``a s + (1 - a) b`` of stamp ``s`` and background ``b``. Over the pictures its spread
    is ``1 - a`` of that of the backgrounds, and its mean is ``a s + (1 - a) mean(b)``.
    """
    reach = max(WINDOW, min(images.shape[2:]) // _REACH)
    wide = F.pad(images[patch.rows], (reach, reach, reach, reach), mode="replicate")
    side = WINDOW + 2 * reach
    pieces = torch.stack(
        [one[:, y : y + side, x : x + side] for one, (y, x) in zip(wide, patch.places.tolist(), strict=True)]
    )
    spread, mean = pieces.std(0).mean(0), pieces.mean(0)
    around = spread.median().clamp_min(_LEAST_SPREAD)
    opacity = (1 - spread / around).clamp(0, 1)
    inside = _connected(opacity >= _COVERED, reach)
    beside = pieces[:, :, ~inside].mean((0, 2)) if not inside.all() else pieces.mean((0, 2, 3))
    opacity = opacity.where(inside, 0.0)
    pixels = (mean - (1 - opacity) * beside[:, None, None]).where(inside, 0.0)
    return _Stamp(patch, reach, opacity, pixels)


def _connected(covered: Tensor, reach: int) -> Tensor:
    """The part of what is covered, ``(h, w)``, that hangs together with the window in the middle."""
    inside = torch.zeros_like(covered)
    inside[reach : reach + WINDOW, reach : reach + WINDOW] = True
    seed = covered & inside
    for _ in range(len(covered)):
        seed = widened(seed[None], 1)[0] & covered
    return seed | inside


def _at_place(values: Tensor, stamp: _Stamp, place: Tensor, like: Tensor) -> Tensor:
    """Values ``(..., h, w)`` of a stamp, with its patch at a place of an empty picture like ``like (H, W)``."""
    height, width = like.shape
    canvas = values.new_zeros(*values.shape[:-2], height + 2 * stamp.reach, width + 2 * stamp.reach)
    y, x = place.tolist()
    canvas[..., y : y + values.shape[-2], x : x + values.shape[-1]] = values
    return canvas[..., stamp.reach : stamp.reach + height, stamp.reach : stamp.reach + width]


def _without(pictures: Tensor, stamps: list[_Stamp], places: Tensor) -> Tensor:
    """Pictures, each without what lies below a stamp: that is filled in from around."""
    empty = torch.zeros(pictures.shape[2:])
    hidden = [_at_place(s.opacity > 0, s, place, empty) for s, place in zip(stamps, places, strict=True)]
    return fill(pictures, ~widened(torch.stack(hidden), 1))


def _stamped(picture: Tensor, stamp: _Stamp, place: Tensor) -> Tensor:
    opacity, pixels = (_at_place(each, stamp, place, picture[0]) for each in (stamp.opacity, stamp.pixels))
    return (picture * (1 - opacity) + pixels).clamp(0, 1)
