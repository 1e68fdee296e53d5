"""The remedy by masks where objects are in boxes."""

from dataclasses import replace

from .record import Remedy

_BY_MASK = "def transform(image, mask)"
_CODE = """import torch
from torchvision import tv_tensors
from lightning_cam import transforms
on_any_background = transforms.RandomBackground()
def mask_of(image, boxes):
    mask = torch.zeros(image.shape[-2:])
    for left, top, right, bottom in boxes.int().tolist():
        mask[top:bottom, left:right] = 1
    return mask
# in the __getitem__ of your data set: image = transform(image, mask_of(image, target["boxes"]))
def transform(image, mask):
    return on_any_background(image, tv_tensors.Mask(mask))[0]"""


def by_boxes(remedy: Remedy) -> Remedy:
    """A remedy by masks with code that fills them from boxes; any other as it is."""
    if _BY_MASK not in remedy.code:
        return remedy
    return replace(remedy, what="put what is in boxes on a random background", code=_CODE, other=None)
