"""Volumes as pictures: their slices one below another, so that cues are swapped in all slices with one set of numbers.

A volume ``(C, D, H, W)`` is a picture ``(C, D * H, W)`` for an edit, and its mask as well. Colours, contrast and detail
are read from all slices at once, objects keep their place, and slice ``i`` gets what slice ``i`` of the donor has.
"""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from .. import cues
from .edits import TwoStepEdit, in_slices
from .swaps import DonorSwap
from .trials import STANDARD, Trial

# A JPEG has no volumes; what stamps, styles and rims are read from, and what changes an object, know pictures alone.
_OF_PICTURES = (cues.CODEC, cues.PATCH, cues.STYLE, cues.EDGE)
_OF_OBJECTS = (cues.POSITION, cues.SCALE, cues.ORIENTATION, cues.EXPOSURE)
NOT_ON_VOLUMES = frozenset(cue.name for cue in (*_OF_PICTURES, *_OF_OBJECTS))


def as_pictures(values: Tensor) -> Tensor:
    """Volumes ``(N, C, D, H, W)`` as pictures ``(N, C, D * H, W)``, or masks ``(N, D, H, W)`` as ``(N, D * H, W)``."""
    return values.flatten(-3, -2)


def as_volumes(pictures: Tensor, depth: int) -> Tensor:
    """What `as_pictures` gave, as volumes."""
    return pictures.reshape(*pictures.shape[:-2], depth, -1, pictures.shape[-1])


def for_volumes(trials: Sequence[Trial], depth: int) -> list[Trial]:
    """The trials that can be made on volumes of so many slices. One of the user's own is made as it is."""
    standard = {trial.cue: trial for trial in STANDARD}
    possible = [trial for trial in trials if trial.cue not in NOT_ON_VOLUMES or trial != standard[trial.cue]]
    return [_in_slices(trial, depth) for trial in possible]


def _in_slices(trial: Trial, depth: int) -> Trial:
    """A trial whose edit has a place in the picture: it is the same place in every slice."""
    swap = trial.swap
    if not isinstance(swap, DonorSwap) or not isinstance(swap.edit, TwoStepEdit):
        return trial
    return replace(trial, swap=replace(swap, edit=in_slices(swap.edit, depth)))
