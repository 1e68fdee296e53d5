"""Gates: whether a model knows enough, or too little, for anything to be judged."""

import numpy as np
from scipy import stats
from torch import Tensor

from .intervals import wilson_lower
from .means import FEWEST, defined


def has_learned(correct: Tensor, strata: Tensor) -> bool:
    """Whether a model beats every constant answer: Wilson's bound of its balanced accuracy is above 1 / classes probed.

    ``correct (N,)`` bool. The bound is taken at Kish's effective number of images; with equal classes that is ``N``.
    """
    values, labels, weights = defined(correct, strata)
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


def correlates(predictions: Tensor, values: Tensor, *, alpha: float = 0.05) -> bool:
    """Whether predictions ``(N,)`` rise with the values ``(N,)``: the test of Spearman's rank correlation, one-sided.

    >>> import torch
    >>> correlates(torch.arange(9.0), torch.arange(9.0) ** 3), correlates(-torch.arange(9.0), torch.arange(9.0))
    (True, False)
    """
    kept = predictions.isfinite() & values.isfinite()
    one, other = (each[kept].double().numpy() for each in (predictions, values))
    if len(one) < FEWEST or np.ptp(one) == 0 or np.ptp(other) == 0:
        return False
    return bool(stats.spearmanr(one, other, alternative="greater").pvalue < alpha)


def is_below_chance(correct: Tensor, strata: Tensor) -> bool:
    """Whether a model is clearly worse than every constant answer, as where two labels have changed places.

    As in `has_learned`, but of the errors, and once in a thousand by accident: a model in training wobbles.
    """
    values, labels, weights = defined(correct, strata)
    n_classes = len(np.unique(labels))
    if n_classes < 2:
        return False
    effective = float(1 / (weights @ weights))
    errors = float(weights @ (1 - values)) * effective
    return wilson_lower(errors, effective, level=0.999) > 1 - 1 / n_classes
