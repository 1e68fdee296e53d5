"""What an item of a data set holds as tensors: its picture, its mask, its boxes; or why it cannot be."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as v2_functional

from ..spatial import VOLUME_AXES, are_frames, boxes_to_masks
from .masking import binary, binary_volume
from .pictures import alpha_mask, is_grey, pixels_of
from .tasks import FormError, form_of
from .ways_out import PAIR

_NO_IMAGE = ("add a dimension if it is one", "a volume or a video has four axes, (C, D, H, W)")
_VOLUME = VOLUME_AXES - 1  # of a single one
# Integer images are divided by these; unsigned 16 bits are what 16-bit PNG files hold.
_WHITE = {torch.uint8: 255, torch.uint16: 65535}


def check_single(image: Any, target: Any) -> None:
    """Raises `FormError` where an item has several pictures or is a batch."""
    if isinstance(image, Mapping):
        raise FormError(f"an image must be (C, H, W), got {form_of(image)}")
    shape = tuple(getattr(image, "shape", ()))
    are_two = len(shape) == 4 and shape[0] == 2 and shape[1] in (1, 3)
    if are_two or (isinstance(image, (tuple, list)) and len(image) > 1):
        form = f"tensor of shape {shape}" if are_two else f"{type(image).__name__} of {len(image)}"
        raise FormError(f"an image must be (C, H, W), got a {form}, as in pairs of pictures; {PAIR}")
    n_images, n_targets = (len(each) if getattr(each, "ndim", 0) else 0 for each in (image, target))
    if getattr(image, "ndim", 0) == 4 and n_images == n_targets > 1:
        raise ValueError(
            f"a probe is drawn from single images, and an item of the data set is a batch of {n_images}, as for "
            "batch_size=None; images and targets can be the pixels in [0, 1] and the labels of some batches"
        )


def as_mask(mask: Any, n_axes: int) -> Tensor | None:
    """``(H, W)`` bool of a tensor, array or picture, ``(D, H, W)`` of a volume; None if no pixel is True.

    Args:
        mask: Of two levels, see `binary`; in colour, or with further axes before its own, as well.
        n_axes: 2, or of a volume 3.
    """
    if mask is None:
        return None
    values = (torch.as_tensor(mask) if n_axes > 2 else tv_tensors.Mask(mask)).as_subclass(Tensor).detach().cpu()
    if values.ndim == n_axes + 1 and values.shape[-1] in (1, 3) and values.shape[0] > 3:  # colours behind, as in numpy
        values = values.movedim(-1, 0)
    if values.ndim < n_axes:
        return values != 0  # whose size is refused
    region = values if values.ndim == n_axes and values.dtype == torch.bool else _binary(values, n_axes)
    return region if region.any() else None


def _binary(values: Tensor, n_axes: int) -> Tensor:
    return binary(values) if n_axes == 2 else binary_volume(values)


def as_filled(boxes: Any, image: Tensor) -> Tensor | None:
    """``(H, W)`` bool, True inside any of the boxes. Plain tensors hold xyxy in pixels. None if no pixel is inside."""
    if boxes is None:
        return None
    if isinstance(boxes, tv_tensors.BoundingBoxes):
        boxes = v2_functional.convert_bounding_box_format(boxes, new_format=tv_tensors.BoundingBoxFormat.XYXY)
    corners = torch.as_tensor(boxes).as_subclass(Tensor).cpu().float()
    if image.ndim == _VOLUME:
        raise ValueError("boxes are of pictures, and this is a volume; pass masks (D, H, W)")
    if corners.shape[-1:] != (4,):
        raise ValueError(f"boxes must be (x1, y1, x2, y2) in pixels, got shape {tuple(corners.shape)}; pass (k, 4)")
    region = boxes_to_masks(corners.reshape(-1, 4), (image.shape[-2], image.shape[-1])).any(0)
    return region if region.any() else None


def as_image(image: Any, place: str) -> tuple[Tensor, Tensor | None, bool]:
    """``(C, H, W)`` float32, the mask from the transparency, and whether the image was made of integers."""
    if isinstance(image, Image.Image):
        return pixels_of(image, grayscale=is_grey(image)), alpha_mask(image), True
    if not isinstance(image, (Tensor, np.ndarray)):
        raise ValueError(f"an image must be a tensor or a PIL image, {place} has {type(image).__name__}; convert it")
    values = torch.as_tensor(image).detach().as_subclass(Tensor).cpu()
    if values.ndim == 3 and values.shape[2] in (1, 3, 4) and values.shape[0] > 4:  # as numpy, OpenCV and Pillow have it
        values = values.movedim(2, 0)
    _check_image(values, place)
    return values.float() / _WHITE.get(values.dtype, 1), None, values.dtype in _WHITE


def is_of_frames(values: Tensor) -> bool:
    """Whether a video has its frames before its colours, as many data sets have it."""
    return values.ndim == _VOLUME and are_frames(values.shape)


def _check_image(values: Tensor, place: str) -> None:
    if values.ndim not in (3, _VOLUME):
        raise ValueError(f"an image must be (C, H, W), {place} has {tuple(values.shape)}; {_NO_IMAGE[values.ndim > 3]}")
    if not values.is_floating_point() and values.dtype not in _WHITE:
        raise ValueError(f"an image must be float or uint8, {place} has {values.dtype}; convert it")
    if values.is_floating_point() and not values.isfinite().all():
        raise ValueError(f"an image must be finite, {place} holds NaN or Inf; leave it out")
