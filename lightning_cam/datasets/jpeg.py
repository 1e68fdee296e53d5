"""JPEG: its grid of blocks, and pixels as its encoder leaves them."""

from io import BytesIO

from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

BLOCK = 8  # side in pixels of the blocks that JPEG encodes one by one, counted from the upper left corner


def middle_start(side: int, length: int) -> int:
    """Where a piece of ``length`` pixels starts so that it lies in the middle of ``side`` and on the grid of blocks.

    >>> middle_start(100, 64)
    16
    """
    return max(0, (side - length) // (2 * BLOCK) * BLOCK)


def through_jpeg(pixels: Tensor, quality: int) -> Tensor:
    """Bytes ``(C, H, W)``, C 1 or 3, encoded at ``quality`` and decoded again. On the CPU."""
    file = BytesIO()
    to_pil_image(pixels.cpu()).save(file, "JPEG", quality=quality)
    with Image.open(file) as picture:
        decoded: Tensor = pil_to_tensor(picture)
    return decoded
