"""Views of a probe: all of it or, of several labels or values, the images that are asked for one of them.

Within a view the trials are those of a classifier: of the probe's classes, of the two answers for one label, or of the
two halves of one value.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..intervention import (
    Donors,
    Material,
    Trial,
    as_pictures,
    can_swap,
    draw_donors,
    for_volumes,
    graded_donors,
    matched_donors,
    trials_by_attribute,
)
from ..probe import Probe
from ..probe.task import VALUES, Task


@dataclass(frozen=True, eq=False)
class View:
    """Images of a probe whose cues are swapped among one another.

    Attributes:
        rows: ``(n,)`` indices into the probe.
        columns: Of the model's scores that count.
        material: The images, with their targets and donors as counted within the view.
        task: What is asked.
    """

    rows: Tensor
    columns: slice
    material: Material
    task: Task

    def places(self, chosen: Tensor) -> Tensor:
        """Where in the view each of the chosen images ``(m,)`` of the probe is; -1 where it is not in it."""
        places = torch.full((int(max(chosen.max(), self.rows.max())) + 1,), -1)
        places[self.rows] = torch.arange(len(self.rows))
        return places[chosen]

    def probabilities(self, logits: Tensor, centre: float) -> Tensor:
        """``(n, n_classes)`` of the view, from the model's scores; see `centre_of`.

        Of regions these are overlaps, see `attribution.regions`, and of objects confidences, see `probe.matching`. Of
        values these are how near a prediction is to the lower and to the upper half. A prediction may lie beyond the
        mean of a half, by one more way at most: a broken one must not outweigh all others.
        """
        scores = logits[:, self.columns]
        if self.task.is_of_part:
            return scores.sigmoid()
        if not self.task.asks:
            return scores.softmax(1)
        scores = scores - centre * torch.tensor([-0.5, 0.5])
        if self.task.kind != VALUES:
            return scores.softmax(1)
        high = self.task.shares(scores[:, 1] - scores[:, 0]).clamp(-1, 2)
        return torch.stack([1 - high, high], 1)

    def centre_of(self, logits: Tensor) -> float:
        """Odds from which on an image of the view has the label, half way between those that have and lack it.

        A rare label has low odds in all images, and 0.02 of probability are nearly all that a swap could take from it.
        The probe has as many images with the label as without, so both answers are equally likely there.

        Args:
            logits: Of all images of the probe.
        """
        if not self.task.asks:
            return 0.0
        odds = logits[self.rows, self.columns] @ torch.tensor([-1.0, 1.0])
        has_label = self.material.targets == 1
        centre = float(odds[has_label].quantile(0.5) + odds[~has_label].quantile(0.5)) / 2
        return centre if abs(centre) < torch.inf else 0.0


def views_of(probe: Probe, donors: Donors) -> Iterator[View]:
    """The views of a probe, one after another: each holds a copy of its images."""
    images, masks = pictures_of(probe)
    if not probe.task.asks:
        material = Material(images, probe.targets, masks, donors, values_of(probe))
        yield View(torch.arange(len(probe)), slice(None), material, probe.task)
        return
    for label, rows in _groups(probe):
        places = torch.zeros(len(probe), dtype=torch.long)
        places[rows] = torch.arange(len(rows))
        material = Material(
            images[rows],
            probe.targets[rows] % 2,
            None if masks is None else masks[rows],
            Donors(places[donors.same[rows]], places[donors.other[rows]]),
            {name: values[rows] for name, values in values_of(probe).items()},
        )
        yield View(rows, slice(2 * label, 2 * label + 2), material, probe.task)


def trials_of(trials: Sequence[Trial], probe: Probe) -> list[Trial]:
    """The trials that can be made on a probe; those of the background also by each attribute that is known."""
    possible = for_volumes(trials, probe.depth) if probe.has_volumes else list(trials)
    return [*possible, *trials_by_attribute(possible, list(probe.attributes), has_masks=probe.masks is not None)]


def values_of(probe: Probe) -> dict[str, Tensor]:
    """The values of each attribute as numbers ``(N,)``, -1 where a value is not known."""
    return {name: _numbered(values) for name, values in probe.attributes.items()}


def _numbered(values: Sequence[str]) -> Tensor:
    numbers = {value: number for number, value in enumerate(sorted({*values} - {""}))}
    return torch.tensor([numbers.get(value, -1) for value in values])


def pictures_of(probe: Probe) -> tuple[Tensor, Tensor | None]:
    """Images and masks for trials: of volumes, their slices one below another."""
    if not probe.has_volumes:
        return probe.images, probe.masks
    return as_pictures(probe.images), None if probe.masks is None else as_pictures(probe.masks)


def donors_of(probe: Probe, n: int) -> Donors | None:
    """Who lends to whom: the same at every check of a run, since donors depend on the probe alone.

    None where no two classes, or no two answers for a label, have two images each.
    """
    seed = int(probe.fingerprint[:15], 16)
    if not probe.task.asks:
        return draw_donors(probe.targets, n, seed) if can_swap(probe.targets) else None
    groups = _groups(probe)
    same, other = (torch.arange(len(probe))[:, None].repeat(1, n) for _ in range(2))
    for asked, rows in groups:
        answers = probe.targets[rows] % 2
        if probe.values is not None:
            within = graded_donors(probe.values[rows, asked], answers, n)
        elif probe.labels is not None:
            within = matched_donors(answers, probe.labels[rows], n, seed)
        same[rows], other[rows] = rows[within.same], rows[within.other]
    return Donors(same, other) if groups else None


def _groups(probe: Probe) -> list[tuple[int, Tensor]]:
    """Labels or values, and the images that are asked for each, where cues can be swapped among them."""
    labels = probe.targets // 2
    groups = [(label, (labels == label).nonzero()[:, 0]) for label in sorted(set(labels.tolist()))]
    return [(label, rows) for label, rows in groups if can_swap(probe.targets[rows] % 2)]
