"""Masks of items that come without: from the user's segmenter, from a plain background, or guessed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from .. import maskers
from ..datasets.items import Item
from ..datasets.masking import find_object
from .checks import GUESS, WIDENED

Segmenter: TypeAlias = Callable[[Tensor], Tensor]
"""Pixels ``(N, C, H, W)`` in [0, 1] to scores ``(N, H, W)``: above 0.5, or True, on the object."""

ENOUGH_MASKS = 0.9
"""Share of a probe with masks from which on the rest may lack one, as `intervention` judges it: nothing is guessed."""
_AT_ONCE = 16  # images a segmenter gets: 1,000 pixels a side fit into the memory with its activations
_OBJECT = 0.5  # score from which on a pixel is the object's
# Of the image. A segmenter that knows no such object gives nothing or a few pixels: of the images that ISNet missed,
# 80 % had a smaller mask, and no good mask was as small.
_LEAST_SEGMENT = 0.03
# Of a segmenter's mask: where the core of the guess sticks out by more, the segmenter left object out. This finds 84 to
# 100 % of masks that hold 65 % of a drawn object or a leaf, and 38 % of such masks of pets; and of exact masks none of
# drawn objects and pets, but 14 to 37 % of leaves over photographs at 64 to 224 pixels, which become wider for nothing.
_LEFT_OUT = 0.3
_SECONDS_AN_IMAGE, _SECONDS = 0.005, 0.4  # of a guess on one core, measured: 64 images take 0.7 s, 256 take 1.5 s
_LONG = 2.0  # seconds after which a person begins to wonder


@dataclass(frozen=True)
class Masking:
    """Where masks come from, if items have none.

    Attributes:
        finds: Whether objects are looked for: on a plain background, or anywhere if the probe has no better mask.
        segmenter: The user's own, which is asked first.
        say: Gets a message before something that takes long.
    """

    finds: bool = True
    segmenter: Segmenter | None = None
    say: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        if self.segmenter is not None and not callable(self.segmenter):
            raise ValueError(
                f"segmenter must be a function from pixels (N, C, H, W) to scores (N, H, W), got {self.segmenter!r}; "
                "lightning-cam masks DIR --with package:function --to DIR writes the masks of one that is named"
            )

    def of(self, items: Sequence[Item]) -> list[Item]:
        """The items with the best mask that there is."""
        segmented = list(items) if self.segmenter is None else _segmented(items, self.segmenter)
        if not self.finds or segmented[0].image.ndim != 3:  # objects are found in pictures alone
            return segmented
        found = [_flooded(item) for item in self._widened(segmented)]
        # In a data set with masks of its own, an image without one may have no object.
        has_own = any(item.source not in ("none", "border") for item in found)
        return found if has_own else self._guessed(found)

    def _widened(self, items: list[Item]) -> list[Item]:
        """The items; a segmenter's mask united with the guess where it leaves out what is surely object.

        What is left out would count as background, and convict an innocent model. A wider mask only hides.
        """
        rows = [position for position, item in enumerate(items) if item.source == "segmenter"]
        images = [items[position].image for position in rows]
        if not rows or not maskers.can_guess(len(images), (images[0].shape[1], images[0].shape[2])):
            return items
        self._announce(len(rows), "the segmenter's masks are compared with a guess")
        for position, cover, core in zip(rows, *maskers.guess(torch.stack(images)), strict=True):
            mask = items[position].mask
            if mask is not None and (core & ~mask).sum() > _LEFT_OUT * mask.sum():
                items[position] = replace(items[position], mask=mask | cover, source=WIDENED)
        return items

    def _announce(self, n_images: int, doing: str) -> None:
        seconds = _SECONDS + _SECONDS_AN_IMAGE * n_images
        if self.say is not None and seconds > _LONG:
            self.say(f"{doing} once, in about {seconds:.0f} s")

    def _guessed(self, items: list[Item]) -> list[Item]:
        unknown = [position for position, item in enumerate(items) if item.mask is None]
        images = [items[position].image for position in unknown]
        is_enough = len(unknown) <= (1 - ENOUGH_MASKS) * len(items)
        if is_enough or not maskers.can_guess(len(images), (images[0].shape[1], images[0].shape[2])):
            return items
        self._announce(len(unknown), "there are no masks of the objects, so they are guessed")
        covers, _ = maskers.guess(torch.stack(images))
        for position, cover in zip(unknown, covers, strict=True):
            items[position] = _with_mask(items[position], cover, GUESS)
        return items


def _with_mask(item: Item, mask: Tensor | None, source: str) -> Item:
    return item if mask is None or not mask.any() else replace(item, mask=mask, source=source)


def _flooded(item: Item) -> Item:
    """The item with a mask from its plain background, where it has none and the background is plain."""
    return _with_mask(item, find_object(item.image) if item.mask is None else None, "border")


def _segmented(items: Sequence[Item], segmenter: Segmenter) -> list[Item]:
    """Items that have no mask, or only boxes, with the segmenter's."""
    masked = list(items)
    unknown = [position for position, item in enumerate(items) if item.source in ("none", "box")]
    for start in range(0, len(unknown), _AT_ONCE):
        part = unknown[start : start + _AT_ONCE]
        masks = _checked_scores(segmenter, torch.stack([items[position].image for position in part])) > _OBJECT
        for position, mask in zip(part, masks, strict=True):
            is_enough = bool(mask.float().mean() >= _LEAST_SEGMENT)
            masked[position] = _with_mask(masked[position], mask if is_enough else None, "segmenter")
    return masked


def _checked_scores(segmenter: Segmenter, images: Tensor) -> Tensor:
    with torch.no_grad():
        scores = segmenter(images.clone())
    expected = (len(images), *images.shape[2:])
    if not isinstance(scores, Tensor) or scores.shape != expected:
        form = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise ValueError(
            f"a segmenter must map images {tuple(images.shape)} to scores {expected}, got {form}; "
            "return one score per pixel, above 0.5 on the object"
        )
    scores = scores.detach().to("cpu", torch.float32)
    if not scores.isfinite().all() or scores.min() < 0 or scores.max() > 1:
        raise ValueError("a segmenter must give scores from 0 to 1, above 0.5 on the object; apply sigmoid or softmax")
    return scores
