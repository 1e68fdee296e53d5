"""Volumes as pictures for people: one slice of each, the middle one of its object."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import render
from ..examination import Report
from ..probe import Probe
from ..spatial import upsample

MOST_FILMS = 6  # volumes of which all slices are kept, at the end of a fit: about 0.3 MB each


def pictured(probe: Probe) -> Probe:
    """A probe of pictures: of each volume the slice of `Probe.slices`, whose number is a part of its name.

    The slice with the most attention would be another one at every check, and would hide what the others show.
    """
    if not probe.has_volumes:
        return probe
    slices = probe.slices.tolist()
    masks = probe.masks
    return replace(
        probe,
        images=torch.stack([image[:, place] for image, place in zip(probe.images, slices, strict=True)]),
        masks=None if masks is None else torch.stack([mask[place] for mask, place in zip(masks, slices, strict=True)]),
        names=tuple(f"{name}, {words_of(probe, i)}" for i, name in enumerate(probe.names)),
        preprocess=None,
    )


def words_of(probe: Probe, index: int) -> str:
    """Which slice of a volume is shown; empty of a picture."""
    return f"slice {int(probe.slices[index]) + 1} of {probe.depth}" if probe.has_volumes else ""


def in_slices(maps: Tensor, probe: Probe | None, shown: Tensor) -> Tensor:
    """Maps ``(n, d, h, w)`` of the probe's volumes ``shown (n,)`` at the slices that are shown, ``(n, h, w)``."""
    if maps.ndim == 3 or probe is None:
        return maps
    fine = F.interpolate(maps.flatten(2)[:, None], (probe.depth, maps.shape[2] * maps.shape[3]), mode="bilinear")
    places = probe.slices[shown]
    return fine[torch.arange(len(maps)), 0, places].reshape(len(maps), *maps.shape[2:])


def films_of(report: Report, shown: Tensor, *, end: float) -> dict[str, bytes]:
    """All slices of the first of the volumes ``shown (n,)``, as GIF files by name; none of pictures."""
    probe = report.probe
    if probe is None or not probe.has_volumes:
        return {}
    films = {}
    for index in shown[:MOST_FILMS].tolist():
        attention = upsample(report.grid_maps[index, None], tuple(probe.images.shape[2:]))[0]
        mask = None if probe.masks is None else probe.masks[index]
        side = "evidence against" if report.is_against else "attention for"
        of_class = f"true class {probe.classes[int(probe.targets[index])]}"
        title = f"{side} {of_class if report.scores is None else 'the score'}: {probe.names[index]}"
        films[probe.names[index]] = render.film(
            probe.images[index], attention, mask, title, end=end, against=report.is_against
        )
    return films
