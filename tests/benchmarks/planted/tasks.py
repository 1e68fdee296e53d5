"""Objects to tell apart, cut out with exact masks: drawn creatures and figures, and photographed leaves."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from lightning_cam.demo import creatures

from . import figures

Pixels = npt.NDArray[np.uint8]
CutOut = Callable[[int, np.random.Generator], Image.Image]  # class to object, SPRITE pixels a side, RGBA

SIZE = 64  # side of a finished picture in pixels
SPRITE = 52  # side of the square that holds a cut-out object
SPLITS = {  # pictures of all classes together; the place in this order seeds a split
    "train": 900,
    "probe": 96,
    "held_out": 300,
    "large_probe": 256,
    "largest_probe": 1024,
    "more_held_out": 1500,
}
LEAVES = ("scab", "rust")
LEAF_SHARES = {  # of the shuffled leaves of a class; all probes show the same leaves
    "train": (0, 150),
    "probe": (150, 198),
    "large_probe": (150, 198),
    "largest_probe": (150, 198),
    "held_out": (198, 260),
    "more_held_out": (198, 260),
}


@dataclass(frozen=True, eq=False)
class Objects:
    """Cut-out objects: ``sprites (n, SPRITE, SPRITE, 4)`` uint8 RGBA and their classes ``labels (n,)``."""

    sprites: Pixels
    labels: npt.NDArray[np.int64]


@lru_cache(maxsize=32)
def objects(task: str, n_classes: int, seed: int, split: str, leaves: Path | None) -> Objects:
    """The objects of a split, classes balanced and mixed; no object and no leaf of training is in another split."""
    n = -(-SPLITS[split] // n_classes) * n_classes
    labels = np.arange(n) % n_classes
    generators = [np.random.default_rng([seed, n_classes, list(SPLITS).index(split), i]) for i in range(n)]
    cut_out = _leaf_cutter(leaves, seed, split) if task == "leaves" else _drawer(n_classes)
    sprites = [np.asarray(cut_out(int(k), rng)) for k, rng in zip(labels, generators, strict=True)]
    return Objects(np.stack(sprites), labels)


def _drawer(n_classes: int) -> CutOut:
    """Draws creatures as two classes, figures as more."""
    if n_classes == 2:
        return lambda k, rng: creatures.draw(creatures.FAMILIES[k], rng, size=SPRITE)
    return lambda k, rng: figures.draw(figures.CLASSES[n_classes][k], rng, size=SPRITE)


def _leaf_cutter(path: Path | None, seed: int, split: str) -> CutOut:
    """Gives the leaves of the split in turn, turned, mirrored and scaled anew each time."""
    if path is None:
        raise ValueError("the leaf task needs its photographs; pass --leaves PATH")
    photos, chosen = leaf_photos(path), slice(*LEAF_SHARES[split])
    orders = [np.random.default_rng([seed, k]).permutation(len(photos[name])) for k, name in enumerate(LEAVES)]
    turns = [cycle(photos[name][order[chosen]]) for name, order in zip(LEAVES, orders, strict=True)]
    return lambda k, rng: turned(next(turns[k]), rng)


@lru_cache(maxsize=1)
def leaf_photos(path: Path) -> dict[str, Pixels]:
    """Cut-out leaves by class, ``(n, 96, 96, 4)``."""
    with np.load(path) as arrays:
        return {name: arrays[name] for name in LEAVES}


def turned(photo: Pixels, rng: np.random.Generator, side: int = SPRITE) -> Image.Image:
    """The leaf at a random angle and size, in the middle of a square of ``side`` pixels."""
    picture = Image.fromarray(photo)
    picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else picture
    picture = picture.rotate(rng.uniform(0, 360), Image.Resampling.BILINEAR, expand=True)
    picture = picture.crop(picture.getchannel("A").getbbox())
    scale = side * rng.uniform(0.7, 1) / max(picture.size)
    size = [max(1, round(length * scale)) for length in picture.size]
    picture = picture.resize(size, Image.Resampling.LANCZOS)
    square = Image.new("RGBA", (side, side))
    square.paste(picture, tuple((side - length) // 2 for length in picture.size))
    return square
