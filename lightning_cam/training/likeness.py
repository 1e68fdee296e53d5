"""Whether two batches of model inputs can be of pictures that were prepared alike."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from ..datasets.normalization import ROUNDING
from .preprocessing import NEAR, unexplained

# Of one data set: spreads inside the images that differ by a factor of 1.8 are another range; those of [0, 1] and
# [-1, 1] differ by 2, those of eight images, cropped at random, by less.
_STRETCH = 1.8
# Of images that the user chose, which may be darker or of more contrast: a fifth of the batch's values lies beyond the
# range of the probe's, and a third of that range away; or a tenth of the probe's lies a whole range away. So do pixels
# in [0, 1] beside normalised ones, bytes or [-1, 1], and these beside pixels.
_BEYOND, _AWAY = (0.2, 0.1), (0.33, 1.0)


def is_equal(found: Tensor, expected: Tensor) -> bool:
    """Whether two batches of the same items are the same numbers."""
    return unexplained(found, expected) <= NEAR


def is_of_one_range(found: Tensor, expected: Tensor) -> bool:
    """Whether two batches of one data set can have been prepared alike."""
    if not overlaps(found, expected):
        return False
    ratio = _spread_inside(found) / max(_spread_inside(expected), 1e-9)
    return 1 / _STRETCH <= ratio <= _STRETCH


def of_any_size(is_like: Callable[[Tensor, Tensor], bool], found: Tensor, expected: Tensor) -> bool:
    """Whether two batches of one data set are alike but for their size: detectors take pictures as they come."""
    if found.ndim != 4 or expected.ndim != 4:
        return False
    return is_like(F.interpolate(found.float(), expected.shape[2:]), expected.float())


def overlaps(found: Tensor, expected: Tensor) -> bool:
    """Whether two batches can be of pictures of one kind, prepared alike: size, and much of the range."""
    if found.shape[1:] != expected.shape[1:]:
        return False
    if are_pixels(found) and are_pixels(expected):  # pale or dark
        return True
    of_batch = _share_beyond(expected, found, _AWAY[0])
    return of_batch <= _BEYOND[0] and _share_beyond(found, expected, _AWAY[1]) <= _BEYOND[1]


def are_pixels(images: Tensor) -> bool:
    """Whether all values lie in [0, 1]."""
    return float(images.min()) >= -ROUNDING and float(images.max()) <= 1 + ROUNDING


def _share_beyond(values: Tensor, others: Tensor, ranges: float) -> float:
    """Share of the values that lie so many ranges of the others outside their range."""
    low, high = float(others.min()), float(others.max())
    away = ranges * (high - low)
    return float(((values < low - away) | (values > high + away)).double().mean())


def _spread_inside(images: Tensor) -> float:
    """Standard deviation inside an image, on average: colours of classes, which may be sorted, do not matter."""
    return float(images.detach().double().cpu().flatten(1).std(1).mean())
