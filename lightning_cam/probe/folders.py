"""Drawing from a folder of class sub-folders, the way torchvision's `ImageFolder` reads one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..datasets.attributes import check_sources, values_at
from ..datasets.items import Item, Size
from ..datasets.labels import UNKNOWN, balanced
from ..datasets.pictures import (
    alpha_mask,
    images_in,
    orientation,
    pixels_of,
    quiet_pillow,
    read_picture,
    resized,
    resized_mask,
    said_of,
    turned,
)
from ..datasets.tables import Attributes, of_files
from ..maskers import Annotations
from ..maskers.annotations import Annotation
from ..notices import warn
from .drawn import Drawn, Preprocess, assemble, check_request
from .masking import Masking
from .names import tag


@dataclass(frozen=True)
class ReadingOptions:
    """How files become images; see `Probe.from_folder`."""

    size: Size | None
    upright: bool
    grayscale: bool


def draw_from_folder(
    path: Path,
    n: int,
    *,
    seed: int,
    masks: Annotations | None,
    masking: Masking,
    options: ReadingOptions,
    preprocess: Preprocess | None,
    attributes: Attributes | None = None,
) -> Drawn:
    """See `Probe.from_folder`."""
    check_request(n, options.size)
    classes, chosen = chosen_files(path, n, seed=seed, masks=masks, attributes=attributes)
    with quiet_pillow():
        readings = [_read(each, classes, options) for each in chosen]
    items, turns = zip(*readings, strict=True)
    if any(turns) and not options.upright:
        warn(
            f"{sum(turns)} of {len(turns)} files ask in EXIF to be turned; they are shown as stored, as "
            "torchvision's ImageFolder gives them to a model; pass upright=True if your training turns them",
        )
    names = [tag(classes[each.target], each.file.stem) for each in chosen]
    known = list(chosen[0].attributes)
    return assemble(items, names, classes=classes, preprocess=preprocess, masking=masking, attributes=known)


@dataclass(frozen=True)
class ChosenFile:
    """A picture for a probe, its class index, what is annotated of it, and its values by attribute."""

    file: Path
    target: int
    annotation: Annotation | None
    attributes: Mapping[str, str]


def chosen_files(
    path: Path, n: int, *, seed: int, masks: Annotations | None, attributes: Attributes | None = None
) -> tuple[list[str], list[ChosenFile]]:
    """Class names, and a balanced choice of the files in a folder; only of those that a person reviewed, if any."""
    if not path.is_dir():
        raise ValueError(f"a folder of class sub-folders was expected, {path} is none; check the path")
    classes, files = _files_of(path, None if masks is None else masks.path)
    found = [None] * len(files) if masks is None else masks.of([file for file, _ in files], path)
    reviewed = [each is not None and each.is_reviewed for each in found]
    usable = reviewed if any(reviewed) else [True] * len(files)
    targets = [target if is_usable else UNKNOWN for (_, target), is_usable in zip(files, usable, strict=True)]
    known = check_sources(of_files(attributes, [file for file, _ in files]), len(files))
    return classes, [
        ChosenFile(file, target, found[place], dict(zip(known, values_at(known, file, place), strict=True)))
        for place in balanced(targets, n, seed)
        for file, target in files[place : place + 1]
    ]


def _files_of(path: Path, masks: Path | None) -> tuple[list[str], list[tuple[Path, int]]]:
    """Class names and ``(file, class index)`` pairs, both in `ImageFolder`'s order."""
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not (masks and entry.samefile(masks)))
    if not folders:
        raise ValueError(f"{path} has no sub-folders; put the images of each class into a folder with the class's name")
    files = [(file, target) for target, folder in enumerate(folders) for file in images_in(folder)]
    lost = [file for file, _ in files if not file.exists()]
    if lost:
        warn(f"{len(lost)} files of {path} are left out, since they are links to nothing, such as '{lost[0].name}'")
        files = [(file, target) for file, target in files if file.exists()]
    empty = [folder.name for target, folder in enumerate(folders) if target not in {target for _, target in files}]
    if empty:
        raise ValueError(
            f"class folder {empty[0]!r} in {path} has no image file; remove it (ImageFolder needs that too)"
        )
    return [folder.name for folder in folders], files


def _read(chosen: ChosenFile, classes: Sequence[str], options: ReadingOptions) -> tuple[Item, bool]:
    """The item of a file, and whether its EXIF data asks for a turn."""
    file, target, annotation = chosen.file, chosen.target, chosen.annotation
    picture = read_picture(file)
    turn = orientation(picture)
    region = None if annotation is None else annotation.fill((picture.height, picture.width), classes[target])
    mask, source = (region.mask, region.source) if region else (alpha_mask(picture), "alpha")
    with said_of(file):
        pixels = pixels_of(picture, grayscale=options.grayscale)
    if options.upright:
        pixels, mask = turned(pixels, turn), None if mask is None else turned(mask, turn)
    item = Item(
        image=resized(pixels, options.size),
        target=target,
        mask=None if mask is None else resized_mask(mask, options.size),
        source="none" if mask is None else source,
        from_bytes=True,
        attributes=tuple(chosen.attributes.values()),
    )
    return item, turn != 1
