"""Drawing from a folder of class sub-folders, the way torchvision's `ImageFolder` reads one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..datasets.items import Item, Size
from ..datasets.labels import balanced
from ..datasets.masking import binary
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
from ..notices import warn
from ..text import printable
from .drawn import Drawn, Preprocess, assemble, check_request
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
    masks: Path | None,
    find_masks: bool,
    options: ReadingOptions,
    preprocess: Preprocess | None,
) -> Drawn:
    """See `Probe.from_folder`."""
    check_request(n, options.size)
    for folder, meaning in ((path, "class sub-folders"), (masks, "masks")):
        if folder is not None and not folder.is_dir():
            raise ValueError(f"a folder of {meaning} was expected, {folder} is none; check the path")
    classes, files = _files_of(path, masks)
    positions = balanced([target for _, target in files], n, seed)
    drawn = [files[position] for position in positions]
    mask_files = [None] * len(drawn) if masks is None else _mask_files([file for file, _ in drawn], path, masks)
    with quiet_pillow():
        readings = [_read(file, target, mask, options) for (file, target), mask in zip(drawn, mask_files, strict=True)]
    items, turns = zip(*readings, strict=True)
    if any(turns) and not options.upright:
        warn(
            f"{sum(turns)} of {len(turns)} files ask in EXIF to be turned; they are shown as stored, as "
            "torchvision's ImageFolder gives them to a model; pass upright=True if your training turns them",
        )
    names = [tag(classes[target], file.stem) for file, target in drawn]
    return assemble(items, names, classes=classes, preprocess=preprocess, find_masks=find_masks)


def _files_of(path: Path, masks: Path | None) -> tuple[list[str], list[tuple[Path, int]]]:
    """Class names and ``(file, class index)`` pairs, both in `ImageFolder`'s order."""
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not (masks and entry.samefile(masks)))
    if not folders:
        raise ValueError(f"{path} has no sub-folders; put the images of each class into a folder with the class's name")
    files = [(file, target) for target, folder in enumerate(folders) for file in images_in(folder)]
    empty = [folder.name for target, folder in enumerate(folders) if target not in {target for _, target in files}]
    if empty:
        raise ValueError(
            f"class folder {empty[0]!r} in {path} has no image file; remove it (ImageFolder needs that too)"
        )
    return [folder.name for folder in folders], files


def _mask_files(files: Sequence[Path], path: Path, masks: Path) -> list[Path | None]:
    """The file in ``masks`` at the same place and with the same stem as each file in ``path``."""
    by_place = {file.relative_to(masks).with_suffix(""): file for file in reversed(images_in(masks))}
    places = [file.relative_to(path).with_suffix("") for file in files]
    mask_files = [by_place.get(place) for place in places]
    if not any(mask_files):
        first = printable(f"{places[0]}.png")
        raise ValueError(f"no image has a mask in {masks}, not even {first}; name masks as their images")
    return mask_files


def _read(file: Path, target: int, mask_file: Path | None, options: ReadingOptions) -> tuple[Item, bool]:
    """The item of a file, and whether its EXIF data asks for a turn."""
    picture = read_picture(file)
    turn = orientation(picture)
    mask = alpha_mask(picture) if mask_file is None else _read_mask(mask_file, picture.size)
    with said_of(file):
        pixels = pixels_of(picture, grayscale=options.grayscale)
    if options.upright:
        pixels, mask = turned(pixels, turn), None if mask is None else turned(mask, turn)
    item = Item(
        image=resized(pixels, options.size),
        target=target,
        mask=None if mask is None else resized_mask(mask, options.size),
        source="none" if mask is None else "alpha" if mask_file is None else "folder",
        from_bytes=True,
    )
    return item, turn != 1


def _read_mask(file: Path, image_size: tuple[int, int]) -> Tensor | None:
    """``(H, W)`` as stored, True where the mask is bright or, with transparency, where it is not transparent."""
    picture = read_picture(file)
    if picture.size != image_size:
        expected, size = ("{}x{}".format(*size) for size in (image_size, picture.size))
        raise ValueError(
            f"mask {printable(file)} must be as large as its image as stored, {expected} pixels, got {size}; resize it"
        )
    opaque = alpha_mask(picture)
    with said_of(file):
        mask = binary(255 * pixels_of(picture, grayscale=True)[0]) if opaque is None else opaque
    return mask if mask.any() else None
