"""From answers to effects: how much of its class one image loses when only a cue is swapped.

In most data a cue only goes along with the class: some donors of the own class carry that of another. They would hide
it, so that as far as it shows which ones they are, they do not count.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .. import statistics
from .edits import has_enough_masks
from .trials import Donors, Trial

_LEAST = 1e-6  # of probability: nearer to 0 or 1, single precision sees no odds


def effects(
    trials: Sequence[Trial], answers: Mapping[str, Tensor], targets: Tensor, masks: Tensor | None, donors: Donors
) -> dict[str, Tensor]:
    """Reliance ``(N,)`` of each image's prediction on each cue, from -1 to 1; NaN where nothing can be said.

    What the probability of the own class loses to the cue of a donor of another class: the per-image form of the
    background gap of Xiao et al. 2021. Over all donors, or those that carry the cue of their class, where masks tell it
    from the object.

    Args:
        trials: What was swapped.
        answers: Of all images.
        targets: ``(N,)``.
        masks: ``(N, H, W)``; None without any.
        donors: Who lent to whom.
    """
    knows_objects = masks is not None and has_enough_masks(masks)
    found: dict[str, Tensor] = {}
    for trial in trials:
        if trial.cue not in answers:
            continue
        said = answers[trial.cue]
        if trial.levels is not None:
            effect = said
        elif trial.keeps_object and knows_objects:
            effect = _of_typical(said, targets, donors)
        else:
            effect = _of_all(said)
        found[trial.cue] = torch.fmin(effect, found[trial.part_of]) if trial.part_of in found else effect
    return found


def _of_all(answers: Tensor) -> Tensor:
    """Effects ``(N,)`` of all donors."""
    return _effect(answers, ~answers[:, :, 0].isnan())


def _of_typical(answers: Tensor, targets: Tensor, donors: Donors) -> Tensor:
    """Effects ``(N,)`` of the donors that carry the cue of their class, as far as it shows which do.

    These are the ones that make their class likelier in all images but the one itself: its own answer would be chosen
    for the effect that is to be measured. Where the model does not use the cue, donors pull at random. So all count up
    to two standard errors of the donors' mean pull from 0, the typical ones alone from three on; an image that has none
    of one kind keeps all.
    """
    odds = answers.clamp(_LEAST, 1 - _LEAST).logit()
    pulls = odds.diagonal(dim1=1, dim2=2) - odds.nanmean(1)  # of a donor towards its class
    lenders, n = donors.all, pulls.shape[1]
    used, pulls = pulls.isfinite().float(), pulls.nan_to_num()
    total, uses = (torch.zeros(len(pulls)).index_add_(0, lenders.flatten(), x.flatten()) for x in (pulls, used))
    mean, error = (f(total / uses, targets) for f in (statistics.stratified_mean, statistics.standard_error))
    error *= n / (n - 1)  # a donor is part of the mean that its pull is held to
    weight = mean / max(error, _LEAST) - 2
    here = ((lenders[:, :, None] == lenders[:, None]) * pulls[:, None]).sum(2)
    of_all, of_typical = _of_all(answers), _effect(answers, total[lenders] > here)
    return of_all.lerp(of_typical.where(of_typical.isfinite(), of_all), min(max(weight, 0), 1))


def _effect(answers: Tensor, counts: Tensor) -> Tensor:
    """Effects ``(N,)`` of the donors that count, bool ``(N, 2 R)``; NaN where none of a kind does."""
    shares = [kind / kind.sum(1, keepdim=True) for kind in counts.float().chunk(2, 1)]
    with_same, with_other = answers[:, :, 0].nan_to_num().chunk(2, 1)
    return (shares[0] * with_same).sum(1) - (shares[1] * with_other).sum(1)
