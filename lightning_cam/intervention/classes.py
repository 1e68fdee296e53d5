"""Single classes: one that hangs on a cue drowns in the mean of many that do not."""

from collections.abc import Mapping

from torch import Tensor

from .. import statistics
from .effects import DECISION, RIGHT

# Of a class's probability or right answers: a quarter of its pictures. Below it, single classes of clean models differ
# by the backgrounds that they happen to borrow: by 0.07 at most, of 234 classes of 48 images in clean planted networks.
# A class that hangs on a cue loses nearly all.
CLASS_MARGIN = 0.25
# Of the level, which the classes of a cue share: the p value of the mean of all classes is raised by a ninth only. A
# class of 16 images that loses all has p = 2^-16, which is enough among 20 classes and 10 cues.
CLASS_SHARE = 0.1
_LEVEL = 0.05


def hanging(effects: Tensor, targets: Tensor) -> dict[int, tuple[float, float, float]]:
    """Classes that lose more than `CLASS_MARGIN` beyond doubt: right with the own cue, with another, adjusted p value.

    Holm over all classes with at least `FEWEST` images. What one class loses and the others gain is no reliance: a
    background that is hard to see before is so for every class. So the loss must show in the mean of all classes.
    """
    means = _means(effects, targets)
    overall = [sum(mean[column] for mean in means.values()) for column in range(RIGHT)]
    p_values = {
        label: _p_of(effects[targets == label], targets[targets == label])
        if any(mean[c] > CLASS_MARGIN and overall[c] > mean[c] / 2 for c in range(RIGHT))
        else 1.0
        for label, mean in means.items()
    }
    adjusted = dict(zip(p_values, statistics.holm(list(p_values.values())), strict=True))
    return {
        label: (means[label][RIGHT], means[label][RIGHT] - means[label][DECISION], p)
        for label, p in sorted(adjusted.items(), key=lambda item: item[1])
        if p < _LEVEL
    }


def unsettled(effects: Tensor, targets: Tensor) -> dict[int, tuple[int, int]]:
    """Classes that are not shown to lose less than `CLASS_MARGIN`, each by itself: mostly those of few images.

    With each, on how many of its images the cue was swapped, and how many it has.
    """

    def is_settled(label: int) -> bool:
        rows = targets == label
        highs = [statistics.decision_bounds(effects[rows, c], targets[rows])[1] for c in range(RIGHT)]
        return all(high < CLASS_MARGIN for high in highs)

    def counts(label: int) -> tuple[int, int]:
        of_class = effects[targets == label, 0]
        return len(of_class) - statistics.n_undefined(of_class), len(of_class)

    return {label: counts(label) for label in sorted(set(targets.tolist())) if not is_settled(label)}


def either_p(pooled: float, of_classes: Mapping[int, tuple[float, float, float]]) -> float:
    """One p value of "neither all classes together nor a single one is above its margin" (weighted Bonferroni).

    With ten cues and Holm's correction, in 100 simulated probes of 96 images of 2 classes or 160 images of 10 classes:
    no alarm where no cue is used, 1 where all ten are used in one image of ten, 0 where one class is at its margin.
    A cue used in 15, 20 and 30 % of the images is found in 6, 30 and 96 % (probability alone: 2, 24 and 96 %); one
    that moves decisions but no probability, in 30 % of the images, in 90 % (0 %); one class of ten that hangs on a cue,
    always (0 %).
    """
    of_any = [p / CLASS_SHARE for _, _, p in of_classes.values()]
    return min(pooled / (1 - CLASS_SHARE), *of_any, 1.0)


def _means(effects: Tensor, targets: Tensor) -> dict[int, list[float]]:
    """Means of the columns of each class with enough images."""
    defined = ~effects[:, :1].isnan().any(1)
    counts = targets[defined].bincount().tolist()
    return {
        label: effects[defined & (targets == label)].mean(0).tolist()
        for label, n in enumerate(counts)
        if n >= statistics.FEWEST
    }


def _p_of(effects: Tensor, strata: Tensor) -> float:
    return statistics.joint_p(effects[:, : DECISION + 1], strata, margin=CLASS_MARGIN)
