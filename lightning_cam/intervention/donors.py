"""Donors: which images of a probe lend their properties to which."""

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Donors:
    """Which images of a probe lend their properties to which, ``(N, R)`` indices each.

    Attributes:
        same: Of the image's own class. An image that is alone in its class is its own donor, and has no effect.
        other: Of another class.
    """

    same: Tensor
    other: Tensor

    def __repr__(self) -> str:
        return f"Donors({self.same.shape[1]} of the own and of another class for each of {len(self.same)} images)"

    @property
    def all(self) -> Tensor:
        """Donors of the own class, then those of another, ``(N, 2 R)``."""
        return torch.cat([self.same, self.other], 1)


def can_swap(targets: Tensor) -> bool:
    """Whether donors of both kinds exist: two classes or more have two images or more."""
    return int((targets.bincount() > 1).sum()) > 1


def draw_donors(targets: Tensor, n: int, seed: int) -> Donors:
    """``n`` donors of either kind for each image. None lends much more often than the others.

    An image has different donors as far as there are enough.

    Raises:
        ValueError: Fewer than two classes with two images: nothing can be swapped within the others.
    """
    if not can_swap(targets):
        raise ValueError("trials need at least two classes with at least two images each; choose a larger probe")
    generator = torch.Generator().manual_seed(seed)
    same, other = torch.empty(2, len(targets), n, dtype=torch.long)
    for label in sorted(set(targets.tolist())):
        members = (targets == label).nonzero()[:, 0]
        cycle = members[torch.randperm(len(members), generator=generator)]
        strangers = (targets != label).nonzero()[:, 0]
        strangers = strangers[torch.randperm(len(strangers), generator=generator)]
        for r in range(n):
            # The shuffled class is a ring, and everybody borrows from a neighbour: so all lend equally often, and none
            # to itself. The donors of a further round lie one step farther, or an n-th of the strangers.
            same[cycle, r] = cycle.roll(-1 - r % max(len(cycle) - 1, 1))
            places = torch.arange(len(cycle)) + r * len(strangers) // n
            other[cycle, r] = strangers[places % len(strangers)]
    return Donors(same, other)


def matched_donors(targets: Tensor, traits: Tensor, n: int, seed: int) -> Donors:
    """As `draw_donors` for two classes, and donors agree with their image in other traits as far as they can.

    Without that, a donor that lacks a label would often lack a label that goes with it, and bring what goes with that.
    Each round is the cheapest assignment of images to donors, so all lend equally often.

    Args:
        targets: ``(N,)`` of 0 and 1.
        traits: ``(N, T)``; donors that differ in fewer of them are better.
        n: Donors of either kind.
        seed: Decides among equals.
    """
    generator = torch.Generator().manual_seed(seed)
    costs = (traits[:, None] != traits).sum(2) + 0.5 * torch.rand(len(targets), len(targets), generator=generator)
    never = traits.shape[1] + 1.0  # more than any difference
    costs += 1e3 * never * torch.eye(len(targets))
    same, other = torch.empty(2, len(targets), n, dtype=torch.long)
    for label in sorted(set(targets.tolist())):
        members, strangers = ((targets == label).nonzero()[:, 0], (targets != label).nonzero()[:, 0])
        for r in range(n):
            for chosen, lenders in ((same, members), (other, strangers)):
                chosen[members, r] = lenders[_assigned(costs[members][:, lenders])]
                costs[members, chosen[members, r]] += never  # another one in the next round, if there is
    return Donors(same, other)


def graded_donors(values: Tensor, halves: Tensor, n: int) -> Donors:
    """Donors by values: those of the own half are the nearest ones, those of the other half lie half the ranks away.

    So the distance that a swap may bridge is about the same for all images. None lends much more often than the others.

    Args:
        values: ``(N,)`` to predict.
        halves: ``(N,)`` of 0 where a value is in the lower half and 1 in the upper one; each half has two images.
        n: Donors of either kind.
    """
    same, other = torch.empty(2, len(values), n, dtype=torch.long)
    order = values.argsort(stable=True)
    ranked = [order[halves[order] == half] for half in (0, 1)]
    for own, strangers in (ranked, ranked[::-1]):
        places = torch.arange(len(own))
        for r in range(n):
            step = 1 + r % max(len(own) - 1, 1)
            after, before = places + step, places - step
            same[own, r] = own[after.where(after < len(own), before.where(before >= 0, (places + 1) % len(own)))]
            other[own, r] = strangers[(places * len(strangers) // len(own) + r) % len(strangers)]
    return Donors(same, other)


def _assigned(costs: Tensor) -> Tensor:
    """A column for each row ``(m,)`` of ``costs (m, n)``, none much more often than others, the cheapest way."""
    times = -(-len(costs) // costs.shape[1])
    return torch.from_numpy(linear_sum_assignment(costs.repeat(1, times).numpy())[1]) % costs.shape[1]


def balanced_subset(targets: Tensor, n: int) -> Tensor:
    """``n`` of the images, as many of each class as there are; a smaller subset is part of a larger one. Sorted.

    >>> balanced_subset(torch.tensor([0, 0, 0, 1, 1, 2]), 4)
    tensor([0, 1, 3, 5])
    """
    earlier_of_class = (targets[:, None] == targets).tril(-1).sum(1)
    return earlier_of_class.argsort(stable=True)[:n].sort().values
