"""Attributes that a user knows of pictures, such as the site: how classes and right answers go with them.

Right answers are counted by group: the pictures of one class with one value. That a group is answered worse is an
observation, no experiment. Its pictures may simply be harder, so the same value is also looked at in the other classes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

Counts: TypeAlias = npt.NDArray[np.int64]
_Value = TypeVar("_Value", str, int)

# Pictures: a group of fewer is counted, but nothing is claimed. Of four that are all answered wrong in a class with
# every other picture right, the lower bound of the loss is 0.3 even after correction for four groups.
FEWEST_IN_GROUP = 4
LEAST_LOSS = 0.10  # share of right answers: as much as a trial allows, see `intervention.MARGIN`
_SHUFFLES = 999  # of a test of association: its smallest p value is 0.001
_MOST_CELLS = 2_000_000  # counts of shuffled tables in memory at a time: 16 MB
_Z = 1.96  # standard deviations: two-sided intervals at 95 %


@dataclass(frozen=True)
class Group:
    """The pictures of one class with one value of an attribute.

    Attributes:
        class_name: Name of the class.
        value: Of the attribute.
        n: How many pictures.
        accuracy: Share of them on which the model is right.
    """

    class_name: str
    value: str
    n: int
    accuracy: float


@dataclass(frozen=True)
class Loss:
    """The group that is answered worse than the rest of its class most surely, beyond what its value costs elsewhere.

    Attributes:
        group: Which pictures.
        accuracy_own: Share of right answers on the other pictures of the class.
        elsewhere: What the value costs the other classes, on average; below 0 if they gain.
        low: Lower end of the 95 % interval of what the group loses, beyond what the others lose.
        high: Upper end of that of the loss.
        p_value: Of a loss of at most `LEAST_LOSS`, or one that is as large elsewhere; corrected for the groups.
    """

    group: Group
    accuracy_own: float
    elsewhere: float
    low: float
    high: float
    p_value: float

    @property
    def lost(self) -> float:
        """Share of right answers, -1 to 1."""
        return self.accuracy_own - self.group.accuracy


@dataclass(frozen=True)
class AttributeReading:
    """How one attribute goes with the classes of a probe, and with right answers.

    Attributes:
        attribute: Its name.
        groups: Every group that there is, the worst first.
        association: Cramer's V of class and value after correction for chance: 0 is none, 1 means that either tells
            the other. NaN where all pictures have one class or one value.
        association_p: Chance of such an association if values were dealt out at random.
        loss: None where no group can be compared: too few pictures, or its value occurs in no other class.
    """

    attribute: str
    groups: tuple[Group, ...]
    association: float
    association_p: float
    loss: Loss | None

    @property
    def worst(self) -> Group | None:
        """The worst group of `FEWEST_IN_GROUP` pictures or more."""
        return next((group for group in self.groups if group.n >= FEWEST_IN_GROUP), None)


def read_attributes(
    attributes: Mapping[str, Sequence[str]], labels: Sequence[int], is_right: Sequence[bool], classes: Sequence[str]
) -> tuple[AttributeReading, ...]:
    """A reading of every attribute, from its value for each picture; see `read_attribute`."""
    return tuple(read_attribute(name, values, labels, is_right, classes) for name, values in attributes.items())


def read_attribute(
    attribute: str, values: Sequence[str], labels: Sequence[int], is_right: Sequence[bool], classes: Sequence[str]
) -> AttributeReading:
    """Counts right answers by group. Pictures without a value, "", are left out."""
    known = [row for row, value in enumerate(values) if value]
    names, codes = _coded(values[row] for row in known)
    labels_there, label_codes = _coded(labels[row] for row in known)
    shape = len(labels_there), len(names)
    n = _table(label_codes, codes, shape)
    right = _table(label_codes, codes, shape, np.array([is_right[row] for row in known], int))
    groups = {
        (y, a): Group(classes[labels_there[y]], names[a], int(n[y, a]), float(right[y, a] / n[y, a]))
        for y, a in zip(*np.nonzero(n), strict=True)
    }
    strength, p_value = association(n)
    ranked = tuple(sorted(groups.values(), key=lambda group: (group.accuracy, -group.n)))
    return AttributeReading(attribute, ranked, strength, p_value, _surest_loss(n, right, groups))


def corrected(readings: Iterable[AttributeReading]) -> dict[str, float]:
    """The p value of the loss by attribute, corrected for the number of attributes as well (Bonferroni)."""
    losses = {reading.attribute: reading.loss.p_value for reading in readings if reading.loss is not None}
    return {attribute: min(p * len(losses), 1.0) for attribute, p in losses.items()}


def association(n: Counts, seed: int = 0) -> tuple[float, float]:
    """Cramer's V ``(0 to 1)`` of a table ``(classes, values)`` of counts, and its p value by shuffles.

    V is corrected for the association that chance brings (Bergsma 2013). Shuffling keeps both margins, so that the p
    value holds for small and unbalanced groups as well. NaN where there is one class or one value.

    >>> strength, p_value = association(np.array([[40, 2], [3, 30]]))
    >>> round(strength, 2), p_value
    (0.86, 0.001)
    """
    n = n[n.sum(1) > 0][:, n.sum(0) > 0]
    if min(n.shape) < 2:
        return math.nan, math.nan
    return _cramers_v(n), _shuffled_p(n, np.random.default_rng(seed))


def _cramers_v(n: Counts) -> float:
    total, (rows, columns) = int(n.sum()), n.shape
    free = max(total - 1, 1)
    spread = max(0.0, float(_squares(n, n[None])[0]) / total - (rows - 1) * (columns - 1) / free)
    most = min(rows - (rows - 1) ** 2 / free, columns - (columns - 1) ** 2 / free) - 1
    return min(math.sqrt(spread / most), 1.0) if most > 0 else math.nan


def _shuffled_p(n: Counts, rng: np.random.Generator) -> float:
    table = stats.random_table(n.sum(1), n.sum(0), seed=rng)
    observed, n_reached, at_once = float(_squares(n, n[None])[0]) - 1e-9, 0, max(1, _MOST_CELLS // n.size)
    for start in range(0, _SHUFFLES, at_once):
        shuffled = table.rvs(min(at_once, _SHUFFLES - start))
        n_reached += int((_squares(n, shuffled) >= observed).sum())
    return (1 + n_reached) / (1 + _SHUFFLES)


def _squares(n: Counts, tables: Counts) -> npt.NDArray[np.float64]:
    """Pearson's chi squared of tables ``(S, classes, values)`` that have the margins of ``n``."""
    expected = np.outer(n.sum(1), n.sum(0)) / n.sum()
    return np.asarray(((tables - expected) ** 2 / expected).sum((1, 2)))


def _surest_loss(n: Counts, right: Counts, groups: Mapping[tuple[int, int], Group]) -> Loss | None:
    """Of all groups that can be compared, the one with the lowest p value, corrected for their number."""
    losses = [loss for place in groups if (loss := _loss_of(n, right, place, groups[place])) is not None]
    if not losses:
        return None
    surest = min(losses, key=lambda loss: (loss.p_value, -loss.lost))
    return Loss(**{**vars(surest), "p_value": min(surest.p_value * len(losses), 1.0)})


def _loss_of(n: Counts, right: Counts, place: tuple[int, int], group: Group) -> Loss | None:
    """What a group loses against the rest of its class, and against what its value costs in the other classes."""
    y, a = place
    others = [k for k in range(len(n)) if k != y and n[k, a] and n[k].sum() > n[k, a]]
    n_rest = int(n[y].sum() - n[y, a])
    if min(group.n, n_rest) < FEWEST_IN_GROUP or not others:
        return None
    shares: _Shares = [(1.0, int(right[y].sum() - right[y, a]), n_rest), (-1.0, int(right[y, a]), group.n)]
    costs = [
        (sign / len(others), int(hits), int(size))
        for k in others
        for sign, hits, size in ((-1, right[k].sum() - right[k, a], n[k].sum() - n[k, a]), (1, right[k, a], n[k, a]))
    ]
    return Loss(
        group,
        accuracy_own=shares[0][1] / n_rest,
        elsewhere=-_sum_of(costs),
        low=min(_bound(shares, _Z), _bound([*shares, *costs], _Z)),
        high=-_bound([(-weight, hits, size) for weight, hits, size in shares], _Z),
        p_value=max(_p_of(shares, LEAST_LOSS), _p_of([*shares, *costs], LEAST_LOSS)),
    )


_Shares: TypeAlias = Sequence[tuple[float, int, int]]  # weight, hits, of how many


def _sum_of(shares: _Shares) -> float:
    return sum(weight * hits / size for weight, hits, size in shares)


def _bound(shares: _Shares, z: float) -> float:
    """Lower bound of a weighted sum of shares, from Wilson's bound of each (Zou & Donner 2008)."""
    reach = 0.0
    for weight, hits, size in shares:
        middle = (hits + z**2 / 2) / (size + z**2)
        half = z * math.sqrt(hits * (size - hits) / size + z**2 / 4) / (size + z**2)
        end = middle - half if weight > 0 else middle + half
        reach += (weight * (hits / size - end)) ** 2
    return _sum_of(shares) - math.sqrt(reach)


def _p_of(shares: _Shares, margin: float) -> float:
    """One-sided p value of "the sum is at most ``margin``": the level at which its bound is the margin."""
    if _bound(shares, 0.0) <= margin:
        return 1.0
    most = 38.0  # standard deviations: the smallest p value that a float holds
    if _bound(shares, most) > margin:
        return float(stats.norm.sf(most))
    return float(stats.norm.sf(optimize.brentq(lambda z: _bound(shares, z) - margin, 0.0, most)))


def _coded(values: Iterable[_Value]) -> tuple[list[_Value], Counts]:
    """The different values, sorted, and for each picture which one it has."""
    listed = list(values)
    names = sorted(set(listed))
    index = {name: code for code, name in enumerate(names)}
    return names, np.array([index[value] for value in listed], np.int64)


def _table(rows: Counts, columns: Counts, shape: tuple[int, int], weights: Counts | None = None) -> Counts:
    table = np.zeros(shape, np.int64)
    np.add.at(table, (rows, columns), 1 if weights is None else weights)
    return table
