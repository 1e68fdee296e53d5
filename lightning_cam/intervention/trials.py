"""Trials: does a prediction change when only one cue is swapped?

Every probe image gets an edit twice, once from a donor of its own class and once from a donor of another class. Both
arms are edited, so what editing itself does cancels; what is left is what the model makes of the cue.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from . import edits
from .codec import can_lose_quality, match_codec
from .edits import Edit


@dataclass(frozen=True)
class Trial:
    """One cue and the edit that swaps it.

    Attributes:
        cue: Its name; two trials of one probe have different names.
        edit: Gives images one property of their donors.
        needs_masks: Whether the edit means nothing without the objects' masks.
        at_most: What it may lead to: "FAIL"; "WARN" where the object itself may have a part in the cue; "PASS" where
            it surely has, so that the reading supports others and judges nothing.
        off_object: Whether the edit reads or swaps where the object is not. Without masks the object may lie there all
            the same, so that the trial leads to "WARN" at most.
        part_of: Cue that this one is a part of. Swapping the whole swaps the part without a seam inside the background,
            which can disturb a model that does not rely on either; so an image relies on the part as much at most.
        applies: Which images ``(N,)`` of a probe, given their two donors, the edit can do anything to; None means all.
            It must not favour either donor, or what editing itself does would not cancel.
    """

    cue: str
    edit: Edit
    needs_masks: bool = False
    at_most: str = "FAIL"
    off_object: bool = False
    part_of: str | None = None
    applies: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None


STANDARD = (
    Trial("background", edits.swap_background, needs_masks=True, off_object=True),
    Trial("border", edits.swap_border, off_object=True, part_of="background"),
    Trial("corner", edits.swap_corners, off_object=True, part_of="background"),
    Trial("cast", edits.match_cast, off_object=True),
    Trial("codec", match_codec, applies=can_lose_quality),
    Trial("resolution", edits.match_resolution),
    Trial("frequency", edits.match_frequencies, at_most="WARN", off_object=True),
    Trial("position", edits.move_object, at_most="WARN"),
    Trial("tone", edits.match_tone, at_most="WARN"),
)


def region_trial(cells: Tensor) -> Trial:
    """The trial of the parts of an image from which an audit can tell the label, True in ``cells (h, w)``."""
    return Trial("region", partial(edits.swap_region, cells=cells), off_object=True, part_of="background")


ENOUGH_MASKS = 0.9  # of a probe: the effects of the others cannot lift a mean by more than `MARGIN`


def as_masked(trial: Trial, masks: Tensor | None) -> Trial:
    """The trial with what it may lead to on a probe with such masks."""
    known = 0.0 if masks is None else float(masks.any((1, 2)).float().mean())
    careful = trial.off_object and trial.at_most == "FAIL" and known < ENOUGH_MASKS
    return replace(trial, at_most="WARN") if careful else trial


@dataclass(frozen=True, eq=False)
class Donors:
    """Which images of a probe lend their properties to which, ``(N, R)`` indices each.

    Attributes:
        same: Of the image's own class, never the image itself.
        other: Of another class.
    """

    same: Tensor
    other: Tensor


def can_swap(targets: Tensor) -> bool:
    """Whether every image finds donors: two classes or more, each with two images or more."""
    counts = [count for count in targets.bincount().tolist() if count]
    return len(counts) > 1 and min(counts) > 1


def draw_donors(targets: Tensor, n: int, seed: int) -> Donors:
    """``n`` donors of either kind for each image, such that none lends much more often than the others.

    They differ as far as there are enough.

    Raises:
        ValueError: Fewer than two classes, or a class with a single image: nothing can be swapped within it.
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
            same[cycle, r] = cycle.roll(-1 - r % (len(cycle) - 1))
            places = torch.arange(len(cycle)) + r * len(strangers) // n
            other[cycle, r] = strangers[places % len(strangers)]
    return Donors(same, other)


def effects(
    trials: Sequence[Trial],
    images: Tensor,
    targets: Tensor,
    masks: Tensor | None,
    donors: Donors,
    probabilities: Callable[[Tensor], Tensor],
    chosen: Tensor | None = None,
) -> dict[str, Tensor]:
    """Reliance ``(n,)`` of each chosen image's prediction on each cue, from -1 to 1; NaN where the edit means nothing.

    Half of what the own class loses to the donor of another class, and half of what that class wins by it (the
    per-image form of the background gap of Xiao et al. 2021), over all donors. Trials that need masks are left out
    where there are none.

    Args:
        trials: What to swap.
        images: ``(N, C, H, W)`` pixels in [0, 1].
        targets: ``(N,)``.
        masks: ``(N, H, W)``; None without any.
        donors: Who lends to whom.
        probabilities: Pixels to class probabilities ``(n, n_classes)``, forward only.
        chosen: ``(n,)`` indices of the images to swap the cues of; None means all. Donors are any.
    """
    possible = [trial for trial in trials if masks is not None or not trial.needs_masks]
    chosen = torch.arange(len(images)) if chosen is None else chosen
    own = targets[chosen]
    found: dict[str, Tensor] = {}
    for trial in possible:
        per_donor = []
        for same, other in zip(donors.same.T, donors.other.T, strict=True):
            pair = swapped(trial, images, masks, Donors(same[:, None], other[:, None]), chosen)
            if torch.equal(*pair):  # such as the JPEG quality of pictures that were never JPEG
                halves = torch.zeros(len(chosen))
            else:
                change = probabilities(pair[0]) - probabilities(pair[1])
                halves = (_of_class(change, own) - _of_class(change, targets[other[chosen]])) / 2  # lost, and won
            per_donor.append(halves.where(_applies(trial, images, masks, same, other)[chosen], torch.nan))
        effect = torch.stack(per_donor).nanmean(0)
        found[trial.cue] = torch.fmin(effect, found[trial.part_of]) if trial.part_of in found else effect
    return found


def swapped(
    trial: Trial, images: Tensor, masks: Tensor | None, donors: Donors, chosen: Tensor
) -> tuple[Tensor, Tensor]:
    """The chosen images ``(n,)`` after the edit: with their first donor of the own class, and of another."""
    known = torch.zeros(len(images), *images.shape[2:], dtype=torch.bool) if masks is None else masks
    same, other = donors.same[chosen, 0], donors.other[chosen, 0]
    arms = (trial.edit(images[chosen], known[chosen], images[d], known[d]) for d in (same, other))
    return next(arms), next(arms)


def _of_class(values: Tensor, classes: Tensor) -> Tensor:
    return values.gather(1, classes[:, None])[:, 0]


def _applies(trial: Trial, images: Tensor, masks: Tensor | None, same: Tensor, other: Tensor) -> Tensor:
    """Whether the edit means something for an image and both its donors, ``(N,)``.

    Where it does for none, no image has any of the cue, and all count: nothing hangs on what is not there.
    """
    applies = torch.ones_like(same, dtype=torch.bool) if trial.applies is None else trial.applies(images, same, other)
    if not applies.any():
        applies = ~applies
    if masks is None or not trial.needs_masks:
        return applies
    known = edits.has_background(masks)
    return applies & known & known[same] & known[other]
