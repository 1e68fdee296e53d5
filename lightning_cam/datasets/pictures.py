"""Image files and Pillow images as pixels: every mode, no clipping, nothing trusted.

Colours are what ``Image.convert("RGB")`` gives, and thereby what torchvision's `ImageFolder` gives a model:
transparency is dropped and the colour underneath it shows. The exception is 16-bit grey, which ``convert`` clips to
white above 255 and which is scaled here.
"""

import errno
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ..text import printable

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
MAX_PIXELS = 25_000_000
"""Checked before decoding: a file of ten kilobytes can hold a gigabyte of pixels."""
MAX_BYTES_PER_PIXEL, MAX_EXTRA_BYTES = 16, 10_000_000
"""Of a file: four channels of floats that nobody compressed, and what else it says of itself."""
# What Pillow's readers raise on broken files.
UNREADABLE = (
    OSError,
    SyntaxError,
    EOFError,
    ValueError,
    TypeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,  # an error inside `quiet_pillow`
)

_GREY = frozenset({"1", "L", "LA", "La"})
_DEEP = frozenset({"I;16", "I;16B", "I;16L", "I;16N", "I", "F"})
_ORIENTATION = 0x0112
# EXIF orientation: whether rows and columns change places first, then the axes that are turned over.
_TURNS: dict[int, tuple[bool, tuple[int, ...]]] = {
    2: (False, (-1,)),
    3: (False, (-2, -1)),
    4: (False, (-2,)),
    5: (True, ()),
    6: (True, (-1,)),
    7: (True, (-2, -1)),
    8: (True, (-2,)),
}


def read_picture(path: Path) -> Image.Image:
    """The decoded first frame of the file at ``path``. Call it inside `quiet_pillow`."""
    with said_of(path):
        file = content_of(path, MAX_PIXELS)
    with _naming(path):
        picture = Image.open(file, formats=FORMATS)
    if picture.width * picture.height > MAX_PIXELS:
        description = f"{printable(path)} has {picture.width}x{picture.height} pixels"
        raise ValueError(f"{description}, more than {MAX_PIXELS // 10**6} million; make it smaller")
    with _naming(path):
        picture.load()
    return picture


def content_of(path: Path, max_pixels: int) -> BytesIO:
    """A file's bytes, in memory: Pillow allocates the gigabytes that a broken length on a disk promises.

    Raises:
        OSError: It cannot be read, or is none: opening a pipe would wait for ever, and a device has no end.
        ValueError: It is larger than any picture of ``max_pixels``.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "is no file; remove it", str(path))
    n_bytes, most = status.st_size, MAX_BYTES_PER_PIXEL * max_pixels + MAX_EXTRA_BYTES
    if n_bytes > most:
        raise ValueError(f"{n_bytes} bytes, more than any picture of {max_pixels} pixels has")
    return BytesIO(path.read_bytes())


def images_in(folder: Path) -> list[Path]:
    """Image files at or below a folder in `ImageFolder`'s order."""
    return files_in(folder, SUFFIXES)


def files_in(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Files of some kinds at or below a folder, in order; links are followed, but into no folder twice."""
    files: dict[str, list[Path]] = {}
    visited: set[str] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        place = os.path.realpath(root)
        if place in visited:  # links can form a circle, which has no end
            folders.clear()
            continue
        visited.add(place)
        folders.sort()
        files[root] = [Path(root, name) for name in sorted(names)]
    return [path for _, paths in sorted(files.items()) for path in paths if path.suffix.lower() in suffixes]


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Pillow's remarks on odd files are no news here, and a suspiciously large one is an error.

    Warning filters belong to the process: enter this around threads, not in them.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turns what broken files raise into a `ValueError` that names the file."""
    try:
        yield
    except UNREADABLE as error:
        strange = isinstance(error, UnidentifiedImageError)
        why = f"not one of {', '.join(FORMATS)}" if strange else printable(error)
        raise ValueError(f"{printable(path)} cannot be read as an image ({why}); repair or remove it") from error


@contextmanager
def said_of(path: Path) -> Iterator[None]:
    """Puts the file's name before what a `ValueError` says about its values."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{printable(path)}: {error}") from error


def is_grey(picture: Image.Image) -> bool:
    """Whether the picture has one channel besides transparency."""
    return picture.mode in _GREY | _DEEP


def pixels_of(picture: Image.Image, *, grayscale: bool) -> Tensor:
    """``(3, H, W)``, or ``(1, H, W)`` in ``grayscale``, float32 in [0, 1]."""
    if picture.mode in _DEEP:
        plane = torch.from_numpy(_deep(picture))[None]
        return plane if grayscale else plane.expand(3, -1, -1).clone()
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")  # Straight to RGB, Pillow warns about palettes with transparency.
    converted = np.array(picture.convert("L" if grayscale else "RGB"))
    return torch.from_numpy(converted).reshape(*converted.shape[:2], -1).permute(2, 0, 1).float().div_(255)


def _deep(picture: Image.Image) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    values = np.asarray(picture)
    highest = 1 if picture.mode == "F" else 65535
    if not (values.min() >= 0 and values.max() <= highest):
        span = f"{values.min():g} to {values.max():g}"
        raise ValueError(f"grey values of mode {picture.mode} must lie in 0..{highest}, got {span}; rescale the file")
    return (values / highest).astype(np.float32)


def alpha_mask(picture: Image.Image) -> Tensor | None:
    """``(H, W)`` True where the picture is not fully transparent, None where that is everywhere or nowhere."""
    if picture.mode in _DEEP or not picture.has_transparency_data:
        return None
    visible = torch.from_numpy(np.array(picture.convert("RGBA").getchannel("A")) > 0)
    return visible if visible.any() and not visible.all() else None


def orientation(picture: Image.Image) -> int:
    """EXIF orientation, 1 (as stored) to 8."""
    value = exif_of(picture).get(_ORIENTATION, 1)
    return value if value in _TURNS else 1


def exif_of(picture: Image.Image) -> Image.Exif:
    """EXIF data, empty where they are broken: viewers and loaders show such pictures all the same."""
    try:
        return picture.getexif()
    except UNREADABLE:
        return Image.Exif()


def turned(image: Tensor, orientation: int) -> Tensor:
    """Image ``(..., H, W)`` as a viewer shows it that obeys the EXIF ``orientation``."""
    swap, over = _TURNS.get(orientation, (False, ()))
    return (image.mT if swap else image).flip(over)


def resized(image: Tensor, size: tuple[int, int] | None) -> Tensor:
    """``(C, H, W)`` at ``size (height, width)``, bilinear and antialiased; None leaves it. So is each slice."""
    if size is not None and image.ndim == 4 and image.shape[-2:] != size:
        return F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)
    if size is None or image.shape[-2:] == size:
        return image
    return F.interpolate(image[None], size, mode="bilinear", align_corners=False, antialias=True)[0]


def resized_mask(mask: Tensor, size: tuple[int, int] | None) -> Tensor:
    """``(H, W)`` bool at ``size (height, width)``, nearest pixel; None leaves it."""
    if size is None or mask.shape[-2:] == size:
        return mask
    if mask.ndim == 3:
        return F.interpolate(mask[None].float(), size, mode="nearest-exact")[0] > 0
    return F.interpolate(mask[None, None].float(), size, mode="nearest-exact")[0, 0] > 0
