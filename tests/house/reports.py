"""Reports by their reliances alone."""

from collections.abc import Sequence

import torch

from lightning_cam.examination import Report
from lightning_cam.intervention import STANDARD, Reliance, Trial

TRIALS = {trial.cue: trial for trial in STANDARD}


def report(*reliances: Reliance, learned: bool = True, trials: Sequence[Trial] | None = None) -> Report:
    """As `examine` makes it where every trial was measured, unless ``trials`` has more."""
    empty = torch.zeros(0)
    return Report(
        layer="layer",
        method="grad_cam",
        grid_maps=empty,
        predicted_grid_maps=empty,
        logits=empty,
        values={},
        learned=learned,
        trials=tuple(TRIALS[r.cue] for r in reliances) if trials is None else tuple(trials),
        donors=None,
        effects={r.cue: empty for r in reliances},
        reliances=reliances,
        scalars={},
        model_seconds=0.0,
    )
