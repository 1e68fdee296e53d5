"""Drawing a probe from a data set: a balanced choice, pixels from model input, and masks from several sources."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor

from ..datasets.apart import Source
from ..datasets.attributes import AttributeSources, check_sources
from ..datasets.items import Item, Reader, Regions, Size, own_seed
from ..datasets.labels import (
    UNKNOWN,
    class_names,
    known_files,
    known_labels,
)
from ..datasets.normalization import ROUNDING, as_normalize, normalize_of, spanning
from ..datasets.objects import middle_size, resized_box
from ..datasets.pictures import quiet_pillow, read_picture, resized, resized_mask
from ..datasets.questions import (
    answer_names,
)
from ..datasets.tables import Attributes, by_position
from ..maskers import Annotations
from ..maskers.annotations import Annotation
from ..notices import warn
from ..text import class_name, printable
from .choosing import DEFAULT_N, Shelf, choose
from .drawn import ArgumentError, Drawn, Preprocess, assemble, check_request
from .masking import Masking
from .names import tag
from .task import CLASSES, VALUES, Kind

_MOST_VALUES_NAMED = 3  # in the name of a picture


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
    attributes: Attributes | None,
    kind: Kind | None = None,
    ignored: int | None = None,
) -> Drawn:
    """See `Probe.from_dataset`."""
    check_request(DEFAULT_N if n is None else n, size)
    if kind not in (None, CLASSES, VALUES):
        raise ArgumentError(f'task must be "classes" or "values", or None to tell by the targets, got {kind!r}')
    with own_seed(seed):
        source = Source(dataset, loader, masking.say)
        readable = source.asked
        files = known_files(readable)
        drawn = _Outlined.of(masks, readable, files) if isinstance(masks, Annotations) else None
        given = None if isinstance(masks, Annotations) else masks
        _check_dataset(readable, given, boxes)
        known = _checked_sources(attributes, readable, files)
        reader = Reader(seed, size, given, boxes, files, drawn, known, ignored)
        indices, items = choose(Shelf(source, reader), readable, n, seed, masking.say, kind)
        _warn_of_other_classes(items, readable, known)
        items = _of_one_size(items)
        items, to_input = _with_pixels(items, readable, preprocess)
        if items[0].are_frames and preprocess is None:
            to_input = FramesFirst(to_input)
        words = _words(classes, class_names(readable), items)
        names = [_name(item, index, words, reader.files) for item, index in zip(items, indices, strict=True)]
        return assemble(items, names, classes=words, preprocess=to_input, masking=masking, attributes=list(known))


def _checked_sources(attributes: Attributes | None, dataset: Any, files: Sequence[Path] | None) -> AttributeSources:
    try:
        return check_sources(by_position(attributes, files), len(dataset))
    except ValueError as error:
        raise ArgumentError(str(error)) from error


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


def _warn_of_other_classes(items: list[Item], dataset: Any, attributes: AttributeSources) -> None:
    """Warns where either of two whole numbers may be the class: both have a few values, and the data set lists none.

    An index is another number for each item. Whoever names attributes knows what the further numbers are.
    """
    columns = list(zip(*(item.others for item in items), strict=False))
    targets = tuple(item.target for item in items)
    may_be = [column for column in columns if 1 < len(set(column)) <= len(items) // 2 and column != targets]
    if may_be and not attributes and known_labels(dataset) is None:
        warn(
            "an item has two whole numbers beside its image, and the first was taken as its class; if the other one is "
            "the class, pass read=lambda item: (item[0], item[2]), else read=lambda item: (item[0], item[1])"
        )


@dataclass(frozen=True)
class FramesFirst:
    """Model input of videos whose frames come first, ``(N, D, C, H, W)``, from ``(N, C, D, H, W)``."""

    then: Preprocess | None = None

    def __call__(self, pixels: Tensor) -> Tensor:
        """The model input of ``pixels``."""
        return (pixels if self.then is None else self.then(pixels)).transpose(1, 2)


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


def _of_one_size(items: list[Item]) -> list[Item]:
    """The items; those with boxes, which detectors take at any size, as large as the middle one of them."""
    sizes = [(item.image.shape[-2], item.image.shape[-1]) for item in items]
    if len(set(sizes)) == 1 or not all(item.box for item in items):
        return items
    size = middle_size(sizes)
    return [
        replace(
            item,
            image=resized(item.image, size),
            mask=None if item.mask is None else resized_mask(item.mask, size),
            box=resized_box(item.box, old, size),
        )
        for item, old in zip(items, sizes, strict=True)
    ]


def _mapped(items: list[Item], step: Callable[[Tensor], Tensor]) -> list[Item]:
    return [replace(item, image=step(item.image[None])[0]) for item in items]


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


def _words(given: Sequence[str] | None, known: tuple[str, ...] | None, items: list[Item]) -> Sequence[str] | None:
    """Names of the classes, or of the answers to questions for several labels."""
    n_values, n_labels = len(items[0].values), len(items[0].marks)
    if n_values:
        if given and len(given) != n_values:
            raise ArgumentError(f"classes must name the {n_values} values of an item, got {len(given)} names")
        return given or (known if known and len(known) == n_values else None)
    if not n_labels:
        return given or _covering(known, items)
    names = given or known or ()
    if given and len(given) != n_labels:
        raise ArgumentError(f"classes must name the {n_labels} labels of an item, got {len(given)} names")
    return answer_names(names if len(names) == n_labels else [f"label {k}" for k in range(n_labels)])


def _name(item: Item, index: int, classes: Sequence[str] | None, files: Sequence[Path] | None) -> str:
    if item.values:
        class_name = "_".join(f"{value:.4g}" for value in item.values[:_MOST_VALUES_NAMED])
        return tag(class_name, index if files is None else files[index].stem)
    class_name = classes[item.target] if classes and item.target < len(classes) else str(item.target)
    return tag(class_name, index if files is None else files[index].stem)
