"""The pictures of a run: objects with a cue planted on them."""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .cues import Cue
from .plan import Run
from .tasks import SIZE, SPLITS, objects

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pictures:
    """``images (N, 3, SIZE, SIZE)`` uint8, ``targets (N,)`` long and ``masks (N, SIZE, SIZE)`` bool of the objects."""

    images: Tensor
    targets: Tensor
    masks: Tensor


def pictures(run: Run, split: str, *, leaves: Path | None, strength: float) -> Pictures:
    """Pictures of a split whose cue agrees with the label as often as ``strength`` says."""
    labels = _labels(run, split, leaves)
    values = [_drawn_values(run, split, labels, strength, part) for part in range(2)]
    return _painted(run, split, leaves, labels, values[0], values[1] if run.family == "two_cues" else values[0])


def conflicting(run: Run, split: str, *, leaves: Path | None, parts: tuple[bool, bool] = (True, True)) -> Pictures:
    """The pictures with the cue of another class each; of two cues, those that ``parts`` names (behind, in front)."""
    labels = _labels(run, split, leaves)
    others = _others(_generator(run, split, 2), labels, run.n_classes)
    return _painted(run, split, leaves, labels, *(others if part else labels for part in parts))


def cue_values(run: Run, split: str, *, leaves: Path | None, strength: float) -> Labels:
    """Whose class's cue each picture of `pictures` shows; of two cues, the one behind."""
    return _drawn_values(run, split, _labels(run, split, leaves), strength, 0)


def _labels(run: Run, split: str, leaves: Path | None) -> Labels:
    """Classes of the objects; shuffled where the object shall say nothing."""
    labels = objects(run.task, run.n_classes, run.seed, split, leaves).labels
    shuffled = run.control in ("legitimate", "noise")
    return _generator(run, split, 3).permutation(labels) if shuffled else labels


def _drawn_values(run: Run, split: str, labels: Labels, strength: float, part: int) -> Labels:
    rng = _generator(run, split, part)
    agrees = rng.random(len(labels)) < strength
    return np.where(agrees, labels, _others(rng, labels, run.n_classes))


def _others(rng: np.random.Generator, labels: Labels, n_classes: int) -> Labels:
    """Another class for each label."""
    return (labels + rng.integers(1, n_classes, len(labels))) % n_classes


def _generator(run: Run, split: str, purpose: int) -> np.random.Generator:
    return np.random.default_rng([run.seed, zlib.crc32(run.family.encode()), list(SPLITS).index(split), purpose])


def _painted(run: Run, split: str, leaves: Path | None, labels: Labels, behind: Labels, front: Labels) -> Pictures:
    sprites = objects(run.task, run.n_classes, run.seed, split, leaves).sprites
    stream = zlib.crc32(f"{run.family} {split}".encode())
    painted = [
        paint(sprite, run.cue, (int(k), int(j)), run.n_classes, np.random.default_rng([run.seed, stream, i]))
        for i, (sprite, k, j) in enumerate(zip(sprites, behind, front, strict=True))
    ]
    images, masks = (torch.from_numpy(np.stack(column)) for column in zip(*painted, strict=True))
    return Pictures(images.permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels), masks)


def paint(
    sprite: npt.NDArray[np.uint8], cue: Cue, values: tuple[int, int], n: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """A finished picture ``(SIZE, SIZE, 3)`` and its object's mask; the first value lies behind, the other in front."""
    behind, front = values
    right, down = cue.place(behind, n, rng)
    alpha, colour = placed(cue.object(sprite, behind, n), right, down)
    picture = cue.background(behind, n, rng).clip(0, 255) * (1 - alpha) + colour * alpha
    mask = alpha[..., 0] > 0.5
    return cue.finish(picture, mask, front, n, rng).round().clip(0, 255).astype(np.uint8), mask


def placed(
    sprite: npt.NDArray[np.uint8], right: float, down: float, size: int = SIZE
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Opacity ``(size, size, 1)`` from 0 to 1 and colour ``(size, size, 3)`` of the object put in its place."""
    rows, columns = (np.flatnonzero(sprite[..., 3].any(axis)) for axis in (1, 0))
    figure = sprite[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(float)
    top, left = (int(share * (size - side) + 0.5) for share, side in zip((down, right), figure.shape, strict=False))
    canvas = np.zeros((size, size, 4))
    canvas[top : top + figure.shape[0], left : left + figure.shape[1]] = figure
    return canvas[..., 3:] / 255, canvas[..., :3]
