"""Maps of classes, as for semantic segmentation: which targets they are, and which region of one is asked for."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .tasks import task_of

BACKGROUND, IGNORED = 0, 255  # as in Pascal VOC and most data sets after it
# Of an image: a smaller region moves by a pixel more than by a swap. Chosen, not measured.
LEAST_REGION = 0.005
_MODES = ("1", "L", "P", "I", "I;16")


def class_map_of(target: object) -> Tensor | None:
    """A map ``(H, W)`` uint8 of class numbers, where a target is one; None for other targets.

    >>> class_map_of(torch.tensor([[0, 2], [2, 2]]))
    tensor([[0, 2],
            [2, 2]], dtype=torch.uint8)
    """
    if isinstance(target, Mapping):
        return None
    if isinstance(target, Image.Image):
        target = np.array(target) if target.mode in _MODES else None
    if not isinstance(target, (Tensor, np.ndarray)) or task_of(target) != "segmentation":
        return None
    numbers = torch.as_tensor(target).as_subclass(Tensor).detach().cpu()
    numbers = numbers[0] if numbers.ndim == 3 and len(numbers) == 1 else numbers
    is_map = numbers.ndim == 2 and int(numbers.min()) >= 0 and int(numbers.max()) <= IGNORED
    return numbers.to(torch.uint8) if is_map else None


def largest_region(classes: Tensor) -> int | None:
    """The class with the most pixels of a map, beside the background; None where no region is large enough."""
    counts = classes.flatten().bincount(minlength=IGNORED + 1)
    counts[[BACKGROUND, IGNORED]] = 0
    largest = int(counts.argmax())
    return largest if int(counts[largest]) >= LEAST_REGION * classes.numel() else None


def resized_map(classes: Tensor, size: tuple[int, int] | None) -> Tensor:
    """A map at ``size``, nearest pixel; None leaves it."""
    if size is None or classes.shape == size:
        return classes
    resized: Tensor = torch.nn.functional.interpolate(classes[None, None].float(), size, mode="nearest-exact")
    return resized[0, 0].to(torch.uint8)


def with_map(item: Any, keys: tuple[str, ...]) -> Any:
    """What is under the first of ``keys`` in an item that is a dict, where that is a map of classes; else None."""
    values = (item[key] for key in keys if key in item)
    return next((value for value in values if class_map_of(value) is not None), None)
