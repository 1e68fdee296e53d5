"""How well a fact about pictures tells their classes apart, and whether chance could do the same.

Every fact, be it a number, a word or a vector, becomes a few codes without a look at the labels. From there on only
counts matter: ``(K, F, B)`` pictures by class, fold and code. Shuffling the labels inside each fold keeps both margins
of a fold's table, so the null is drawn as random tables (`scipy.stats.random_table`), at a cost free of N.
"""

import math

import numpy as np
from scipy.stats import random_table

from ..statistics import wilson_lower
from .pixels import Array

BINS = 8  # quantile bins of a number, and how many words have a code of their own
AXES = (4, 4, 2)  # bins along the first principal axes of a vector; an even number separates two equal groups
FOLDS = 5  # the usual number: each rule learns from four fifths of the pictures

_ENOUGH = 20  # A test ends early after so many shuffles that reach the observed skill (see `p_value`).
_MOST_CELLS = 2_000_000  # counts of shuffled tables in memory at a time: 16 MB


def encode(values: Array) -> Array:
    """Codes ``(N,)`` of words or numbers ``(N,)`` or vectors ``(N, D)``, from 0 on without a gap. NaN has its own code.

    >>> encode(np.array([0.0, 5.0, 0.0, np.nan]))
    array([0, 1, 0, 2])
    """
    if values.ndim == 2:
        codes = _vector_codes(values.astype(float))
    else:
        codes = _word_codes(values) if values.dtype.kind == "U" else _number_codes(values.astype(float), BINS)
    return np.unique(codes, return_inverse=True)[1]


def assign_folds(labels: Array, rng: np.random.Generator) -> Array:
    """Fold ``(N,)`` of each picture, such that every fold has an equal share of every class."""
    folds = np.empty_like(labels)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        folds[rng.permutation(members)] = np.arange(len(members)) % FOLDS
    return folds


def count(codes: Array, labels: Array, folds: Array) -> Array:
    """Counts ``(K, F, B)`` of pictures by class, fold and code."""
    shape = int(labels.max()) + 1, FOLDS, int(codes.max()) + 1
    places = np.ravel_multi_index((labels, folds, codes), shape)
    return np.bincount(places, minlength=math.prod(shape)).reshape(shape).astype(float)


def class_skill(counts: Array) -> Array:
    """Skill ``(K, ...)`` in telling each class from the others by the code alone, from counts ``(K, F, B, ...)``.

    Balanced accuracy over folds of a plug-in rule with Laplace smoothing (a code stands for a class where that class is
    likelier than the classes on average), corrected for chance: ``(accuracy - 1/2) / (1 - 1/2)``. Of two classes either
    has the skill ``(accuracy - 1/K) / (1 - 1/K)``. Of ten, a yes/no fact that marks just one has skill 1 for that
    class, where the accuracy over all ten could not exceed 0.2.
    """
    shares = counts / counts.sum((1, 2), keepdims=True)
    surplus = (shares - shares.mean(0)) * len(counts) / (len(counts) - 1)
    # Rounded, so that a rule that is always right has a skill of exactly 1.
    return np.asarray((surplus * _stands_for(counts)).sum((1, 2)).round(12))


def lower_bound(counts: Array, label: int) -> float:
    """Lower 95 % bound of the skill for one class, hits minus false alarms, by Newcombe's (1998) method 10.

    False alarms are averaged over the other classes, so their squared distances to Wilson's limits are too.
    """
    n_assigned = (counts * _stands_for(counts)[label]).sum((1, 2))
    totals = counts.sum((1, 2))
    rates = n_assigned / totals
    to_limit = [rates[k] - 1 + wilson_lower(totals[k] - n_assigned[k], totals[k]) for k in range(len(counts))]
    to_limit[label] = rates[label] - wilson_lower(n_assigned[label], totals[label])
    weights = np.full(len(counts), -1 / (len(counts) - 1))
    weights[label] = 1
    return float(weights @ rates - np.linalg.norm(weights * to_limit))


def p_value(counts: Array, n_shuffles: int, rng: np.random.Generator) -> float:
    """Chance that shuffled labels reach the largest skill for a class: ``(1 + #) / (1 + m)``.

    Ends early after 20 shuffles that reach it. The p value is then 20 over the shuffles so far (Besag & Clifford 1991).
    """
    observed = class_skill(counts).max() - 1e-9
    n_done, n_reached, size = 0, 0, 50
    while n_done < n_shuffles:
        size = min(4 * size, n_shuffles - n_done, max(1, _MOST_CELLS // counts.size))
        reached = np.flatnonzero(class_skill(_shuffled(counts, size, rng)).max(0) >= observed)
        if n_reached + len(reached) >= _ENOUGH:
            return float(_ENOUGH / (n_done + reached[_ENOUGH - n_reached - 1] + 1))
        n_done, n_reached = n_done + size, n_reached + len(reached)
    return (1 + n_reached) / (1 + n_shuffles)


def _stands_for(counts: Array) -> Array:
    """Whether a code stands for a class, ``(K, F, B, ...)``, by the counts of the other folds."""
    train = counts.sum(1, keepdims=True) - counts
    likelihood = (train + 1) / (train.sum(2, keepdims=True) + counts.shape[2])
    return np.asarray(likelihood > likelihood.mean(0))


def _shuffled(counts: Array, size: int, rng: np.random.Generator) -> Array:
    """Counts ``(K, F, B, size)`` after shuffling the labels within each fold."""
    margins = [(counts[:, fold].sum(1).astype(int), counts[:, fold].sum(0).astype(int)) for fold in range(FOLDS)]
    tables = [
        random_table.rvs(*margin, size=size, random_state=rng).reshape(size, *counts[:, 0].shape) for margin in margins
    ]
    return np.ascontiguousarray(np.stack(tables).transpose(2, 0, 3, 1), float)


def _number_codes(values: Array, n_bins: int) -> Array:
    """Quantile bins. A value that equals an edge has a code of its own, which separates a pile of equal values."""
    is_number = ~np.isnan(values)
    numbers = values[is_number]
    edges = np.unique(np.quantile(numbers, np.arange(1, n_bins) / n_bins)) if len(numbers) else np.array([])
    codes = np.searchsorted(edges, values, "left") + np.searchsorted(edges, values, "right")
    return np.where(is_number, codes, 2 * n_bins)


def _word_codes(values: Array) -> Array:
    """One code for each of the most frequent words, one for all the others."""
    _, codes, frequencies = np.unique(values, return_inverse=True, return_counts=True)
    rank = np.argsort(np.argsort(-frequencies, kind="stable"))
    return np.minimum(rank, BINS)[codes]


def _vector_codes(values: Array) -> Array:
    """Product of quantile bins along the first principal axes of the standardised components."""
    spread = values.std(0)
    standard = (values - values.mean(0)) / np.where(spread > 0, spread, 1)
    axes = np.linalg.eigh(standard.T @ standard)[1][:, ::-1]
    # Rounded, because a product of matrices need not end in the same bits for equal rows.
    places = (standard @ axes[:, : len(AXES)]).round(6).T
    codes = np.zeros(len(values), int)
    for place, n_bins in zip(places, AXES, strict=False):
        codes = codes * (2 * n_bins + 1) + _number_codes(place, n_bins)
    return codes
