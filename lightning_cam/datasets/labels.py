"""Labels, class names and files of a data set, without reading an item, and a balanced choice of its items."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from .normalization import wrapped
from .tasks import FormError, described

LABEL_KEYS = ("label", "target", "labels", "cls", "targets", "class", "class_id", "class_label", "category", "y")
_MOST_KEYS = 4  # of the usual ones, in a message
UNKNOWN = -1
# Marks an item without a class in bytes, as -1 and -100 do elsewhere. It is a class where the class list is as long,
# or where other labels come near it.
_IGNORE, _FAR_BELOW = 255, 128
_FEWEST_INDICES = 8  # items whose labels are their own indices: of fewer, a sorted list of classes may give them
ENOUGH = 256  # labels, among which a class of two items in a hundred is missing once in 170 times
LEAST_PER_CLASS = 4  # images of each class, if a probe cannot hold all classes

T = TypeVar("T")


def label_of(target: object) -> int:
    """Class index of an item's target: a number, a tensor of one number, a one-hot vector, or a dict with one of them.

    >>> label_of(torch.tensor([0, 0, 1])), label_of({"label": 2})
    (2, 2)
    """
    index = _index_in(target)
    if index is None:
        raise FormError(f"a target must be one class index, got {described(target)}")
    return index


def _index_in(target: object) -> int | None:
    if isinstance(target, Mapping):
        return _index_in(first_of(target, LABEL_KEYS, "label"))
    try:
        values = torch.as_tensor(target)
    except (TypeError, ValueError, RuntimeError):
        values = torch.tensor([])
    if values.numel() == 1 and values.item() % 1 == 0:
        return int(values.item())
    return int(values.argmax()) if values.ndim == 1 and _is_one_hot(values[None]) else None


def first_of(item: Mapping[Any, Any], keys: Sequence[str], what: str) -> Any:
    """Value of the first of ``keys`` that ``item`` has."""
    own = {str(key).lower(): key for key in reversed(list(item))}
    for key in keys:
        if key in own:
            return item[key if key in item else own[key]]
    raise FormError(f"an item's {what} must be under {' or '.join(keys[:_MOST_KEYS])}, got {described(item)}")


def _is_one_hot(rows: Tensor) -> bool:
    return rows.shape[1] > 1 and bool(((rows == 0) | (rows == 1)).all() and (rows.sum(1) == 1).all())


def known_labels(dataset: Any) -> list[int] | None:
    """A label for each item, negative for an item without one; None if only reading the items gives the labels.

    These labels only choose items. A target comes from the item itself, because a data set's list may be stale.
    """
    return through(dataset, _own_labels)


def known_files(dataset: Any) -> list[Path] | None:
    """The file of each item, None if the data set does not list files."""
    return through(dataset, _own_files)


def through(dataset: Any, own: Callable[[Any], list[T] | None]) -> list[T] | None:
    """Calls ``own`` on the plain data sets inside subsets and concatenations. One result per item, in their order."""
    if isinstance(dataset, Subset):
        inner = through(dataset.dataset, own)
        return None if inner is None else [inner[int(index)] for index in dataset.indices]
    if isinstance(dataset, ConcatDataset):
        parts = [through(part, own) for part in dataset.datasets]
        return None if any(part is None for part in parts) else list(chain.from_iterable(filter(None, parts)))
    return own(dataset)


def _own_labels(dataset: Any) -> list[int] | None:
    change = getattr(dataset, "target_transform", None)
    for values in label_columns(dataset):
        labels = _as_labels(values, len(dataset))
        if labels is not None:
            return [label_of(change(label)) for label in labels] if change else labels
    inner = wrapped(dataset)
    return None if inner is None else _as_labels(known_labels(inner), len(dataset))


def label_columns(dataset: Any) -> Iterator[object]:
    """What may be the labels of a plain data set's items, under the usual names."""
    if isinstance(dataset, TensorDataset):
        yield from dataset.tensors[1:2]
    for name in ("targets", "labels"):
        yield getattr(dataset, name, None)
    for name in LABEL_KEYS:  # Hugging Face
        if name in (getattr(dataset, "column_names", None) or ()):
            yield dataset[name]
    yield [label for _, label in _samples(dataset)]


def _as_labels(values: Any, n_items: int) -> list[int] | None:
    try:
        column = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):
        return None
    if column.ndim == 2 and _is_one_hot(column):
        column = column.argmax(1)
    usable = column.shape == (n_items,) and not column.is_floating_point()
    return [int(label) for label in column.tolist()] if usable else None


def _samples(dataset: Any) -> list[tuple[Any, Any]]:
    """The ``(file, label)`` pairs of `ImageFolder` and data sets like it; empty for other data sets."""
    samples = getattr(dataset, "samples", getattr(dataset, "imgs", None))
    if not isinstance(samples, list):
        return []
    pairs = [pair for pair in samples if isinstance(pair, tuple) and len(pair) == 2]
    return pairs if len(pairs) == len(samples) else []


def _own_files(dataset: Any) -> list[Path] | None:
    files = [Path(file) for file, _ in _samples(dataset) if isinstance(file, (str, Path))]
    return files if files and len(files) == len(dataset) else None


def of_classes(labels: Sequence[int], n_classes: int | None) -> list[int]:
    """The labels, `UNKNOWN` where one means that the item has no class.

    Raises:
        FormError: The labels are the items' own indices.

    >>> of_classes([0, 1, 255, -100], None)
    [0, 1, -1, -100]
    """
    known = [(index, label) for index, label in enumerate(labels) if label >= 0]
    if len(known) >= _FEWEST_INDICES and all(index == label for index, label in known):
        raise FormError(
            "the second value of every item is its index, so that each item would be a class of its own; pass "
            "read=lambda item: (item[0], item[2]) if its third value is the class"
        )
    others = [label for _, label in known if label != _IGNORE]
    is_class = (n_classes or 0) > _IGNORE or max(others, default=_IGNORE) >= _FAR_BELOW
    return [UNKNOWN if label == _IGNORE and not is_class else label for label in labels]


def class_names(dataset: Any) -> tuple[str, ...] | None:
    """Names of the classes, None if the data set has none or maps its labels to other indices."""
    if isinstance(dataset, ConcatDataset):
        names = {class_names(part) for part in dataset.datasets}
        return names.pop() if len(names) == 1 else None
    own = _listed(getattr(dataset, "classes", None)) or _feature_names(dataset)
    if not isinstance(own, (list, tuple)) or _relabels(dataset):
        inner = wrapped(dataset)
        return None if inner is None else class_names(inner)
    return tuple(str(name) for name in own)


def _listed(names: Any) -> Any:
    """Arrays, tensors and pandas' indices as lists; their truth value alone would raise."""
    return names.tolist() if callable(getattr(names, "tolist", None)) else names


def _feature_names(dataset: Any) -> list[str] | None:
    """The class names of a label column in a Hugging Face data set."""
    features = getattr(dataset, "features", None)
    columns = [features[key] for key in LABEL_KEYS if key in features] if isinstance(features, Mapping) else []
    return next((column.names for column in columns if hasattr(column, "names")), None)


def _relabels(dataset: Any) -> bool:
    change = getattr(dataset, "target_transform", None)
    raw = next(filter(None, (_as_labels(values, len(dataset)) for values in label_columns(dataset))), [])
    return change is not None and any(label_of(change(label)) != label for label in set(raw))


def balanced(labels: Sequence[int], n: int, seed: int) -> list[int]:
    """Chooses ``n`` positions in ``labels``, or all if there are fewer, and equally many of each class if it can.

    The classes take turns, so the first few positions are balanced too. Negative labels are never chosen. If each class
    would get fewer than two images, the choice takes `LEAST_PER_CLASS` images of some classes: a trial swaps
    images inside a class, too, and a single image has no partner.

    >>> [int(i) % 2 for i in balanced([0, 1] * 50, 4, seed=0)]
    [0, 1, 0, 1]
    >>> len({i % 100 for i in balanced(list(range(100)) * 9, 64, seed=0)})
    16
    """
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(labels), generator=generator)
    shuffled_labels = torch.as_tensor(labels)[shuffled]
    counts = Counter(label for label in labels if label >= 0)
    classes = sorted(counts)
    mixed = [classes[i] for i in torch.randperm(len(classes), generator=generator).tolist()]
    most = n // LEAST_PER_CLASS if len(classes) > n // 2 >= 2 * LEAST_PER_CLASS else n
    classes = sorted(sorted(mixed, key=lambda label: counts[label] < LEAST_PER_CLASS)[:most])
    turns = zip_longest(*(shuffled[shuffled_labels == label][:n].tolist() for label in classes))
    return [position for turn in turns for position in turn if position is not None][:n]


def shuffled(n_items: int, seed: int) -> list[int]:
    """All positions in an order that depends on the seed alone."""
    order: list[int] = torch.randperm(n_items, generator=torch.Generator().manual_seed(seed)).tolist()
    return order


def labels_by_reading(
    read: Callable[[Sequence[int]], Iterator[int]], order: Sequence[int], n: int, n_classes: int | None
) -> list[int]:
    """Labels of items read in an order of all positions, `UNKNOWN` for the rest.

    Reads until each of ``n_classes`` has its share of ``n``; at most ``max(2 * n, 256)`` items. If nobody knows the
    number of classes, it is taken from the first `ENOUGH` labels.
    """
    labels = [UNKNOWN] * len(order)
    counts = Counter(dict.fromkeys(range(n_classes or 0), 0))
    least = 1 if n_classes else max(n, ENOUGH)
    order = order[: max(2 * n, ENOUGH)]
    for n_read, (position, label) in enumerate(zip(order, read(order), strict=True), 1):
        labels[position] = label
        if label in counts or (label >= 0 and not n_classes):
            counts[label] += 1
        if n_read >= least and counts and min(counts.values()) * len(counts) >= n:
            break
    return labels
