"""Masks that a person looked at, and corrected: what the page of ``lightning-cam masks`` saves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..datasets.pictures import resized_mask, said_of
from ..text import printable, shortened
from .formats import json_of
from .outlines import Runs, Size

FORM, VERSION = "lightning_cam masks", 1
MOST_SIDE = 4096  # pixels of a mask; our page has 256


@dataclass(frozen=True)
class Reviewed:
    """A reviewed mask.

    Attributes:
        file: Of the picture, from the folder of all pictures on; its name in a saved probe.
        size: Of the picture as stored.
        runs: The mask, in fewer pixels.
    """

    file: str
    size: Size
    runs: Runs

    def mask(self, size: Size) -> Tensor:
        """``(H, W)`` bool for a picture of ``size``.

        Raises:
            ValueError: The picture that was reviewed had another size.
        """
        if self.size != size:
            (height, width), (reviewed_height, reviewed_width) = size, self.size
            raise ValueError(
                f"{printable(self.file)} had {reviewed_height}x{reviewed_width} pixels when it was reviewed, and has "
                f"{height}x{width}; review it again"
            )
        canvas = Image.new("L", self.runs.size[::-1])
        self.runs.draw(canvas)
        return resized_mask(torch.from_numpy(np.array(canvas) > 0), size)


def runs_of(mask: Tensor) -> list[int]:
    """Lengths of runs outside and inside, in turn, column after column, as `Runs` has them.

    >>> runs_of(torch.tensor([[False, True], [True, True]]))
    [1, 3]
    """
    flat = mask.T.flatten().numpy()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths: list[int] = np.diff([0, *changes.tolist(), len(flat)]).tolist()
    return [0, *lengths] if len(flat) and flat[0] else lengths


def reviewed_by_name(path: Path, content: Any) -> dict[str, Reviewed]:
    """All reviewed masks of a file, by the names of their pictures.

    Raises:
        ValueError: The file is of another form.
    """
    if not is_review(content):
        raise ValueError(f"{printable(path)} must be saved from the page of lightning-cam masks")
    return {each.file: each for each in reviewed_pictures(path, content)}


def reviewed_of(path: Path, names: Sequence[str], size: Size) -> tuple[list[int], Tensor]:
    """Of the named pictures, the positions of those that a person kept, and their masks ``(n, H, W)``.

    Raises:
        ValueError: The file is of another form, of other pictures, or of another size.
    """
    known = reviewed_by_name(path, json_of(path))
    positions = [position for position, name in enumerate(names) if name in known]
    if not positions:
        raise ValueError(
            f"no picture of the probe was reviewed in {printable(path)}: the probe has {printable(names[0])}, the file "
            f"{printable(next(iter(known), 'none'))}; a review of a folder is for Probe.from_folder(folder, masks=...)"
        )
    with said_of(path):
        return positions, torch.stack([known[names[position]].mask(size) for position in positions])


def is_review(content: object) -> bool:
    """Whether a JSON file is of our page."""
    return isinstance(content, dict) and content.get("form") == FORM


def reviewed_pictures(path: Path, content: Mapping[str, Any]) -> list[Reviewed]:
    """All reviewed masks of a file."""
    with said_of(path):
        pictures = content.get("pictures")
        if content.get("version") != VERSION or not isinstance(pictures, list):
            raise ValueError(f"version {VERSION} of {FORM} was expected; save it again from the page")
        return [_reviewed(entry) for entry in pictures]


def _reviewed(entry: object) -> Reviewed:
    known = entry if isinstance(entry, dict) else {}
    file, counts = known.get("file"), known.get("counts")
    size, grid = (_size(known.get(key)) for key in ("size", "grid"))
    numbers = isinstance(counts, list) and all(type(count) is int for count in counts)
    if not isinstance(file, str) or not numbers or size is None or grid is None or max(grid) > MOST_SIDE:
        raise ValueError(f"a picture needs file, size, grid and counts, got {shortened(str(entry), 60)}; save it again")
    return Reviewed(file, size, Runs(tuple(counts or ()), grid))


def _size(values: object) -> Size | None:
    if not isinstance(values, list) or len(values) != 2 or not all(type(v) is int and v > 0 for v in values):
        return None
    return values[0], values[1]
