"""Evidence: the images that one trial changed most, as they are and with the cue swapped."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..attribution import engine
from ..attribution.heads import ClassScores
from ..intervention import swapped
from ..probe import Probe
from .look import donors_of
from .report import Report


@dataclass(frozen=True, eq=False)
class Evidence:
    """What one trial made of the images that it changed most.

    Attributes:
        cue: What was swapped.
        chosen: ``(n,)`` indices into the probe.
        images: ``(n, 3, C, H, W)``: as they are, with the cue of their own class, with the cue of another.
        probabilities: ``(n, 3)`` of their own class.
    """

    cue: str
    chosen: Tensor
    images: Tensor
    probabilities: Tensor


def collect_evidence(
    model: nn.Module,
    probe: Probe,
    report: Report,
    cue: str,
    *,
    n: int = 4,
    n_donors: int = 2,
    forward: Callable[[Tensor], Any] | None = None,
    batch_size: int = 32,
) -> Evidence:
    """The ``n`` images that lost most to the swap of a cue that the report has, each with its most telling donors.

    Fewer where fewer have an effect.
    """
    trial = next(trial for trial in report.trials if trial.cue == cue)
    lost = report.effects[cue]
    chosen = lost.nan_to_num(-torch.inf).topk(min(n, int(lost.isfinite().sum()))).indices
    donors = donors_of(probe, n_donors)
    shown = []
    for r in range(n_donors):
        pairs = swapped(trial, probe.images, probe.masks, probe.targets, donors, chosen, r)
        shown.append(torch.stack([probe.images[chosen], *pairs], 1))
    images = torch.stack(shown, 1)  # (n, R, 3, C, H, W)
    inputs = probe.prepare(images.flatten(0, 2))
    scores = forward if report.head is None else ClassScores(forward or model, report.head)
    logits = engine.predict(model, inputs, forward=scores, batch_size=batch_size).cpu()
    own = probe.targets[chosen].repeat_interleave(images.shape[1] * 3)
    probabilities = logits.softmax(1).gather(1, own[:, None]).reshape(images.shape[:3])
    best = (probabilities[:, :, 1] - probabilities[:, :, 2]).argmax(1)
    each = torch.arange(len(chosen))
    return Evidence(cue, chosen, images[each, best], probabilities[each, best])
