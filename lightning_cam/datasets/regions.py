"""Maps of classes, as for semantic segmentation: which targets they are, and which region of one is asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .labels import UNKNOWN
from .tasks import FormError, task_of

BACKGROUND, IGNORED = 0, 255  # as in Pascal VOC and most data sets after it
# Of an image: a smaller region moves by a pixel more than by a swap. Chosen, not measured.
LEAST_REGION = 0.005
FEWEST_EMPTY = 8  # pictures without an object: of fewer nothing can be said. As many as `statistics.FEWEST`.
_MODES = ("1", "L", "P", "I", "I;16")


def class_map_of(target: object, ignored: int | None = None) -> Tensor | None:
    """A map ``(H, W)`` uint8 of class numbers, where a target is one; None for other targets.

    Negative numbers become `IGNORED`, and so does the number that is ``ignored`` in the user's loss.

    Raises:
        FormError: The numbers are too high for classes.

    >>> class_map_of(torch.tensor([[0, 2], [2, -1]]))
    tensor([[  0,   2],
            [  2, 255]], dtype=torch.uint8)
    """
    if isinstance(target, Mapping):
        return None
    if isinstance(target, Image.Image):
        target = np.array(target) if target.mode in _MODES else None
    if not isinstance(target, (Tensor, np.ndarray)) or task_of(target) != "segmentation":
        return None
    numbers = torch.as_tensor(target).as_subclass(Tensor).detach().cpu()
    numbers = numbers[0] if numbers.ndim == 3 and len(numbers) == 1 else numbers
    if numbers.ndim != 2:
        return None
    numbers = numbers.long()
    numbers = numbers.masked_fill((numbers < 0) | (numbers == (IGNORED if ignored is None else ignored)), IGNORED)
    if int(numbers.max()) > IGNORED:
        raise FormError(
            f"a map of whole numbers must hold classes from 0 to {IGNORED - 1}, and less than 0 where there is none, "
            f"got {int(numbers.max())}; maps of depth, and of single objects that are counted, cannot be looked at"
        )
    return numbers.to(torch.uint8)


def largest_region(classes: Tensor) -> int | None:
    """The class with the most pixels of a map, beside the background; None where no region is large enough.

    `BACKGROUND` where there is nothing else at all, and `IGNORED` where there is nothing else but that: many masks of
    one class hold 0 and 255.
    """
    counts = classes.flatten().bincount(minlength=IGNORED + 1)
    if int(counts[BACKGROUND]) == classes.numel():
        return BACKGROUND
    counts[BACKGROUND] = 0
    if int(counts[:IGNORED].sum()):
        counts[IGNORED] = 0
    largest = int(counts.argmax())
    return largest if int(counts[largest]) >= LEAST_REGION * classes.numel() else None


def of_regions(labels: Sequence[int], fewest_empty: int = FEWEST_EMPTY) -> list[int]:
    """The largest regions of pictures; `UNKNOWN` for those that a probe cannot ask for.

    Pictures without an object stay where there is one class of objects alone: a model then tells whether it is there.
    Where other pictures have a class, 255 is no object, and a picture with nothing else is one without an object.

    >>> of_regions([3, 0, 7]), of_regions([0, 255]), of_regions([255, 1] + [0] * 8)[:4]
    ([3, -1, 7], [-1, 255], [0, 1, 0, 0])
    """
    objects = set(labels) - {UNKNOWN, BACKGROUND, IGNORED}
    if objects:
        labels = [BACKGROUND if label == IGNORED else label for label in labels]
    objects = objects or {IGNORED}
    keeps_empty = len(objects) == 1 and list(labels).count(BACKGROUND) >= fewest_empty
    kept = objects | ({BACKGROUND} if keeps_empty else set())
    return [label if label in kept else UNKNOWN for label in labels]


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
