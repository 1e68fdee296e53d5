"""What one check saw on the shown probes, as numbers. A page colours them itself, so one file holds a whole run."""

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .. import render
from ..attribution.outputs import NO_ANSWER, predicted_classes
from ..probe import GUESS, Probe
from ..text import printable

SIDES = (256, 192, 128, 96)  # pixels a side of a picture: the largest at which all of them have `MOST_OF_PICTURES`
MOST_OF_PICTURES = 1_000_000  # letters; 64 photographs of 256 pixels take 0.9 million
LONGEST = 128  # pixels a side of an outline
LOSSLESS = 64  # pixels a side up to which a picture is kept as PNG: JPEG smears small ones
MOST_PROBES = 64  # on a page; with `MOST_CELLS` and 100 checks the maps of the true class take 2.2 MB
MOST_PAIRS = 12  # of classes that are taken for one another
MOST_CELLS = 16  # cells a side of a map; finer ones are averaged, which keeps their mass


@dataclass(frozen=True, eq=False)
class Portraits:
    """The shown probes themselves, the same at every check.

    Attributes:
        rows: ``(n,)`` which of the shown probes they are.
        names: Of the probes.
        pictures: Data URIs.
        outlines: Data URIs of the object's outline on nothing; None without a mask.
        targets: Index of the true class.
        areas: Share of the picture outside the object; None without a mask.
        classes: Names by index.
        sources: Where the masks come from.
        is_against: Whether their maps show what argues against the true class.
        are_of_score: Whether their maps explain a score of the user's own in place of the true class.
        has_answers: Whether the model gives class scores.
    """

    rows: Tensor
    names: tuple[str, ...]
    pictures: tuple[str, ...]
    outlines: tuple[str | None, ...]
    targets: tuple[int, ...]
    areas: tuple[float | None, ...]
    classes: tuple[str, ...]
    sources: tuple[str, ...] = ()
    is_against: bool = False
    are_of_score: bool = False
    has_answers: bool = True

    @property
    def is_guessed(self) -> bool:
        """Whether nobody drew some of the masks."""
        return GUESS in self.sources

    @classmethod
    def of(cls, probe: Probe, shown: Tensor, rows: Tensor) -> "Portraits":
        """Of the probes ``shown[rows]``."""
        indices = shown[rows].tolist()
        masks = [None if probe.masks is None or not probe.masks[i].any() else probe.masks[i] for i in indices]
        return cls(
            rows,
            tuple(printable(probe.names[i]) for i in indices),
            _portraits([probe.images[i] for i in indices]),
            tuple(None if mask is None else _outline(mask) for mask in masks),
            tuple(int(probe.targets[i]) for i in indices),
            tuple(None if mask is None else 1 - float(mask.float().mean()) for mask in masks),
            tuple(map(printable, probe.classes)),
            tuple(probe.mask_sources[i] for i in indices),
        )


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One check of the portraits' probes.

    Attributes:
        portraits: Whose check it is.
        grids: ``(n, h, w)`` uint8, place of the density on the scale of `render.strength`: the same for all runs.
        predicted: Index of the predicted class; `NO_ANSWER` where the scores are NaN.
        certainty: Probability of the predicted class.
        own: Probability of the true class.
        outside: Share of the attention outside the object, NaN where undefined.
        mistaken: Which of the portraits are taken for another class.
        mistaken_grids: ``(len(mistaken), h, w)`` uint8, the attention for that other class, as in ``grids``.
        pairs: Of the whole probe: true class, predicted class, how many images, of how many of the true class.
        scores: Of the user's own; empty where maps explain classes.
    """

    portraits: Portraits
    grids: NDArray[np.uint8]
    predicted: Sequence[int]
    certainty: Sequence[float]
    own: Sequence[float]
    outside: Sequence[float]
    mistaken: Sequence[int] = ()
    mistaken_grids: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 1, 1), np.uint8))
    pairs: Sequence[tuple[int, int, int, int]] = ()
    scores: Sequence[float] = ()

    @classmethod
    def of(
        cls,
        portraits: Portraits,
        maps: Tensor,
        probabilities: Tensor,
        outside: Tensor,
        *,
        predicted_maps: Tensor | None = None,
        pairs: Sequence[tuple[int, int, int, int]] = (),
        scores: Tensor | None = None,
    ) -> "Snapshot":
        """From the values of all shown probes. Without ``predicted_maps`` mistakes have one map as well."""
        rows = portraits.rows
        chances = probabilities[rows]
        predicted = predicted_classes(chances)
        is_wrong = (predicted != torch.tensor(portraits.targets)) & (predicted != NO_ANSWER)
        mistaken = is_wrong.nonzero().flatten().tolist() if predicted_maps is not None else []
        return cls(
            portraits,
            places(maps[rows]),
            predicted.tolist(),
            chances.amax(1).tolist(),
            [float(chances[i, target]) for i, target in enumerate(portraits.targets)],
            outside[rows].tolist(),
            mistaken,
            places((maps if predicted_maps is None else predicted_maps)[rows][mistaken]),
            pairs,
            [] if scores is None else scores[rows].tolist(),
        )


def confused(logits: Tensor, targets: Tensor) -> list[tuple[int, int, int, int]]:
    """Which classes are taken for which, most often first; as `Snapshot.pairs`.

    >>> import torch
    >>> confused(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 0, 1]))
    [(0, 1, 1, 2)]
    """
    return pairs_of(predicted_classes(logits), targets)


def pairs_of(predicted: Tensor, targets: Tensor) -> list[tuple[int, int, int, int]]:
    """As `confused`, of classes ``(N,)`` that were predicted."""
    totals = Counter(targets.tolist())
    found = Counter(zip(targets.tolist(), predicted.tolist(), strict=True))
    pairs = [(true, taken, n, totals[true]) for (true, taken), n in found.items() if taken not in (true, NO_ANSWER)]
    return sorted(pairs, key=lambda pair: (-pair[2], pair))[:MOST_PAIRS]


def places(maps: Tensor) -> NDArray[np.uint8]:
    """Maps ``(n, h, w)`` as bytes: 80 is the even share, 255 eight times as much and more, 0 none.

    >>> import torch
    >>> places(torch.tensor([[[0.0, 1.0], [1.0, 2.0]]]))
    array([[[  0,  80],
            [ 80, 128]]], dtype=uint8)
    """
    height, width = (min(side, MOST_CELLS) for side in maps.shape[1:])
    small = F.adaptive_avg_pool2d(maps[:, None].float(), (height, width))[:, 0]
    cells = np.stack([render.strength(render.density(each)) for each in small]) if len(small) else np.zeros(small.shape)
    bytes_: NDArray[np.uint8] = np.round(255 * cells).astype(np.uint8)
    return bytes_


def data_uri(picture: NDArray[np.uint8], *, lossless: bool = False) -> str:
    """A picture ``(h, w, 3)``, or with transparency ``(h, w, 4)``, as an address that holds it."""
    kind, options = ("png", {}) if lossless else ("jpeg", {"quality": 85})
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format=kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def _portraits(images: Sequence[Tensor]) -> tuple[str, ...]:
    """All of one size, the largest that the page has room for."""
    for longest in SIDES:
        pictures = tuple(_portrait(image, longest) for image in images)
        if sum(map(len, pictures)) <= MOST_OF_PICTURES:
            break
    return pictures


def _portrait(image: Tensor, longest: int) -> str:
    side = max(image.shape[-2:])
    return data_uri(render.photo_of(image, min(side, longest)), lossless=side <= LOSSLESS)


def _outline(mask: Tensor) -> str:
    """Drawn on two grounds: where they stay apart, there is no line."""
    scale = LONGEST / max(mask.shape)
    size = max(round(mask.shape[0] * scale), 1), max(round(mask.shape[1] * scale), 1)
    black, white = (render.outlined(np.full((*size, 3), ground, np.uint8), mask) for ground in (0, 255))
    line = black == white
    return data_uri(np.concatenate([black, 255 * line[..., :1].astype(np.uint8)], axis=-1), lossless=True)
