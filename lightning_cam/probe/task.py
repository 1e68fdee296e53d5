"""What a model is asked about an image: its class, one of several labels or values, or the class of a part.

Labels and values are asked one by one: answer ``2 k`` says that the label is absent or the value below the middle, and
``2 k + 1`` the contrary. So both are trials of two answers, and differ in what a score is, see `Task.odds`, and in what
the floors above make of it. Of a map of classes, the largest region of each image is asked for: its class is the target
and its pixels are the object. Of a map of one class alone it is asked whether the object is in its place (`PRESENCE`).
Where every image has one, images with smaller and larger objects are the two sides (`SIZES`), and a model is right if
it finds the object, whichever side it is of. Of boxes, the largest is asked for: the score of a class is that of a
detection there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ..datasets.values import FROM, Scale

Kind: TypeAlias = Literal["classes", "labels", "values", "regions", "presence", "sizes", "objects"]
CLASSES: Kind = "classes"
LABELS: Kind = "labels"
VALUES: Kind = "values"
REGIONS: Kind = "regions"
PRESENCE: Kind = "presence"
SIZES: Kind = "sizes"
OBJECTS: Kind = "objects"
OF_MAPS = (REGIONS, PRESENCE, SIZES)

_STEEPNESS = 4.0  # of the odds of "in the upper half" over a way: their sigmoid then rises as a share of the way does


@dataclass(frozen=True)
class Task:
    """What the numbers of a model are about.

    Attributes:
        kind: What is asked.
        n_scores: How many numbers a model gives for an image.
        scales: Of each value; empty for other kinds.
        names: Of the labels or the values; empty for classes.
        region: Of maps of one class alone, its number there; 0 for other kinds.
    """

    kind: Kind
    n_scores: int
    scales: tuple[Scale, ...] = ()
    names: tuple[str, ...] = ()
    region: int = 0

    @property
    def asks(self) -> bool:
        """Whether each image is asked for one of several labels or values, so that scores come in pairs."""
        return self.kind in (LABELS, VALUES)

    @property
    def is_of_part(self) -> bool:
        """Whether a part of each image is asked for. Its scores count one by one: no softmax makes them sum to 1."""
        return self.has_maps or self.kind == OBJECTS

    @property
    def is_of_classes(self) -> bool:
        """Whether an accuracy of images says how good a model is."""
        return self.kind in (CLASSES, LABELS)

    @property
    def noun(self) -> str:
        """What there are ``n_scores`` of."""
        nouns = {LABELS: "labels", VALUES: "value" if self.n_scores == 1 else "values"}
        return nouns.get(self.kind, "classes")

    @property
    def has_maps(self) -> bool:
        """Whether a model gives scores for each pixel."""
        return self.kind in OF_MAPS

    def turned(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Scores ``(N, 2)`` against an object and for it, as scores of the two sides where both have one."""
        if self.kind != SIZES:
            return scores
        return torch.where(targets.to(scores.device)[:, None] == 1, scores, scores.flip(1))

    def odds(self, numbers: Tensor) -> Tensor:
        """Log odds ``(N, K)`` of labels, from the model's numbers; of values that each lies in the upper half."""
        if self.kind != VALUES:
            return numbers
        return _STEEPNESS * (numbers - self._column(numbers, "centre")) / self._column(numbers, "way")

    def value(self, odds: Tensor, asked: int) -> Tensor:
        """What is predicted of one value, in the units of the targets, from its `odds` of any shape."""
        return odds / _STEEPNESS * self.scales[asked].way + self.scales[asked].centre

    def shares(self, odds: Tensor) -> Tensor:
        """How far predictions are on the way from the mean of the lower half, 0, to that of the upper one, 1."""
        return 0.5 + odds / _STEEPNESS

    def explained(self, targets: Tensor) -> Tensor:
        """The score that is explained: of values and sizes the value or the object itself, on whichever side it is."""
        return targets | 1 if self.kind in (VALUES, SIZES) else targets

    def has_place(self, targets: Tensor) -> Tensor:
        """Which images ``(N,)`` have a right place to look at: for an absent label or object there is none."""
        return targets % 2 == 1 if self.kind in (LABELS, PRESENCE) else torch.ones_like(targets, dtype=torch.bool)

    def _column(self, numbers: Tensor, name: str) -> Tensor:
        return torch.tensor([getattr(scale, name) for scale in self.scales], dtype=numbers.dtype, device=numbers.device)


def task_of_targets(
    classes: Sequence[str],
    marks: Tensor | None,
    scales: Sequence[Scale],
    *,
    has_regions: bool = False,
    has_boxes: bool = False,
) -> Task:
    """The task of a probe, whose answers are named by ``classes``."""
    if has_regions or has_boxes:
        return Task(REGIONS if has_regions else OBJECTS, len(classes))
    if scales:
        return Task(VALUES, len(scales), tuple(scales), tuple(name.rsplit(FROM, 1)[0] for name in classes[1::2]))
    return Task(CLASSES, len(classes)) if marks is None else Task(LABELS, marks.shape[1], (), tuple(classes[1::2]))
