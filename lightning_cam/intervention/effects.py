"""From answers to effects: how much of its class one image loses when only a cue is swapped by donors.

Cues are rarely perfect: some donors of a class carry the cue of another class, and would hide the effect. They are
recognised by how they change the predictions for all other images, and left out.
"""

import torch
from torch import Tensor

from .. import statistics
from .donors import Donors

_LEAST = 1e-6  # of probability: nearer to 0 or 1, single precision has no odds
_ALL_UP_TO = 2.0  # standard errors of the donors' mean pull: chance exceeds them once in 44 times
_TYPICAL_FROM = 3.0  # of the same: chance exceeds them once in 740 times


def of_all(answers: Tensor) -> Tensor:
    """Effects ``(N,)`` of all donors, from answers ``(N, 2 R, 2 R)``, see `DonorSwap.answers`."""
    return _effect(answers, ~answers[:, :, 0].isnan())


def of_typical(answers: Tensor, targets: Tensor, donors: Donors) -> Tensor:
    """Effects ``(N,)`` of the donors that carry the cue of their class, as far as the answers show which do.

    A donor is typical if it makes its class likelier in the other images. The image itself is left out: selecting
    donors by its own answer would bias its effect. If the model ignores the cue, this selection is noise. Therefore
    all donors count while their mean pull is within `_ALL_UP_TO` standard errors of 0, only typical ones from
    `_TYPICAL_FROM` on, with a linear blend between. An image without a typical donor of either kind uses all of its
    donors.
    """
    odds = answers.clamp(_LEAST, 1 - _LEAST).logit()
    pulls = odds.diagonal(dim1=1, dim2=2) - odds.nanmean(1)  # of a donor towards its class
    lenders, used, pulls = donors.all, pulls.isfinite().float(), pulls.nan_to_num()
    total, uses = (torch.zeros(len(pulls)).index_add_(0, lenders.flatten(), x.flatten()) for x in (pulls, used))
    here = ((lenders[:, :, None] == lenders[:, None]) * pulls[:, None]).sum(2)
    everyone, typical = of_all(answers), _effect(answers, total[lenders] > here)
    typical = typical.where(typical.isfinite(), everyone)
    return everyone.lerp(typical, _sureness(total / uses, targets, lenders.shape[1]))


def _sureness(pulls: Tensor, targets: Tensor, n_donors: int) -> float:
    """How surely donors pull towards their own classes, 0 to 1, from the mean pull of each ``(N,)``."""
    mean, error = (f(pulls, targets) for f in (statistics.stratified_mean, statistics.standard_error))
    error *= n_donors / (n_donors - 1)  # a pull is measured from a mean that the donor itself is part of
    excess = mean / max(error, _LEAST) - _ALL_UP_TO
    return min(max(excess / (_TYPICAL_FROM - _ALL_UP_TO), 0), 1)


def _effect(answers: Tensor, counts: Tensor) -> Tensor:
    """Effects ``(N,)`` of the donors that count, bool ``(N, 2 R)``; NaN where none of a kind does."""
    shares = [kind / kind.sum(1, keepdim=True) for kind in counts.float().chunk(2, 1)]
    with_same, with_other = answers[:, :, 0].nan_to_num().chunk(2, 1)
    return (shares[0] * with_same).sum(1) - (shares[1] * with_other).sum(1)
