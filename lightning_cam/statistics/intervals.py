"""Intervals and bounds of means, of changes between runs, and of proportions."""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
from scipy import stats
from torch import Tensor

from .means import FEWEST, Values, defined, effective_n, samples_of, standard_error, stratified_mean

NO_SPREAD = 1e-3  # of probability: effects that agree this well have nothing to resample. Chosen, not measured.


def bca_interval(
    effects: Tensor, strata: Tensor, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Two-sided interval of `stratified_mean`: bias-corrected, accelerated bootstrap within classes (Efron 1987).

    Resampling shows too little spread: with 10 classes of 6 images, a 95 % interval holds the truth in 92 %. So classes
    are widened by ``sqrt(n / (n - 1))`` and the level comes from Student's t (Hesterberg 2014, arXiv:1411.5279).
    Point-wise, over images: it knows nothing of other donors, checks, cues or training runs. Without spread it is
    `_interval_of_equals`; with fewer than `FEWEST` images NaN. The upper end never lies below the share of images of
    which nothing was seen, as in `decision_bounds`: 32 effects of almost 0 do not show that all are.
    """
    values, labels, counted = defined(effects, strata)
    n = len(values)
    if n < FEWEST:
        return math.nan, math.nan
    samples, weights = samples_of(values, labels, counted)
    if max(np.ptp(sample) for sample in samples) <= NO_SPREAD:
        return _interval_of_equals(float(counted @ values), 1 / counted.max(), level)
    interval = stats.bootstrap(
        [sample.mean() + (sample - sample.mean()) * math.sqrt(len(sample) / (len(sample) - 1)) for sample in samples],
        partial(_mean_of_means, weights=weights),
        vectorized=True,
        n_resamples=resamples,
        confidence_level=2 * stats.norm.cdf(stats.t.ppf((1 + level) / 2, n - len(samples))) - 1,
        method="BCa",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    unseen = clopper_pearson_upper(0, round(1 / counted.max()))
    least = unseen + min(float(counted @ values), 0.0) * (1 - unseen)  # if as many images as that lost everything
    return float(interval.low), max(float(interval.high), least)


def _mean_of_means(*samples: Values, weights: Sequence[float], axis: int = -1) -> Values:
    return np.asarray(sum(w * sample.mean(axis=axis) for w, sample in zip(weights, samples, strict=True)))


def _interval_of_equals(mean: float, n: float, level: float) -> tuple[float, float]:
    """Interval when all images of a class agree: a share of unlike images may have gone unseen ("rule of three").

    That share is the Clopper-Pearson bound at none seen of ``n``; unlike images may lie anywhere in -1..1.
    """
    unseen = clopper_pearson_upper(0, round(n), level=(1 + level) / 2)
    return mean - unseen * (1 + mean), mean + unseen * (1 - mean)


def with_unseen(mean: float, interval: tuple[float, float], n: float, *, level: float) -> tuple[float, float]:
    """An interval of the mean of ``n`` effects that is no narrower than if all of them agreed.

    What resamples effects that almost agree takes them for all there are. That two runs are the same needs more.

    >>> with_unseen(0.08, (0.079, 0.081), 32, level=0.95)[1] > 0.17
    True
    """
    low, high = _interval_of_equals(mean, n, level)
    return min(interval[0], low), max(interval[1], high)


def decision_bounds(lost: Tensor, strata: Tensor, *, level: float = 0.95) -> tuple[float, float]:
    """Lower bound at 97.5 % and upper bound at 95 % of the mean of lost decisions, -1 to 1: Student's, not resampled.

    The lower one is the end of a two-sided interval of another ``level``, if that is asked for.

    The upper one is the bound of an equivalence test (Schuirmann 1987). Most decisions are kept, so the few that are
    not may have gone unseen: the bound is never below that of a share of which nothing was seen.
    NaN with fewer than `FEWEST` images.
    """
    values, labels, weights = defined(lost, strata)
    if len(values) < FEWEST:
        return math.nan, math.nan
    mean, n = float(weights @ values), round(1 / weights.max())
    unseen_low, unseen = (1 - (1 - each) ** (1 / n) for each in ((1 + level) / 2, 0.95))  # `clopper_pearson_upper` of 0
    if not np.ptp(values):
        return mean - unseen_low * (1 + mean), mean + unseen * (1 - mean)
    error, freedom = standard_error(lost, strata), max(len(values) - len(np.unique(labels)), 1)
    low, high = (mean + error * float(stats.t.ppf(quantile, freedom)) for quantile in ((1 - level) / 2, 0.95))
    return low, max(high, unseen)


def paired_interval(before: Tensor, after: Tensor, strata: Tensor, *, level: float) -> tuple[float, float]:
    """Two-sided interval of the mean change of the same images, ``after - before``: `bca_interval` and Student's.

    Effects of one picture in two runs go together, so this is narrower than the interval of two samples. A change
    beyond -1..1 takes an effect below 0, which no reliance consists of, so it is not expected of unseen images. Levels
    near 1 need more resamples: of 10,000 the outermost 25 lie beyond an end at 99.5 %. Changes have heavy tails on both
    sides, where the bootstrap is too sure: ten of its intervals held together in 90 % of 250 samples of 64 images
    instead of 95 %. So Student's interval is covered as well: then they do in 94 %. It is also `with_unseen`: two runs
    that differ a little are not surer to be the same than two that do not differ at all.
    """
    change, fewer = after - before, max(2000, 2**22 // max(len(before), 1))  # 32 MB at once
    low, high = bca_interval(change, strata, level=level, resamples=min(10_000, fewer))
    values, labels, _ = defined(change, strata)
    if math.isnan(low):
        return low, high
    quantile = float(stats.t.ppf((1 + level) / 2, max(len(values) - len(np.unique(labels)), 1)))
    mean, reach = stratified_mean(change, strata), quantile * standard_error(change, strata)
    covered = min(low, mean - reach), max(high, mean + reach)
    return with_unseen(mean, covered, effective_n(change, strata), level=level)


def unpaired_interval(
    before: tuple[float, float, float], after: tuple[float, float, float], *, level: float
) -> tuple[float, float]:
    """Two-sided interval of the difference of two means, each given as mean, low and high of its own 95 % interval.

    The distances to the ends add up as independent errors do (Newcombe 1998, method 10; Zou & Donner 2008), after they
    were lengthened to ``level`` as those of a normal distribution.
    """
    longer = stats.norm.ppf((1 + level) / 2) / stats.norm.ppf((1 + 0.95) / 2)
    difference = after[0] - before[0]
    below = math.hypot(after[0] - after[1], before[2] - before[0])
    above = math.hypot(after[2] - after[0], before[0] - before[1])
    return difference - longer * below, difference + longer * above


def equivalent(interval: tuple[float, float], margin: float) -> bool:
    """Whether an effect is shown to lie below ``margin``: what PASS needs, and more than a test that did not reject.

    Asked of every cue, it needs no correction for their number (intersection-union test, Berger 1982).
    """
    return interval[1] < margin


def wilson_lower(successes: float, n: float, *, level: float = 0.95) -> float:
    """One-sided lower bound of a proportion (Wilson 1927); takes the fractional counts of weighted images too."""
    z = float(stats.norm.ppf(level))
    share, doubt = successes / n, z**2 / n
    return (share + doubt / 2 - math.sqrt(doubt * (share * (1 - share) + doubt / 4))) / (1 + doubt)


def wilson_interval(share: float, n: float) -> tuple[float, float]:
    """Two-sided 95 % interval of a proportion, which `unpaired_interval` takes for a difference (Newcombe 1998).

    >>> [round(end, 3) for end in wilson_interval(1.0, 32)]
    [0.893, 1.0]
    """
    return wilson_lower(share * n, n, level=0.975), 1 - wilson_lower((1 - share) * n, n, level=0.975)


def clopper_pearson_upper(errors: int, n: int, *, level: float = 0.95) -> float:
    """One-sided exact upper bound of a proportion: no error in 59 runs is "at most 5 %", none in 58 is not."""
    return float(stats.binomtest(errors, n, alternative="less").proportion_ci(level, "exact").high)
