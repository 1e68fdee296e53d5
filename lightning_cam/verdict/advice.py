"""What to do about a cue that was found: the remedy of the table, or one that knows the probe's pictures."""

import torch

from ..cues import PATCH, Remedy, by_boxes, cue_named, patch_remedy
from ..examination import Report
from ..intervention import patches_of
from ..patches import common_box
from ..probe.task import OBJECTS


def remedy_of(cue: str, report: Report) -> Remedy:
    """The remedy; of a patch that shows in the probe, one that says in which class and where it is.

    Where objects are in boxes, masks are made of these.
    """
    of_patch = _of_patch(report) if cue == PATCH.name else None
    if of_patch is not None:
        return of_patch
    remedy = cue_named(cue).remedy.fitting(report.mask_sources).at(report.size[-2:])
    return by_boxes(remedy) if report.task is not None and report.task.kind == OBJECTS else remedy


def _of_patch(report: Report) -> Remedy | None:
    probe = report.probe
    if probe is None or probe.images.ndim != 4 or probe.task.asks:  # a label's pictures are looked at apart
        return None
    found = patches_of(probe.images, probe.targets)
    if not found:
        return None
    patch, size = found[0], torch.tensor(probe.images.shape[2:])
    box = common_box(patch.places, size.expand_as(patch.places))
    return patch_remedy(probe.classes[patch.label], patch.share, box)
