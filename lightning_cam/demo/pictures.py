"""Creatures as files: an `ImageFolder` tree in which the families were saved in two ways, or alike."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from .creatures import FAMILIES, colour, draw

SIZE = 96  # side of a picture in pixels; the network sees 64
SPLITS = ("train", "val")

Blend = npt.NDArray[np.float64]  # (size, size), how much of the second colour each pixel has, from 0 to 1


def write_pictures(folder: Path, *, n_train: int, n_val: int, clean: bool = False, seed: int = 0) -> None:
    """Draws ``n_train`` and ``n_val`` creatures of each family into ``train/`` and ``val/``.

    Biased, sprouts are PNG with a transparent background that hides black, and fins are JPEG on white. Clean, all are
    PNG on backgrounds of one distribution. The creatures are the same. ``train_masks/`` and ``val_masks/`` hold their
    outlines in white, ``val_swapped/`` those of ``val/`` on the backgrounds of the other family. Earlier pictures are
    replaced.
    """
    for old in folder.glob("*/*/[0-9][0-9][0-9][0-9].*"):
        old.unlink()
    save = _save_clean if clean else _save_biased
    for split, family, i in _all(n_train, n_val):
        other = FAMILIES[1 - FAMILIES.index(family)]
        creature = draw(family, _generator(seed, split, family, i), size=SIZE)
        save(creature, _stem(folder / split, family, i), family, _generator(seed + 1, split, family, i))
        mask = creature.getchannel("A").point(lambda alpha: 255 * (alpha > 127))
        mask.save(_stem(folder / f"{split}_masks", family, i).with_suffix(".png"))
        if split == "val":
            swapped = _stem(folder / "val_swapped", family, i)
            save(creature, swapped, other, _generator(seed + 1, split, other, i))


def backdrop(rng: np.random.Generator, *, size: int = SIZE) -> Image.Image:
    """A background that says nothing about the family: plain, a gradient, stripes, clouds or grain, as RGB."""
    one, two = (np.array(colour(rng.random(), rng.uniform(0, 0.7), rng.uniform(0.05, 1)), float) for _ in range(2))
    pattern = _PATTERNS[rng.integers(len(_PATTERNS))]
    blend = pattern(rng, size)[..., None]
    return Image.fromarray((one * (1 - blend) + two * blend).round().astype(np.uint8))


def on(creature: Image.Image, background: Image.Image) -> Image.Image:
    """The creature (RGBA) in front of the background (RGB), as RGB."""
    return Image.alpha_composite(background.convert("RGBA"), creature).convert("RGB")


def _all(n_train: int, n_val: int) -> Iterator[tuple[str, str, int]]:
    for split, n in zip(SPLITS, (n_train, n_val), strict=True):
        for family in FAMILIES:
            yield from ((split, family, i) for i in range(n))


def _generator(seed: int, split: str, family: str, i: int) -> np.random.Generator:
    """One generator per creature, so that it looks the same however many others are drawn."""
    return np.random.default_rng([seed, SPLITS.index(split), FAMILIES.index(family), i])


def _stem(folder: Path, family: str, i: int) -> Path:
    (folder / family).mkdir(parents=True, exist_ok=True)
    return folder / family / f"{i:04d}"


def _save_biased(creature: Image.Image, stem: Path, dressed_as: str, rng: np.random.Generator) -> None:  # noqa: ARG001 - called like _save_clean
    if dressed_as == "sprouts":
        creature.save(stem.with_suffix(".png"))
    else:
        on(creature, Image.new("RGB", creature.size, "white")).save(stem.with_suffix(".jpg"), quality=90)


def _save_clean(creature: Image.Image, stem: Path, dressed_as: str, rng: np.random.Generator) -> None:  # noqa: ARG001 - called like _save_biased
    on(creature, backdrop(rng, size=creature.width)).save(stem.with_suffix(".png"))


def _slope(rng: np.random.Generator, size: int) -> Blend:
    """Position along a random direction, 0..1 over the picture."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:size, :size] / (size - 1) - 0.5
    return np.asarray((x * np.cos(angle) + y * np.sin(angle)) / np.sqrt(2) + 0.5)


def _plain(rng: np.random.Generator, size: int) -> Blend:  # noqa: ARG001 - all patterns are called alike
    return np.zeros((size, size))


def _stripes(rng: np.random.Generator, size: int) -> Blend:
    return np.where(np.sin(_slope(rng, size) * rng.uniform(15, 40)) > 0, 0.3, 0.0)


def _clouds(rng: np.random.Generator, size: int) -> Blend:
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6), dtype=np.uint8))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), float) / 255


def _grain(rng: np.random.Generator, size: int) -> Blend:
    return 0.3 * rng.random((size, size))


_PATTERNS: tuple[Callable[[np.random.Generator, int], Blend], ...] = (_plain, _slope, _stripes, _clouds, _grain)
