"""What a model knows from parts of an image, or does once all are alike. Context for a verdict, never a reason."""

from collections.abc import Callable

import torch
from torch import Tensor

from .codec import reencoded
from .edits import hide_background, hide_middle, hide_object

_QUALITY = 50  # below that of most files, so that every image loses its own traces of encoding


def context(
    images: Tensor, targets: Tensor, masks: Tensor | None, plain: Tensor, probabilities: Callable[[Tensor], Tensor]
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
    """
    found = {"periphery_accuracy": _right(probabilities(hide_middle(images)), targets)}
    if images.shape[1] in (1, 3):
        found["reencode_attraction"] = probabilities(reencoded(images, [_QUALITY] * len(images))) - plain
    if masks is not None:
        objects, backgrounds = (torch.full_like(plain, torch.nan) for _ in range(2))
        known = masks.any((1, 2))
        if known.any():
            objects[known] = probabilities(hide_background(images[known], masks[known]))
            backgrounds[known] = probabilities(hide_object(images[known], masks[known]))
        found["foreground_only_accuracy"] = _right(objects, targets)
        found["flatten_attraction"] = objects - plain
        found["background_only_accuracy"] = _right(backgrounds, targets)
    return found


def summary(values: Tensor) -> float:
    """Over images: the share of right answers, or what the class that gains most wins in mean probability.

    That is up to 1, and high where the property that was made alike is taken for a class.
    """
    means = values.nanmean(0)
    return float(means.max() if means.ndim else means)


def _right(chances: Tensor, targets: Tensor) -> Tensor:
    return (chances.argmax(1) == targets).to(chances).where(chances[:, 0].isfinite(), torch.nan)
