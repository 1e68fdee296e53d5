"""One item of a data set, in any of the usual forms, as an image, a class index and perhaps a mask."""

import math
import operator
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors

from ..origins import calling
from ..text import printable
from .attributes import AttributeSources, values_at
from .forms import as_filled, as_image, as_mask, check_single, is_of_frames
from .labels import UNKNOWN, label_of
from .objects import Objects, objects_of, resized_box
from .parts import others_of, parts_of, rest_of
from .pictures import resized, resized_mask
from .questions import UNMARKED, marks_of
from .regions import class_map_of, largest_region, resized_map
from .tasks import FormError
from .values import are_fractions, values_of
from .ways_out import way_out

Regions: TypeAlias = Callable[[int], Tensor | None] | Sequence[Tensor | None]
"""Masks ``(H, W)`` or boxes ``(k, 4)`` by index in the data set; None for an item without one."""
Size: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Item:
    """An image on its way into a probe.

    Args:
        image: ``(C, H, W)`` float32; of volumes and videos ``(C, D, H, W)``.
        target: Class index; of several labels the answer to the question for one of them, `UNKNOWN` before it is asked.
        mask: ``(H, W)`` bool, True on the object; None if the place of the object is unknown.
        source: The origin of the mask, one of `MASK_SOURCES`.
        from_bytes: Whether the image was a picture or integers. If so, its values are pixels and need no inverse.
        marks: Of several labels, see `questions`; empty where the target is one class.
        attributes: Values of the reader's attributes, in their order.
        values: Numbers to predict, if the target may be such; see `values`.
        rest: What the model is given beside the image, by the name or the number of the argument.
        others: Further whole numbers beside the target, which may be its class or an index.
        classes: Of each pixel, ``(H, W)`` uint8, if the target is a map.
        are_frames: Whether the data set gives ``(D, C, H, W)``, as many videos are.
        box: Of the object that is asked for, x1, y1, x2, y2, if the target has boxes.
    """

    image: Tensor
    target: int
    mask: Tensor | None
    source: str
    from_bytes: bool
    marks: tuple[int, ...] = ()
    attributes: tuple[str, ...] = ()
    values: tuple[float, ...] = ()
    rest: Mapping[str, Tensor] = field(default_factory=dict)
    others: tuple[int, ...] = ()
    classes: Tensor | None = None
    are_frames: bool = False
    box: tuple[float, ...] = ()

    @property
    def as_given(self) -> Tensor:
        """The image, in the order of the data set."""
        return self.image.transpose(0, 1) if self.are_frames else self.image


@dataclass(frozen=True)
class Reader:
    """Reads items of a data set. Each item has a seed of its own, so a second read gives the same item.

    A data set may have a random generator of its own, such as a ``torch.Generator``. The seed does not reach it, and an
    item then depends on the items that were read before.

    ``ignored`` is the number in maps of classes that the user's loss leaves out.
    """

    seed: int
    size: Size | None
    masks: Regions | None
    boxes: Regions | None
    files: Sequence[Path] | None
    outlined: Callable[[int], tuple[Tensor, str] | None] | None = None
    attributes: AttributeSources = field(default_factory=dict)
    ignored: int | None = None

    def reading(self, dataset: Any, index: int) -> "ItemReading":
        """Label and picture of an item, from one read.

        Raises:
            FormError: The item has another form; the message says what to pass.
        """
        raw = self._raw(dataset, index)
        if raw is None:  # a broken file, say; a ``collate_fn`` leaves such items out of the batch
            return ItemReading(UNKNOWN, None)
        try:
            return self._reading(raw, index)
        except FormError as error:
            raise FormError("; ".join(filter(None, (str(error), way_out(raw))))) from error

    def _reading(self, raw: Any, index: int) -> "ItemReading":
        image, target, extras = parts_of(raw)
        check_single(image, target)
        classes = class_map_of(target, self.ignored)
        if classes is not None:
            return self._region(raw, classes, index)
        objects = objects_of(target)
        if objects is not None:
            return self._object(raw, objects, index)
        marks = marks_of(target)
        is_of_several = bool(marks) and (UNMARKED in marks or sum(marks) != 1)
        values = values_of(target)
        may_be_shares = len(values) > 1 and not marks  # of classes, or values: the items together tell
        has_no_class = is_of_several or may_be_shares or are_fractions(values) or any(map(math.isnan, values))
        label = UNKNOWN if has_no_class else label_of(target)
        try:
            known = values_at(self.attributes, raw, index)
            item = self._item(image, label, extras, index)
            item = replace(item, marks=marks, values=values, attributes=known, rest=rest_of(raw), others=others_of(raw))
            return ItemReading(label, item, marks, values)
        except ValueError as error:
            return ItemReading(label, str(error), marks, values)

    def _region(self, raw: Any, classes: Tensor, index: int) -> "ItemReading":
        """An item with a map of classes: its class is that of the largest region, which is the object as well."""
        (image, _, extras), largest = parts_of(raw), largest_region(classes)
        label = UNKNOWN if largest is None else largest
        try:
            item = self._item(image, label, extras, index)
            self._check(classes, as_image(image, self._place(index))[0], index)
            item = replace(item, attributes=values_at(self.attributes, raw, index), rest=rest_of(raw))
        except ValueError as error:
            return ItemReading(label, str(error))
        small = resized_map(classes, self.size)
        return ItemReading(
            label, replace(item, mask=small == label if label > 0 else None, source="given", classes=small)
        )

    def _object(self, raw: Any, objects: Objects, index: int) -> "ItemReading":
        """An item with boxes: its class is that of the largest one, and all of them are objects."""
        (image, _, extras), largest = parts_of(raw), objects.largest()
        label, box = largest or (UNKNOWN, ())
        try:
            size = tuple(as_image(image, self._place(index))[0].shape[-2:])
            drawn = tv_tensors.BoundingBoxes(objects.boxes, format="XYXY", canvas_size=size)
            item = self._item(image, label, [*extras, drawn], index)
            box = resized_box(box, size, item.image.shape[-2:]) if box else ()
            known = values_at(self.attributes, raw, index)
            return ItemReading(label, replace(item, box=box, attributes=known, rest=rest_of(raw)))
        except ValueError as error:
            return ItemReading(label, str(error))

    def _item(self, image: Any, label: int, extras: list[Any], index: int) -> Item:
        pixels, alpha, from_bytes = as_image(image, self._place(index))
        annotated = None if self.outlined is None else self.outlined(index)
        regions = [
            annotated or (None, "none"),
            (as_mask(_at(self.masks, index), pixels.ndim - 1), "given"),
            (as_mask(_first(extras, tv_tensors.Mask), pixels.ndim - 1), "given"),
            (alpha, "alpha"),
            (as_filled(_at(self.boxes, index), pixels), "box"),
            (as_filled(_first(extras, tv_tensors.BoundingBoxes), pixels), "box"),
        ]
        mask, source = next(((mask, source) for mask, source in regions if mask is not None), (None, "none"))
        are_frames = is_of_frames(pixels)
        pixels = pixels.transpose(0, 1) if are_frames else pixels
        self._check(mask, pixels, index)
        return Item(
            are_frames=are_frames,
            image=resized(pixels, self.size),
            target=label,
            mask=None if mask is None else resized_mask(mask, self.size),
            source=source,
            from_bytes=from_bytes,
        )

    def _raw(self, dataset: Any, index: int) -> Any:
        with own_seed(item_seed(self.seed, index)):
            try:
                return calling("your data set", operator.getitem, dataset, index)
            except (OSError, SyntaxError, Image.DecompressionBombError) as error:
                raise ValueError(f"{self._place(index)} cannot be read ({error}); repair or remove it") from error

    def _place(self, index: int) -> str:
        return f"item {index}" if self.files is None else f"item {index} ({printable(self.files[index])})"

    def _check(self, mask: Tensor | None, image: Tensor, index: int) -> None:
        if mask is not None and mask.shape != image.shape[1:]:
            raise ValueError(
                f"a mask must have its image's size {tuple(image.shape[1:])}, {self._place(index)} has a mask "
                f"{tuple(mask.shape)}; return it from the data set as tv_tensors.Mask, so that transforms reach both"
            )


def item_seed(seed: int, index: int) -> int:
    """The seed under which an item is read. The factor is prime, so that neighbouring seeds share no item's seed."""
    return 1_000_003 * seed + index


@dataclass(frozen=True)
class ItemReading:
    """An item's class index, marks or values, and the item at the reader's size or the reason why there is none.

    The outcome is None if the data set gives None, as many do for a file that cannot be read.
    """

    target: int
    outcome: Item | str | None
    marks: tuple[int, ...] = ()
    values: tuple[float, ...] = ()

    @property
    def is_missing(self) -> bool:
        """Whether the data set gives None."""
        return self.outcome is None

    @property
    def item(self) -> Item:
        """The item.

        Raises:
            ValueError: The reason why there is none.
        """
        if not isinstance(self.outcome, Item):
            raise FormError(self.outcome or "the data set gives None instead of an item")
        return self.outcome


@contextmanager
def own_seed(seed: int) -> Iterator[None]:
    """Sets the random states of Python, numpy and torch to ``seed``, and restores them at the end.

    Of torch's generators only that of the CPU is set, because `torch.manual_seed` would change every GPU as well.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 - the data set's, not ours
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - what transforms of the data set draw from
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002 - see above
        torch.set_rng_state(states[2])


def _first(values: Sequence[Any], kind: type) -> Any:
    return next((value for value in values if isinstance(value, kind)), None)


def _at(regions: Regions | None, index: int) -> Any:
    if regions is None:
        return None
    return regions(index) if callable(regions) else regions[index]
