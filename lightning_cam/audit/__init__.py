"""Before training: can the label be predicted from something that is not the object?"""

import os
from typing import Any

import numpy as np

from ..datasets.pictures import MAX_PIXELS
from .findings import AuditFinding, FactSkill
from .judging import LEAST_SKILL, find
from .reading import Progress, read_all
from .result import AuditResult
from .sources import check_classes, find_source

__all__ = ["AuditFinding", "AuditResult", "FactSkill", "audit_dataset"]


def audit_dataset(
    source: Any,
    *,
    per_class: int = 2000,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
    max_pixels: int = MAX_PIXELS,
) -> AuditResult:
    """Which facts about files and pixels predict the label, and how well.

    Args:
        source: A folder of class folders, a CSV manifest with the columns ``path`` and ``label``, or a map-style data
            set of ``(image, label)``. Of data sets that know their files, like `ImageFolder`, the files are audited;
            of others the pictures as they give them, so that only facts about pixels are known.
        per_class: Pictures of a class that are read at most.
        seed: Of the choice of pictures, of folds and of shuffles. Global random states stay as they are.
        workers: Threads that read files; by default one for each processor, eight at most.
        progress: Called with the numbers of pictures done and to do, every few pictures.
        max_pixels: Larger pictures are skipped before they are decoded.

    Raises:
        ValueError: ``source`` has no pictures or labels, or fewer than two classes that can be read.
    """
    found = find_source(source, seed=seed, max_pixels=max_pixels)
    chosen = found.sample(per_class, seed)
    kept, columns, skipped = read_all(found, chosen, workers or min(8, os.cpu_count() or 1), progress)
    present, labels = np.unique(found.labels[kept], return_inverse=True)
    classes = tuple(found.classes[label] for label in present)
    check_classes(classes, skipped)
    facts, findings, cue_map, bounds = find(columns, labels, classes, seed)
    n_found, n_read = (np.bincount(of, minlength=len(found.classes)) for of in (found.labels, found.labels[kept]))
    return AuditResult(
        classes=found.classes,
        n_found=tuple(n_found.tolist()),
        n_read=tuple(n_read.tolist()),
        skipped=skipped,
        facts=facts,
        findings=findings,
        cue_map=cue_map,
        candidate_region=bounds > LEAST_SKILL,
    )
