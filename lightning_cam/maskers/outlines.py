"""Outlines of objects, and the masks that they fill. Nothing here trusts the numbers: they come from files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

MOST_OUTLINES = 2_000  # of one picture: COCO's fullest has 160
MOST_POINTS = 100_000  # of one outline: Pillow compares each row of the picture with each of them

Size: TypeAlias = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True)
class Box:
    """``x1, y1, x2, y2`` in pixels, ends exclusive."""

    corners: NDArray[np.float64]

    def draw(self, canvas: Image.Image) -> None:
        """Fills every pixel that it touches."""
        corners = self.corners.clip(0, [canvas.width, canvas.height] * 2).round(6)  # shares times sizes are inexact
        x1, y1 = np.floor(corners[:2]).astype(int).tolist()
        x2, y2 = np.ceil(corners[2:]).astype(int).tolist()
        if x1 < x2 and y1 < y2:
            canvas.paste(1, (x1, y1, x2, y2))


@dataclass(frozen=True)
class Polygon:
    """``(k, 2)`` corners ``x, y`` in pixels."""

    points: NDArray[np.float64]

    def draw(self, canvas: Image.Image) -> None:
        """Fills it, its border included. What lies far outside of the picture is moved nearer: numbers have limits."""
        side = max(canvas.size)
        near = self.points.clip(-side, 2 * side)
        ImageDraw.Draw(canvas).polygon([(x, y) for x, y in near.tolist()], fill=1, outline=1)


@dataclass(frozen=True)
class Runs:
    """Lengths of runs of pixels outside and inside, in turn, column after column."""

    counts: tuple[int, ...]
    size: Size

    def draw(self, canvas: Image.Image) -> None:
        """Fills the inner runs."""
        height, width = self.size
        if self.size != (canvas.height, canvas.width):
            raise ValueError(f"a run-length mask of {height}x{width} pixels is not as large as the picture")
        if min(self.counts, default=0) < 0 or sum(self.counts) != height * width:
            raise ValueError(
                f"the runs of a mask must have {height * width} pixels together, got {sum(self.counts)}; export it "
                "again"
            )
        flat = np.repeat(np.arange(len(self.counts)) % 2, self.counts)
        _add(canvas, flat.reshape(width, height).T.astype(bool), (0, 0))


@dataclass(frozen=True)
class Patch:
    """A mask of a part of the picture; ``place`` is the column and row of its first pixel."""

    region: NDArray[np.bool_]
    place: tuple[int, int]

    def draw(self, canvas: Image.Image) -> None:
        """Fills what is True."""
        _add(canvas, self.region, self.place)


Shape: TypeAlias = Box | Polygon | Runs | Patch


@dataclass(frozen=True)
class Outline:
    """A shape, and the name of what it is around."""

    label: str
    shape: Shape


@dataclass(frozen=True)
class Region:
    """What the outlines of a picture fill.

    Args:
        mask: ``(H, W)`` bool, True on the object.
        source: "box" if a part of it is one, which holds background as well; else "given", or "folder".
    """

    mask: Tensor
    source: str


def region_of(outlines: Sequence[Outline], size: Size, label: str) -> Region | None:
    """All outlines that are named ``label``, filled; all of them where none is. None where no pixel is inside.

    A mask that is too large hides a part of a reliance. One that is too small convicts an innocent model.
    """
    if len(outlines) > MOST_OUTLINES:
        raise ValueError(f"{len(outlines)} outlines in one picture, more than {MOST_OUTLINES}; give a folder of masks")
    own = [outline for outline in outlines if _plain(outline.label) == _plain(label)]
    shapes = [outline.shape for outline in own or outlines]
    canvas = Image.new("L", (size[1], size[0]))
    for shape in shapes:
        shape.draw(canvas)
    mask = torch.from_numpy(np.array(canvas) > 0)
    source = "box" if any(isinstance(shape, Box) for shape in shapes) else "given"
    return Region(mask, source) if mask.any() else None


def numbers(values: object, what: str) -> NDArray[np.float64]:
    """A flat list of finite numbers as an array.

    Raises:
        ValueError: It is something else.
    """
    flat: list[Any] = values if isinstance(values, list) else [None]
    if len(flat) > 2 * MOST_POINTS:
        raise ValueError(f"{what} has {len(flat)} numbers, more than {2 * MOST_POINTS}; simplify it")
    if not all(type(value) in (int, float) and abs(value) < 1e9 for value in flat):
        raise ValueError(f"{what} must be a list of numbers, got {str(values)[:40]}; export it again")
    return np.array(flat, dtype=np.float64)


def polygon(values: object) -> Polygon:
    """The polygon of a flat list ``x, y, x, y ...``."""
    flat = numbers(values, "a polygon")
    if len(flat) < 6 or len(flat) % 2:
        raise ValueError(f"a polygon must have pairs x, y of at least three corners, got {len(flat)} numbers")
    return Polygon(flat.reshape(-1, 2))


def unpacked(text: str) -> tuple[int, ...]:
    """Lengths of the runs in COCO's compressed text.

    Each character holds five bits, lowest first, and a sixth that says whether more follow. From the fourth number on
    it is the difference to the number two before.

    >>> unpacked("52203")
    (5, 2, 2, 2, 5)
    """
    counts: list[int] = []
    for value in _varints(text):
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    return tuple(counts)


def _varints(text: str) -> Iterator[int]:
    value = shift = 0
    for code in text.encode():
        bits = code - 48
        if not 0 <= bits < 64 or shift > 30:
            raise ValueError("a compressed mask holds other characters than COCO's; export it again")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            yield value - (1 << shift) if bits & 16 else value
            value = shift = 0


def _add(canvas: Image.Image, region: NDArray[np.bool_], place: tuple[int, int]) -> None:
    canvas.paste(1, place, Image.fromarray(np.uint8(255) * region))


def _plain(label: str) -> str:
    return " ".join(label.replace("_", " ").casefold().split())
