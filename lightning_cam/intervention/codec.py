"""What JPEG leaves in pixels: reading its quality from an image, and bringing an image to another."""

import math
from functools import lru_cache
from io import BytesIO

import torch
import torch.nn.functional as F
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from torch import Tensor

from ..datasets.jpeg import middle_start, through_jpeg

JPEG_CHANNELS = (1, 3)
PRISTINE = 100  # read where no quality stands out: never encoded, or scaled since

_QUALITIES = range(2, 100)
_NEARBY = 3  # qualities whose error says what to expect
_DIP = -0.8  # logarithm of error over expected error: -0.3 at most without an encoding, -1.6 at least with one
_CROP = 64  # side in pixels of the piece that is read, 64 blocks: the whole picture takes longer. Chosen, not measured.
_LEAST_ERROR = 1e-3  # squared grey levels: it keeps logarithms finite where quantising changes nothing


def jpeg_quality(images: Tensor) -> list[int]:
    """Quality of the last JPEG encoding of each image ``(N, C, H, W)``; `PRISTINE` where none shows.

    Quantising once more at the same quality changes next to nothing, so the error over qualities dips there (Farid
    2009, "Exposing digital forgeries from JPEG ghosts"). It dips again where the steps are halves of those, often
    deeper, so the lowest dip counts. Read from the luminance of the middle, on the grid of 8-pixel blocks that JPEG
    counts from the upper left corner; smaller images have no block to read.
    """
    if min(images.shape[2:]) < 8:
        return [PRISTINE] * len(images)
    errors = _errors(_block_frequencies(_luminance(images))).log()
    depths = (errors[_NEARBY:-_NEARBY] - (errors[: -2 * _NEARBY] + errors[2 * _NEARBY :]) / 2).T
    bottoms = -F.max_pool1d(-depths, 2 * _NEARBY + 1, stride=1, padding=_NEARBY)
    dips = (depths < _DIP) & (depths == bottoms)
    lowest = zip(dips.int().argmax(1).tolist(), dips.any(1).tolist(), strict=True)
    return [_QUALITIES[place + _NEARBY] if has_dip else PRISTINE for place, has_dip in lowest]


def reencoded(images: Tensor, qualities: list[int]) -> Tensor:
    """``(N, C, H, W)`` with C 1 or 3, each through JPEG at its quality; `PRISTINE` leaves it as it is."""
    through = [
        _reencoded_image(image, q) if q < PRISTINE else image for image, q in zip(images, qualities, strict=True)
    ]
    return torch.stack(through)


def _luminance(images: Tensor) -> Tensor:
    """``(N, h, w)`` of whole blocks from the middle, -128 to 127."""
    top, left = (middle_start(side, _CROP) for side in images.shape[2:])
    height, width = (min(side, _CROP) // 8 * 8 for side in images.shape[2:])
    piece = images[:, :, top : top + height, left : left + width]
    weights = piece.new_tensor([0.299, 0.587, 0.114] if images.shape[1] == 3 else [1.0])
    return 255 * (piece * weights[:, None, None]).sum(1) - 128


def _block_frequencies(planes: Tensor) -> Tensor:
    """Orthonormal cosine transform of each 8x8 block, ``(N, blocks, 63)``: its mean left out, which any colour has."""
    blocks = planes.unfold(1, 8, 8).unfold(2, 8, 8)
    places = torch.arange(8, dtype=planes.dtype)
    cosines = torch.cos(math.pi * (2 * places + 1) * places[:, None] / 16) / 2
    cosines[0] /= math.sqrt(2)
    return (cosines @ blocks @ cosines.T).flatten(1, 2).flatten(2)[:, :, 1:]


def _errors(frequencies: Tensor) -> Tensor:
    """Mean squared change ``(qualities, N)`` that quantising makes."""
    changes = [(frequencies - (frequencies / table).round() * table).square().mean((1, 2)) for table in _tables()]
    return torch.stack(changes) + _LEAST_ERROR


@lru_cache(maxsize=1)
def _tables() -> Tensor:
    """Luminance quantisation ``(qualities, 63)`` by quality, in rows of blocks, without that of the mean."""
    return torch.tensor([_table(quality)[1:] for quality in _QUALITIES], dtype=torch.float32)


def _table(quality: int) -> list[int]:
    file = BytesIO()
    Image.new("L", (8, 8)).save(file, "JPEG", quality=quality)
    with Image.open(file) as picture:
        assert isinstance(picture, JpegImageFile)
        return list(picture.quantization[0])


def _reencoded_image(image: Tensor, quality: int) -> Tensor:
    return through_jpeg((image * 255).round().byte(), quality).to(image) / 255
