"""Detections: which of them are of the object that an image is asked for, and how sure the model is of each class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import box_iou

# Of two boxes (IoU): the usual one, from Pascal VOC on.
LEAST_MATCH = 0.5
# Of a confidence. A detection below the model's own threshold, 0.05 in torchvision, is not returned and counts as none.
_FLOOR = 1e-6


@dataclass(frozen=True, eq=False)
class Matching:
    """How sure a model is of each class, where the object is that an image is asked for.

    Attributes:
        boxes: ``(N, 4)`` of the probe's images, x1, y1, x2, y2.
        size: ``(H, W)`` of these images.
        n_scores: How many classes there are.
    """

    boxes: Tensor
    size: tuple[int, int]
    n_scores: int

    def __call__(self, output: Any, inputs: Tensor, rows: Tensor) -> Tensor:
        """Log odds ``(n, n_scores)``: of each class the surest detection that overlaps the box.

        Args:
            output: What the model gives for ``inputs``.
            inputs: ``(n, C, H, W)``, of which boxes are in pixels.
            rows: ``(n,)`` of the probe's image that each is made of.
        """
        found = detections_in(output, len(inputs))
        scale = torch.tensor([inputs.shape[3] / self.size[1], inputs.shape[2] / self.size[0]] * 2)
        boxes = (self.boxes[rows.cpu()] * scale).to(inputs.device)
        return torch.stack([self._surest(each, box) for each, box in zip(found, boxes, strict=True)])

    def _surest(self, found: Mapping[str, Tensor], box: Tensor) -> Tensor:
        scores = found["scores"].float()
        matches = box_iou(box[None], found["boxes"].detach().float())[0] >= LEAST_MATCH
        labels = torch.arange(self.n_scores, device=scores.device)
        counts = matches & (found["labels"] == labels[:, None])  # (n_scores, detections)
        floor = scores.new_zeros(self.n_scores, 1) + 0 * scores.sum()  # so that gradients find a way where none matches
        surest = torch.cat([scores.where(counts, 0.0), floor], 1).amax(1)
        return torch.logit(surest, eps=_FLOOR)


def detections_in(output: Any, n_images: int) -> Sequence[Mapping[str, Tensor]]:
    """Boxes, scores and labels of each image in a model's output.

    Raises:
        ValueError: There are none.
    """
    parts = [output, *output] if isinstance(output, (tuple, list)) else [output]  # scripted ones give losses as well
    for part in parts:
        if isinstance(part, (tuple, list)) and len(part) == n_images and all(map(_is_of_image, part)):
            return part
    raise ValueError(
        "expected a list with boxes, scores and labels of each image, as torchvision's detectors give it, since the "
        f"targets are boxes, found {type(output).__name__}; pass forward=lambda module, images: "
        '[{"boxes": boxes, "scores": scores, "labels": labels} for each image], with x1, y1, x2, y2 in pixels'
    )


def _is_of_image(part: Any) -> bool:
    return isinstance(part, Mapping) and {"boxes", "scores", "labels"} <= part.keys()
