"""Trials by an attribute that the user knows, such as the site: the class stays, and the cue comes from another site.

The donors of an image are of its own class, some with its own value of the attribute and some with another. If a model
takes the look of a site for a sign of a class, its answers change; if it looks at the object, they do not.

A site that speaks for one class speaks against another. So pictures of a class gain by another site's look what those
from that site lose, and the mean over both is 0 however much the model relies on the site. Therefore the loss is
counted from the site that suits the class better to the one that suits it less, as far as the answers for all other
images show. An image's own answers are left out of that, since a direction chosen by them would bias them. What a site
does to all classes alike is taken off: before a background on which everything is hard to see, nothing is relied on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..attributes import FEWEST_IN_GROUP
from ..cues import BACKGROUND, BORDER, by_attribute
from .donors import Donors, draw_donors
from .effects import DECISION, log_odds
from .material import Material, Session
from .swaps import DonorSwap
from .trials import Trial


@dataclass(frozen=True)
class GroupSwap:
    """A swap of a cue between images of one class that have different values of an attribute.

    Attributes:
        attribute: Its name.
        swap: How the cue is swapped.
    """

    attribute: str
    swap: DonorSwap

    @property
    def needs_masks(self) -> bool:
        """No: what it lacks is donors. Without masks another cue is swapped, see `trials_by_attribute`."""
        return False

    def answers(self, session: Session) -> Tensor:
        """``(n, 2 R, 2)``: the readings of the own class, with the cue of each donor; NaN where there is none."""
        if not comparable(session.material.targets, self._values(session.material)).any():
            return torch.full((len(session.chosen), 2 * session.material.donors.same.shape[1], 2), torch.nan)
        lent = replace(session, material=self._lent(session.material))
        # An image's own cue is tried by the trial between classes.
        return replace(self.swap, keeps_object=False).answers(lent)[:, :-1, 0]

    def effects(self, answers: Tensor, material: Material) -> Tensor:
        """Effects ``(N, 5)``, see `effects`; the last column is `IS_OWN`."""
        donors = self._lent(material).donors
        values, n = self._values(material)[donors.all], donors.same.shape[1]
        costs, suits = _costs_and_suits(answers, material.targets, values)
        own, others = torch.split(answers - costs, n, 1)
        is_own = suits[:, :1, None] >= suits[:, n:, None]
        lost = (own.nanmean(1, keepdim=True) - others) * (2.0 * is_own - 1)
        right = answers[:, :n].nanmean(1, keepdim=True).where(is_own, answers[:, n:]).where(lost.isfinite(), torch.nan)
        right = right[..., DECISION].nanmean(1, keepdim=True)
        return torch.cat([lost.nanmean(1), right, torch.full_like(right, torch.nan), is_own.all(1).float()], 1)

    def pictures(self, material: Material, chosen: Tensor, r: int) -> tuple[Tensor, Tensor]:
        """See `Swap`: with the cue of donor ``r`` with the same value, and with another value."""
        return self.swap.pictures(self._lent(material), chosen, r)

    def is_off_object(self, images: Tensor, masks: Tensor, targets: Tensor) -> bool:
        """As the swap itself."""
        return self.swap.is_off_object(images, masks, targets)

    def _values(self, material: Material) -> Tensor:
        return material.groups.get(self.attribute, torch.full_like(material.targets, -1))

    def _lent(self, material: Material) -> Material:
        n = material.donors.same.shape[1]
        return material.lent_by(donors_within(material.targets, self._values(material), n))


def trials_by_attribute(trials: Sequence[Trial], attributes: Sequence[str], *, has_masks: bool) -> list[Trial]:
    """A trial for each attribute, of the background or, without masks, of the border; none where that is not tried."""
    cue = BACKGROUND if has_masks else BORDER
    bases = [trial for trial in trials if trial.cue == cue.name and isinstance(trial.swap, DonorSwap)]
    return [
        replace(trial, cue=by_attribute(cue, name).name, swap=GroupSwap(name, trial.swap), part_of=None)
        for trial in bases
        for name in attributes
        if isinstance(trial.swap, DonorSwap)
    ]


def comparable(targets: Tensor, values: Tensor) -> Tensor:
    """Which images ``(N,)`` have donors of the same class with another value, which another class has as well.

    A value counts for a class with `FEWEST_IN_GROUP` images of it: fewer donors would be all the cue there is. It has
    to occur in two classes: before a background that is hard to see, every class loses, and that is no reliance.

    Args:
        targets: ``(N,)``.
        values: ``(N,)`` of the attribute, -1 where it is not known.
    """
    counts = torch.zeros(int(targets.max()) + 1, int(values.max().clamp_min(0)) + 1, dtype=torch.long)
    known = values >= 0
    counts.index_put_((targets[known], values[known]), torch.tensor(1), accumulate=True)
    counts_there = counts >= FEWEST_IN_GROUP
    while True:
        kept = counts_there & (counts_there.sum(1, keepdim=True) > 1) & (counts_there.sum(0) > 1)
        if torch.equal(kept, counts_there):
            return known & kept[targets, values.clamp_min(0)]
        counts_there = kept


def donors_within(targets: Tensor, values: Tensor, n: int) -> Donors:
    """``n`` donors of the own class with the same value, and ``n`` with another; the image itself where none can be."""
    same = torch.arange(len(targets))[:, None].repeat(1, n)
    other = same.clone()
    usable = comparable(targets, values)
    for label in sorted(set(targets[usable].tolist())):
        rows = (usable & (targets == label)).nonzero()[:, 0]
        within = draw_donors(values[rows], n, seed=label)
        same[rows], other[rows] = rows[within.same], rows[within.other]
    return Donors(same, other)


def _costs_and_suits(answers: Tensor, targets: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """What each donor's value does to all classes alike, ``(N, 2 R, 2)``, and how it suits the image's, ``(N, 2 R)``.

    The first is the mean over classes of what answers gain by a value, in both readings; NaN where one class has it.
    The second is how much likelier it makes the image's class than others, in log odds; from the other images alone.

    Args:
        answers: ``(N, 2 R, 2)``, the readings of the own class.
        targets: ``(N,)``.
        values: ``(N, 2 R)`` of the donors; ignored where answers are NaN.
    """
    columns = torch.cat([answers, log_odds(answers[..., :1])], 2)
    gains, values = columns - columns.nanmean(1, keepdim=True), values.clamp_min(0)
    defined = gains.isfinite()
    gains, counted = gains.nan_to_num(), defined.float()
    places = targets[:, None].expand_as(values), values
    sums, counts = torch.zeros(2, int(targets.max()) + 1, int(values.max()) + 1, gains.shape[2])
    sums.index_put_(places, gains, accumulate=True)
    counts.index_put_(places, counted, accumulate=True)
    means, n_classes = sums / counts.clamp_min(1), (counts > 0).sum(0)
    costs = (means.sum(0) / n_classes).where(n_classes > 1, torch.nan)[values]
    alike = (values[:, :, None] == values[:, None]).float()  # the image's own donors with that value
    of_class = (sums[places] - alike @ gains) / (counts[places] - alike @ counted).clamp_min(1)
    of_all = (means.sum(0)[values] - means[places] + of_class) / n_classes[values].clamp_min(1)
    suits: Tensor = (of_class - of_all)[..., -1]
    return costs[..., :-1], suits
