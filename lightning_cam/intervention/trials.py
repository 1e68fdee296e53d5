"""Trials: does a prediction change when only one cue is swapped?

Every probe image gets an edit twice, once from a donor of its own class and once from a donor of another class. Both
arms are edited, so what editing itself does cancels; what is left is what the model makes of the cue. A property of the
picture as a whole is brought to each of the levels that the two classes have, and the answers are weighed by how often.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .. import cues, statistics
from ..cues import Cue
from . import edits
from .edits import Edit
from .levels import (
    Levels,
    LevelsOf,
    cast_levels,
    codec_levels,
    contrast_levels,
    resolution_levels,
    sharpness_differs_off_object,
)

_VALUES_AT_ONCE = 2**20  # of the images that are edited together: on a CPU, more leave its caches


@dataclass(frozen=True)
class Trial:
    """One cue and what swaps it: an edit, or the levels of a property.

    Attributes:
        cue: Its name; two trials of one probe have different names.
        edit: Gives images one property of single donors.
        levels: Finds the levels of a property among images, masks and targets, and brings images to them.
        needs_masks: Whether the edit means nothing without the objects' masks.
        at_most: What it may lead to: "FAIL"; "WARN" where the object itself may have a part in the cue; "PASS" where
            it surely has, so that the reading supports others and judges nothing.
        off_object: Whether the edit reads or swaps where the object is not. Without masks the object may lie there all
            the same, so that the trial leads to "WARN" at most.
        keeps_object: Whether the edit leaves the object as it is where masks are known. Then answers hang on what
            donors bring alone, and tell which of them carry the cue of their class.
        part_of: Cue that this one is a part of. Swapping the whole swaps the part without a seam inside the background,
            which can disturb a model that does not rely on either; so an image relies on the part as much at most.
        shows_off_object: Whether, by images, masks and targets, classes differ in the cue where no object is. Where
            they do not, or masks are missing, it may be the objects' own and leads to "WARN" at most.
    """

    cue: str
    edit: Edit | None = None
    levels: LevelsOf | None = None
    needs_masks: bool = False
    at_most: str = "FAIL"
    off_object: bool = False
    keeps_object: bool = False
    part_of: str | None = None
    shows_off_object: Callable[[Tensor, Tensor, Tensor], bool] | None = None

    def __post_init__(self) -> None:
        if (self.edit is None) == (self.levels is None):
            raise ValueError(f"trial {self.cue!r} needs either edit= or levels=")


_MOST = {"off object": "FAIL", "shared": "WARN", "object": "PASS"}  # a trial may lead to, by whose property a cue is


def _trial(cue: Cue, edit: Edit | None = None, **swap: Any) -> Trial:
    """The trial of a cue of the table."""
    return Trial(
        cue.name, edit, at_most=_MOST[cue.owner], off_object=cue.needs_masks_to_convict, part_of=cue.part_of, **swap
    )


STANDARD = (
    _trial(cues.BACKGROUND, edits.swap_background, needs_masks=True, keeps_object=True),
    _trial(cues.BORDER, edits.swap_border, keeps_object=True),
    _trial(cues.CORNER, edits.swap_corners, keeps_object=True),
    _trial(cues.CAST, levels=cast_levels),
    _trial(cues.CONTRAST, levels=contrast_levels),
    _trial(cues.CODEC, levels=codec_levels),
    _trial(cues.RESOLUTION, levels=resolution_levels, shows_off_object=sharpness_differs_off_object),
    _trial(cues.FREQUENCY, edits.match_frequencies),
    _trial(cues.POSITION, edits.move_object, keeps_object=True),
    _trial(cues.TONE, edits.match_tone),
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


def region_trial(cells: Tensor) -> Trial:
    """The trial of the parts of an image from which an audit can tell the label, True in ``cells (h, w)``."""
    return _trial(cues.REGION, edits.swap_region(cells), keeps_object=True)


def as_seen(trial: Trial, images: Tensor, masks: Tensor | None, targets: Tensor) -> Trial:
    """The trial with what it may lead to on such a probe."""
    if trial.at_most != "FAIL" or not (trial.off_object or trial.shows_off_object):
        return trial
    if masks is None or not edits.has_enough_masks(masks):
        return replace(trial, at_most="WARN")
    shows = trial.shows_off_object is None or trial.shows_off_object(images, masks, targets)
    return trial if shows else replace(trial, at_most="WARN")


@dataclass(frozen=True, eq=False)
class Donors:
    """Which images of a probe lend their properties to which, ``(N, R)`` indices each.

    Attributes:
        same: Of the image's own class; the image itself only where its class has no other, and then nothing is said.
        other: Of another class.
    """

    same: Tensor
    other: Tensor

    @property
    def all(self) -> Tensor:
        """Those of the own class, then the others, ``(N, 2 R)``."""
        return torch.cat([self.same, self.other], 1)


def can_swap(targets: Tensor) -> bool:
    """Whether images of two classes or more find donors of both kinds: each of these has two images or more."""
    return int((targets.bincount() > 1).sum()) > 1


def draw_donors(targets: Tensor, n: int, seed: int) -> Donors:
    """``n`` donors of either kind for each image, such that none lends much more often than the others.

    They differ as far as there are enough.

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
            same[cycle, r] = cycle.roll(-1 - r % max(len(cycle) - 1, 1))
            places = torch.arange(len(cycle)) + r * len(strangers) // n
            other[cycle, r] = strangers[places % len(strangers)]
    return Donors(same, other)


def answers(
    trials: Sequence[Trial],
    images: Tensor,
    targets: Tensor,
    masks: Tensor | None,
    donors: Donors,
    plain: Tensor,
    probabilities: Callable[[Tensor], Tensor],
    chosen: Tensor | None = None,
) -> dict[str, Tensor]:
    """What a model makes of the chosen images under each trial; `effects` weighs it. Trials without their masks: none.

    Of an edit ``(n, 2 R, 2 R)``: with the cue of donor ``a``, the probability of the class of donor ``b``, those of the
    own class first; NaN where the edit means nothing. Of levels, which need no other image's answers, the effects
    ``(n,)``.

    Args:
        trials: What to swap.
        images: ``(N, C, H, W)`` pixels in [0, 1].
        targets: ``(N,)``.
        masks: ``(N, H, W)``; None without any.
        donors: Who lends to whom.
        plain: ``(n, n_classes)`` probabilities of the chosen images as they are.
        probabilities: Pixels to class probabilities ``(n, n_classes)``, forward only.
        chosen: ``(n,)`` indices of the images to swap the cues of; None means all. Donors are any.
    """
    known = _known(images, masks)
    chosen = torch.arange(len(images)) if chosen is None else chosen
    at_once = max(1, _VALUES_AT_ONCE // images[0].numel())
    read: list[edits.Read] = []
    read_by: object = None
    found: dict[str, Tensor] = {}
    for trial in trials:
        if trial.needs_masks and masks is None:
            continue
        if trial.levels is not None:
            levels = trial.levels(images, known, targets)
            found[trial.cue] = _of_levels(levels, targets, donors, plain, probabilities, chosen)
        else:
            assert trial.edit is not None
            edit = edits.in_two_steps(trial.edit)
            if edit.read is not read_by:
                read, read_by = _in_parts(edit.read, images, known, at_once), edit.read
            has_all = edits.has_background(known) if trial.needs_masks else torch.ones_like(targets, dtype=torch.bool)
            edited = partial(_given, edit, images, read, chosen, at_once)
            found[trial.cue] = _of_donors(
                edited, images[chosen], has_all, targets, donors, plain, probabilities, chosen
            )
    return found


def swapped(
    trial: Trial, images: Tensor, masks: Tensor | None, targets: Tensor, donors: Donors, chosen: Tensor, r: int = 0
) -> tuple[Tensor, Tensor]:
    """The chosen images ``(n,)`` with the cue of their donor ``r`` of the own class, and of another."""
    known = _known(images, masks)
    same, other = donors.same[chosen, r], donors.other[chosen, r]
    if trial.levels is not None:
        levels = trial.levels(images, known, targets)
        return _at(levels, images, chosen, levels.of[same]), _at(levels, images, chosen, levels.of[other])
    return _edited(trial, images, known, chosen, same), _edited(trial, images, known, chosen, other)


def _edited(trial: Trial, images: Tensor, masks: Tensor, chosen: Tensor, donors: Tensor) -> Tensor:
    """The chosen images ``(n,)``, each with the cue of its donor."""
    assert trial.edit is not None
    return trial.edit(images[chosen], masks[chosen], images[donors], masks[donors])


def _in_parts(
    read: Callable[[Tensor, Tensor], tuple[edits.Read, edits.Read]], images: Tensor, masks: Tensor, n: int
) -> list[edits.Read]:
    """What is read from all images, ``n`` at a time: intermediate results of all would fill the memory."""
    pairs = zip(torch.split(images, n), torch.split(masks, n), strict=True)
    both = zip(*(read(*pair) for pair in pairs), strict=True)
    return [tuple(map(torch.cat, zip(*parts, strict=True))) for parts in both]


def _given(
    edit: edits.TwoStepEdit, images: Tensor, read: Sequence[edits.Read], chosen: Tensor, n: int, donors: Tensor
) -> Tensor:
    """The chosen images, each with the cue of its donor, ``n`` at a time."""
    edited = []
    for pair in zip(torch.split(chosen, n), torch.split(donors, n), strict=True):
        own, lent = (tuple(each[some] for each in side) for side, some in zip(read, pair, strict=True))
        edited.append(edit.give(images[pair[0]], own, lent))
    return torch.cat(edited)


def _of_donors(
    edited: Callable[[Tensor], Tensor],
    pictures: Tensor,
    has_all: Tensor,
    targets: Tensor,
    donors: Donors,
    plain: Tensor,
    probabilities: Callable[[Tensor], Tensor],
    chosen: Tensor,
) -> Tensor:
    """Answers ``(n, 2 R, 2 R)`` to the donors one by one; NaN to the image itself and where not all is known."""
    lenders = donors.all[chosen]
    said, per_donor = plain, []
    for donor in lenders.T:
        previous, pictures = pictures, edited(donor)
        said = said if torch.equal(pictures, previous) else probabilities(pictures)
        means_something = has_all[chosen] & has_all[donor] & (donor != chosen)
        per_donor.append(said.gather(1, targets[lenders]).where(means_something[:, None], torch.nan))
    return torch.stack(per_donor, 1)


def _of_levels(
    levels: Levels,
    targets: Tensor,
    donors: Donors,
    plain: Tensor,
    probabilities: Callable[[Tensor], Tensor],
    chosen: Tensor,
) -> Tensor:
    """Effects ``(n,)`` of all images of the own and of the donors' classes as donors, each level of theirs once.

    Half of what the own class loses, and half of what the donor's wins: what bringing to a level itself does, which the
    own arm may go without, takes from the one and gives to all of the others.

    NaN where no level of theirs can be reached, as the worse class cannot be made better, and for images that are alone
    in their class. Where nothing can be reached all are alike, and nothing hangs on what is not there.
    """
    strangers = targets[donors.other]
    shares = _shares(levels, targets)
    gaps, present = shares[targets][:, None] - shares[strangers], shares[targets][:, None] + shares[strangers] > 0
    if statistics.differ(levels.of[:, None], targets):
        gaps = gaps / (gaps.abs().sum(2, keepdim=True) / 2).clamp_min(1e-9)
    reached = present & levels.changes[:, None]  # (N, donors, levels)
    if not reached.any():
        return torch.zeros(len(chosen))
    own, others, total = targets[chosen, None], strangers[chosen], torch.zeros(len(chosen), donors.other.shape[1])
    for level in gaps.any(0).any(0).nonzero()[:, 0].tolist():
        after, moved = plain.clone(), reached[chosen, :, level].any(1)
        if moved.any():
            at_level = levels.bring(chosen[moved], torch.full((int(moved.sum()),), level))
            after[moved] = probabilities(at_level)
        total += gaps[chosen, :, level] * (after.gather(1, own) - after.gather(1, others)) / 2
    has_donors = donors.same[chosen, :1] != chosen[:, None]
    return total.where(reached[chosen].any(2) & has_donors, torch.nan).nanmean(1)


def _shares(levels: Levels, targets: Tensor) -> Tensor:
    """How often images of a class lie on each level, ``(classes, levels)``."""
    n_classes, n_levels = int(targets.max()) + 1, levels.changes.shape[1]
    counts = (targets * n_levels + levels.of).bincount(minlength=n_classes * n_levels).reshape(n_classes, n_levels)
    return counts / counts.sum(1, keepdim=True).clamp_min(1)


def _at(levels: Levels, images: Tensor, chosen: Tensor, wanted: Tensor) -> Tensor:
    """The chosen images, each brought to its level where that changes it."""
    brought, moved = images[chosen], levels.changes[chosen, wanted]
    if moved.any():
        brought[moved] = levels.bring(chosen[moved], wanted[moved])
    return brought


def _known(images: Tensor, masks: Tensor | None) -> Tensor:
    return torch.zeros(len(images), *images.shape[2:], dtype=torch.bool) if masks is None else masks
