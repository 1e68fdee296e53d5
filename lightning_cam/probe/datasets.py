"""Drawing a probe from a data set: a balanced choice, pixels from model input, and masks from several sources."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor

from ..datasets.apart import Source
from ..datasets.items import Item, ItemReading, Reader, Regions, Size, own_seed
from ..datasets.labels import (
    UNKNOWN,
    balanced,
    class_names,
    known_files,
    known_labels,
    labels_by_reading,
    of_classes,
    shuffled,
)
from ..datasets.normalization import ROUNDING, as_normalize, normalize_of, spanning
from ..datasets.pictures import quiet_pillow, read_picture
from ..datasets.streams import FirstItems
from ..maskers import Annotations
from ..maskers.annotations import Annotation
from ..notices import warn
from ..text import class_name, printable
from .drawn import ArgumentError, Drawn, Preprocess, assemble, check_request
from .masking import Masking
from .names import tag

DEFAULT_N, LARGEST_DEFAULT_N = 64, 256  # images, where the caller does not say how many
# Of fewer images, if they are large: 192 MiB as float32, 64 images of 512 x 512 pixels in colour, and at least four, so
# that two classes have two each. With all copies, a fit takes 0.5 to 0.7 GB more than without the callback.
MOST_VALUES_OF_FEW, LEAST_N = 3 * 2**24, 4
MOST_VALUES = 2**25  # of more than `DEFAULT_N` images: 128 MiB as float32, 222 images of 224 x 224 pixels in colour


def draw_from_dataset(
    dataset: Any,
    n: int | None,
    *,
    seed: int,
    masks: Regions | Annotations | None,
    boxes: Regions | None,
    masking: Masking,
    size: Size | None,
    preprocess: Preprocess | None,
    classes: Sequence[str] | None,
    loader: Any,
) -> Drawn:
    """See `Probe.from_dataset`."""
    check_request(DEFAULT_N if n is None else n, size)
    with own_seed(seed):
        source = Source(dataset, loader, masking.say)
        readable = source.asked
        files = known_files(readable)
        drawn = _Outlined.of(masks, readable, files) if isinstance(masks, Annotations) else None
        given = None if isinstance(masks, Annotations) else masks
        _check_dataset(readable, given, boxes)
        reader = Reader(seed, size, given, boxes, files, drawn)
        indices, items = _choice(_Shelf(source, reader), readable, n, seed, masking.say)
        items, to_input = _with_pixels(items, readable, preprocess)
        words = classes or _covering(class_names(readable), items)
        names = [_name(item, index, words, reader.files) for item, index in zip(items, indices, strict=True)]
        return assemble(items, names, classes=words, preprocess=to_input, masking=masking)


def _share(n_items: int) -> int:
    """An eighth of a data set. Trials on so many images take as many forward passes as three or four validations."""
    return min(max(n_items // 8, DEFAULT_N), LARGEST_DEFAULT_N)


def _fitting(image: Tensor) -> int:
    """How many images like this one are held in the memory, where the caller does not say."""
    few = max(MOST_VALUES_OF_FEW // image.numel(), LEAST_N)
    return max(MOST_VALUES // image.numel(), min(few, DEFAULT_N))


def _few_images(n: int, image: Tensor) -> str:
    height, width = image.shape[-2:]
    return (
        f"the pictures are large ({height}x{width}), so only {n} of them are tested, which shows strong effects alone; "
        f"for more, pass CAMCallback(Probe.from_dataset(dataset, n={4 * n}))"
    )


def _of_fewer_classes(labels: Sequence[int], n: int) -> list[int]:
    """Labels of the largest classes, so many that each gets two of ``n`` images; `UNKNOWN` for all other items.

    A trial swaps images inside a class, too, and a single image has no partner.
    """
    counts = Counter(label for label in labels if label >= 0)
    kept = {label for label, _ in counts.most_common(max(n // 2, 2))}
    return [label if label in kept else UNKNOWN for label in labels]


def _check_dataset(dataset: Any, masks: Regions | None, boxes: Regions | None) -> None:
    if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
        raise TypeError(
            f"a probe is drawn from a data set with len() and [index], or from a stream, got {type(dataset).__name__}; "
            "collect some images and build Probe(images, targets)"
        )
    if len(dataset) == 0:
        raise ValueError("a probe needs at least one image, got an empty data set")
    for name, regions in (("masks", masks), ("boxes", boxes)):
        if isinstance(regions, (str, PathLike)):
            raise ValueError(
                f"{name} must be a sequence or a function from index to mask, got the path {str(regions)!r}; "
                "for folders of pictures and masks use Probe.from_folder(folder, masks=...)"
            )
        if regions is not None and not callable(regions) and len(regions) != len(dataset):
            raise ValueError(
                f"{name} must hold one entry or None per item, got {len(regions)} for {len(dataset)} items"
            )


@dataclass(frozen=True)
class _Outlined:
    """Regions that are annotated, by index in a data set; it goes to the processes that read items."""

    annotations: Sequence[Annotation | None]
    files: Sequence[Path]
    labels: Sequence[str]

    @classmethod
    def of(cls, annotations: Annotations, dataset: Any, files: Sequence[Path] | None) -> "_Outlined":
        if files is None:
            raise ValueError(
                f"the annotations in {printable(annotations.path)} are of files, and the data set does not say which "
                "file an item is from; use Probe.from_folder(folder, masks=...), or return masks with the items"
            )
        names, targets = class_names(dataset) or (), known_labels(dataset) or [UNKNOWN] * len(files)
        labels = [class_name(names, target) if target >= 0 else "" for target in targets]
        return cls(annotations.of(files), files, labels)

    def __call__(self, index: int) -> tuple[Tensor, str] | None:
        annotation = self.annotations[index]
        if annotation is None:
            return None
        with quiet_pillow():
            picture = read_picture(self.files[index])
            region = annotation.fill((picture.height, picture.width), self.labels[index])
        return None if region is None else (region.mask, region.source)


class _Shelf:
    """Readings of a data set. Items that were read for their labels are kept, so that they are not read twice."""

    def __init__(self, source: Source, reader: Reader) -> None:
        self._source = source
        self._reader = reader
        self._kept: dict[int, ItemReading] = {}
        self._room = MOST_VALUES

    def read(self, indices: Sequence[int]) -> Iterator[ItemReading]:
        """The readings of these items, in order."""
        missing = [index for index in indices if index not in self._kept]
        arriving = self._source.read(self._reader.reading, missing)
        for index in indices:
            reading = self._kept[index] if index in self._kept else next(arriving)
            if index not in self._kept and isinstance(reading.outcome, Item) and self._room > 0:
                self._kept[index] = reading
                self._room -= reading.outcome.image.numel()
            yield reading

    def present(self, indices: Sequence[int]) -> Iterator[tuple[int, Item]]:
        """The items that there are, with their indices. A data set may give None for a file that cannot be read."""
        pairs = zip(indices, self.read(indices), strict=True)
        return ((index, reading.item) for index, reading in pairs if not reading.is_missing)

    def labels(self, indices: Sequence[int]) -> Iterator[int]:
        """The labels alone."""
        return (reading.target for reading in self.read(indices))


def _choice(
    shelf: _Shelf, dataset: Any, n: int | None, seed: int, say: Callable[[str], None] | None
) -> tuple[list[int], list[Item]]:
    """Indices of a balanced choice, and its items. Without ``n``, as many as are `_fitting`."""
    wanted = _share(len(dataset)) if n is None else n
    labels = known_labels(dataset)
    if labels is None:
        labels = _read_labels(shelf, dataset, wanted, seed)
    labels = of_classes(labels, len(class_names(dataset) or ()) or None)
    choose = partial(_in_order if isinstance(dataset, FirstItems) else balanced, seed=seed)
    indices = choose(labels, wanted)
    if not indices:
        raise ValueError("a probe needs labelled images, but no item of the data set has a label from 0")
    found = shelf.present(indices)
    pairs = list(islice(found, 1))
    if not pairs:
        raise ValueError("a probe needs images, but the data set gives None instead of its items")
    fitting = _fitting(pairs[0][1].image)
    if n is None and fitting < len(indices):
        if fitting < DEFAULT_N and say is not None:
            say(_few_images(fitting, pairs[0][1].image))
        fewer = choose(_of_fewer_classes(labels, fitting), fitting)
        if fewer != indices[:fitting]:  # otherwise reading goes on: starting workers again may take seconds
            found, pairs = shelf.present(fewer), []
        indices = fewer
    pairs += islice(found, len(indices) - len(pairs))
    return [index for index, _ in pairs], [item for _, item in pairs]


def _read_labels(shelf: _Shelf, dataset: Any, wanted: int, seed: int) -> list[int]:
    n_classes = len(class_names(dataset) or ()) or None
    order = range(len(dataset)) if isinstance(dataset, FirstItems) else shuffled(len(dataset), seed)
    return labels_by_reading(shelf.labels, order, wanted, n_classes)


def _in_order(labels: Sequence[int], n: int, seed: int) -> list[int]:
    return sorted(balanced(labels, n, seed))


def _with_pixels(
    items: list[Item], dataset: Any, preprocess: Preprocess | None
) -> tuple[list[Item], Preprocess | None]:
    """The items with pixels in [0, 1] as images, and the step from these pixels to model input."""
    recognised = normalize_of(dataset, len(items[0].image))
    if all(item.from_bytes for item in items):
        return items, preprocess
    if recognised is not None and _are_pixels(pixels := _mapped(items, recognised.inverse)):
        return pixels, recognised if preprocess is None else preprocess
    if _are_pixels(items):
        return items, preprocess
    if preprocess is None:
        return _stretched(items)
    step = as_normalize(preprocess)
    if step is not None and _are_pixels(pixels := _mapped(items, step.inverse)):
        return pixels, preprocess
    raise ArgumentError(
        f"the data set must give pixels in [0, 1] or what preprocess makes of them, got values {_span(items)} and "
        f"a {type(preprocess).__name__}; pass the Normalize that the data set uses, or a data set without it"
    )


def _stretched(items: list[Item]) -> tuple[list[Item], Preprocess]:
    step = spanning([item.image for item in items])
    warn(
        f"the data set gives values {_span(items)} and has no Normalize in its transform that explains "
        "them; the probe shows them stretched to [0, 1], in false colours; for true ones pass "
        "preprocess=v2.Normalize(mean, std) with the numbers that the data set uses",
    )
    return _mapped(items, lambda image: step.inverse(image).clamp(0, 1)), step


def _mapped(items: list[Item], step: Callable[[Tensor], Tensor]) -> list[Item]:
    return [replace(item, image=step(item.image)) for item in items]


def _bounds(items: list[Item]) -> tuple[float, float]:
    return min(float(item.image.min()) for item in items), max(float(item.image.max()) for item in items)


def _are_pixels(items: list[Item]) -> bool:
    low, high = _bounds(items)
    return low >= -ROUNDING and high <= 1 + ROUNDING


def _span(items: list[Item]) -> str:
    return "from {:.3g} to {:.3g}".format(*_bounds(items))


def _covering(names: tuple[str, ...] | None, items: list[Item]) -> tuple[str, ...] | None:
    """``names`` if every target has one, else None: a data set's own list may be stale."""
    return names if names and max(item.target for item in items) < len(names) else None


def _name(item: Item, index: int, classes: Sequence[str] | None, files: Sequence[Path] | None) -> str:
    class_name = classes[item.target] if classes and item.target < len(classes) else str(item.target)
    return tag(class_name, index if files is None else files[index].stem)
