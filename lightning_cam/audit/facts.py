"""Facts about one picture: those of its file, and the two small pieces on which its pixels are measured.

Colours are those that ``convert("RGB")``, and so torchvision's `ImageFolder`, gives to a model. It drops transparency,
and the colour under a transparent pixel becomes visible.
"""

import hashlib
import math
import re
from collections.abc import Set
from dataclasses import dataclass, replace
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from statistics import fmean
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch.nn.functional as F
from PIL import Image, JpegImagePlugin
from torch import Tensor

from ..datasets.jpeg import middle_start
from ..datasets.pictures import FORMATS, content_of, exif_of, pixels_of
from .pixels import CROP, SIDE

Facts: TypeAlias = dict[str, str | float]

VIEW = 224  # pixels along a side in which small patches are looked for: a usual size of a model's input

_SUBSAMPLING = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
_DEPTHS = {"1": 1, "I;16": 16, "I;16B": 16, "I;16L": 16, "I": 32, "F": 32}
_MAKE, _ORIENTATION, _SOFTWARE = 0x010F, 0x0112, 0x0131


@dataclass(frozen=True, eq=False)
class PictureFacts:
    """One picture: the facts of its file, and two pieces to measure, with values from 0 to 255.

    Args:
        facts: Facts of the file by name; empty if the picture has no file.
        copy: The whole picture as a small copy, ``(64, 64, 3)``.
        crop: A grey piece in the picture's own resolution, ``(H, W)``, that starts on the grid of 8x8 blocks.
        view: The whole picture, ``(h, w, 3)`` bytes, of at most `VIEW` pixels along a side.
    """

    facts: Facts
    copy: npt.NDArray[np.generic]
    crop: npt.NDArray[np.generic]
    view: npt.NDArray[np.uint8]


def facts_of_file(path: Path, place: Path, class_words: Set[str], max_pixels: int) -> PictureFacts:
    """Everything about the picture at ``path``; ``place`` is its path inside the data set.

    Raises:
        ValueError: It has more than ``max_pixels``; it is not decoded then. A broken file raises Pillow's errors.
    """
    file = content_of(path, max_pixels)
    with Image.open(file, formats=FORMATS) as picture:
        if picture.width * picture.height > max_pixels:
            raise ValueError(f"{picture.width}x{picture.height} pixels, more than {max_pixels}")
        picture.load()
        facts = file_facts(picture, file.getbuffer().nbytes) | {"bit depth": _bit_depth(picture, file)}
        pixels = facts_of_picture(picture)
    return replace(pixels, facts=facts | place_facts(place, class_words))


def facts_of_picture(picture: Image.Image) -> PictureFacts:
    """The small copy and the crop."""
    if picture.mode in _DEPTHS:
        deep = pixels_of(picture, grayscale=True)[0]
        picture = Image.fromarray((deep * 255).byte().numpy())
    if picture.mode not in ("RGB", "L"):
        picture = (picture.convert("RGBA") if picture.has_transparency_data else picture).convert("RGB")
    top, left = middle_start(picture.height, CROP), middle_start(picture.width, CROP)
    crop = picture.crop((left, top, min(left + CROP, picture.width), min(top + CROP, picture.height))).convert("L")
    view = np.asarray(_view(picture).convert("RGB"))
    return PictureFacts({}, np.asarray(_small_copy(picture).convert("RGB")), np.asarray(crop), view)


def facts_of_tensor(image: Tensor) -> PictureFacts:
    """As `facts_of_picture`, of ``(C, H, W)`` bytes or floats in [0, 1]; other than 3 channels are averaged to grey."""
    pixels = image.float() * (255 if image.is_floating_point() else 1)
    colours = pixels if len(pixels) == 3 else pixels.mean(0, keepdim=True).expand(3, -1, -1)
    copy = F.adaptive_avg_pool2d(colours, SIDE).permute(1, 2, 0)
    top, left = (middle_start(side, CROP) for side in image.shape[1:])
    crop = colours[:, top : top + CROP, left : left + CROP].mean(0)
    shrink = math.ceil(max(image.shape[1:]) / VIEW)
    small = F.avg_pool2d(colours, shrink, ceil_mode=True) if shrink > 1 else colours
    view = small.permute(1, 2, 0).round().clamp(0, 255).byte().numpy()
    return PictureFacts({}, copy.numpy(), crop.numpy(), view)


def file_facts(picture: Image.Image, n_bytes: int) -> Facts:
    """Facts about the file of a loaded picture: its format, size, encoding and EXIF data."""
    width, height = picture.size
    icc = picture.info.get("icc_profile")
    return {
        "format": str(picture.format),
        "colour mode": picture.mode,
        "palette": "yes" if picture.mode == "P" else "no",
        "alpha": _alpha(picture),
        "hidden colour": _hidden_colour(picture),
        "width": width,
        "height": height,
        "aspect": math.log2(width / height),
        "megapixels": width * height / 1e6,
        "file bytes": n_bytes,
        "bits per pixel": 8 * n_bytes / (width * height),
        "progressive": "yes" if picture.info.get("progressive") or picture.info.get("interlace") else "no",
        "ICC profile": _digest(icc) if icc else "none",
        "DPI": str(picture.info.get("dpi", "none")),
        **_exif_facts(picture),
        **_jpeg_facts(picture),
    }


def place_facts(place: Path, class_words: Set[str]) -> Facts:
    """Facts about the file's name. Words that name a class are left out: folders are named after classes on purpose."""
    prefix = re.match(r"[^\W\d_]*", place.stem)
    words = {"file name prefix": prefix[0].lower() if prefix else "", "source folder": place.parent.name.lower()}
    news = {name: "" if word in class_words else word for name, word in words.items()}
    return {**news, "file extension": place.suffix.lower()}


def _exif_facts(picture: Image.Image) -> Facts:
    exif = exif_of(picture)
    return {
        "EXIF": "yes" if exif else "no",
        "camera make": _text(exif.get(_MAKE)),
        "software": _text(exif.get(_SOFTWARE) or picture.info.get("Software")),
        "EXIF orientation": _text(exif.get(_ORIENTATION)),
    }


def _jpeg_facts(picture: Image.Image) -> Facts:
    if not isinstance(picture, JpegImagePlugin.JpegImageFile):
        return {"quantisation": "none", "quantisation mean": math.nan, "chroma subsampling": "none"}
    digest, mean = _quantisation(tuple(tuple(table) for _, table in sorted(picture.quantization.items())))
    return {
        "quantisation": digest,
        "quantisation mean": mean,
        "chroma subsampling": _SUBSAMPLING.get(JpegImagePlugin.get_sampling(picture), "other"),
    }


@lru_cache(256)
def _quantisation(tables: tuple[tuple[int, ...], ...]) -> tuple[str, float]:
    """Digest and mean of the tables. Cached, because an encoder writes the same tables into all of its files."""
    return _digest(repr(tables).encode()), fmean(map(fmean, tables)) if tables else math.nan


def _alpha(picture: Image.Image) -> str:
    if "A" in picture.getbands() or "a" in picture.getbands():
        return "channel"
    return "tRNS" if "transparency" in picture.info else "none"


def _hidden_colour(picture: Image.Image) -> str:
    """Most frequent colour under full transparency, from a sample of 64x64 exact pixels; ``none`` without any."""
    if not picture.has_transparency_data:
        return "none"
    sample = picture.convert("RGBA").resize((SIDE, SIDE), Image.Resampling.NEAREST)
    colours: Any = sample.getcolors(SIDE * SIDE)
    hidden = [(count, colour[:3]) for count, colour in colours if colour[3] == 0]
    return str(max(hidden)[1]) if hidden else "none"


def _bit_depth(picture: Image.Image, file: BytesIO) -> float:
    if picture.format == "PNG":  # Pillow turns 16-bit colours into 8-bit ones; only the header has the depth.
        file.seek(24)
        return file.read(1)[0]
    return _DEPTHS.get(picture.mode, 8)


def _small_copy(picture: Image.Image) -> Image.Image:
    """``(64, 64)`` means over all pixels. Of a large picture, means over 2x2 places of an even grid.

    A mean over all pixels would take half as long as decoding. The grid includes the outline, because frames count.
    """
    side = 2 * SIDE
    if min(picture.size) < side:
        return picture.resize((SIDE, SIDE), Image.Resampling.BOX)
    across, down = ((length - 1) / (side - 1) for length in picture.size)
    places = (across, 0, 0.5 - across / 2, 0, down, 0.5 - down / 2)
    return picture.transform((side, side), Image.Transform.AFFINE, places, Image.Resampling.NEAREST).reduce(2)


def _view(picture: Image.Image) -> Image.Image:
    """The picture itself, or of a large one means over 2x2 places of an even grid, as in `_small_copy`."""
    longest = max(picture.size)
    if longest <= VIEW:
        return picture
    width, height = (max(2 * round(VIEW * side / longest), 2) for side in picture.size)
    grid = picture.resize((width, height), Image.Resampling.NEAREST)
    return grid.reduce(2)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:8]


def _text(value: object) -> str:
    return "none" if value is None else str(value).strip("\0 ")[:40]
