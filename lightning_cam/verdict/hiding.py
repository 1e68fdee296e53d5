"""What masks hide: one that is larger than its object covers background, and a reliance on that part is not seen."""

import math
from collections.abc import Sequence

import torch

from ..examination import Report
from ..intervention import MARGIN, DonorSwap, Reliance, Trial
from ..probe import WIDENED
from ..statistics import equivalent

# Who reviews a mask makes sure that no object sticks out, not that the outline is tight; and a box has corners. Read
# with loose boxes, a model that loses 0.47 of its accuracy seemed to lose 0.09 of its probability.
COVERING = ("reviewed", "box", WIDENED)
# Of a picture: of less background, too little is seen to speak for the rest. Chosen, not measured.
LEAST_LEFT = 0.25


def share_left(report: Report) -> float:
    """The share of a picture that masks leave on average; those that are as large as the object count as leaving all.

    The share of the background that the others leave is unknown: nobody knows the object's size. It is no smaller.
    """
    covers = torch.tensor([source in COVERING for source in report.mask_sources], dtype=torch.bool)
    if not covers.any():
        return 1.0
    if report.probe is None or report.probe.masks is None:  # a report made by hand
        return 0.0
    masks = report.probe.masks
    return 1.0 - float((masks & covers[:, None, None])[masks.any((1, 2))].float().mean())


def perhaps_above(report: Report, reliances: Sequence[Reliance]) -> list[Reliance]:
    """Those below the margin that may lie above it, if the hidden background does as much as what is left of it.

    Only of cues that are swapped in places: a colour cast, say, is read where no mask is, and swapped everywhere.
    """
    if (left := share_left(report)) == 1:
        return []
    in_places = {trial.cue for trial in report.trials if trial.needs_masks_to_convict and _keeps_object(trial)}
    below = [each for each in reliances if each.cue in in_places and each.is_settled]
    return [each for each in below if left < LEAST_LEFT or not equivalent((each.low, _high(each)), left * MARGIN)]


def _high(reliance: Reliance) -> float:
    """The higher of the upper ends of both readings."""
    return reliance.high if math.isnan(reliance.accuracy_high) else max(reliance.high, reliance.accuracy_high)


def _keeps_object(trial: Trial) -> bool:
    return isinstance(trial.swap, DonorSwap) and trial.swap.keeps_object
