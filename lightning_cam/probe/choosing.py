"""Which items of a data set become a probe: their labels, a balanced choice, and how many there is room for."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from ..datasets.apart import Source
from ..datasets.items import Item, ItemReading, Reader
from ..datasets.labels import UNKNOWN, balanced, class_names, known_labels, labels_by_reading, of_classes, shuffled
from ..datasets.questions import PER_LABEL, UNMARKED, balanced_questions, checked_marks, known_marks
from ..datasets.regions import of_regions
from ..datasets.streams import FirstItems
from ..datasets.tasks import FormError
from ..datasets.values import are_fractions, known_values, spread
from .task import CLASSES, VALUES, Kind

DEFAULT_N, LARGEST_DEFAULT_N = 64, 256  # images, where the caller does not say how many
LARGEST_OF_LABELS = 512  # of several labels, which share the images among them
# Of fewer images, if they are large: 192 MiB as float32, 64 images of 512 x 512 pixels in colour, and at least four, so
# that two classes have two each. With all copies, a fit takes 0.5 to 0.7 GB more than without the callback.
MOST_VALUES_OF_FEW, LEAST_N = 3 * 2**24, 4
MOST_VALUES = 2**25  # of more than `DEFAULT_N` images: 128 MiB as float32, 222 images of 224 x 224 pixels in colour


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


class Shelf:
    """Readings of a data set. Items that were read for their labels are kept, so that they are not read twice."""

    def __init__(self, source: Source, reader: Reader) -> None:
        self._source = source
        self._reader = reader
        self._kept: dict[int, ItemReading] = {}
        self._room = MOST_VALUES
        self.marks: dict[int, tuple[int, ...]] = {}
        self.values: dict[int, tuple[float, ...]] = {}
        self.has_maps = False

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
        """The classes alone. Items with marks have none yet: all of them decide whether these are several labels."""
        for index, reading in zip(indices, self.read(indices), strict=True):
            if reading.marks:
                self.marks[index] = reading.marks
            self.has_maps |= isinstance(reading.outcome, Item) and reading.outcome.classes is not None
            if reading.values:
                self.values[index] = reading.values
            yield UNKNOWN if reading.marks else reading.target


@dataclass(frozen=True)
class _Chooser:
    """Chooses the items of a probe by a class for each item, by marks ``(N, K)`` of labels, or by values ``(N, D)``."""

    labels: Sequence[int]
    marks: Tensor | None
    values: Tensor | None
    seed: int
    is_stream: bool

    @classmethod
    def of(cls, shelf: Shelf, dataset: Any, wanted: int, seed: int, kind: Kind | None) -> "_Chooser":
        labels, marks, values = _known(shelf, dataset, kind)
        if labels is None and marks is None and values is None:
            labels, marks, values = _read_labels(shelf, dataset, wanted, seed, kind)
        if shelf.has_maps:
            labels = of_regions(labels or ())
        else:
            labels = of_classes(labels or (), len(class_names(dataset) or ()) or None)
        return cls(labels, marks, values, seed, isinstance(dataset, FirstItems))

    def number(self, wanted: int) -> int:
        """How many images are wanted where the caller does not say: several questions need more than one class each."""
        asked = self.values if self.marks is None else self.marks
        per_label = 0 if asked is None else PER_LABEL * asked.shape[1]
        return max(wanted, min(per_label, LARGEST_OF_LABELS))

    def choice(self, n: int) -> dict[int, int]:
        """Indices of at most ``n`` items, with their class, or their answer to the question for one label."""
        if self.values is not None:
            rows = spread(self.values, n, self.seed)
            return dict.fromkeys(sorted(rows) if self.is_stream else rows, UNKNOWN)
        if self.marks is not None:
            answers = balanced_questions(self.marks, n, self.seed)
            return dict(sorted(answers.items())) if self.is_stream else answers
        indices = balanced(self.labels, n, self.seed)
        return {index: self.labels[index] for index in (sorted(indices) if self.is_stream else indices)}

    def smaller(self, n: int) -> dict[int, int]:
        """As `choice`, of fewer classes, where the images are so large that there is room for few."""
        return replace(self, labels=_of_fewer_classes(self.labels, n)).choice(n)

    def asked(self, item: Item, target: int) -> Item:
        """The item with its answer. A target comes from the item itself, since a data set's list may be stale."""
        if self.values is not None:
            return replace(item, marks=())
        item = replace(item, values=())
        if self.marks is None:
            return replace(item, marks=())
        label = target // 2
        return replace(item, target=2 * label + max(item.marks[label], 0) if label < len(item.marks) else target)


def choose(
    shelf: Shelf, dataset: Any, n: int | None, seed: int, say: Callable[[str], None] | None, kind: Kind | None = None
) -> tuple[list[int], list[Item]]:
    """Indices of a balanced choice, and its items. Without ``n``, as many as are `_fitting`."""
    wanted = _share(len(dataset)) if n is None else n
    chooser = _Chooser.of(shelf, dataset, wanted, seed, kind)
    targets = chooser.choice(chooser.number(wanted) if n is None else n)
    indices = list(targets)
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
        targets = chooser.smaller(fitting)
        fewer = list(targets)
        if fewer != indices[:fitting]:  # otherwise reading goes on: starting workers again may take seconds
            found, pairs = shelf.present(fewer), []
        indices = fewer
    pairs += islice(found, len(indices) - len(pairs))
    return [index for index, _ in pairs], [chooser.asked(item, targets[index]) for index, item in pairs]


def _known(shelf: Shelf, dataset: Any, kind: Kind | None) -> tuple[list[int] | None, Tensor | None, Tensor | None]:
    """Classes, marks or values of all items; at most one is not None, and none where only reading would tell."""
    if kind != VALUES:
        labels = known_labels(dataset)
        marks = known_marks(dataset) if labels is None else None
        if labels is not None or marks is not None:
            return labels, marks, None
    values = known_values(dataset) if kind != CLASSES else None
    if values is None or not (kind == VALUES or any(map(are_fractions, values.tolist()))):
        return None, None, None
    first = next(shelf.read([0]))  # a data set's list may be of something else than its items' targets
    is_stale = not first.is_missing and not _agree(first.values, values[0])
    return None, None, None if is_stale else values


def _read_labels(
    shelf: Shelf, dataset: Any, wanted: int, seed: int, kind: Kind | None
) -> tuple[list[int], Tensor | None, Tensor | None]:
    """Classes of the items that were read; or their marks, if any has not just one label; or their values."""
    n_classes = len(class_names(dataset) or ()) or None
    order = range(len(dataset)) if isinstance(dataset, FirstItems) else shuffled(len(dataset), seed)
    labels = labels_by_reading(shelf.labels, order, wanted, n_classes)
    are_values = kind == VALUES or (kind != CLASSES and any(map(are_fractions, shelf.values.values())))
    if are_values:
        return [], None, _rows_of(shelf.values, len(labels))
    if not shelf.marks:
        _check_no_shares(shelf.values)
        return labels, None, None
    rows = checked_marks(list(shelf.marks.values()))
    if bool((rows.sum(1) == 1).all() and (rows >= 0).all()):  # one-hot
        for index, row in zip(shelf.marks, rows, strict=True):
            labels[index] = int(row.argmax())
        return labels, None, None
    marks = torch.full((len(labels), rows.shape[1]), UNMARKED)
    marks[list(shelf.marks)] = rows
    return labels, marks, None


def _check_no_shares(values: Mapping[int, tuple[float, ...]]) -> None:
    """Raises `FormError` for rows that are neither values nor marks: every one of them sums to 1."""
    row = next((row for row in values.values() if len(row) > 1), None)
    if row is not None:
        raise FormError(
            f"a target must be one class index, got {len(row)} numbers that sum to 1, as for soft labels; for the "
            "class with the largest pass CAMCallback(read=lambda item: (item[0], int(item[1].argmax()))); if they are "
            'values to predict, pass Probe.from_dataset(dataset, task="values")'
        )


def _rows_of(values: Mapping[int, tuple[float, ...]], n_items: int) -> Tensor:
    """Values ``(n_items, D)``, NaN where an item was not read.

    Raises:
        FormError: Items have different numbers of values, or none has any.
    """
    widths = sorted({len(row) for row in values.values()})
    if len(widths) != 1:
        found = f"{widths[0]} and {widths[-1]}" if widths else "none"
        raise FormError(f"every item must have as many values to predict as the others, got {found}")
    rows = torch.full((n_items, widths[0]), torch.nan, dtype=torch.double)
    rows[list(values)] = torch.tensor(list(values.values()), dtype=torch.double)
    return rows


def _agree(row: tuple[float, ...], known: Tensor) -> bool:
    """Whether the values of an item are those that its data set lists, as far as single precision tells."""
    return len(row) == len(known) and torch.allclose(torch.tensor(row).float(), known.float(), equal_nan=True)
