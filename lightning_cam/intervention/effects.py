"""From answers to effects: how much of its class one image loses when only a cue is swapped by donors.

Effects ``(N, 4)`` have one column for each reading: `PROBABILITY` that the own class loses; `DECISION`, the same if the
likeliest class had the probability 1, so that it is the share of right answers that are lost; `RIGHT`, the share of
right answers with the cue of the own class; and `APART`, the share that this cue takes away where the image's own went
through the same edit, NaN where that was not tried. A model may be unsure, or give scores so close together that no
probability moves: its decisions still hang on the cue. Swaps by an attribute have a fifth column, `IS_OWN`: 1 where the
loss is counted from the image's own value to another one, and 0 where it is counted back, see `groups`.

Cues are rarely perfect: some donors of a class carry the cue of another class, and would hide the effect. They are
recognised by how they change the predictions for all other images, and left out.
"""

import torch
from torch import Tensor

from .. import statistics
from .donors import Donors

PROBABILITY, DECISION, RIGHT, APART, IS_OWN = range(5)

_LEAST = 1e-6  # of probability: nearer to 1, single precision has few steps left, and at 1 no odds
_ALL_UP_TO = 2.0  # standard errors of the donors' mean pull: chance exceeds them once in 44 times
_TYPICAL_FROM = 3.0  # of the same: chance exceeds them once in 740 times


def of_all(answers: Tensor) -> Tensor:
    """Effects ``(N, 3)`` of all donors, from answers ``(N, 2 R, 2 R, 2)``, see `DonorSwap.answers`."""
    return _effect(answers, ~answers[:, :, 0, PROBABILITY].isnan())


def of_typical(answers: Tensor, targets: Tensor, donors: Donors) -> Tensor:
    """Effects ``(N, 3)`` of the donors that carry the cue of their class, as far as the answers show which do.

    A donor is typical if it makes its class likelier in the other images. The image itself is left out: selecting
    donors by its own answer would bias its effect. If the model ignores the cue, this selection is noise. Therefore
    all donors count while their mean pull is within `_ALL_UP_TO` standard errors of 0, only typical ones from
    `_TYPICAL_FROM` on, with a linear blend between. An image without a typical donor of either kind uses all of its
    donors.

    A cue that agrees with the class in 70 % of the images would otherwise be read as 0.4 of its true effect.
    """
    odds = log_odds(answers[..., PROBABILITY])
    # How much likelier a donor makes its class than an image's donors do on average. The average takes away how likely
    # the class is in this image anyway. ``(N, 2 R)``, as `lenders`.
    pulls = odds.diagonal(dim1=1, dim2=2) - odds.nanmean(1)
    lenders, are_defined, pulls = donors.all, pulls.isfinite().float(), pulls.nan_to_num()
    totals, counts = (
        torch.zeros(len(pulls)).index_add_(0, lenders.flatten(), values.flatten()) for values in (pulls, are_defined)
    )
    # What the image itself adds to its donors' totals; an image may have the same donor twice.
    own_parts = ((lenders[:, :, None] == lenders[:, None]) * pulls[:, None]).sum(2)
    of_everyone, of_typical_ones = of_all(answers), _effect(answers, totals[lenders] > own_parts)
    of_typical_ones = of_typical_ones.where(of_typical_ones.isfinite(), of_everyone)
    return of_everyone.lerp(of_typical_ones, _sureness(totals / counts, targets, lenders.shape[1]))


def _sureness(pulls: Tensor, targets: Tensor, n_donors: int) -> float:
    """How surely donors pull towards their own classes, 0 to 1, from the mean pull of each ``(N,)``."""
    mean, error = (f(pulls, targets) for f in (statistics.stratified_mean, statistics.standard_error))
    error *= n_donors / (n_donors - 1)  # a pull is measured from a mean that the donor itself is part of
    excess = mean / max(error, _LEAST) - _ALL_UP_TO
    return min(max(excess / (_TYPICAL_FROM - _ALL_UP_TO), 0), 1)


def _effect(answers: Tensor, counts: Tensor) -> Tensor:
    """Effects ``(N, 3)`` of the donors that count, bool ``(N, 2 R)``; NaN where none of a kind does."""
    shares = [(kind / kind.sum(1, keepdim=True))[:, :, None] for kind in counts.float().chunk(2, 1)]
    with_same, with_other = answers[:, :, 0].nan_to_num().chunk(2, 1)
    own = (shares[0] * with_same).sum(1)
    lost = own - (shares[1] * with_other).sum(1)
    return torch.cat([lost, own[:, DECISION:].where(lost[:, :1].isfinite(), torch.nan)], 1)


def from_own(effects: Tensor) -> Tensor:
    """The probability ``(N,)`` that is lost from an image's own cue to another; NaN where it is counted back."""
    lost = effects[:, PROBABILITY]
    return lost if effects.shape[1] <= IS_OWN else lost.where(effects[:, IS_OWN] == 1, torch.nan)


def log_odds(probabilities: Tensor) -> Tensor:
    """Finite also where a model is as sure as single precision can be."""
    return probabilities.clamp(_LEAST, 1 - _LEAST).logit()


def readings_of(probabilities: Tensor) -> Tensor:
    """Probabilities ``(n, n_classes)``, and the same of a model that is sure of its likeliest class, stacked last."""
    sure = torch.zeros_like(probabilities).scatter(1, probabilities.argmax(1, keepdim=True), 1.0)
    return torch.stack([probabilities, sure.where(probabilities.isfinite(), torch.nan)], -1)
