"""What a user can get wrong about a probe, checked once: each function returns a checked copy or raises ValueError."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..datasets.attributes import check_sources, values_at
from ..datasets.forms import as_mask
from ..datasets.labels import UNKNOWN
from ..datasets.normalization import ROUNDING
from ..datasets.objects import are_boxes
from ..datasets.questions import as_marks
from ..datasets.regions import IGNORED, largest_region, of_regions
from .names import distinct, tag

GUESS = "guess"
LENT = "lent"
WIDENED = "segmenter+guess"
MASK_SOURCES = ("given", "reviewed", "folder", "alpha", "segmenter", WIDENED, "box", "border", GUESS, LENT, "none")
"""Where a mask came from, the best source first; ``none`` is written where there is no mask.

``lent`` is the place of another image's object, in an image without one.
"""
# Who reviews a mask makes sure that no object sticks out, not that the outline is tight; and a box has corners. Read
# with loose boxes, a model that loses 0.47 of its accuracy seemed to lose 0.09 of its probability.
COVERING = frozenset({"reviewed", "box", WIDENED})
"""Sources of masks that may be larger than their objects."""


@contextmanager
def plain_tensors() -> Iterator[None]:
    """New tensors lie on the CPU and may be saved for backward, whatever the caller has switched on."""
    with torch.inference_mode(False), torch.device("cpu"):
        yield


def _owned(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A copy that shares nothing: on the CPU, contiguous, detached, no subclass."""
    plain = tensor.detach().as_subclass(Tensor)
    return plain.to("cpu", dtype, copy=True, memory_format=torch.contiguous_format)


def checked_images(images: Tensor) -> Tensor:
    """Float pixels ``(N, C, H, W)`` or, of volumes, ``(N, C, D, H, W)``, finite and in [0, 1]."""
    if not isinstance(images, Tensor) or images.ndim not in (4, 5):
        form = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(
            f"images must be a tensor (N, C, H, W), got {form}; torch.stack a list of (C, H, W) images, or of "
            "(C, D, H, W) volumes"
        )
    if images.numel() == 0:
        raise ValueError(f"a probe needs at least one image with pixels, got images of shape {tuple(images.shape)}")
    if not images.is_floating_point():
        raise ValueError(f"images must be float pixels in [0, 1], got {images.dtype}; divide bytes by 255")
    return _checked_pixels(_owned(images, torch.float32))


def _checked_pixels(pixels: Tensor) -> Tensor:
    low, high = float(pixels.min()), float(pixels.max())  # NaN where any is; `isfinite` would copy all of them
    if not (math.isfinite(low) and math.isfinite(high)):
        position = int((~pixels.isfinite()).flatten(1).any(1).nonzero()[0])
        raise ValueError(f"images must be finite, but image {position} holds NaN or Inf; leave it out")
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise ValueError(
            f"images must be pixels in [0, 1], got values from {low:.3g} to {high:.3g}; "
            "pass the pixels, and preprocess=v2.Normalize(mean, std) for what the model is given"
        )
    return pixels.clamp_(0, 1)


def checked_labels(targets: Tensor, n_images: int) -> Tensor | None:
    """Marks ``(N, K)`` of several labels; None where the targets are one class each.

    Raises:
        ValueError: The numbers are no marks, or nothing is known of an image.
    """
    if not isinstance(targets, Tensor) or targets.ndim != 2 or len(targets) != n_images or targets.shape[1] < 2:
        return None
    marks = as_marks(targets.detach().as_subclass(Tensor).cpu())
    if marks is None:
        raise ValueError(
            f"targets of several labels must be (N, K) with 0 or 1 for each label, and -1 where nobody knows, got "
            f"{tuple(targets.shape)} other numbers; for one class each, pass targets (N,)"
        )
    return marks


def checked_values(values: Tensor, n_images: int) -> Tensor:
    """Values ``(N, D)`` to predict, finite."""
    if not isinstance(values, Tensor) or values.ndim not in (1, 2) or len(values) != n_images or not values.numel():
        form = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"values must be a tensor ({n_images},) or ({n_images}, D) of numbers to predict, got {form}")
    numbers = _owned(values, torch.float32).reshape(n_images, -1)
    if not numbers.isfinite().all():
        raise ValueError(
            f"values must be finite, but image {int((~numbers.isfinite()).any(1).nonzero()[0])} has NaN or Inf; "
            "leave it out"
        )
    return numbers


def checked_maps(targets: Tensor, n_images: int) -> Tensor | None:
    """Maps of classes ``(N, H, W)`` uint8; None where the targets are none."""
    is_map = isinstance(targets, Tensor) and targets.ndim == 3 and len(targets) == n_images
    if not is_map or targets.is_floating_point() or targets.is_complex():
        return None
    if int(targets.max()) > IGNORED:
        raise ValueError(f"maps of classes must hold 0 to {IGNORED}, got {int(targets.min())} to {int(targets.max())}")
    return _owned(targets.masked_fill(targets < 0, IGNORED), torch.uint8)


def checked_boxes(boxes: Tensor, n_images: int) -> Tensor:
    """Boxes ``(N, 4)`` float32: x1, y1, x2, y2 in pixels."""
    if not isinstance(boxes, Tensor) or boxes.shape != (n_images, 4):
        form = tuple(boxes.shape) if isinstance(boxes, Tensor) else type(boxes).__name__
        raise ValueError(f"boxes must be a tensor ({n_images}, 4) with one box for each image, got {form}")
    corners = _owned(boxes, torch.float32)
    is_box = are_boxes(corners)
    if not is_box.all():
        position = int((~is_box).nonzero()[0])
        raise ValueError(f"boxes must be x1, y1, x2, y2, but image {position} has {corners[position].tolist()}")
    return corners


def largest_regions(maps: Tensor) -> Tensor:
    """The class ``(N,)`` of the largest region of each map; 0 where there is nothing, if all others are of one class.

    Raises:
        ValueError: A map has nothing to ask for.
    """
    largest = [largest_region(each) for each in maps]
    kept = of_regions([UNKNOWN if label is None else label for label in largest], fewest_empty=1)
    if UNKNOWN in kept:
        raise ValueError(f"image {kept.index(UNKNOWN)} has no region beside the background; leave it out")
    return torch.tensor(kept)


def checked_targets(targets: Tensor, n_images: int) -> Tensor:
    """Class indices ``(N,)``."""
    if not isinstance(targets, Tensor) or targets.shape != (n_images,):
        form = tuple(targets.shape) if isinstance(targets, Tensor) else type(targets).__name__
        raise ValueError(
            f"targets must be a tensor ({n_images},) with one class index per image, or ({n_images}, K) with 0 or 1 "
            f"for each of K labels, got {form}"
        )
    if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
        raise ValueError(
            f"targets must be integer class indices, got {targets.dtype}; use targets.long(), or pass "
            "values=targets if they are numbers to predict"
        )
    if (targets < 0).any():
        raise ValueError(f"targets must be class indices from 0, got {int(targets.min())}; leave such images out")
    return _owned(targets, torch.int64)


def checked_classes(classes: Sequence[str] | None, targets: Tensor) -> tuple[str, ...]:
    """A name for every class that occurs."""
    highest = int(targets.max())
    if classes is None:
        return tuple(str(index) for index in range(highest + 1))
    if isinstance(classes, str) or not all(isinstance(name, str) for name in classes):
        raise ValueError(f"classes must be a sequence of names, got {type(classes).__name__}; pass texts")
    if highest >= len(classes):
        raise ValueError(f"targets go up to {highest}, but there are {len(classes)} classes; name every class")
    return tuple(classes)


def checked_label_names(names: Sequence[str] | None, marks: Tensor) -> Sequence[str]:
    """A name for each of several labels."""
    n_labels = marks.shape[1]
    if names is None:
        return [f"label {k}" for k in range(n_labels)]
    if isinstance(names, str) or len(names) != n_labels:
        raise ValueError(f"classes must name the {n_labels} labels of the targets, got {str(names)[:60]}")
    return names


def checked_masks(masks: Tensor | Sequence[Tensor | None] | None, images: Tensor) -> Tensor:
    """``(N, H, W)`` bool, or ``(N, D, H, W)``; a missing mask is a row of False."""
    if isinstance(masks, (str, PathLike)):
        raise ValueError(
            f"masks must be a tensor (N, H, W) or a list of masks, got the path {str(masks)!r}; "
            "Probe.from_folder(folder, masks=...) reads paths"
        )
    n_images, size = len(images), tuple(images.shape[2:])
    rows = [None] * n_images if masks is None else list(masks)
    if len(rows) != n_images:
        raise ValueError(f"masks must hold one mask or None per image, got {len(rows)} for {n_images} images")
    return torch.stack([_checked_mask(row, position, size) for position, row in enumerate(rows)])


def _checked_mask(mask: Tensor | None, position: int, size: tuple[int, ...]) -> Tensor:
    if mask is None:
        return torch.zeros(size, dtype=torch.bool)
    if not isinstance(mask, (Tensor, np.ndarray, Image.Image)):
        raise ValueError(f"masks must be tensors (H, W), mask {position} is of type {type(mask).__name__}")
    try:
        region = as_mask(mask, len(size))
    except ValueError as error:
        raise ValueError(f"mask {position}: {error}") from error
    if region is None:
        return torch.zeros(size, dtype=torch.bool)
    if region.shape != size:
        raise ValueError(
            f"masks must have the images' size {size}, mask {position} has {tuple(region.shape)}; resize it (nearest)"
        )
    return _owned(region, torch.bool)


def checked_sources(sources: Sequence[str] | None, masks: Tensor) -> tuple[str, ...]:
    """Where each mask came from; none where there is none."""
    has_masks = masks.flatten(1).any(1).tolist()
    names = ["given"] * len(masks) if sources is None else list(sources)
    if len(names) != len(masks) or not set(names) <= set(MASK_SOURCES):
        raise ValueError(f"mask_sources must be one of {', '.join(MASK_SOURCES)} per image, got {str(names)[:60]}")
    unexplained = [position for position, source in enumerate(names) if has_masks[position] and source == "none"]
    if unexplained:
        raise ValueError(f"image {unexplained[0]} has a mask, but its mask source is 'none'; say where it came from")
    return tuple(source if has_mask else "none" for source, has_mask in zip(names, has_masks, strict=True))


def checked_names(names: Sequence[str] | None, targets: Tensor, classes: tuple[str, ...]) -> tuple[str, ...]:
    """One name per image, each once."""
    if names is None:
        return tuple(distinct([tag(classes[label], index) for index, label in enumerate(targets.tolist())]))
    if isinstance(names, str) or len(names) != len(targets) or not all(isinstance(n, str) and n for n in names):
        raise ValueError(f"names must be {len(targets)} texts, one per image, got {str(names)[:60]}; or pass None")
    duplicates = [name for name, count in Counter(names).items() if count > 1]
    if duplicates:
        raise ValueError(f"names must be unique, got {duplicates[0]!r} more than once; add an index")
    return tuple(names)


def checked_attributes(attributes: Mapping[str, Sequence[object]] | None, n_images: int) -> dict[str, tuple[str, ...]]:
    """The value of each image by attribute, as text; "" where it is not known: None or NaN.

    >>> checked_attributes({"site": [1, None, 2]}, 3)
    {'site': ('1', '', '2')}
    """
    sources = check_sources(attributes, n_images)
    no_values = [name for name, values in sources.items() if isinstance(values, (str, int)) or callable(values)]
    if no_values:
        raise ValueError(f"the attribute {no_values[0]!r} needs a value for each of {n_images} images")
    rows = [values_at(sources, None, index) for index in range(n_images)]
    return {name: tuple(row[place] for row in rows) for place, name in enumerate(sources)}


def checked_inputs(inputs: Tensor, n_images: int) -> Tensor:
    """What ``preprocess`` made of the images, ``(N, ...)``. Not a copy, because it is made anew each time."""
    if not isinstance(inputs, Tensor) or inputs.shape[:1] != (n_images,):
        form = tuple(inputs.shape) if isinstance(inputs, Tensor) else type(inputs).__name__
        raise ValueError(f"preprocess must map {n_images} images to a tensor of {n_images} inputs, got {form}")
    return inputs


def checked_indices(indices: Sequence[int], n_images: int) -> list[int]:
    """Positions of images, each once."""
    positions = torch.as_tensor(indices)
    if positions.dtype == torch.bool or (positions.is_floating_point() and len(positions) > 0):
        raise ValueError(f"indices must be whole numbers, got {positions.dtype}; use mask.nonzero() for a mask")
    wanted = [int(position) for position in positions.tolist()]
    unusable = [position for position in wanted if not 0 <= position < n_images or wanted.count(position) > 1]
    if unusable:
        raise ValueError(f"indices must lie in 0..{n_images - 1}, each once, got {unusable[0]}; choose others")
    return wanted
