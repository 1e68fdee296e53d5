"""Annotations in any of the usual forms, told by their content, and which of them is of which picture."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from ..datasets.pictures import SUFFIXES, files_in, said_of
from ..text import printable
from .formats import (
    CocoPicture,
    coco_outlines,
    coco_pictures,
    is_coco,
    is_labelme,
    json_of,
    labelme_outlines,
    mask_in,
    unknown_json,
    voc_outlines,
    yolo_outlines,
)
from .outlines import Region, Size, region_of
from .reviewed import Reviewed, is_review, reviewed_pictures

_FORMS = "COCO or LabelMe (.json), VOC (.xml), YOLO (.txt), or pictures of masks"
_TEXTS = (".json", ".xml", ".txt")

Fill: TypeAlias = Callable[[Size, str], Region | None]
"""Size as stored, and class of a picture, to what is annotated."""


@dataclass(frozen=True)
class Annotation:
    """What is annotated of one picture.

    Args:
        name: Path and name of the picture as the annotation has them.
        fill: Draws it.
        is_picture: Whether it is a picture of a mask, which lies where its image does.
        is_reviewed: Whether a person looked at it on our page.
    """

    name: PurePosixPath
    fill: Fill
    is_picture: bool = False
    is_reviewed: bool = False


@dataclass(frozen=True)
class Annotations:
    """Annotations of many pictures. `annotations` reads them."""

    path: Path

    def of(self, files: Sequence[Path], root: Path | None = None) -> list[Annotation | None]:
        """The annotation of each picture of a data set; None for one without.

        Args:
            files: All pictures of the data set: names are only unique among them.
            root: The folder that they lie in.

        Raises:
            ValueError: None of them is annotated, or an annotation can be of several.
        """
        top = root or Path(os.path.commonpath([file.parent for file in files]))
        places = [PurePosixPath(file.relative_to(top).as_posix()) for file in files]
        found = _matched(self._entries(places), places)
        if not any(found):
            expected = printable(f"{places[0].with_suffix('')}.png")
            raise ValueError(
                f"no image has a mask in {printable(self.path)}, not even {expected}; name masks as their images"
            )
        return found

    def _entries(self, places: Sequence[PurePosixPath]) -> list[Annotation]:
        if self.path.is_file():
            return _in_file(self.path, PurePosixPath(self.path.name))
        stems = {place.stem for place in places}
        texts, entries = files_in(self.path, _TEXTS), []
        for file in texts:
            if file.stem in stems:
                entries += _in_file(file, _relative(file, self.path))
            elif file.suffix.lower() == ".json" and is_coco(content := json_of(file)):
                entries += _of_coco(file, content)
        return entries or [
            Annotation(_relative(file, self.path), partial(_filled_picture, file), is_picture=True)
            for file in files_in(self.path, SUFFIXES)
        ]


def annotations(path: str | PathLike[str]) -> Annotations:
    """Annotations to pass as ``masks`` of `Probe.from_folder` or `Probe.from_dataset`; a path there means the same.

    The form is told by the content: COCO (polygons, run lengths, boxes), LabelMe, VOC (boxes, and pictures of classes),
    YOLO (boxes and polygons), a folder of black and white pictures, or what the page of ``lightning-cam masks`` saves.
    Of several objects in a picture, those count that are named as the picture's class; where none is, all.

    Args:
        path: A file, or a folder of files named as the pictures that they are of.

    Raises:
        ValueError: There is nothing of these forms.
    """
    if not isinstance(path, (str, PathLike)):
        raise ValueError(
            f"masks must be {_FORMS}, got a {type(path).__name__}; a function that finds objects is segmenter=, and "
            "Probe(images, targets, masks=...) takes tensors"
        )
    place = Path(path)
    if place.is_file() and place.suffix.lower() == ".json":
        content = json_of(place)
        if not (is_coco(content) or is_labelme(content) or is_review(content)):
            raise unknown_json(place, content)
    elif place.is_file() and place.suffix.lower() not in _TEXTS:
        raise ValueError(f"masks must be {_FORMS}, got {printable(place)}; give their folder or file")
    elif not place.exists():
        raise ValueError(f"a folder or a file of masks was expected, {printable(place)} is none; check the path")
    return Annotations(place)


def as_annotations(masks: str | PathLike[str] | Annotations | None) -> Annotations | None:
    """What a path leads to; else ``masks`` itself."""
    return masks if masks is None or isinstance(masks, Annotations) else annotations(masks)


def _in_file(file: Path, name: PurePosixPath) -> list[Annotation]:
    suffix = file.suffix.lower()
    if suffix == ".json":
        content = json_of(file)
        if is_coco(content):
            return _of_coco(file, content)
        if is_review(content):
            pictures = reviewed_pictures(file, content)
            return [
                Annotation(PurePosixPath(each.file), partial(_filled_review, file, each), is_reviewed=True)
                for each in pictures
            ]
        return [Annotation(name, partial(_filled_labelme, file))]
    return [Annotation(name, partial(_filled_voc if suffix == ".xml" else _filled_yolo, file))]


def _of_coco(file: Path, content: Any) -> list[Annotation]:
    with said_of(file):
        pictures = coco_pictures(content)
    return [
        Annotation(PurePosixPath(picture.name.replace("\\", "/")), partial(_filled_coco, file, picture))
        for picture in pictures
    ]


# ---- from an annotation to a region; each takes the picture's size and class last


def _filled_coco(file: Path, picture: CocoPicture, size: Size, label: str) -> Region | None:
    if picture.size is not None and picture.size != size:
        (height, width), (other_height, other_width) = picture.size, size
        raise ValueError(
            f"{printable(file)} says {height}x{width} pixels of a picture of {other_height}x{other_width}; give the "
            "pictures that were annotated"
        )
    with said_of(file):
        return region_of(coco_outlines(picture), size, label)


def _filled_review(file: Path, reviewed: Reviewed, size: Size, label: str) -> Region | None:  # noqa: ARG001 - as others
    with said_of(file):
        mask = reviewed.mask(size)
    return Region(mask, "reviewed") if mask.any() else None


def _filled_labelme(file: Path, size: Size, label: str) -> Region | None:
    return region_of(labelme_outlines(file), size, label)


def _filled_voc(file: Path, size: Size, label: str) -> Region | None:
    return region_of(voc_outlines(file), size, label)


def _filled_yolo(file: Path, size: Size, label: str) -> Region | None:
    return region_of(yolo_outlines(file, size), size, label)


def _filled_picture(file: Path, size: Size, label: str) -> Region | None:  # noqa: ARG001 - called as the others
    mask = mask_in(file, size)
    return Region(mask, "folder") if mask.any() else None


# ---- which is of which


def _relative(file: Path, folder: Path) -> PurePosixPath:
    return PurePosixPath(file.relative_to(folder).as_posix())


def _matched(entries: Sequence[Annotation], places: Sequence[PurePosixPath]) -> list[Annotation | None]:
    by_stem: dict[str, list[Annotation]] = {}
    for entry in entries:
        by_stem.setdefault(entry.name.stem, []).append(entry)
    n_of_stem = Counter(place.stem for place in places)
    folders = {place.parent.name for place in places}
    return [_match(by_stem.get(place.stem, []), place, n_of_stem[place.stem], folders) for place in places]


def _match(
    candidates: Sequence[Annotation], place: PurePosixPath, n_of_stem: int, folders: set[str]
) -> Annotation | None:
    """The candidate that lies where the picture does; if none does, the one candidate that can be no other's."""
    agreeing = [entry for entry in candidates if _agree(entry.name.parts[:-1], place.parts[:-1])]
    if not agreeing:
        elsewhere = [entry for entry in candidates if not entry.is_picture and entry.name.parent.name not in folders]
        return elsewhere[0] if len(candidates) == len(elsewhere) == n_of_stem == 1 else None
    depth = max(len(entry.name.parts) for entry in agreeing)
    nearest = [entry for entry in agreeing if len(entry.name.parts) == depth]
    exact = [entry for entry in nearest if entry.name.suffix == place.suffix] or nearest
    if depth == 1 and n_of_stem > 1:
        raise ValueError(
            f"{n_of_stem} pictures are named {printable(place.stem)}, and {printable(exact[0].name)} does not say "
            "which of them is meant; name annotations by folder and file"
        )
    return exact[0]


def _agree(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Whether one of two places is the end of the other."""
    n = min(len(ours), len(theirs))
    return n == 0 or ours[-n:] == theirs[-n:]
