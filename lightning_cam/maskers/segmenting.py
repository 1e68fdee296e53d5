"""Masks from a segmenter of the user's: whatever it gives of a picture, as one mask, and written for a whole folder."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..datasets.masking import SENSIBLE, binary
from ..datasets.pictures import alpha_mask, images_in, pixels_of, quiet_pillow, read_picture, resized_mask, said_of
from ..origins import raised
from ..text import printable, shortened
from .outlines import Size

Segmenter: TypeAlias = Callable[[Image.Image], Any]
"""A picture in RGB to a mask, or to any of the forms that `mask_of` takes."""

LIKELY = 0.5  # what a mask's or an object's score must be above: the middle of its range
_PROPORTIONS = 0.02  # of the sides' ratio: rounding when a picture is made smaller; a crop differs more
_KEYS = ("masks", "mask", "segmentation", "out")  # torchvision and ultralytics, Hugging Face, SAM, torchvision
_FORMS = "a picture, (H, W), (k, H, W), a dict with masks, or a list of dicts with mask or segmentation"


def mask_of(output: Any, size: Size) -> Tensor | None:
    """``(H, W)`` bool at ``size`` from what a segmenter gives; several masks are united. None where it has no object.

    Takes a picture (with transparency, what is not transparent), bools, grey levels or scores ``(H, W)`` or
    ``(k, H, W)``, a dict with "masks" and perhaps "scores", and a list of dicts with "mask" or "segmentation".

    >>> mask_of({"masks": torch.tensor([[[0.9, 0.1]], [[0.2, 0.1]]])}, (1, 2))
    tensor([[ True, False]])
    """
    united: Tensor | None = None
    for values in _planes(output):
        if values.numel() == 0:
            continue
        plane = _at_size(_region(values), size)
        united = plane if united is None else united | plane
    return united if united is not None and united.any() else None


def _planes(output: Any) -> Iterator[Tensor]:
    """The arrays of masks in an output."""
    if output is None:
        return
    inner = getattr(output, "masks", None)  # of ultralytics: a list of results, each with masks, which have data
    if inner is not None and not isinstance(output, Mapping):
        yield from _planes(getattr(inner, "data", inner))
    elif isinstance(output, Mapping):
        yield from _in_mapping(output)
    elif isinstance(output, (list, tuple)):
        for part in output:
            yield from _planes(part)
    elif isinstance(output, Image.Image):
        opaque = alpha_mask(output)
        yield (255 * pixels_of(output, grayscale=True)[0]).byte() if opaque is None else opaque
    elif isinstance(output, (Tensor, np.ndarray)):
        yield torch.as_tensor(output).detach().as_subclass(Tensor).cpu()
    elif not hasattr(output, "masks"):
        raise ValueError(f"a segmenter must give {_FORMS}, got {type(output).__name__}")


def _in_mapping(output: Mapping[Any, Any]) -> Iterator[Tensor]:
    key = next((key for key in _KEYS if key in output), None)
    if key is None:
        keys = shortened(", ".join(printable(key) for key in output), 60)
        raise ValueError(f"a segmenter must give {_FORMS}, got a dict of {keys or 'nothing'}")
    if key == "out":  # scores (1, classes, H, W), of which the first class is the background
        yield torch.as_tensor(output[key]).detach().cpu().argmax(-3) > 0
    elif isinstance(output.get("scores"), Tensor) and isinstance(output[key], Tensor):
        yield output[key].detach().cpu()[output["scores"].detach().cpu() > LIKELY]
    else:
        yield from _planes(output[key])


def _region(values: Tensor) -> Tensor:
    """``(H, W)`` bool of one or several planes."""
    if values.ndim < 2:
        raise ValueError(f"a mask must be (H, W) or (k, H, W), got {tuple(values.shape)}")
    planes = values.reshape(-1, *values.shape[-2:])
    if planes.is_floating_point():
        low, high = float(planes.min()), float(planes.max())
        if not (low >= 0 and high <= 1):
            raise ValueError(f"scores must lie from 0 to 1, got {low:.3g} to {high:.3g}; apply sigmoid")
        return (planes > LIKELY).any(0)
    return planes.any(0) if planes.dtype == torch.bool else binary(planes)


def _at_size(mask: Tensor, size: Size) -> Tensor:
    (height, width), (own_height, own_width) = size, mask.shape
    if abs(own_height * width - own_width * height) > _PROPORTIONS * height * own_width + max(size):
        raise ValueError(
            f"a mask must have its picture's size {height}x{width} or proportions, got {own_height}x{own_width}"
        )
    return resized_mask(mask, size)


@dataclass(frozen=True)
class Written:
    """What `write_masks` did: pictures that got a mask, that had one before, and that got none."""

    new: int
    kept: int
    without: tuple[Path, ...]


def write_masks(
    folder: Path, segment: Segmenter, to: Path, show: Callable[[Iterable[Path]], Iterable[Path]] = iter
) -> Written:
    """Writes a black and white picture for each picture in ``folder``, to the same place in ``to``.

    A file that is there is kept, so that an interrupted run goes on.

    Args:
        folder: Read with its sub-folders.
        segment: Called with each picture once.
        to: May not lie in ``folder``, whose sub-folders are classes.
        show: Given the pictures, gives them back, and may show progress.

    Raises:
        ValueError: The message names the picture, the problem and the solution.
    """
    files = images_in(folder)
    if not files:
        raise ValueError(f"{printable(folder)} has no picture; check the path")
    if to.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{printable(to)} lies in {printable(folder)}, and would become a class; choose another place")
    new, kept, without = 0, 0, []
    with quiet_pillow():
        for file in show(files):
            place = to / file.relative_to(folder).with_suffix(".png")
            if place.exists():
                kept += 1
            elif _write(file, segment, place):
                new += 1
            else:
                without.append(file)
    return Written(new, kept, tuple(without))


def _write(file: Path, segment: Segmenter, place: Path) -> bool:
    """Whether the picture has an object of a sensible size; if so, it is written."""
    picture = read_picture(file)
    size = (picture.height, picture.width)
    try:
        output = segment(picture.convert("RGB"))
    except Exception as error:
        raise ValueError(f"{printable(file)}: {printable(shortened(raised(error)))}") from error
    with said_of(file):
        mask = mask_of(output, size)
    if mask is None or not 0 < float(mask.float().mean()) <= SENSIBLE[1]:
        return False
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.numpy()).save(place)
    return True
