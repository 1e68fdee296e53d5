"""Tests, intervals and gates over the paired effects of probe images.

An effect is one number per image, ``effects (N,)`` in -1..1; ``strata (N,)`` are the images' classes. Every class
counts the same, however many images it has. NaN effects are undefined: they are dropped, and `n_undefined` counts them.
A class that lost some images to NaN is weighted by the share that it kept.
A result that cannot be computed is NaN, which neither rejects nor passes.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from scipy import special, stats
from torch import Tensor

Values: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = npt.NDArray[np.int64]

# Images: with fewer, no claim is made about a class, nor about all classes. A sign-flip test of 4 images cannot reach
# p = 0.05, one of 5 can only if all agree; 8 leave room for one that does not. Chosen, not measured.
FEWEST = 8
NO_SPREAD = 1e-3  # of probability: effects that agree this well have nothing to resample. Chosen, not measured.
_EVEN_CHECKS = 20  # checks of a run that share its errors evenly; a longer run is not rare. Chosen, not measured.
_TINY = 1e-12  # keeps a division defined
_STEPS = 4096  # of the grid of sign-flip sums, in one standard deviation of theirs


def n_undefined(effects: Tensor) -> int:
    """How many effects are NaN. All functions below leave them out."""
    return int(effects.isnan().sum())


def _defined(effects: Tensor, strata: Tensor) -> tuple[Values, Labels, Values]:
    """Effects that are not NaN, their classes, and what each counts: the same in all classes of a size; sums to 1."""
    kept, labels = ~effects.isnan().cpu().numpy(), strata.cpu().numpy()
    _, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights = (1 / counts[index])[kept]
    return effects.detach().cpu().double().numpy()[kept], labels[kept], weights / weights.sum()


def _samples(values: Values, labels: Labels, weights: Values) -> tuple[list[Values], list[float]]:
    """What is resampled together: the images of a class, sorted, so that their order does not matter; and its weight.

    A class of one image has no spread of its own: then all images, scaled to keep the stratified mean, are one sample.
    """
    classes, counts = np.unique(labels, return_counts=True)
    if (counts > 1).all():
        return [np.sort(values[labels == c]) for c in classes], [float(weights[labels == c].sum()) for c in classes]
    mean = weights @ values
    return [np.sort(mean + len(values) * weights * (values - mean))], [1.0]


def stratified_mean(effects: Tensor, strata: Tensor) -> float:
    """Mean of the class means, each weighed by the share of its images that are defined; NaN without images.

    >>> import torch
    >>> stratified_mean(torch.tensor([0.0, 0.0, 0.0, 1.0]), torch.tensor([0, 0, 0, 1]))
    0.5
    """
    values, _, weights = _defined(effects, strata)
    return float(weights @ values) if len(values) else math.nan


def standard_error(effects: Tensor, strata: Tensor) -> float:
    """Standard error of `stratified_mean`; times ``sqrt(N)`` it is the ``sd`` that `needed_n` asks for."""
    samples, weights = _samples(*_defined(effects, strata))
    if sum(map(len, samples)) < 2:
        return math.nan
    return math.sqrt(sum(w**2 * sample.var(ddof=1) / len(sample) for w, sample in zip(weights, samples, strict=True)))


def sign_flip_p(effects: Tensor, strata: Tensor, *, margin: float) -> float:
    """One-sided p of "the stratified mean is at most ``margin``", by flipping the signs of ``effects - margin``.

    All ``2^N`` flips count: 4,999 random ones give no p below 2e-4, and 20 checks of 8 cues are judged at 3e-4. Their
    sums lie on a grid (Pagano & Tritchler 1983); rounding only raises p, like a margin higher by ``sd sqrt(N) / 4096``.
    Exact for effects symmetric around the margin, as an unused cue's are around 0; otherwise as good as a t test:
    cautious when a few effects lie far above the rest, too sure when a few lie far below. NaN without images.
    """
    values, _, weights = _defined(effects, strata)
    if not len(values):
        return math.nan
    moves = weights * (values - margin)
    steps = np.rint(np.abs(moves) * _STEPS / (np.linalg.norm(moves) or 1)).astype(int)
    chances = np.zeros(steps.sum() + 1)  # of the sum of the steps that go up
    chances[0] = 1
    for reached, step in zip(steps.cumsum(), steps, strict=True):
        chances_so_far = chances[: reached + 1]
        chances_so_far[step:] += chances_so_far[: reached + 1 - step]  # numpy handles the overlap
        chances_so_far /= 2
    lowest_tie = steps[moves > 0].sum() - len(steps) // 2  # each image is rounded by half a step at most
    return min(float(chances[max(lowest_tie, 0) :].sum()), 1.0)


def joint_p(effects: Tensor, strata: Tensor, *, margin: float) -> float:
    """One-sided p of "no column of ``effects (N, 2)`` has a mean above ``margin``", by the same flips for both.

    The lower of two p values of `sign_flip_p`, corrected for being the lower one. Both sums are near normal under the
    flips, and their correlation ``r`` is known. Then with ``z`` for the lower p as a quantile, the chance that either
    exceeds it is ``p + 2 T(z, sqrt((1 - r) / (1 + r)))`` with the T function of Owen (1956): nothing is lost where the
    columns agree, and a factor of 2 at most where they do not.
    """
    lowest = min(sign_flip_p(column, strata, margin=margin) for column in effects.T)
    values, _, weights = _defined(effects[:, 0], strata)
    if not len(values):
        return math.nan
    others, _, _ = _defined(effects[:, 1], strata)
    moves, other_moves = weights * (values - margin), weights * (others - margin)
    lengths = float(np.linalg.norm(moves) * np.linalg.norm(other_moves))
    correlation = float(moves @ other_moves) / lengths if lengths else 1.0
    slope = math.sqrt(max(1 - correlation, 0) / max(1 + correlation, _TINY))
    return min(lowest + 2 * float(special.owens_t(stats.norm.isf(lowest), slope)), 1.0)


def bca_interval(
    effects: Tensor, strata: Tensor, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Two-sided interval of `stratified_mean`: bias-corrected, accelerated bootstrap within classes (Efron 1987).

    Resampling shows too little spread: with 10 classes of 6 images, a 95 % interval holds the truth in 92 %. So classes
    are widened by ``sqrt(n / (n - 1))`` and the level comes from Student's t (Hesterberg 2014, arXiv:1411.5279).
    Point-wise, over images: it knows nothing of other donors, checks, cues or training runs. Without spread it is
    `_interval_of_equals`; with fewer than `FEWEST` images NaN.
    """
    values, labels, counted = _defined(effects, strata)
    n = len(values)
    if n < FEWEST:
        return math.nan, math.nan
    samples, weights = _samples(values, labels, counted)
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
    return float(interval.low), float(interval.high)


def _mean_of_means(*samples: Values, weights: Sequence[float], axis: int = -1) -> Values:
    return np.asarray(sum(w * sample.mean(axis=axis) for w, sample in zip(weights, samples, strict=True)))


def _interval_of_equals(mean: float, n: float, level: float) -> tuple[float, float]:
    """Interval when all images of a class agree: a share of unlike images may have gone unseen ("rule of three").

    That share is the Clopper-Pearson bound at none seen of ``n``; unlike images may lie anywhere in -1..1.
    """
    unseen = clopper_pearson_upper(0, round(n), level=(1 + level) / 2)
    return mean - unseen * (1 + mean), mean + unseen * (1 - mean)


def decision_bounds(lost: Tensor, strata: Tensor, *, level: float = 0.95) -> tuple[float, float]:
    """Lower bound at 97.5 % and upper bound at 95 % of the mean of lost decisions, -1 to 1: Student's, not resampled.

    The lower one is the end of a two-sided interval of another ``level``, if that is asked for.

    The upper one is the bound of an equivalence test (Schuirmann 1987). Most decisions are kept, so the few that are
    not may have gone unseen: the bound is never below that of a share of which nothing was seen.
    NaN with fewer than `FEWEST` images.
    """
    values, labels, weights = _defined(lost, strata)
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
    instead of 95 %. So Student's interval is covered as well: then they do in 94 %.
    """
    change, fewer = after - before, max(2000, 2**22 // max(len(before), 1))  # 32 MB at once
    low, high = bca_interval(change, strata, level=level, resamples=min(10_000, fewer))
    values, labels, _ = _defined(change, strata)
    spread = standard_error(change, strata) if len(values) else math.nan
    reach = spread * float(stats.t.ppf((1 + level) / 2, max(len(values) - len(np.unique(labels)), 1)))
    mean = stratified_mean(change, strata)
    return min(low, mean - reach), max(high, mean + reach)


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


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p values, in the order given: below alpha they reject with family-wise error below alpha.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values)
    stepped = np.maximum.accumulate(np.asarray(p_values)[order] * np.arange(len(order), 0, -1))
    return [float(p) for p in np.minimum(stepped, 1)[np.argsort(order)]]


def gatekept(effects: Tensor, strata: Tensor, pooled: float, *, margin: float, alpha: float = 0.05) -> dict[int, float]:
    """Adjusted p per class, if ``pooled``, the p of all classes together, is below ``alpha``; else empty.

    Holm over the classes with at least `FEWEST` defined images; no class is surer than the pooled test.
    """
    if not pooled < alpha:
        return {}
    defined = strata[~effects.isnan()].tolist()
    classes = [label for label in sorted(set(defined)) if defined.count(label) >= FEWEST]
    raw = [sign_flip_p(effects[strata == label], strata[strata == label], margin=margin) for label in classes]
    return {label: max(pooled, p) for label, p in zip(classes, holm(raw), strict=True)}


def equivalent(interval: tuple[float, float], margin: float) -> bool:
    """Whether an effect is shown to lie below ``margin``: what PASS needs, and more than a test that did not reject.

    Asked of every cue, it needs no correction for their number (intersection-union test, Berger 1982).
    """
    return interval[1] < margin


def differ(values: Tensor, strata: Tensor, *, alpha: float = 0.01) -> bool:
    """Whether the strata have unlike means of ``values (N, P)`` in any of the ``P`` columns.

    One-way analysis of variance (Fisher 1925) of each, after Bonferroni. At this ``alpha`` a difference by chance is
    seen in 5 % of probes at most, over cast, brightness, contrast, sharpness and JPEG quality together. At 0.05 it was
    seen in one probe of ten for brightness and tint alone, and a model that looked at the objects' colours failed.

    >>> import torch
    >>> differ(torch.tensor([[0.1], [0.2], [1.8], [1.9]]), torch.tensor([0, 0, 1, 1]))
    True
    """
    return any(_p_of_equal_means(column, strata) * values.shape[1] < alpha for column in values.T)


def _p_of_equal_means(values: Tensor, strata: Tensor) -> float:
    kept, labels, _ = _defined(values, strata)
    samples = [kept[labels == label] for label in np.unique(labels)]
    if len(samples) < 2 or len(kept) == len(samples):
        return 1.0
    if not any(np.ptp(sample) for sample in samples):  # of these some SciPy warns
        return float(not np.ptp(kept))
    return float(stats.f_oneway(*samples).pvalue)


def needed_n(sd: float, effect: float, margin: float, alpha: float, power: float = 0.8) -> float:
    """Images with which a one-sided test at ``alpha`` tells ``effect`` from ``margin``, on either side of it.

    The normal formula plus ``z^2 / 2`` for an estimated ``sd`` (Guenther 1981); ``inf`` when the two are the same.
    """
    if effect == margin:
        return math.inf
    z = float(stats.norm.isf(alpha))
    return float(np.ceil(((z + stats.norm.ppf(power)) * sd / (effect - margin)) ** 2 + z**2 / 2))


def check_level(alpha: float, check: int, *, cues: int) -> float:
    """Level of each of ``cues`` tests at one check, counted from 1, of a run whose length is not known.

    Even over the first 20 checks, whose levels sum to ``alpha`` (Bonferroni). Then it falls with the square of the
    check, so that a run that goes on for ever stays below ``2 * alpha``: the sum of ``20 / check^2`` over all later
    checks is below 1.

    >>> [round(check_level(0.05, check, cues=8), 7) for check in (1, 20, 200)]
    [0.0003125, 0.0003125, 3.1e-06]
    """
    return alpha / cues * min(1 / _EVEN_CHECKS, _EVEN_CHECKS / check**2)


def wilson_lower(successes: float, n: float, *, level: float = 0.95) -> float:
    """One-sided lower bound of a proportion (Wilson 1927); takes the fractional counts of weighted images too."""
    z = float(stats.norm.ppf(level))
    share, doubt = successes / n, z**2 / n
    return (share + doubt / 2 - math.sqrt(doubt * (share * (1 - share) + doubt / 4))) / (1 + doubt)


def clopper_pearson_upper(errors: int, n: int, *, level: float = 0.95) -> float:
    """One-sided exact upper bound of a proportion: no error in 59 runs is "at most 5 %", none in 58 is not."""
    return float(stats.binomtest(errors, n, alternative="less").proportion_ci(level, "exact").high)


def has_learned(correct: Tensor, strata: Tensor) -> bool:
    """Whether a model beats every constant answer: Wilson's bound of its balanced accuracy is above 1 / classes probed.

    ``correct (N,)`` bool. The bound is taken at Kish's effective number of images; with equal classes that is ``N``.
    """
    values, labels, weights = _defined(correct, strata)
    if not len(values):
        return False
    effective = float(1 / (weights @ weights))
    return wilson_lower(float(weights @ values) * effective, effective) > 1 / len(np.unique(labels))


def tells_apart(scores: Tensor, has_label: Tensor, *, alpha: float = 0.05) -> bool:
    """Whether scores ``(N,)`` are higher where ``has_label (N,)``: the rank test of Mann and Whitney (1947), one-sided.

    Of ranks, since a rare label may be told well and lie below a probability of a half in every image.
    """
    kept = scores.isfinite()
    has, lacks = (scores[kept & (has_label == which)].double().numpy() for which in (True, False))
    if not len(has) or not len(lacks) or np.ptp(np.concatenate([has, lacks])) == 0:
        return False
    return bool(stats.mannwhitneyu(has, lacks, alternative="greater").pvalue < alpha)


def is_below_chance(correct: Tensor, strata: Tensor) -> bool:
    """Whether a model is clearly worse than every constant answer, as where two labels have changed places.

    As in `has_learned`, but of the errors, and once in a thousand by accident: a model in training wobbles.
    """
    values, labels, weights = _defined(correct, strata)
    n_classes = len(np.unique(labels))
    if n_classes < 2:
        return False
    effective = float(1 / (weights @ weights))
    errors = float(weights @ (1 - values)) * effective
    return wilson_lower(errors, effective, level=0.999) > 1 - 1 / n_classes


def rank_correlation(one: Tensor, other: Tensor) -> Tensor:
    """Spearman's correlation of each row ``(N, n)`` with that of the other, ``(N,)`` float32; equals share their ranks.

    NaN where a row is constant or not finite.

    >>> rank_correlation(torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([[5.0, 6.0, 5.5]]))
    tensor([0.5000])
    """
    is_defined = one.isfinite().all(1) & other.isfinite().all(1)
    ranks = [torch.from_numpy(stats.rankdata(each.detach().cpu().double().numpy(), axis=1)) for each in (one, other)]
    first, second = (each - each.mean(1, keepdim=True) for each in ranks)
    correlation = (first * second).sum(1) / (first.square().sum(1) * second.square().sum(1)).sqrt()
    return correlation.where(is_defined.cpu(), torch.nan).float()
