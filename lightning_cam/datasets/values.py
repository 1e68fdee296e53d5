"""Values to predict, such as an age or a count: which targets are values, and which side of the middle each lies on.

A trial swaps a cue between images of unlike targets. So values ``(N, D)`` are halved: each image is asked for one of
the ``D`` values, and answer ``2 d`` says that value ``d`` is below the middle, ``2 d + 1`` that it is not.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .labels import LABEL_KEYS, first_of, label_columns, through
from .tasks import task_of

# Interquartile ranges beyond a quartile, from where on a target counts as if it lay there: "far out" (Tukey 1977). One
# wrong target of a million years would else make every distance between ages look like none.
_FAR_OUT = 3.0
BELOW, FROM = " below ", " from "  # between the name of a value and its middle


def values_of(target: object) -> tuple[float, ...]:
    """The numbers of an item's target, where it may be values: one, or some floats in a row; empty for another target.

    >>> values_of(torch.tensor([0.5, 7.0])), values_of({"label": 3}), values_of([2, 5])
    ((0.5, 7.0), (3.0,), ())
    """
    if isinstance(target, Mapping):
        return (
            () if task_of(target) in ("segmentation", "detection") else values_of(first_of(target, LABEL_KEYS, "label"))
        )
    numbers = _as_numbers(target)
    if numbers is None or numbers.ndim > 1 or (numbers.numel() > 1 and not numbers.is_floating_point()):
        return ()
    return tuple(numbers.double().flatten().tolist())


def are_fractions(row: Sequence[float]) -> bool:
    """Whether a row of numbers can be neither a class nor marks, nor shares of classes that sum to 1.

    >>> are_fractions([34.0]), are_fractions([34.5]), are_fractions([0.25, 0.75]), are_fractions([3.0, 17.0])
    (False, True, False, True)
    """
    if len(row) < 2:
        return bool(row) and math.isfinite(row[0]) and row[0] % 1 != 0
    finite = [number for number in row if math.isfinite(number)]
    are_shares = len(finite) == len(row) and min(row) >= 0 and abs(sum(row) - 1) < 1e-3
    return not are_shares and any(number > 1 or number % 1 != 0 for number in finite)


def known_values(dataset: Any) -> Tensor | None:
    """Values ``(N, D)`` of all items, as `known_labels`; None if only reading the items gives them."""
    rows = through(dataset, _own_values)
    return torch.stack(rows) if rows else None


def _own_values(dataset: Any) -> list[Tensor] | None:
    if getattr(dataset, "target_transform", None) is not None:
        return None
    for column in label_columns(dataset):
        numbers = _as_numbers(column)
        if numbers is None or numbers.ndim == 0 or len(numbers) != len(dataset):
            continue
        if numbers.ndim == 1 or (numbers.ndim == 2 and numbers.is_floating_point()):
            return list(numbers.double().reshape(len(numbers), -1))
    return None


def _as_numbers(target: object) -> Tensor | None:
    try:
        numbers = torch.as_tensor(target)
    except (TypeError, ValueError, RuntimeError):
        return None
    unusable = numbers.is_complex() or numbers.dtype == torch.bool or not numbers.numel()
    return None if unusable else numbers.detach().as_subclass(Tensor).cpu()


def spread(values: Tensor, n: int, seed: int) -> list[int]:
    """``n`` rows of values ``(N, D)``, or all if there are fewer, shuffled; of one value evenly over all ranks.

    Rows with a value that is not finite are left out.

    >>> sorted(spread(torch.arange(9.0)[:, None], 3, seed=0))
    [1, 4, 7]
    """
    generator = torch.Generator().manual_seed(seed)
    rows = values.isfinite().all(1).nonzero()[:, 0]
    rows = rows[torch.randperm(len(rows), generator=generator)]
    if len(rows) > n and values.shape[1] == 1:
        ranked = rows[values[rows, 0].argsort(stable=True)]
        places = ((torch.arange(n) + 0.5) * len(rows) / n).long()
        rows = ranked[places][torch.randperm(n, generator=generator)]
    chosen: list[int] = rows[:n].tolist()
    return chosen


@dataclass(frozen=True)
class Scale:
    """Where values lie.

    Attributes:
        middle: The cut between the lower and the upper half.
        centre: Half way between the means of both halves.
        way: The distance of these means: how far the values of donors of unlike targets are away on average.
    """

    middle: float
    centre: float
    way: float

    @classmethod
    def of(cls, values: Tensor) -> "Scale":
        """Of values ``(N,)``. Where all are alike there is one half, and the way is 1."""
        numbers = values.double()
        middle = _cut(numbers)
        is_high = numbers >= middle
        if is_high.all():
            return cls(middle, middle, 1.0)
        near = _without_outliers(numbers)
        low, high = (float(near[rows].mean()) for rows in (~is_high, is_high))
        return cls(middle, (low + high) / 2, high - low)


def _cut(numbers: Tensor) -> float:
    """The cut that halves best; a value that many images have stays whole. The lowest value where all are alike."""
    distinct = torch.tensor(sorted(set(numbers.tolist())), dtype=numbers.dtype)
    if len(distinct) < 2:
        return float(distinct[0])
    below = torch.searchsorted(numbers.sort().values, distinct[1:]) / len(numbers)
    return float(distinct[1:][(below - 0.5).abs().argmin()])


def _without_outliers(numbers: Tensor) -> Tensor:
    low, high = numbers.quantile(torch.tensor([0.25, 0.75], dtype=numbers.dtype)).tolist()
    reach = _FAR_OUT * (high - low)
    return numbers.clamp(low - reach, high + reach) if reach > 0 else numbers


def answers_of(values: Tensor, scales: Sequence[Scale]) -> Tensor:
    """An answer ``(N,)`` for each row of values ``(N, D)``: as many images are asked for each value."""
    asked = torch.arange(len(values)) % values.shape[1]
    middles = torch.tensor([scale.middle for scale in scales], dtype=torch.double)[asked]
    of_asked = values.double()[torch.arange(len(values)), asked]
    return 2 * asked + (of_asked >= middles).long()


def half_names(names: Sequence[str], scales: Sequence[Scale]) -> tuple[str, ...]:
    """Names of the answers.

    >>> half_names(["age"], [Scale(34.5, 40.0, 20.0)])
    ('age below 34.5', 'age from 34.5')
    """
    return tuple(
        f"{name}{side}{scale.middle:.4g}" for name, scale in zip(names, scales, strict=True) for side in (BELOW, FROM)
    )


def value_names(names: Sequence[str] | None, n: int) -> Sequence[str]:
    """Names of ``n`` values: those given if they are as many."""
    if names is not None and len(names) == n:
        return names
    return ["value"] if n == 1 else [f"value {d}" for d in range(n)]
