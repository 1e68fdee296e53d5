"""Small patches that recur in one class: stamps, logos, dates. Which pictures show them, and what they look like."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from ..cues import PATCH, patch_remedy
from ..patches import WINDOW, Patch, Points, common_box, find, points_of, together
from ..text import percent, words
from .facts import PictureFacts
from .findings import AuditFinding, FactSkill, severity_of
from .judging import skill_of
from .skill import assign_folds, count
from .sources import PictureSource

_FACT = PATCH.facts[0]
_MOST_SEARCHED = 1000  # pictures: their windows take 28 MB, and the search half a second
_SHOWN = 6  # pictures that a picture of a patch shows, and files that a sentence names are three of them
_NAMED = 3
_MARGIN = 9  # pixels around a patch in its picture: a larger stamp shows more of itself there
_ZOOM = 4  # so that a person sees single pixels


@dataclass(frozen=True, eq=False)
class RecurringPatch:
    """A small patch that recurs nearly identical in the pictures of one class and seldom in others.

    Attributes:
        told_apart: The class.
        share: Of its pictures, how many show it, 0 to 1, among those that were searched.
        elsewhere: The same of all other pictures.
        p_value: Chance that any patch is so unevenly spread if none belongs to a class.
        files: Names of the pictures that show it.
        picture: A few of them around the patch, side by side and enlarged, ``(H, W, 3)`` bytes.
        box: Its top, left, bottom and right in shares of the picture, as the first few have it; None where its place
            varies.
    """

    told_apart: str
    share: float
    elsewhere: float
    p_value: float
    files: tuple[str, ...]
    picture: npt.NDArray[np.uint8]
    box: tuple[float, float, float, float] | None = None

    def __repr__(self) -> str:
        shares = f"{percent(self.share)} of {self.told_apart!r}, {percent(self.elsewhere)} of other pictures"
        return f"RecurringPatch({shares}, as in {', '.join(self.files[:_NAMED])})"

    def _repr_png_(self) -> bytes | None:
        """For notebooks."""
        return Image.fromarray(self.picture)._repr_png_()

    def save(self, folder: Path) -> Path:
        """Writes the picture to ``folder`` as PNG and returns the file. Its name has a digest of the content.

        Raises:
            FileExistsError: Another file has that name. No file is ever overwritten.
        """
        png = BytesIO()
        Image.fromarray(self.picture).save(png, "PNG")
        digest = hashlib.sha256(png.getvalue()).hexdigest()[:12]
        file = folder / f"patch_{words(self.told_apart)[:40]}_{digest}.png"
        folder.mkdir(parents=True, exist_ok=True)
        if not file.is_file() or file.read_bytes() != png.getvalue():
            with file.open("xb") as new:
                new.write(png.getvalue())
        return file

    def as_json(self) -> dict[str, Any]:
        """All but the picture, as JSON types."""
        return {name: value for name, value in vars(self).items() if name != "picture"} | {"files": list(self.files)}


def searched(labels: npt.NDArray[np.int64], sample: Sequence[int], seed: int) -> frozenset[int]:
    """Which pictures of a sample are searched for patches: as many of each class, `_MOST_SEARCHED` in all."""
    rng, of_sample = np.random.default_rng(seed), labels[list(sample)]
    each = max(2, _MOST_SEARCHED // max(len(np.unique(of_sample)), 1))
    groups = [rng.permutation(np.flatnonzero(of_sample == label))[:each] for label in np.unique(of_sample)]
    return frozenset(sample[int(i)] for group in groups for i in group)


def windows_of(picture: PictureFacts) -> Points:
    """The windows of finest detail of one picture."""
    return points_of(torch.tensor(picture.view).permute(2, 0, 1)[None] / 255)


def patches(
    windows: Mapping[int, Points], source: PictureSource, seed: int
) -> tuple[tuple[RecurringPatch, ...], FactSkill | None]:
    """The patches that recur, and how well they tell a class from the others; None without any.

    Args:
        windows: Of the pictures that were searched, by index.
        source: Reads a picture again, to show it.
        seed: Of the choice of windows that are compared with all others.
    """
    indices = list(windows)
    class_indices, labels = np.unique(source.labels[indices], return_inverse=True)
    found = find(together(list(windows.values())), torch.from_numpy(labels), seed)
    if not found:
        return (), None
    classes = tuple(source.classes[index] for index in class_indices)
    codes = np.zeros(len(labels), int)  # 0: no patch; else the class whose patch it is
    for patch in reversed(found):
        codes[patch.rows.numpy()] = 1 + patch.label
    codes = np.unique(codes, return_inverse=True)[1]
    folds = assign_folds(labels, np.random.default_rng(seed))
    skill = skill_of(_FACT, count(codes, labels, folds), min(patch.p_value for patch in found), classes)
    if len(classes) == 2:  # either has the same skill, but one of them has the patch
        skill = replace(skill, told_apart=classes[found[0].label])
    return tuple(_shown(patch, classes, indices, source) for patch in found), skill


def finding(skill: FactSkill, found: Sequence[RecurringPatch]) -> AuditFinding:
    """The finding, in a sentence that names files."""
    first = next((patch for patch in found if patch.told_apart == skill.told_apart), found[0])
    shares = f"{percent(first.share)} of {first.told_apart!r} pictures and {percent(first.elsewhere)} of others"
    files = ", ".join(first.files[:_NAMED])
    text = f"{shares} show the same small patch, on the object or beside it: {files}{_with_others(first, found)}"
    remedy = patch_remedy(first.told_apart, first.share, first.box)
    severity = severity_of(skill.skill)
    return AuditFinding(**vars(skill), severity=severity, text=text, remedy=remedy.what, code=remedy.code)


def _with_others(first: RecurringPatch, found: Sequence[RecurringPatch]) -> str:
    """A stamp is wider than a patch, and several patches of it recur."""
    if len(found) < 2:
        return ""
    files = {file for patch in found if patch.told_apart == first.told_apart for file in patch.files}
    share = min(1.0, len(files) * first.share / len(first.files))
    return (
        f"; {len(found)} such patches in all, and {percent(share)} of {first.told_apart!r} pictures show one of its own"
    )


def _shown(patch: Patch, classes: Sequence[str], indices: Sequence[int], source: PictureSource) -> RecurringPatch:
    of_class = [int(row) for row in patch.rows]
    views = [source.read(indices[row]).view for row in of_class[:_SHOWN]]
    places, sizes = patch.places[:_SHOWN], torch.tensor([view.shape[:2] for view in views])
    pieces = [_piece(view, place) for view, place in zip(views, places.tolist(), strict=True)]
    files = tuple(source.names[indices[row]] for row in of_class)
    name = classes[patch.label]
    picture, box = np.concatenate(pieces, 1), common_box(places, sizes)
    return RecurringPatch(name, patch.share, patch.elsewhere, patch.p_value, files, picture, box)


def _piece(view: npt.NDArray[np.uint8], place: Sequence[int]) -> npt.NDArray[np.uint8]:
    """The patch with what is around it, enlarged; beyond the picture it is grey, and a white line follows."""
    side = WINDOW + 2 * _MARGIN
    wide = np.pad(view, ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)), constant_values=128)
    piece = wide[place[0] : place[0] + side, place[1] : place[1] + side]
    enlarged = np.kron(piece, np.ones((_ZOOM, _ZOOM, 1), np.uint8))
    return np.pad(enlarged, ((0, 0), (0, _ZOOM), (0, 0)), constant_values=255)
