"""Paired edits: an image gets one property of a donor, everything else stays.

An edit takes ``images (N, C, H, W)`` in [0, 1] with their ``masks (N, H, W)`` and as many donors with theirs. A mask
that is False everywhere is not known. What an image looks like *off the object* is read where the mask, widened a
little, is False; without a mask, on the outer ring. Pure: no state, no randomness.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from ..spatial import border_ring, mask_boxes
from .filters import FLOOR, blended, blurred, each_octave, fill, mean_of, spread_of
from .masks import off_object, softened, widened
from .parts import hide_object

Edit: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
Read: TypeAlias = tuple[Tensor, ...]  # of N images, each (N, ...)

_CORNER = 5  # corners are a fifth of each side, twice as deep as the ring. Chosen, not measured.
_ONE_COLOUR = 1e-4  # squared distance of object and background: below 2.5 grey levels their colours tell nothing
# Of the distance from background to object: so near to the background a pixel in the rim of a mask is background. A
# clean network read 0.17 and 0.24 with masks 1 and 2 of 64 pixels too wide, and 0.02 and 0.07 with this; 0.25 took away
# thin parts of drawn figures.
_LIKE_BACKGROUND = 0.15
_BRIGHTEST = 0.98  # of a channel's pixels: the white patch is no single pixel, which may be noise. Not measured.
_LEAST_WHITE = 0.05  # of full brightness: a darker white patch would give gains without bound. Chosen, not measured.
_TONE_GAINS = (0.5, 2.0)  # half or double at most. Chosen, not measured.
_OCTAVES = 2  # of detail: they hold what repeats every 7 pixels or more often. Chosen, not measured.
_DETAIL_GAINS = (0.1, 4.0)  # a smooth picture has mostly noise to amplify. Chosen, not measured.
_SMOOTH = 0.03  # of the shorter side: a single odd pixel stands out less than an object. Chosen, not measured.


@dataclass(frozen=True)
class TwoStepEdit:
    """An edit that first reads each image by itself, once, however often the image borrows and lends.

    Attributes:
        read: From images and masks, what is needed of borrowers, and what is needed of lenders.
        give: From images, what was read of them, and what was read of as many lenders, the edited images.
        lend: As ``read``, but what is needed of lenders alone, if that is less work.
    """

    read: Callable[[Tensor, Tensor], tuple[Read, Read]]
    give: Callable[[Tensor, Read, Read], Tensor]
    lend: Callable[[Tensor, Tensor], Read] | None = None

    def __call__(self, images: Tensor, masks: Tensor, donors: Tensor, donor_masks: Tensor) -> Tensor:
        """Both steps."""
        return self.give(images, self.read(images, masks)[0], self.read(donors, donor_masks)[1])


def in_two_steps(edit: Edit) -> TwoStepEdit:
    """Any edit as one of two steps. The first step of a plain function reads nothing."""
    if isinstance(edit, TwoStepEdit):
        return edit
    return TwoStepEdit(
        lambda images, masks: ((masks,), (images, masks)), lambda images, own, donors: edit(images, *own, *donors)
    )


# ---- the background, or a part of it ---------------------------------------------------------------------------------


def cut_out(images: Tensor, masks: Tensor) -> tuple[Read, Read]:
    """Masks, what objects add to the pictures, and how much of a background they let through; masks and backgrounds.

    Pixels on the outline are a mixture of object and old background. The old background is taken out of them
    (premultiplied alpha, Porter & Duff 1984). Before another background it would be a fringe that no photograph has,
    and models that ignore the background would react to it. On drawn creatures it raised a reading from 0.017 to 0.076.
    """
    if not masks.any():  # nothing is known of any object, so the pictures are backgrounds as a whole
        nothing = images.new_zeros(())
        return (masks, nothing.expand_as(images), (1 - nothing).expand_as(images[:, :1])), (masks, images)
    _, backgrounds = lent = _background(images, masks)
    through = 1 - _opacity(images, masks, backgrounds)[:, None]
    return (masks, (through * backgrounds).neg_().add_(images), through), lent


def _background(images: Tensor, masks: Tensor) -> Read:
    return masks, hide_object(images, masks)


def _opacity(images: Tensor, masks: Tensor, backgrounds: Tensor) -> Tensor:
    """How much of each pixel is the object's, ``(N, H, W)``: how far its colour lies from the background to the object.

    Both colours are filled in from beyond the outline. Objects may have colours of their background, so the mask with
    a soft edge bounds the share: from below inside of the mask, from above outside. A mask may be a little too wide:
    its outermost pixels are bounded as those within only if they don't look like the background beside them.
    """
    soft, core = softened(masks), ~widened(~masks)
    core = torch.where(core.any((1, 2), keepdim=True), core, ~widened(~masks, 1))  # of small objects nothing is left
    across, away = fill(images, core) - backgrounds, images - backgrounds
    apart = across.square().sum(1).clamp_min(_ONE_COLOUR)
    is_background = away.square().sum(1) < _LIKE_BACKGROUND**2 * apart
    share, least = (away * across).sum(1) / apart, torch.where(is_background, softened(core), soft)
    return torch.where(masks, share.clamp(max=1).maximum(least), share.clamp(min=0).minimum(soft))


def _paste(images: Tensor, own: Read, donors: Read, region: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The donor's background on a region, under the image's object."""
    (masks, objects, through), (donor_masks, backgrounds) = own, donors
    pasted = torch.addcmul(objects, through, backgrounds).clamp_(0, 1)
    return torch.where(region(masks, donor_masks)[:, None], pasted, images, out=pasted)


def _everywhere(masks: Tensor, donor_masks: Tensor) -> Tensor:
    return torch.ones_like(masks[:1])


def _ring(masks: Tensor, donor_masks: Tensor) -> Tensor:
    return (border_ring((masks.shape[1], masks.shape[2])) > 0.5).to(masks.device)[None]


def _corners(masks: Tensor, donor_masks: Tensor) -> Tensor:
    region = torch.zeros_like(masks[:1])
    height, width = (side // _CORNER for side in masks.shape[1:])
    for rows in (slice(0, height), slice(masks.shape[1] - height, None)):
        region[:, rows, :width] = region[:, rows, masks.shape[2] - width :] = True
    return region


def _cells(masks: Tensor, donor_masks: Tensor, cells: Tensor) -> Tensor:
    outer = cells.clone()
    outer[1:-1, 1:-1] = False
    are_known = (masks.any((1, 2)) & donor_masks.any((1, 2)))[:, None, None]
    grids = torch.where(are_known, cells, outer)[:, None].float()
    return F.interpolate(grids, size=masks.shape[1:])[:, 0] > 0.5


swap_background = TwoStepEdit(cut_out, partial(_paste, region=_everywhere), _background)
"""The image's object before the donor's background, the donor's object filled in from around it."""

swap_border = TwoStepEdit(cut_out, partial(_paste, region=_ring), _background)
"""The donor's outer tenth on each side; objects keep their place."""

swap_corners = TwoStepEdit(cut_out, partial(_paste, region=_corners), _background)
"""The donor's four corners, a fifth of each side; objects keep their place."""


def in_slices(edit: TwoStepEdit, depth: int) -> TwoStepEdit:
    """The edit for pictures that are ``depth`` slices one below another: its region is the same in each of them."""
    region = getattr(edit.give, "keywords", {}).get("region")
    return edit if region is None else replace(edit, give=partial(_paste, region=partial(_sliced, region, depth)))


def _sliced(region: Callable[[Tensor, Tensor], Tensor], depth: int, masks: Tensor, donor_masks: Tensor) -> Tensor:
    own, lent = (each.reshape(len(each) * depth, -1, each.shape[2]) for each in (masks, donor_masks))
    of_slices = region(own, lent)
    return of_slices.expand(len(own), -1, -1).reshape(masks.shape)


def swap_region(cells: Tensor) -> TwoStepEdit:
    """The donor's pixels in the True ``cells (h, w)`` of a grid over the image; objects keep their place.

    Where a mask is not known only cells along the edge are swapped, because the object may lie in the others.
    """
    return TwoStepEdit(cut_out, partial(_paste, region=partial(_cells, cells=cells)), _background)


# ---- tone and fine texture -------------------------------------------------------------------------------------------


def _read_tone(images: Tensor, masks: Tensor) -> tuple[Read, Read]:
    """The level ``(N, C, 1, 1)`` that the brightest pixels of a channel exceed."""
    pixels = images.flatten(2)
    rank = math.ceil(_BRIGHTEST * pixels.shape[2])
    exceeded = [channel.kthvalue(rank, dim=1, keepdim=True).values for channel in pixels.unbind(1)]  # it sorts copies
    brightest = torch.stack(exceeded, 1)[:, :, :, None].clamp_min(_LEAST_WHITE)
    return (brightest,), (brightest,)


def _give_tone(images: Tensor, own: Read, donors: Read) -> Tensor:
    (brightest,), (wanted,) = own, donors
    return (images * (wanted / brightest).clamp(*_TONE_GAINS)).clamp(0, 1)


match_tone = TwoStepEdit(_read_tone, _give_tone)
"""Each channel scaled until its brightest pixels are as bright as the donor's (white patch, Land & McCann 1971)."""


def _read_frequencies(images: Tensor, masks: Tensor) -> tuple[Read, Read]:
    """The finest octaves of detail, and the spread of each off the object."""
    details, outside = list(islice(each_octave(images), _OCTAVES)), off_object(masks)
    spreads = tuple(spread_of(band, outside) + FLOOR for band in details)
    return (*details, *spreads), spreads


def _spreads(images: Tensor, masks: Tensor) -> Read:
    outside = off_object(masks)
    # `map` lets go of each octave, which a loop's variable would keep while the next one is made.
    return tuple(map(lambda band: spread_of(band, outside) + FLOOR, islice(each_octave(images), _OCTAVES)))  # noqa: C417 - see above


def _give_frequencies(images: Tensor, own: Read, donors: Read) -> Tensor:
    """Gains bring the spreads to the donor's. Swapped amplitudes, tried before, moved predictions of clean models."""
    details, spreads = own[:_OCTAVES], own[_OCTAVES:]
    for band, spread, wanted in zip(details, spreads, donors, strict=True):
        images = torch.addcmul(images, (wanted / spread).clamp(*_DETAIL_GAINS) - 1, band)
    return images.clamp_(0, 1)


match_frequencies = TwoStepEdit(_read_frequencies, _give_frequencies, _spreads)
"""The two finest octaves of detail weakened or strengthened to what the donor has off the object."""


# ---- position --------------------------------------------------------------------------------------------------------


def _read_position(images: Tensor, masks: Tensor) -> tuple[Read, Read]:
    """The places of objects: their boxes, and the centres of what stands out where no mask is known."""
    places = _places(images, masks)
    return (hide_object(images, masks), *places), places


def _places(images: Tensor, masks: Tensor) -> Read:
    return masks, mask_boxes(masks), _centre(images)


def _give_position(images: Tensor, own: Read, donors: Read) -> Tensor:
    (backgrounds, masks, boxes, centres), (donor_masks, donor_boxes, donor_centres) = own, donors
    are_known = masks.any((1, 2)) & donor_masks.any((1, 2))
    if not are_known.any():
        return _move_picture(images, donor_centres - centres)
    shifts = _shifts(boxes, donor_boxes, (masks.shape[1], masks.shape[2]))
    moved_images = [torch.roll(image, shift, (1, 2)) for image, shift in zip(images, shifts, strict=True)]
    moved_masks = [torch.roll(mask, shift, (0, 1)) for mask, shift in zip(masks, shifts, strict=True)]
    composed = blended(torch.stack(moved_images), backgrounds, softened(torch.stack(moved_masks)))
    if are_known.all():
        return composed
    return torch.where(are_known[:, None, None, None], composed, _move_picture(images, donor_centres - centres))


def _shifts(boxes: Tensor, donor_boxes: Tensor, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Rows and columns from the centre of each object's box to that of the donor's, without leaving the image."""
    offsets = ((donor_boxes[:, :2] + donor_boxes[:, 2:] - boxes[:, :2] - boxes[:, 2:]) / 2).nan_to_num()
    far_corner = torch.tensor([size[1], size[0]], device=boxes.device)
    offsets = offsets.clamp(-boxes[:, :2].nan_to_num(), far_corner - boxes[:, 2:].nan_to_num()).round().int()
    return [(y, x) for x, y in offsets.tolist()]


def _centre(images: Tensor) -> Tensor:
    """Row and column ``(N, 2)`` of the centre of what differs most from the mean of the outer ring.

    The median difference counts as none: half of a picture is taken for background. Where all of it is alike, the
    smallest weight leaves the centre in the middle.
    """
    ring = off_object(torch.zeros_like(images[:, 0], dtype=torch.bool))
    distances = (images - mean_of(images, ring)).square_().sum(1, keepdim=True)
    unlike = blurred(distances, _SMOOTH * min(images.shape[2:]))[:, 0]
    weights = (unlike - unlike.flatten(1).median(1).values[:, None, None]).clamp(0) + 1e-9
    rows, columns = (torch.arange(side, device=images.device, dtype=images.dtype) for side in images.shape[2:])
    centres = torch.stack([(weights.sum(2) * rows).sum(1), (weights.sum(1) * columns).sum(1)], 1)
    return centres / weights.sum((1, 2))[:, None]


def _move_picture(images: Tensor, offsets: Tensor) -> Tensor:
    """Whole pictures moved by rows and columns ``(N, 2)``, mirrored at their edges."""
    moved = []
    for image, (y, x) in zip(images, offsets.round().int().tolist(), strict=True):
        rows, columns = (_mirrored(side, by, image) for side, by in zip(image.shape[1:], (y, x), strict=True))
        moved.append(image[:, rows][:, :, columns])
    return torch.stack(moved)


def _mirrored(side: int, by: int, like: Tensor) -> Tensor:
    """Which row of a picture each row of the moved one shows. Padding would make a picture nine times as large."""
    last = side - 1
    return last - (last - (torch.arange(side, device=like.device) - by).abs()).abs()


move_object = TwoStepEdit(_read_position, _give_position, _places)
"""The object where the donor's object is, as far as it stays whole, before its own background filled in.

Where either mask is not known the whole picture moves, mirrored at its edges, until what differs from its outer ring
lies as in the donor.
"""
