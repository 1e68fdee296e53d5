"""Two ways to swap a cue: by an edit that takes a property from single donors, and by the levels of a property.

Both have the same methods, because processes share the images of a probe. Each process asks the model about some of
them (`answers`). The effects are worked out afterwards, from the answers of all processes (`effects`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .. import statistics
from ..allocator import give_back
from . import edits
from .edits import Edit
from .effects import DECISION, of_all, of_typical, readings_of
from .filters import in_parts
from .levels import Levels, LevelsOf
from .masks import has_background
from .material import Material, Readings, Session, at_once

_TINY = 1e-9  # of a share: keeps 0 / 0 defined; a single image has a far larger one


class Swap(Protocol):
    """How a trial swaps its cue."""

    @property
    def needs_masks(self) -> bool:
        """Whether the swap means nothing without the objects' masks."""

    def answers(self, session: Session) -> Tensor:
        """The model's answers for the chosen images ``(n, ...)``. Only `effects` of the same swap reads them."""

    def effects(self, answers: Tensor, material: Material) -> Tensor:
        """Effects ``(N, 4)``, see `effects`, from the answers for all images; NaN where an image has none."""

    def pictures(self, material: Material, chosen: Tensor, r: int) -> tuple[Tensor, Tensor]:
        """The chosen images ``(n,)`` with the cue of their donor ``r`` of the own class, and of another class."""

    def is_off_object(self, images: Tensor, masks: Tensor, targets: Tensor) -> bool:
        """Whether the masks show that classes differ in the cue where no object is."""


@dataclass(frozen=True)
class DonorSwap:
    """A swap by an edit, which gives images one property of single donors.

    Attributes:
        edit: What is done to the pixels.
        needs_masks: Whether the edit means nothing without the objects' masks.
        keeps_object: Whether the edit leaves the object as it is where masks are known. Then answers differ only by
            what donors bring. So they tell which donors carry the cue of their class.
        moves_object: Whether the object is elsewhere afterwards, so that its mask says nothing any more.
    """

    edit: Edit
    needs_masks: bool = False
    keeps_object: bool = False
    moves_object: bool = False

    def answers(self, session: Session) -> Tensor:
        """``(n, 2 R + 1, 2 R, 2)``: with the cue of donor ``a``, the readings of the class of donor ``b``.

        Donors of the own class come first, and the image itself last: its own cue through the same edit. NaN where a
        background is missing, and where an image is its own donor.
        """
        usable, images = self._usable(session.material), session.material.images
        parts = zip(in_parts(session.chosen, images), in_parts(session.plain, images), strict=True)
        return torch.cat([self._answers(session, usable, *part) for part in parts])

    def _answers(self, session: Session, usable: Tensor, chosen: Tensor, plain: Tensor) -> Tensor:
        targets, lenders = session.material.targets, session.material.donors.all[chosen]
        readings = session.readings_of_part()
        pictures, probabilities, per_donor = session.material.images[chosen], plain, []
        for donor in lenders.T:
            previous, pictures = pictures, self._edited(session.material.images, readings, chosen, donor)
            give_back(session.material.images)
            if not torch.equal(pictures, previous):  # some edits change nothing, and a pass costs more than comparing
                probabilities = session.ask(pictures, chosen)
            counts = usable[chosen] & usable[donor] & (donor != chosen)
            per_donor.append(_of_classes(probabilities, targets[lenders]).where(counts[:, None, None], torch.nan))
        with_same = torch.stack(per_donor[: len(per_donor) // 2], 1)
        per_donor.append(self._with_own_cue(session, chosen, _of_classes(plain, targets[lenders]), with_same))
        return torch.stack(per_donor, 1)

    def _with_own_cue(self, session: Session, chosen: Tensor, plain: Tensor, with_same: Tensor) -> Tensor:
        """The readings ``(n, 2 R, 2)`` with the image's own cue, through the same edit; NaN where that tells nothing.

        It tells what the edit does by itself. Asked only of images whose answer a donor of the own class has turned,
        which costs few passes; where none has, the edit has turned nothing either.
        """
        if not (self.needs_masks and self.keeps_object):
            return torch.full_like(plain, torch.nan)
        own, before = plain.clone(), plain[:, None, 0, DECISION]
        turned = (with_same[:, :, 0, DECISION] - before).nan_to_num().ne(0).any(1)
        if turned.any():
            rows, material = chosen[turned], session.material
            pictures = self._edited(material.images, session.readings_of_part(), rows, rows)
            lenders = material.targets[material.donors.all[rows]]
            own[turned] = _of_classes(session.ask(pictures, rows), lenders)
        return own

    def effects(self, answers: Tensor, material: Material) -> Tensor:
        """By all donors, or by those that carry the cue of their class, where masks tell it from the object."""
        of_donors, with_own_cue = answers[:, :-1], answers[:, -1, 0, DECISION]
        lost = (
            of_typical(of_donors, material.targets, material.donors)
            if self.keeps_object and material.knows_objects
            else of_all(of_donors)
        )
        with_same = of_donors[:, : of_donors.shape[1] // 2, 0, DECISION].nanmean(1)
        return torch.cat([lost, (with_own_cue - with_same)[:, None]], 1)

    def pictures(self, material: Material, chosen: Tensor, r: int) -> tuple[Tensor, Tensor]:
        """See `Swap`."""
        images, masks = material.images, material.known_masks
        same, other = material.donors.same[chosen, r], material.donors.other[chosen, r]
        own = images[chosen], masks[chosen]
        return self.edit(*own, images[same], masks[same]), self.edit(*own, images[other], masks[other])

    def is_off_object(self, images: Tensor, masks: Tensor, targets: Tensor) -> bool:
        """Always: an edit whose trial may convict brings only what lies off the donor's object."""
        return True

    def _usable(self, material: Material) -> Tensor:
        """Which images can borrow and lend, ``(N,)`` bool."""
        if self.needs_masks:
            return has_background(material.known_masks)
        return torch.ones_like(material.targets, dtype=torch.bool)

    def _edited(self, images: Tensor, readings: Readings, chosen: Tensor, donors: Tensor) -> Tensor:
        """The chosen images, each with the cue of its donor ``(n,)``, some at a time."""
        edit = edits.in_two_steps(self.edit)
        n = at_once(images)
        pairs = zip(torch.split(chosen, n), torch.split(donors, n), strict=True)
        edited = []
        for own, lenders in pairs:
            read = readings.of(edit, own, lenders)  # before the images are copied
            edited.append(edit.give(images[own], *read))
        return torch.cat(edited) if len(edited) > 1 else edited[0]


@dataclass(frozen=True)
class LevelSwap:
    """A swap by levels: images are brought to each level of a property of the whole picture that two classes have.

    Attributes:
        levels_of: Finds the levels among images, masks and targets.
        differs_off_object: Tells from images, masks and targets whether classes differ in the property off the object.
            None where the property is read there alone, so that it always does.
        reads_masks: Whether the property shows by the objects' masks alone, so that without them nothing is swapped.
        is_shared: Tells whether the property is surely one of whole pictures. Where it is not, it may be the objects'
            own, and a reaction to it is no finding. None where it always is.
        moves_object: Whether the object is elsewhere afterwards, so that its mask says nothing any more.
    """

    levels_of: LevelsOf
    differs_off_object: Callable[[Tensor, Tensor, Tensor], bool] | None = None
    reads_masks: bool = False
    is_shared: Callable[[Tensor, Tensor, Tensor], bool] | None = None
    moves_object: bool = False

    @property
    def needs_masks(self) -> bool:
        """Every picture has a level."""
        return False

    def answers(self, session: Session) -> Tensor:
        """``(n, R, 3)``: for each donor of another class, how far the answers move from the own class to the donor's.

        That is the mean of the probability that the own class loses and of the probability that the donor's class
        gains. The mean removes the side effect of editing: it lowers the own class and raises every other, and an
        image that already has its own class's level is not edited in the first arm.
        Levels count by how much more often the own class has them than the donor's class. The last column is how often
        the answer is right with the levels of the own class; levels that both classes have alike leave pictures plain.
        NaN where no level of the two classes can be reached (a worse picture cannot be made better), and for images
        that are alone in their class. So all are NaN where pictures are alike in the property, or differ by more than
        the levels bring about: nothing was swapped, and nothing is known.
        """
        material, chosen, levels = session.material, session.chosen, self._levels(session.material)
        targets, donors = material.targets, material.donors
        strangers = targets[donors.other]
        gaps, reached = _gaps(levels, targets, strangers)
        own, others = targets[chosen, None], strangers[chosen]
        total = torch.zeros(len(chosen), donors.other.shape[1], 3)
        if not reached.any():
            return torch.full_like(total, torch.nan)
        for level in gaps.any(0).any(0).nonzero()[:, 0].tolist():
            probabilities, changes = session.plain.clone(), reached[chosen, :, level].any(1)
            if changes.any():  # an image that is at the level already, or cannot reach it, keeps its plain answer
                parts = in_parts(chosen[changes], material.images)
                pictures = ((levels.bring(part, torch.full((len(part),), level)), part) for part in parts)
                probabilities[changes] = torch.cat([session.ask(*each) for each in pictures])
            of_own, gap = _of_classes(probabilities, own), gaps[chosen, :, level, None]
            total[..., :2] += gap * (of_own - _of_classes(probabilities, others)) / 2
            total[..., 2:] += gap.clamp_min(0) * of_own[..., DECISION:]
        in_common = 1 - gaps[chosen].clamp_min(0).sum(2, keepdim=True)
        total[..., 2:] += in_common * _of_classes(session.plain, own)[..., DECISION:]
        has_donors = donors.same[chosen, :1] != chosen[:, None]
        return total.where((reached[chosen].any(2) & has_donors)[..., None], torch.nan)

    def effects(self, answers: Tensor, material: Material) -> Tensor:
        """The mean over the donors' classes."""
        effects = answers.nanmean(1)
        return torch.cat([effects, torch.full_like(effects[:, :1], torch.nan)], 1)

    def pictures(self, material: Material, chosen: Tensor, r: int) -> tuple[Tensor, Tensor]:
        """See `Swap`."""
        levels, donors = self._levels(material), material.donors
        same, other = levels.of[donors.same[chosen, r]], levels.of[donors.other[chosen, r]]
        return _at(levels, material.images, chosen, same), _at(levels, material.images, chosen, other)

    def is_off_object(self, images: Tensor, masks: Tensor, targets: Tensor) -> bool:
        """See `Swap`."""
        return self.differs_off_object is None or self.differs_off_object(images, masks, targets)

    def _levels(self, material: Material) -> Levels:
        return self.levels_of(material.images, material.known_masks, material.targets)


def _of_classes(probabilities: Tensor, classes: Tensor) -> Tensor:
    """The readings ``(n, R, 2)`` of classes ``(n, R)``, from probabilities ``(n, n_classes)``."""
    return readings_of(probabilities).gather(1, classes[:, :, None].expand(-1, -1, 2))


def _gaps(levels: Levels, targets: Tensor, strangers: Tensor) -> tuple[Tensor, Tensor]:
    """How much more often the own class has a level than a donor's class, and whether an image can reach it there.

    Both ``(N, R, levels)``; the donors' classes are ``strangers (N, R)``. Where classes surely differ in the property,
    a gap is a share of all gaps: images with the other class's level would hide the effect.
    """
    shares = _shares(levels, targets)
    gaps, present = shares[targets][:, None] - shares[strangers], shares[targets][:, None] + shares[strangers] > 0
    if statistics.differ(levels.of[:, None], targets):
        gaps = gaps / (gaps.abs().sum(2, keepdim=True) / 2).clamp_min(_TINY)
    return gaps, present & levels.changes[:, None]


def _shares(levels: Levels, targets: Tensor) -> Tensor:
    """How often images of a class lie on each level, ``(classes, levels)``."""
    n_classes, n_levels = int(targets.max()) + 1, levels.changes.shape[1]
    counts = (targets * n_levels + levels.of).bincount(minlength=n_classes * n_levels).reshape(n_classes, n_levels)
    return counts / counts.sum(1, keepdim=True).clamp_min(1)


def _at(levels: Levels, images: Tensor, chosen: Tensor, wanted: Tensor) -> Tensor:
    """The chosen images, each brought to its level where that changes it."""
    pictures, changes = images[chosen], levels.changes[chosen, wanted]
    if changes.any():
        pictures[changes] = levels.bring(chosen[changes], wanted[changes])
    return pictures
