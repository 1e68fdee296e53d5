"""Objects in boxes, as for detection: which targets hold them, and which object of an image is asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as vision

from .tasks import FormError

BOX_KEYS, KIND_KEYS = ("boxes", "bboxes"), ("labels", "class_labels")
NOTHING = "no object"
"""Name of class 0 where the labels of objects begin at 1, as in torchvision."""


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of an image.

    Attributes:
        boxes: ``(k, 4)`` float: x1, y1, x2, y2 in pixels.
        labels: ``(k,)``.
    """

    boxes: Tensor
    labels: Tensor

    def largest(self) -> tuple[int, tuple[float, ...]] | None:
        """Label and box of the object with the largest box; None where there is no object."""
        if not len(self.boxes):
            return None
        width, height = (self.boxes[:, 2:] - self.boxes[:, :2]).T
        row = int((width * height).argmax())
        return int(self.labels[row]), tuple(self.boxes[row].tolist())


def objects_of(target: object) -> Objects | None:
    """The objects of a target with ``boxes (k, 4)`` and ``labels (k,)``; None for other targets.

    >>> objects_of({"boxes": torch.tensor([[1, 2, 5, 6]]), "labels": torch.tensor([3])}).largest()
    (3, (1.0, 2.0, 5.0, 6.0))

    Raises:
        FormError: The boxes are not those of `Objects`.
    """
    if not isinstance(target, Mapping):
        return None
    boxes, labels = (next((target[key] for key in keys if key in target), None) for keys in (BOX_KEYS, KIND_KEYS))
    if isinstance(boxes, tv_tensors.BoundingBoxes):
        boxes = vision.convert_bounding_box_format(boxes, new_format=tv_tensors.BoundingBoxFormat.XYXY)
    corners, kinds = _numbers(boxes), _numbers(labels)
    if corners is None or kinds is None or kinds.ndim != 1 or (kinds != kinds.floor()).any():
        return None
    corners = corners.reshape(-1, 4) if not corners.numel() else corners
    if corners.shape != (len(kinds), 4):
        return None
    _check_corners(corners.float())
    return Objects(corners.float(), kinds.long())


def _numbers(values: object) -> Tensor | None:
    try:
        return None if values is None else torch.as_tensor(values).as_subclass(Tensor).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        return None


def _check_corners(corners: Tensor) -> None:
    is_box = are_boxes(corners)
    are_shares = bool(len(corners)) and float(corners.max()) <= 1
    if are_shares or not is_box.all():
        first = corners[0 if are_shares else int((~is_box).nonzero()[0])]
        raise FormError(
            f"boxes must be (x1, y1, x2, y2) in pixels, got {', '.join(f'{value:g}' for value in first.tolist())}; "
            'convert them in read=lambda item: (image, {"boxes": boxes, "labels": labels})'
        )


def are_boxes(corners: Tensor) -> Tensor:
    """Which of ``(k, 4)`` are boxes: finite, and with a width and a height."""
    return (corners[:, 2:] > corners[:, :2]).all(1) & corners.isfinite().all(1)


def resized_box(box: tuple[float, ...], old: Sequence[int], new: Sequence[int]) -> tuple[float, ...]:
    """A box in an image of another size ``(height, width)``.

    >>> resized_box((1.0, 2.0, 3.0, 4.0), (10, 10), (20, 10))
    (1.0, 4.0, 3.0, 8.0)
    """
    scales = (new[1] / old[1], new[0] / old[0]) * 2
    return tuple(value * scale for value, scale in zip(box, scales, strict=True))


def middle_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The median height and the median width of images.

    >>> middle_size([(10, 40), (30, 20), (20, 30)])
    (20, 30)
    """
    heights, widths = (sorted(each)[len(sizes) // 2] for each in zip(*sizes, strict=True))
    return heights, widths
