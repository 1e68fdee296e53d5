"""Tests of paired effects, and what many tests together need: corrections, levels of checks, and how many images."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import special, stats
from torch import Tensor

from .means import FEWEST, defined, effective_n, standard_error, stratified_mean

_EVEN_CHECKS = 20  # checks of a run that share its errors evenly; a longer run is not rare. Chosen, not measured.
_TINY = 1e-12  # keeps a division defined
_STEPS = 4096  # of the grid of sign-flip sums, in one standard deviation of theirs


def sign_flip_p(effects: Tensor, strata: Tensor, *, margin: float) -> float:
    """One-sided p of "the stratified mean is at most ``margin``", by flipping the signs of ``effects - margin``.

    All ``2^N`` flips count: 4,999 random ones give no p below 2e-4, and 20 checks of 8 cues are judged at 3e-4. Their
    sums lie on a grid (Pagano & Tritchler 1983); rounding only raises p, like a margin higher by ``sd sqrt(N) / 4096``.
    Exact for effects symmetric around the margin, as an unused cue's are around 0; otherwise as good as a t test:
    cautious when a few effects lie far above the rest, too sure when a few lie far below. NaN without images.
    """
    values, _, weights = defined(effects, strata)
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


def surely_below(effects: Tensor, strata: Tensor, *, margin: float, level: float = 0.975) -> bool:
    """Whether the stratified mean is shown to lie below ``margin``; False with fewer than `FEWEST` images.

    By a score test: the standard error is at least that of images of which a share of ``margin`` loses all and the
    rest nothing. That share may have gone unseen among few images, and then they spread too little.

    >>> import torch
    >>> [surely_below(torch.zeros(n), torch.arange(n) % 2, margin=0.1) for n in (34, 36)]
    [False, True]
    """
    if int((~effects.isnan()).sum()) < FEWEST:
        return False
    least = math.sqrt(margin * (1 - margin) / effective_n(effects, strata))
    error = max(standard_error(effects, strata), least)
    return stratified_mean(effects, strata) + error * float(stats.norm.ppf(level)) < margin


def joint_p(effects: Tensor, strata: Tensor, *, margin: float) -> float:
    """One-sided p of "no column of ``effects (N, 2)`` has a mean above ``margin``", by the same flips for both.

    The lower of two p values of `sign_flip_p`, corrected for being the lower one. Both sums are near normal under the
    flips, and their correlation ``r`` is known. Then with ``z`` for the lower p as a quantile, the chance that either
    exceeds it is ``p + 2 T(z, sqrt((1 - r) / (1 + r)))`` with the T function of Owen (1956): nothing is lost where the
    columns agree, and a factor of 2 at most where they do not.
    """
    lowest = min(sign_flip_p(column, strata, margin=margin) for column in effects.T)
    values, _, weights = defined(effects[:, 0], strata)
    if not len(values):
        return math.nan
    others, _, _ = defined(effects[:, 1], strata)
    moves, other_moves = weights * (values - margin), weights * (others - margin)
    lengths = float(np.linalg.norm(moves) * np.linalg.norm(other_moves))
    correlation = float(moves @ other_moves) / lengths if lengths else 1.0
    slope = math.sqrt(max(1 - correlation, 0) / max(1 + correlation, _TINY))
    return min(lowest + 2 * float(special.owens_t(stats.norm.isf(lowest), slope)), 1.0)


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
    kept, labels, _ = defined(values, strata)
    samples = [kept[labels == label] for label in np.unique(labels)]
    if len(samples) < 2 or len(kept) == len(samples):
        return 1.0
    if not any(np.ptp(sample) for sample in samples):  # of these some SciPy warns
        return float(not np.ptp(kept))
    return float(stats.f_oneway(*samples).pvalue)


def check_level(alpha: float, check: int, *, cues: int) -> float:
    """Level of each of ``cues`` tests at one check, counted from 1, of a run whose length is not known.

    Even over the first 20 checks, whose levels sum to ``alpha`` (Bonferroni). Then it falls with the square of the
    check, so that a run that goes on for ever stays below ``2 * alpha``: the sum of ``20 / check^2`` over all later
    checks is below 1.

    >>> [round(check_level(0.05, check, cues=8), 7) for check in (1, 20, 200)]
    [0.0003125, 0.0003125, 3.1e-06]
    """
    return alpha / cues * min(1 / _EVEN_CHECKS, _EVEN_CHECKS / check**2)


def needed_n(sd: float, effect: float, margin: float, alpha: float, power: float = 0.8) -> float:
    """Images with which a one-sided test at ``alpha`` tells ``effect`` from ``margin``, on either side of it.

    The normal formula plus ``z^2 / 2`` for an estimated ``sd`` (Guenther 1981); ``inf`` when the two are the same.
    """
    if effect == margin:
        return math.inf
    z = float(stats.norm.isf(alpha))
    return float(np.ceil(((z + stats.norm.ppf(power)) * sd / (effect - margin)) ** 2 + z**2 / 2))
