"""Before training: can the label be predicted from something that is not the object?"""

import os
from typing import Any

import numpy as np

from ..cues import ATTRIBUTE
from ..datasets.pictures import MAX_PIXELS
from ..datasets.tables import Attributes
from . import recurring
from .findings import AuditFinding, FactSkill, clearest_first
from .judging import LEAST_SKILL, find
from .reading import Progress, read_all
from .recurring import RecurringPatch
from .result import AuditResult
from .sources import check_classes, find_source

__all__ = ["AuditFinding", "AuditResult", "FactSkill", "RecurringPatch", "audit_dataset"]


def audit_dataset(
    source: Any,
    *,
    per_class: int = 2000,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
    max_pixels: int = MAX_PIXELS,
    attributes: Attributes | None = None,
    label: int | None = None,
) -> AuditResult:
    """Which facts about files and pixels predict the label, and how well.

    Args:
        source: A folder of class folders, a CSV manifest with the columns ``path`` and ``label``, or a map-style data
            set of ``(image, label)``. If a data set lists its files, as `ImageFolder` does, the audit reads the files.
            Otherwise it reads the pictures that the data set returns, and there are only facts about pixels.
        per_class: The largest number of pictures of a class that the audit reads.
        seed: Seed of the choice of pictures, of the folds and of the shuffles. Global random states do not change.
        workers: Number of threads that read files; by default one for each processor, eight at most.
        progress: A function that is called every few pictures, with the number of pictures read and the total.
        max_pixels: The audit skips larger pictures and does not decode them.
        attributes: What else is known of pictures, such as ``{"site": values}``: a value for each item of the data set
            or row of the manifest; a key, field or position of an item, or a column; or a function of an item, or of
            the path in a folder; of files also as in `Probe.from_folder`. Each is one more fact, "attribute site".
        label: Of a data set with several labels, rows of 0 and 1, the position of the one to be told: pictures with it
            against those without.

    Raises:
        ValueError: ``source`` has no pictures or no labels, or the audit can read fewer than two of its classes.
    """
    pictures = find_source(source, seed=seed, max_pixels=max_pixels, attributes=attributes, label=label)
    sample = pictures.sample(per_class, seed)
    searched = recurring.searched(pictures.labels, sample, seed)
    reading = read_all(pictures, sample, searched, workers or min(8, os.cpu_count() or 1), progress)
    class_indices, labels = np.unique(pictures.labels[reading.readable], return_inverse=True)
    classes = tuple(pictures.classes[index] for index in class_indices)
    check_classes(classes, reading.skipped)
    rows = [pictures.values(index) for index in reading.readable]
    columns = {
        f"{ATTRIBUTE}{name}": np.array([row[place] for row in rows], str)
        for place, name in enumerate(pictures.attributes)
    }
    facts, findings, cue_map, bounds = find(reading.columns | columns, labels, classes, seed)
    patches, skill = recurring.patches(reading.windows, pictures, seed)
    if skill is not None:
        facts, findings = (*facts, skill), clearest_first([*findings, recurring.finding(skill, patches)])
    n_found, n_read = (
        np.bincount(each, minlength=len(pictures.classes))
        for each in (pictures.labels, pictures.labels[reading.readable])
    )
    return AuditResult(
        classes=pictures.classes,
        n_found=tuple(n_found.tolist()),
        n_read=tuple(n_read.tolist()),
        skipped=reading.skipped,
        facts=facts,
        findings=findings,
        cue_map=cue_map,
        candidate_region=bounds > LEAST_SKILL,
        patches=patches,
    )
