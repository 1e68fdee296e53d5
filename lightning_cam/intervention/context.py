"""Right answers from parts of an image, and changes of answers once all images are alike in a property.

They are context for a verdict, never a reason for one.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .codec import JPEG_CHANNELS, reencoded
from .parts import hide_background, hide_middle, hide_object

_QUALITY = 50  # below that of most files, so that every image loses its own traces of encoding. Chosen, not measured.


def context(
    images: Tensor,
    targets: Tensor,
    masks: Tensor | None,
    plain: Tensor,
    probabilities: Callable[[Tensor], Tensor],
    *,
    depth: int = 1,
) -> dict[str, Tensor]:
    """Right answers ``(N,)`` from parts of an image, and changes ``(N, n_classes)`` once a property is made alike.

    Parts are the outer fifth on each side and, NaN without a mask, the object and the background alone. Properties are
    the JPEG quality (``reencode_attraction``) and, with a mask, the background (``flatten_attraction``).

    Args:
        images: ``(N, C, H, W)`` pixels in [0, 1].
        targets: ``(N,)``.
        masks: ``(N, H, W)``; None without any.
        plain: ``(N, n_classes)`` probabilities of the images as they are.
        probabilities: Pixels to class probabilities ``(N, n_classes)``, forward only.
        depth: How many slices of a volume lie one below another in an image.
    """
    columns = {"periphery_accuracy": _accuracies(probabilities(hide_middle(images, depth)), targets)}
    if images.shape[1] in JPEG_CHANNELS:
        columns["reencode_attraction"] = probabilities(reencoded(images, [_QUALITY] * len(images))) - plain
    if masks is not None:
        of_objects, of_backgrounds = (torch.full_like(plain, torch.nan) for _ in range(2))
        are_known = masks.any((1, 2))
        if are_known.any():
            of_objects[are_known] = probabilities(hide_background(images[are_known], masks[are_known]))
            of_backgrounds[are_known] = probabilities(hide_object(images[are_known], masks[are_known]))
        columns["foreground_only_accuracy"] = _accuracies(of_objects, targets)
        columns["flatten_attraction"] = of_objects - plain
        columns["background_only_accuracy"] = _accuracies(of_backgrounds, targets)
    return columns


def summary(values: Tensor) -> float:
    """The mean over images: a share of right answers, or the gain in probability of the class that gains most.

    Such a gain is at most 1. It is high where the model takes the property that was made alike for a class.
    """
    means = values.nanmean(0)
    return float(means.max() if means.ndim else means)


def _accuracies(probabilities: Tensor, targets: Tensor) -> Tensor:
    """1 where an answer is right, 0 where it is wrong, NaN where there is none, ``(N,)``."""
    is_right = (probabilities.argmax(1) == targets).to(probabilities)
    return is_right.where(probabilities[:, 0].isfinite(), torch.nan)
