"""Images with one part hidden: all but the object, the object, or all but the outer parts. Pure, torch only."""

import torch
from torch import Tensor

from ..spatial import border_ring
from .filters import blended, fill
from .masks import has_background, softened, widened

_GREY = 0.5
_OUTER = 0.2  # of the height and of the width, on either side. Chosen, not measured.


def hide_background(images: Tensor, masks: Tensor) -> Tensor:
    """The object before mid-grey."""
    return blended(images, torch.full_like(images, _GREY), softened(masks))


def hide_object(images: Tensor, masks: Tensor) -> Tensor:
    """The background, continued where the object was; the image as it is where no background is known."""
    are_known = has_background(masks)
    if not are_known.any():
        return images
    return torch.where(are_known[:, None, None, None], fill(images, ~widened(masks)), images)


def hide_middle(images: Tensor, depth: int = 1) -> Tensor:
    """The outer fifth on each side, before mid-grey. Few objects reach there, so it tells what else is known.

    Of ``depth`` slices one below another, the outer fifth of each.
    """
    ring = border_ring((images.shape[2] // depth, images.shape[3]), share=_OUTER).to(images).repeat(depth, 1) > 0.5
    return torch.where(ring, images, _GREY)
