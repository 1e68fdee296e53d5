"""Trials: does a prediction change when only one cue is swapped?

Every probe image is edited twice, once with the cue of its own class and once with the cue of another class. Both arms
are edited, so the side effects of editing cancel. The rest is the model's reaction to the cue.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from .. import cues
from ..allocator import give_back
from ..cues import Cue
from . import edits
from .effects import RIGHT
from .exposures import exposure_levels
from .levels import (
    cast_is_sure,
    cast_levels,
    codec_levels,
    contrast_is_shared,
    contrast_levels,
    resolution_levels,
    sharpness_differs_off_object,
)
from .masks import has_enough_masks
from .material import Material, Session
from .rims import rim_levels
from .settling import first_part, is_harmless
from .sizes import size_levels
from .stamps import patch_levels, patches_lie_off_object
from .styles import style_differs_off_object, style_levels
from .swaps import DonorSwap, LevelSwap, Swap
from .turns import turn_levels

AtMost: TypeAlias = Literal["FAIL", "WARN", "INCONCLUSIVE", "PASS"]
_AT_MOST: Mapping[str, AtMost] = {"off object": "FAIL", "shared": "WARN", "object": "PASS"}  # by the owner of a cue


@dataclass(frozen=True)
class Trial:
    """One cue and how it is swapped.

    Attributes:
        cue: Its name. Two trials of one probe have different names.
        swap: A `DonorSwap` or a `LevelSwap`.
        at_most: The worst outcome that the trial may lead to. "WARN" where the object may have a part in the cue;
            "INCONCLUSIVE" where such a probe does not tell, "PASS" where it surely has: the trial judges nothing.
        needs_masks_to_convict: See `Cue`. Without masks such a trial leads to "WARN" at most.
        part_of: The cue that contains this one, see `Cue`. The effect of a part is capped at that of the whole.
    """

    cue: str
    swap: Swap
    at_most: AtMost = "FAIL"
    needs_masks_to_convict: bool = False
    part_of: str | None = None

    def __post_init__(self) -> None:
        if not hasattr(self.swap, "answers"):
            given = type(self.swap).__name__
            raise TypeError(f"trial {self.cue!r} needs a DonorSwap(edit) or a LevelSwap(levels_of), got {given}")

    def __repr__(self) -> str:
        return f"Trial({self.cue!r}, {type(self.swap).__name__}, at most {self.at_most})"


def _trial(cue: Cue, swap: Swap) -> Trial:
    """The trial of a cue of the table."""
    return Trial(cue.name, swap, _AT_MOST[cue.owner], cue.needs_masks_to_convict, cue.part_of)


STANDARD = (
    _trial(cues.BACKGROUND, DonorSwap(edits.swap_background, needs_masks=True, keeps_object=True)),
    _trial(cues.BORDER, DonorSwap(edits.swap_border, keeps_object=True)),
    _trial(cues.CORNER, DonorSwap(edits.swap_corners, keeps_object=True)),
    _trial(cues.CAST, LevelSwap(cast_levels, is_shared=cast_is_sure)),
    _trial(cues.CONTRAST, LevelSwap(contrast_levels, is_shared=contrast_is_shared)),
    _trial(cues.CODEC, LevelSwap(codec_levels)),
    _trial(cues.RESOLUTION, LevelSwap(resolution_levels, sharpness_differs_off_object)),
    _trial(cues.FREQUENCY, DonorSwap(edits.match_frequencies)),
    _trial(cues.POSITION, DonorSwap(edits.move_object, keeps_object=True, moves_object=True)),
    _trial(cues.TONE, DonorSwap(edits.match_tone)),
    _trial(cues.PATCH, LevelSwap(patch_levels, patches_lie_off_object)),
    _trial(cues.STYLE, LevelSwap(style_levels, style_differs_off_object)),
    _trial(cues.EDGE, LevelSwap(rim_levels, reads_masks=True)),
    _trial(cues.SCALE, LevelSwap(size_levels, reads_masks=True, moves_object=True)),
    _trial(cues.ORIENTATION, LevelSwap(turn_levels, reads_masks=True, moves_object=True)),
    _trial(cues.EXPOSURE, LevelSwap(exposure_levels, reads_masks=True)),
)


def chosen_trials(chosen: Sequence[Trial | str] | None, known: Sequence[Trial] = STANDARD) -> tuple[Trial, ...]:
    """The trials as the user chose them, by name or as objects; None chooses all that are known.

    >>> [trial.cue for trial in chosen_trials(["border", "tone"])]
    ['border', 'tone']

    Raises:
        ValueError: A name belongs to no known trial.
    """
    by_cue = {trial.cue: trial for trial in known}
    wrong = [one for one in chosen or () if isinstance(one, str) and one not in by_cue]
    if wrong or isinstance(chosen, str):
        raise ValueError(f"trials must be a list of Trial objects or of names out of {list(by_cue)}, got {chosen!r}")
    return tuple(known if chosen is None else (by_cue[one] if isinstance(one, str) else one for one in chosen))


def moves_object(trial: Trial) -> bool:
    """Whether the object is elsewhere in a trial's pictures."""
    return isinstance(trial.swap, DonorSwap | LevelSwap) and trial.swap.moves_object


def region_trial(cells: Tensor) -> Trial:
    """The trial of the parts of an image from which an audit can tell the label, True in ``cells (h, w)``."""
    return _trial(cues.REGION, DonorSwap(edits.swap_region(cells), keeps_object=True))


def limited(trial: Trial, images: Tensor, masks: Tensor | None, known: Tensor | None, targets: Tensor) -> Trial:
    """The trial with the worst outcome that it may lead to on such a probe. Guessed masks are False in ``known``."""
    is_shared = trial.swap.is_shared if isinstance(trial.swap, LevelSwap) else None
    if is_shared is not None and masks is not None and not is_shared(images, masks, targets):
        return replace(trial, at_most="INCONCLUSIVE")
    if trial.at_most != "FAIL" or not trial.needs_masks_to_convict:
        return trial
    knows_objects = known is not None and has_enough_masks(known)
    convicts = known is not None and knows_objects and trial.swap.is_off_object(images, known, targets)
    return trial if convicts else replace(trial, at_most="WARN")


def answers(trials: Sequence[Trial], session: Session, *, until_settled: bool = False) -> dict[str, Tensor]:
    """The model's answers ``(n, ...)`` for the chosen images, by cue; without masks none where a trial needs them.

    Args:
        trials: What is swapped.
        session: The images, and the model.
        until_settled: Whether a cue of single donors that has settled after a part of the images stops there. The
            answers for the others are NaN then. A level costs few passes, so it is brought to all images.
    """
    has_masks = session.material.masks is not None
    answers_of: dict[str, Tensor] = {}
    for trial in trials:
        if has_masks or not trial.swap.needs_masks:
            if until_settled and not isinstance(trial.swap, LevelSwap):
                answers_of[trial.cue] = _until_settled(trial, session, trials, answers_of)
            else:
                answers_of[trial.cue] = trial.swap.answers(session)
            give_back(session.material.images)
    return answers_of


def _until_settled(trial: Trial, session: Session, trials: Sequence[Trial], answers_of: Mapping[str, Tensor]) -> Tensor:
    """The answers for a first part of the images, and for the rest unless the trial has settled or judges nothing.

    A part of a whole that does no harm is not asked: its effect would be capped at that of the whole.
    """
    material, targets = session.material, session.material.targets[session.chosen]
    is_first = first_part(targets)

    def has_settled(one: Trial, found: Tensor) -> bool:
        of_all = {
            cue: _spread(each, session.chosen, len(material.targets))
            for cue, each in {**answers_of, one.cue: found}.items()
            if cue in (one.cue, one.part_of)
        }
        return is_harmless(effects(trials, of_all, material)[one.cue][session.chosen], targets)

    whole = next((one for one in trials if one.cue == trial.part_of and isinstance(one.swap, DonorSwap)), None)
    if whole is not None and whole.cue in answers_of and has_settled(whole, answers_of[whole.cue]):
        return answers_of[whole.cue]
    found = _spread(trial.swap.answers(session.part(is_first)), is_first.nonzero()[:, 0], len(targets))
    if not (is_first.all() or trial.at_most == "PASS" or has_settled(trial, found)):
        found[~is_first] = trial.swap.answers(session.part(~is_first))
    return found


def _spread(answers: Tensor, rows: Tensor, n: int) -> Tensor:
    """Answers ``(m, ...)`` at the rows ``(m,)`` of ``n``, NaN at the others."""
    spread = answers.new_full((n, *answers.shape[1:]), torch.nan)
    spread[rows] = answers
    return spread


def effects(trials: Sequence[Trial], answers: Mapping[str, Tensor], material: Material) -> dict[str, Tensor]:
    """Reliance ``(N, 4)`` of each image's prediction on each cue, see `effects`; NaN where nothing can be said.

    The first column is the probability that the own class loses when the cue comes from another class: the per-image
    form of the background gap of Xiao et al. 2021. ``answers`` are those for all images.
    """
    effect_of: dict[str, Tensor] = {}
    for trial in trials:
        if trial.cue in answers:
            effect = trial.swap.effects(answers[trial.cue], material)
            whole = effect_of.get(trial.part_of or "")
            effect_of[trial.cue] = effect if whole is None else _capped(effect, whole)
    return effect_of


def _capped(effect: Tensor, whole: Tensor) -> Tensor:
    """What a part takes away is no more than what the whole does; how often answers are right is the part's own."""
    return torch.cat([torch.fmin(effect[:, :RIGHT], whole[:, :RIGHT]), effect[:, RIGHT:]], 1)
