"""From effects on single images to how much a model relies on a cue, with an interval and a test."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from .. import statistics

MARGIN = (
    0.10  # of own-class probability: ordinary ImageNet models lose 6 to 10 % to another background (Xiao et al. 2021)
)
ALPHA = 0.05  # of the tests per class
_AGREEING = 1e-3  # of probability: effects with less spread than this have nothing to resample


@dataclass(frozen=True)
class Reliance:
    """How much predictions hang on one cue, over a probe.

    Attributes:
        cue: Name of the cue.
        mean: Own-class probability lost when only the cue is swapped, -1 to 1, classes weighted equally; 0 = not used.
        low: Lower end of the 95 % interval of the mean.
        high: Upper end.
        p_value: Chance of this or more if the mean were at most `MARGIN`.
        by_class: The mean in each class with enough images, and its p value.
        needed_n: Probe images that would settle on which side of the margin the mean lies.
    """

    cue: str
    mean: float
    low: float
    high: float
    p_value: float
    by_class: Mapping[str, tuple[float, float]]
    needed_n: float


def weigh(effects: Mapping[str, Tensor], targets: Tensor, classes: Sequence[str]) -> tuple[Reliance, ...]:
    """Means, intervals and p values of effects ``(N,)`` by cue; NaN where too few images have an effect."""
    return tuple(_weigh(cue, values, targets, classes) for cue, values in effects.items())


def _weigh(cue: str, effects: Tensor, targets: Tensor, classes: Sequence[str]) -> Reliance:
    mean = statistics.stratified_mean(effects, targets)
    low, high = statistics.bca_interval(effects, targets)
    n = len(effects) - statistics.n_undefined(effects)
    sd = statistics.standard_error(effects, targets) * math.sqrt(n)
    needed_n = max(statistics.needed_n(sd, mean, MARGIN, ALPHA), _needed_agreeing(mean) if sd < _AGREEING else 0)
    p_value = statistics.sign_flip_p(effects, targets, margin=MARGIN)
    by_class = statistics.gatekept(effects, targets, p_value, margin=MARGIN, alpha=ALPHA)
    return Reliance(
        cue,
        mean,
        low,
        high,
        p_value,
        {classes[k]: (float(effects[targets == k].nanmean()), p) for k, p in by_class.items()},
        needed_n,
    )


def _needed_agreeing(mean: float) -> float:
    """Images without spread that leave the interval no room for unlike ones up to the margin, or show it passed."""
    if mean >= MARGIN:
        return statistics.FEWEST
    return math.ceil(math.log(ALPHA / 2) / math.log((1 - MARGIN) / (1 - mean)))
