"""Means over classes that count the same, their standard errors, and the ranks of values."""

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats
from torch import Tensor

Values: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = npt.NDArray[np.int64]

# Images: with fewer, no claim is made about a class, nor about all classes. A sign-flip test of 4 images cannot reach
# p = 0.05, one of 5 can only if all agree; 8 leave room for one that does not. Chosen, not measured.
FEWEST = 8


def n_undefined(effects: Tensor) -> int:
    """How many effects are NaN. All functions below leave them out."""
    return int(effects.isnan().sum())


def defined(effects: Tensor, strata: Tensor) -> tuple[Values, Labels, Values]:
    """Effects that are not NaN, their classes, and what each counts: the same in all classes of a size; sums to 1."""
    kept, labels = ~effects.isnan().cpu().numpy(), strata.cpu().numpy()
    _, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights = (1 / counts[index])[kept]
    return effects.detach().cpu().double().numpy()[kept], labels[kept], weights / weights.sum()


def effective_n(effects: Tensor, strata: Tensor) -> float:
    """Images of equal weight that say no more than these: a class of few images counts as much as one of many.

    >>> import torch
    >>> effective_n(torch.zeros(64), torch.arange(64) // 62)
    4.0
    """
    _, _, weights = defined(effects, strata)
    return float(round(1 / weights.max())) if len(weights) else math.nan


def samples_of(values: Values, labels: Labels, weights: Values) -> tuple[list[Values], list[float]]:
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
    values, _, weights = defined(effects, strata)
    return float(weights @ values) if len(values) else math.nan


def standard_error(effects: Tensor, strata: Tensor) -> float:
    """Standard error of `stratified_mean`; times ``sqrt(N)`` it is the ``sd`` that `needed_n` asks for."""
    samples, weights = samples_of(*defined(effects, strata))
    if sum(map(len, samples)) < 2:
        return math.nan
    return math.sqrt(sum(w**2 * sample.var(ddof=1) / len(sample) for w, sample in zip(weights, samples, strict=True)))


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
