"""When a cue has settled after a part of the images, so that the rest need not be asked.

Only a cue that is shown to do no harm stops early. What convicts or warns always rests on all images.
"""

import torch
from torch import Tensor

from .. import statistics
from .classes import CLASS_MARGIN
from .donors import balanced_subset
from .effects import APART, DECISION, PROBABILITY
from .reliance import MARGIN

# Images, at least: 36 of which none loses anything just rule out `MARGIN`. Of 40, 48 and 64 out of 96, 40 and 48 cost
# the fewest passes over 70 planted networks.
_FIRST = 40
_SHARE = 4  # a quarter of a large probe, which was made large to tell small reliances. Chosen, not measured.
_OF_CLASS = 14  # images of a class, at least: of 12 of which none loses anything, `CLASS_MARGIN` is just ruled out
_LEAST_OF_CLASS = 11  # images: of a class with fewer, all of its images settle nothing, see `classes.unsettled`


def first_part(targets: Tensor) -> Tensor:
    """Which images are asked first, ``(N,)`` bool: as many of each class, enough to settle a cue that is not used."""
    sizes = targets.bincount()
    n_classes = int((sizes > 0).sum()) if int(sizes.max()) >= _LEAST_OF_CLASS else 0
    chosen = balanced_subset(targets, max(_FIRST, len(targets) // _SHARE, _OF_CLASS * n_classes))
    is_first = torch.zeros(len(targets), dtype=torch.bool)
    is_first[chosen] = True
    return is_first


def is_harmless(effects: Tensor, targets: Tensor) -> bool:
    """Whether a cue is shown to stay below every margin: in probability, in decisions, in each class, and apart.

    Args:
        effects: ``(N, 4)``, see `effects`; NaN for images that were not asked.
        targets: ``(N,)``.
    """
    readings = [effects[:, column] for column in (PROBABILITY, DECISION, APART)]
    tried = [each for each in readings if not each.isnan().all()]  # an image's own cue mostly is not
    return (
        len(tried) > 1
        and all(statistics.surely_below(each, targets, margin=MARGIN) for each in tried)
        and statistics.bca_interval(effects[:, PROBABILITY], targets)[1] < MARGIN  # as the verdict will ask
        and all(
            _is_class_harmless(effects[targets == label], targets[targets == label]) for label in set(targets.tolist())
        )
    )


def _is_class_harmless(effects: Tensor, targets: Tensor) -> bool:
    readings = (effects[:, column] for column in (PROBABILITY, DECISION))
    return len(targets) < _LEAST_OF_CLASS or all(
        statistics.surely_below(each, targets, margin=CLASS_MARGIN) for each in readings
    )
