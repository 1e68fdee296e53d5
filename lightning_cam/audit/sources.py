"""Sources of labelled pictures: a folder of class folders, a CSV manifest or a map-style data set."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from ..datasets.attributes import AttributeSources, check_sources, values_at
from ..datasets.items import item_seed, own_seed
from ..datasets.labels import class_names, known_files, known_labels, label_of
from ..datasets.parts import parts_of
from ..datasets.pictures import SUFFIXES, images_in, said_of
from ..datasets.questions import marks_of
from ..datasets.tables import Attributes, by_position, of_files, read_table
from ..datasets.tasks import FormError, described
from .facts import PictureFacts, facts_of_file, facts_of_picture, facts_of_tensor

SPLIT_NAMES = frozenset({"train", "training", "val", "valid", "validation", "test", "dev", "eval"})


@dataclass(frozen=True, eq=False)
class PictureSource:
    """Labelled pictures that are read one by one.

    Args:
        names: A name for each picture, for people.
        labels: Index into ``classes`` of each picture, ``(N,)``; every class occurs.
        classes: The names of the classes.
        read: Reads the picture at an index.
        attributes: Names of the attributes that are known.
        values: Their values for the picture at an index, as text.
        from_files: Whether pictures are files. Several threads may read files at once, and unreadable ones are skipped.
    """

    names: Sequence[str]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    read: Callable[[int], PictureFacts]
    from_files: bool
    attributes: tuple[str, ...] = ()
    values: Callable[[int], tuple[str, ...]] = lambda _: ()

    def sample(self, per_class: int, seed: int) -> list[int]:
        """Sorted indices of at most ``per_class`` pictures of each class."""
        rng = np.random.default_rng(seed)
        members = [np.flatnonzero(self.labels == label) for label in range(len(self.classes))]
        return sorted(int(i) for group in members for i in rng.permutation(group)[:per_class])


def find_source(
    origin: Any, *, seed: int, max_pixels: int, attributes: Attributes | None = None, label: int | None = None
) -> PictureSource:
    """The source that a path or a data set stands for."""
    if not isinstance(origin, (str, os.PathLike)):
        return _from_dataset(origin, seed, max_pixels, attributes, label)
    if label is not None:
        raise ValueError("label= chooses one of several labels of a data set; of files leave it out")
    path = Path(origin)
    if path.is_dir():
        return _from_folder(path, max_pixels, attributes)
    if path.suffix.lower() == ".csv" and path.is_file():
        return _from_manifest(path, max_pixels, attributes)
    is_there = "is neither" if path.exists() else "does not exist"
    raise ValueError(f"expected a folder of class folders or a .csv file, but '{path}' {is_there}; check the path")


def _from_folder(root: Path, max_pixels: int, attributes: Attributes | None) -> PictureSource:
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir())
    splits = [folder.name for folder in folders if folder.name.lower() in SPLIT_NAMES]
    if len(splits) > 1:
        raise ValueError(f"'{root}' holds splits, not classes: {splits}; audit {root / splits[0]}")
    files = [(file, folder.name) for folder in folders for file in images_in(folder)]
    if not files:
        raise ValueError(f"no pictures in class folders of '{root}'; expected {root}/<class>/<picture>.png")
    known = of_files(attributes, [file for file, _ in files])
    found = _from_files(root, [file for file, _ in files], [word for _, word in files], max_pixels)
    return _with_values(found, known, [file for file, _ in files])


def _with_values(found: PictureSource, attributes: AttributeSources | None, items: Sequence[Any]) -> PictureSource:
    """The source with values of attributes, of which each of as many items tells its own."""
    known = check_sources(attributes, len(items))
    return replace(found, attributes=tuple(known), values=lambda index: values_at(known, items[index], index))


def _from_manifest(manifest: Path, max_pixels: int, attributes: Attributes | None) -> PictureSource:
    """The pictures of a CSV file with the columns ``path``, relative to the file's folder, and ``label``, any word."""
    columns, rows = read_table(manifest)
    if not {"path", "label"} <= set(columns):
        raise ValueError(f"{manifest.name} must have the columns path and label, it has {columns}; rename them")
    unlabelled = [number for number, row in enumerate(rows, 2) if not row["path"] or not row["label"]]
    if unlabelled:
        raise ValueError(
            f"{len(unlabelled)} rows of {manifest.name} lack a path or a label, first line {unlabelled[0]}; "
            "fill them in or leave them out"
        )
    root = manifest.parent
    attributes = by_position(attributes, [root / row["path"] for row in rows])
    missing = [column for column in (attributes or {}).values() if isinstance(column, str) and column not in columns]
    if missing:
        raise ValueError(f"{manifest.name} has no column {missing[0]!r} for an attribute, it has {columns}; name one")
    with said_of(Path(manifest.name)):
        files, words = [root / row["path"] for row in rows], [row["label"] for row in rows]
        return _with_values(_from_files(root, files, words, max_pixels), attributes, rows)


def _from_dataset(
    dataset: Any, seed: int, max_pixels: int, attributes: Attributes | None, label: int | None
) -> PictureSource:
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise ValueError(
            f"expected a folder, a manifest or a data set with a length, got {type(dataset).__name__}; "
            "save the pictures in class folders and audit these"
        )
    labels = known_labels(dataset) if label is None else None
    if labels is None:
        labels = [_label_in(parts_of(_item(dataset, seed, index))[1], label) for index in range(len(dataset))]
    indices = [index for index, each in enumerate(labels) if each >= 0]  # below 0: the item has no label
    class_words = class_names(dataset) or ()
    if label is not None:
        name = class_words[label] if label < len(class_words) else f"label {label}"
        class_words = (f"without {name}", f"with {name}")
    words = [class_words[labels[i]] if labels[i] < len(class_words) else str(labels[i]) for i in indices]
    known = check_sources(by_position(attributes, known_files(dataset)), len(dataset))
    needs_items = any(isinstance(source, (str, int)) or callable(source) for source in known.values())

    def values(i: int) -> tuple[str, ...]:
        return values_at(known, _item(dataset, seed, indices[i]) if needs_items else None, indices[i])

    files = [file for file in known_files(dataset) or [] if file.suffix.lower() in SUFFIXES]
    if len(files) == len(labels):
        root = Path(os.path.commonpath([file.parent for file in files]))
        found = _from_files(root, [files[i] for i in indices], words, max_pixels)
        return replace(found, attributes=tuple(known), values=values)
    names = [f"item {index}" for index in indices]
    found = _labelled(names, words, lambda i: _read_item(dataset, seed, indices[i]), from_files=False)
    return replace(found, attributes=tuple(known), values=values)


def _label_in(target: Any, label: int | None) -> int:
    """The class of an item or, of several labels, the mark of the one that is asked for."""
    marks = marks_of(target)
    if label is not None:
        if not 0 <= label < len(marks):
            raise ValueError(f"label= must be a position in rows of 0 and 1, got {label} for {described(target)}")
        return marks[label]
    try:
        return label_of(target)
    except FormError as error:
        if not marks:
            raise
        raise FormError(f"{error}; audit one label at a time: audit_dataset(dataset, label=0)") from error


def _from_files(root: Path, files: Sequence[Path], words: Sequence[str], max_pixels: int) -> PictureSource:
    folders = {folder: os.path.relpath(folder, root) for folder in {file.parent for file in files}}
    places = [Path(folders[file.parent], file.name) for file in files]
    class_words = frozenset(word.lower() for word in words)

    def read(index: int) -> PictureFacts:
        return facts_of_file(files[index], places[index], class_words, max_pixels)

    return _labelled([place.as_posix() for place in places], words, read, from_files=True)


def _labelled(
    names: Sequence[str], words: Sequence[str], read: Callable[[int], PictureFacts], *, from_files: bool
) -> PictureSource:
    if not names:
        raise ValueError("expected labelled pictures, found none; check the path or the data set")
    classes = tuple(sorted(set(words)))
    check_classes(classes)
    index = {word: i for i, word in enumerate(classes)}
    return PictureSource(names, np.array([index[word] for word in words], np.int64), classes, read, from_files)


def check_classes(classes: Sequence[str], skipped: Sequence[tuple[str, str]] = ()) -> None:
    """Raises if there are fewer than two classes: nothing can be told apart then."""
    if len(classes) < 2:
        unread = f", skipped {len(skipped)} files that cannot be read such as {skipped[0]}" if skipped else ""
        raise ValueError(
            f"an audit needs pictures of at least two classes, got {list(classes)}{unread}; check the folders or labels"
        )


def _read_item(dataset: Any, seed: int, index: int) -> PictureFacts:
    image = parts_of(_item(dataset, seed, index))[0]
    if isinstance(image, Image.Image):
        return facts_of_picture(image)
    values = torch.as_tensor(image).detach().cpu()
    if values.ndim != 3:
        raise ValueError(f"pictures must be PIL images or tensors (C, H, W), item {index} has {tuple(values.shape)}")
    if not values.isfinite().all():
        raise ValueError(f"pictures must be finite, item {index} holds NaN or Inf; leave it out")
    return facts_of_tensor(values)


def _item(dataset: Any, seed: int, index: int) -> Any:
    """The item at an index. Random numbers that the data set draws do not change the global random states."""
    with own_seed(item_seed(seed, index)):
        return dataset[index]
