"""Paired edits: an image gets one property of a donor, everything else stays.

An edit takes ``images (N, C, H, W)`` in [0, 1] with their ``masks (N, H, W)`` and as many donors with theirs. A mask
that is False everywhere is not known. What an image looks like *off the object* is read where the mask, widened a
little, is False; without a mask, on the outer ring. Pure: no state, no randomness.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from ..spatial import border_ring, mask_boxes

Edit: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
Read: TypeAlias = tuple[Tensor, ...]  # of N images, each (N, ...)


@dataclass(frozen=True)
class TwoStepEdit:
    """An edit that first reads each image by itself: once, however often it borrows and lends.

    Attributes:
        read: From images and masks what is needed of those that borrow, and what is needed of those that lend.
        give: From images, what was read of them, and what was read of as many lenders, the images edited.
    """

    read: Callable[[Tensor, Tensor], tuple[Read, Read]]
    give: Callable[[Tensor, Read, Read], Tensor]

    def __call__(self, images: Tensor, masks: Tensor, donors: Tensor, donor_masks: Tensor) -> Tensor:
        """Both steps."""
        return self.give(images, self.read(images, masks)[0], self.read(donors, donor_masks)[1])


def in_two_steps(edit: Edit) -> TwoStepEdit:
    """Any edit; of one that is not made of two steps the first reads nothing."""
    if isinstance(edit, TwoStepEdit):
        return edit
    return TwoStepEdit(
        lambda images, masks: ((masks,), (images, masks)), lambda images, own, donors: edit(images, *own, *donors)
    )


_MARGIN = 0.03  # of the shorter side: how far a mask is widened before what lies outside counts as background
_SEAM = 0.64  # pixels: standard deviation of the soft edge of masks, as wide as that of objects in pictures
FLOOR = 0.5 / 255  # below half a grey level there is no detail


def hide_background(images: Tensor, masks: Tensor) -> Tensor:
    """The object before mid-grey."""
    return _blend(images, torch.full_like(images, 0.5), _soft(masks))


def hide_object(images: Tensor, masks: Tensor) -> Tensor:
    """The background alone, the object filled in from around it."""
    return _background(images, masks)


def hide_middle(images: Tensor) -> Tensor:
    """The outer fifth on each side, the rest mid-grey: what a model knows from there is not the object's."""
    ring = border_ring((images.shape[2], images.shape[3]), share=0.2).to(images) > 0.5
    return torch.where(ring, images, 0.5)


def off_object(masks: Tensor) -> Tensor:
    """Where an image is looked at off its object, ``(N, H, W)`` 0 or 1; the outer ring where no background is known."""
    ring = border_ring((masks.shape[1], masks.shape[2])).to(masks.device) > 0.5
    return torch.where(has_background(masks)[:, None, None], ~_widened(masks), ring).float()


def has_background(masks: Tensor) -> Tensor:
    """Whether a mask is known and, widened, leaves more than a twentieth of the image to read from, ``(N,)``."""
    return masks.any((1, 2)) & ((~_widened(masks)).float().mean((1, 2)) > 0.05)


def has_enough_masks(masks: Tensor) -> bool:
    """Whether masks are known for so much of a probe that the rest cannot lift a mean by `MARGIN`."""
    return bool(masks.any((1, 2)).float().mean() >= 0.9)


def fill(images: Tensor, known: Tensor) -> Tensor:
    """Unknown pixels from the nearest known ones, coarser the farther away (push-pull, Gortler et al. 1996).

    >>> fill(torch.tensor([[[[0.2, 9.0], [0.4, 9.0]]]]), torch.tensor([[[True, False], [True, False]]]))
    tensor([[[[0.2000, 0.3000],
              [0.4000, 0.3000]]]])
    """
    if known.all() or images.shape[2:] == (1, 1):
        return images
    weights = known[:, None].to(images)
    size = (images.shape[2], images.shape[3])
    share = F.avg_pool2d(weights, 2, ceil_mode=True)
    coarse = F.avg_pool2d(images * weights, 2, ceil_mode=True) / share.clamp_min(0.125)
    around = F.interpolate(fill(coarse, share[:, 0] > 0), size=size, mode="bilinear", align_corners=False)
    return torch.where(known[:, None], images, around)


def blurred(images: Tensor, sigma: float) -> Tensor:
    """``(N, C, H, W)`` under a Gaussian, the outline repeated outwards.

    Shifted sums, which on a CPU are twenty times as fast as a convolution of single channels.
    """
    reach = max(1, round(3 * sigma))
    places = torch.arange(-reach, reach + 1, dtype=torch.float64)
    kernel = torch.softmax(-(places**2) / (2 * sigma**2), 0).tolist()
    for padding, dim in (((reach, reach, 0, 0), 3), ((0, 0, reach, reach), 2)):
        wide = F.pad(images, padding, mode="replicate")
        pieces = [wide.narrow(dim, start, images.shape[dim]) for start in range(len(kernel))]
        images = kernel[0] * pieces[0]
        for weight, piece in zip(kernel[1:], pieces[1:], strict=True):
            images.add_(piece, alpha=weight)
    return images


def _blend(over: Tensor, under: Tensor, weights: Tensor) -> Tensor:
    return under.lerp(over, weights[:, None].to(over))


def _background(images: Tensor, masks: Tensor) -> Tensor:
    """The object filled in from around it; the image as it is where no background is known."""
    return torch.where(has_background(masks)[:, None, None, None], fill(images, ~_widened(masks)), images)


def _soft(masks: Tensor) -> Tensor:
    """Masks with a soft edge, ``(N, H, W)`` float."""
    return blurred(masks[:, None].float(), _SEAM)[:, 0]


def _widened(masks: Tensor, reach: int | None = None) -> Tensor:
    """Masks grown by ``reach`` pixels, by default by `_MARGIN`."""
    reach = reach or max(1, round(_MARGIN * min(masks.shape[1:])))
    return _grown(_grown(masks, reach, 1), reach, 2)


def _grown(masks: Tensor, reach: int, dim: int) -> Tensor:
    """True where a mask is within ``reach`` along one dimension; shifted, which beats a CPU's max pooling by far."""
    grown = masks.clone()
    for shift in range(1, min(reach, masks.shape[dim] - 1) + 1):
        length = masks.shape[dim] - shift
        before, behind = masks.narrow(dim, 0, length), masks.narrow(dim, shift, length)
        grown.narrow(dim, 0, length).logical_or_(behind)
        grown.narrow(dim, shift, length).logical_or_(before)
    return grown


def mean_of(images: Tensor, weights: Tensor) -> Tensor:
    """Of each channel under weights ``(N, H, W)``, ``(N, C, 1, 1)``."""
    shares = (weights / weights.sum((1, 2), keepdim=True))[:, None]
    return (images * shares).sum((2, 3), keepdim=True)


def spread_of(images: Tensor, weights: Tensor) -> Tensor:
    """Standard deviation of each channel under weights ``(N, H, W)``, ``(N, C, 1, 1)``."""
    return mean_of((images - mean_of(images, weights)) ** 2, weights).sqrt()


def _octaves(images: Tensor, n: int) -> list[Tensor]:
    """``n`` octaves of detail, finest first, and what is left; their sum is the image."""
    levels = [images, *(blurred(images, 0.7 * 2**octave) for octave in range(n))]
    return [*(fine - coarse for fine, coarse in pairwise(levels)), levels[-1]]


def _brightest(images: Tensor) -> Tensor:
    """Level that 2 % of a channel's pixels exceed, ``(N, C, 1, 1)``."""
    pixels = images.flatten(2)
    return pixels.kthvalue(math.ceil(0.98 * pixels.shape[2]), dim=2).values[:, :, None, None].clamp_min(0.05)


def _move_picture(images: Tensor, offsets: Tensor) -> Tensor:
    height, width = images.shape[2:]
    wide = F.pad(images, (width - 1, width - 1, height - 1, height - 1), mode="reflect")
    starts = [(height - 1 - y, width - 1 - x) for y, x in offsets.round().int().tolist()]
    return torch.stack([w[:, y : y + height, x : x + width] for w, (y, x) in zip(wide, starts, strict=True)])


def _centre(images: Tensor) -> Tensor:
    """Row and column ``(N, 2)`` of the centre of what differs most from the mean of the outer ring."""
    ring = off_object(torch.zeros_like(images[:, 0], dtype=torch.bool))
    unlike = blurred(((images - mean_of(images, ring)) ** 2).sum(1, keepdim=True), 0.03 * min(images.shape[2:]))[:, 0]
    weights = (unlike - unlike.flatten(1).median(1).values[:, None, None]).clamp(0) + 1e-9
    rows, columns = (torch.arange(side, device=images.device, dtype=images.dtype) for side in images.shape[2:])
    centres = torch.stack([(weights.sum(2) * rows).sum(1), (weights.sum(1) * columns).sum(1)], 1)
    return centres / weights.sum((1, 2))[:, None]


def _shifts(boxes: Tensor, wanted: Tensor, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Rows and columns from the centre of each object's box to that of the donor's, without leaving the image."""
    offsets = ((wanted[:, :2] + wanted[:, 2:] - boxes[:, :2] - boxes[:, 2:]) / 2).nan_to_num()
    far = torch.tensor([size[1], size[0]], device=boxes.device)
    offsets = offsets.clamp(-boxes[:, :2].nan_to_num(), far - boxes[:, 2:].nan_to_num()).round().int()
    return [(y, x) for x, y in offsets.tolist()]


def _cut_out(images: Tensor, masks: Tensor) -> tuple[Read, Read]:
    """Masks, what objects add to the pictures, and what they let through; masks and backgrounds.

    Pixels on the outline are a mixture. What the old background has in it is taken out (premultiplied alpha, Porter &
    Duff 1984): before another one it would be a fringe, and models react to what they do not use.
    """
    backgrounds = _background(images, masks)
    through = 1 - _opacity(images, masks, backgrounds)[:, None]
    return (masks, images - through * backgrounds, through), (masks, backgrounds)


def _opacity(images: Tensor, masks: Tensor, backgrounds: Tensor) -> Tensor:
    """How much of each pixel is the object's, ``(N, H, W)``: how far its colour lies from the background to the object.

    Both colours are filled in from beyond the outline. A mask with a soft edge bounds it, from below inside and from
    above outside: objects have colours of their background.
    """
    soft = _soft(masks)
    across = fill(images, ~_widened(~masks, 1)) - backgrounds
    share = ((images - backgrounds) * across).sum(1) / across.square().sum(1).clamp_min(1e-4)
    return torch.where(masks, share.clamp(max=1).maximum(soft), share.clamp(min=0).minimum(soft))


def _paste(images: Tensor, own: Read, donors: Read, region: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The donor's background on a region, under the image's object."""
    (masks, objects, through), (donor_masks, backgrounds) = own, donors
    pasted = torch.addcmul(objects, through, backgrounds).clamp_(0, 1)
    return torch.where(region(masks, donor_masks)[:, None], pasted, images)


def _everywhere(masks: Tensor, donor_masks: Tensor) -> Tensor:
    return torch.ones_like(masks[:1])


def _ring(masks: Tensor, donor_masks: Tensor) -> Tensor:
    return (border_ring((masks.shape[1], masks.shape[2])) > 0.5).to(masks.device)[None]


def _corners(masks: Tensor, donor_masks: Tensor) -> Tensor:
    region = torch.zeros_like(masks[:1])
    _, height, width = region.shape
    for rows in (slice(0, height // 5), slice(height - height // 5, None)):
        region[:, rows, : width // 5] = region[:, rows, width - width // 5 :] = True
    return region


def _cells(masks: Tensor, donor_masks: Tensor, cells: Tensor) -> Tensor:
    outer = cells.clone()
    outer[1:-1, 1:-1] = False
    known = (masks.any((1, 2)) & donor_masks.any((1, 2)))[:, None, None]
    grids = torch.where(known, cells, outer)[:, None].float()
    return F.interpolate(grids, size=masks.shape[1:])[:, 0] > 0.5


swap_background = TwoStepEdit(_cut_out, partial(_paste, region=_everywhere))
"""The image's object before the donor's background, the donor's object filled in from around it."""

swap_border = TwoStepEdit(_cut_out, partial(_paste, region=_ring))
"""The donor's outer tenth on each side; objects keep their place."""

swap_corners = TwoStepEdit(_cut_out, partial(_paste, region=_corners))
"""The donor's four corners, a fifth of each side; objects keep their place."""


def swap_region(cells: Tensor) -> TwoStepEdit:
    """The donor's pixels in the True ``cells (h, w)`` of a grid over the image; objects keep their place.

    Where a mask is not known only cells along the edge are swapped: in the others the object may lie.
    """
    return TwoStepEdit(_cut_out, partial(_paste, region=partial(_cells, cells=cells)))


def _read_tone(images: Tensor, masks: Tensor) -> tuple[Read, Read]:
    brightest = _brightest(images)
    return (brightest,), (brightest,)


def _give_tone(images: Tensor, own: Read, donors: Read) -> Tensor:
    (brightest,), (wanted,) = own, donors
    return (images * (wanted / brightest).clamp(0.5, 2)).clamp(0, 1)


match_tone = TwoStepEdit(_read_tone, _give_tone)
"""Each channel scaled until its brightest pixels are as bright as the donor's (white patch, Land & McCann 1971)."""


def _read_frequencies(images: Tensor, masks: Tensor) -> tuple[Read, Read]:
    """The two finest octaves of detail, and the spread of each off the object."""
    fine, coarse, _ = _octaves(images, 2)
    spreads = [spread_of(band, off_object(masks)) + FLOOR for band in (fine, coarse)]
    return (fine, coarse, *spreads), tuple(spreads)


def _give_frequencies(images: Tensor, own: Read, donors: Read) -> Tensor:
    *details, own_fine, own_coarse = own
    for band, spread, wanted in zip(details, (own_fine, own_coarse), donors, strict=True):
        images = torch.addcmul(images, (wanted / spread).clamp(0.1, 4) - 1, band)
    return images.clamp(0, 1)


match_frequencies = TwoStepEdit(_read_frequencies, _give_frequencies)
"""The two finest octaves of detail weakened or strengthened to what the donor has off the object."""


def _read_position(images: Tensor, masks: Tensor) -> tuple[Read, Read]:
    """Where objects are, by their boxes or, where these are not known, by the centre of what stands out."""
    places = masks, mask_boxes(masks), _centre(images)
    return (_background(images, masks), *places), places


def _give_position(images: Tensor, own: Read, donors: Read) -> Tensor:
    (backgrounds, masks, boxes, centres), (donor_masks, wanted, donor_centres) = own, donors
    known = masks.any((1, 2)) & donor_masks.any((1, 2))
    if not known.any():
        return _move_picture(images, donor_centres - centres)
    shifts = _shifts(boxes, wanted, (masks.shape[1], masks.shape[2]))
    moved = [torch.roll(image, shift, (1, 2)) for image, shift in zip(images, shifts, strict=True)]
    places = [torch.roll(mask, shift, (0, 1)) for mask, shift in zip(masks, shifts, strict=True)]
    composed = _blend(torch.stack(moved), backgrounds, _soft(torch.stack(places)))
    if known.all():
        return composed
    return torch.where(known[:, None, None, None], composed, _move_picture(images, donor_centres - centres))


move_object = TwoStepEdit(_read_position, _give_position)
"""The object where the donor's object is, as far as it stays whole, before its own background filled in.

Where either mask is not known the whole picture moves, mirrored at its edges, until what differs from its outer ring
lies as in the donor.
"""
