"""What masks hide: one that is larger than its object covers background, and a reliance on that part is not seen."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .. import maskers
from ..examination import Report
from ..intervention import MARGIN, DonorSwap, GroupSwap, Reliance, Trial
from ..intervention.known import Known
from ..probe import COVERING, Probe
from ..statistics import equivalent

# Of a picture: of less background, too little is seen to speak for the rest. Chosen, not measured.
LEAST_LEFT = 0.25


def share_left(report: Report) -> float:
    """The share of a picture that masks leave on average; masks as large as their objects count as leaving all."""
    return 1.0 - _share(_covering(report))


def background_left(report: Report) -> float:
    """The share of the background that masks leave on average.

    Nobody knows how much of a mask is object; counted is what a guess takes for surely object. On 18 sets of pictures
    covers left 0.42 to 0.68 by this count, at most 0.03 more than in truth.
    """
    covering = _covering(report)
    if report.probe is None or not covering.any() or covering.all():
        return share_left(report)
    return share_left(report) / (1.0 - _share(covering & _cores(report.probe.images)[_is_masked(report.probe)]))


def perhaps_above(report: Report, reliances: Sequence[Reliance]) -> list[Reliance]:
    """Those below the margin that may lie above it, if the hidden background does as much as what is left of it.

    Only of cues that are swapped in places: a colour cast, say, is read where no mask is, and swapped everywhere.
    """
    if share_left(report) == 1:
        return []
    in_places = {trial.cue for trial in report.trials if trial.needs_masks_to_convict and _keeps_object(trial)}
    below = [each for each in reliances if each.cue in in_places and each.is_settled]
    bound = MARGIN * background_left(report) if share_left(report) >= LEAST_LEFT else -math.inf
    return [each for each in below if not equivalent((each.low, _high(each)), bound)]


def _covering(report: Report) -> Tensor:
    """``(n, H, W)`` of all masks there are, those that may be larger than their objects; others are False."""
    covers = torch.tensor([source in COVERING for source in report.mask_sources], dtype=torch.bool)
    if not covers.any():
        return torch.zeros(1, dtype=torch.bool)
    if report.probe is None or report.probe.masks is None:  # a report made by hand
        return torch.ones(1, dtype=torch.bool)
    masks = report.probe.masks
    return (masks & covers.reshape(-1, *(1 for _ in masks.shape[1:])))[_is_masked(report.probe)]


def _is_masked(probe: Probe) -> Tensor:
    return torch.zeros(len(probe), dtype=torch.bool) if probe.masks is None else probe.masks.flatten(1).any(1)


def _share(masks: Tensor) -> float:
    return float(masks.float().mean())


def _core(images: Tensor) -> Tensor:
    """What a guess takes for surely object; nothing of volumes, which cannot be guessed at."""
    return maskers.guess(images)[1] if images.ndim == 4 else torch.zeros_like(images[:, 0], dtype=torch.bool)


_cores: Known[Tensor] = Known(_core)


def _high(reliance: Reliance) -> float:
    """The higher of the upper ends of both readings."""
    return reliance.high if math.isnan(reliance.accuracy_high) else max(reliance.high, reliance.accuracy_high)


def _keeps_object(trial: Trial) -> bool:
    swap = trial.swap.swap if isinstance(trial.swap, GroupSwap) else trial.swap
    return isinstance(swap, DonorSwap) and swap.keeps_object
