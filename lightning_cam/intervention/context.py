"""What a model knows from parts of an image alone. Context for a verdict, never a reason for one."""

from collections.abc import Callable

from torch import Tensor

from .edits import hide_background, hide_middle, hide_object


def context(
    images: Tensor, targets: Tensor, masks: Tensor | None, probabilities: Callable[[Tensor], Tensor]
) -> dict[str, float]:
    """Accuracies by name: from the outer fifth on each side and, of images with a mask, from object or background.

    Args:
        images: ``(N, C, H, W)`` pixels in [0, 1].
        targets: ``(N,)``.
        masks: ``(N, H, W)``; None without any.
        probabilities: Pixels to class probabilities ``(N, n_classes)``, forward only.
    """
    found = {"periphery_accuracy": _accuracy(probabilities(hide_middle(images)), targets)}
    if masks is not None and masks.any():
        known = masks.any((1, 2))
        pictures, outlines = images[known], masks[known]
        found["foreground_only_accuracy"] = _accuracy(
            probabilities(hide_background(pictures, outlines)), targets[known]
        )
        found["background_only_accuracy"] = _accuracy(probabilities(hide_object(pictures, outlines)), targets[known])
    return found


def _accuracy(chances: Tensor, targets: Tensor) -> float:
    return float((chances.argmax(1) == targets).float().mean())
