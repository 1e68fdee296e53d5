"""The first items of a data set that can only be iterated, as a data set with an index."""

from collections.abc import Iterator
from typing import Any

from torch.utils.data import IterableDataset

MOST_STREAMED = 256  # items; a probe takes 64 of them, balanced as far as the beginning of the stream allows


class FirstItems:
    """Item ``i`` is the ``i``-th of the stream, and None where the stream has ended.

    Going back begins the stream anew, so readers ask in ascending order.

    Args:
        stream: A data set that can be iterated.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.classes, self.transform = getattr(stream, "classes", None), getattr(stream, "transform", None)
        self._items: Iterator[Any] = iter(())
        self._next = MOST_STREAMED  # index of the next item; nothing has been begun yet

    def __len__(self) -> int:
        return MOST_STREAMED

    def __getitem__(self, index: int) -> Any:
        if index < self._next:
            self._items, self._next = iter(self.stream), 0
        for _ in range(index - self._next):
            next(self._items, None)
        self._next = index + 1
        return next(self._items, None)


def is_stream(dataset: Any) -> bool:
    """Whether a data set can be iterated, but has no index. An iterator is none: it can be read only once."""
    if isinstance(dataset, IterableDataset):  # some have a length, and torch gives all of them a __getitem__
        return True
    return hasattr(dataset, "__iter__") and not hasattr(dataset, "__getitem__") and not hasattr(dataset, "__next__")


def indexed(dataset: Any) -> Any:
    """The data set itself, or the first items of a stream."""
    return FirstItems(dataset) if is_stream(dataset) else dataset
