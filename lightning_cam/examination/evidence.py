"""Evidence: the images that one trial changed most, as they are and with the cue swapped."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..attribution import engine
from ..attribution.heads import ClassScores
from ..attribution.layers import unwrapped
from ..probe import Probe
from .look import ScoresOf, bound, material_of
from .report import Report


@dataclass(frozen=True, eq=False)
class Evidence:
    """The images that one trial changed most, and how they looked to the model.

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

    def __repr__(self) -> str:
        return f"Evidence({self.cue!r}, {len(self.chosen)} images)"


def collect_evidence(
    model: nn.Module,
    probe: Probe,
    report: Report,
    cue: str,
    *,
    n: int = 4,
    forward: ScoresOf | None = None,
    batch_size: int = 32,
) -> Evidence:
    """The ``n`` images that lost most to the swap of a cue, each with the donors of the report that show it best.

    Fewer where fewer have an effect.

    Raises:
        ValueError: The report has no effects of this cue.
    """
    effects = report.effects.get(cue)
    if effects is None or report.donors is None:
        raise ValueError(f"no effects of {cue!r} in the report; it has {list(report.effects)}")
    trial = next(trial for trial in report.trials if trial.cue == cue)
    chosen = effects.nan_to_num(-torch.inf).topk(min(n, int(effects.isfinite().sum()))).indices
    material, arms = material_of(probe, report.donors), []
    for r in range(report.donors.same.shape[1]):
        pairs = trial.swap.pictures(material, chosen, r)
        arms.append(torch.stack([probe.images[chosen], *pairs], 1))
    images = torch.stack(arms, 1)  # (n, R, 3, C, H, W)
    inputs = probe.prepare(images.flatten(0, 2))
    model = unwrapped(model)
    run = bound(forward, model)
    scores = run if report.head is None else ClassScores(run or model, report.head)
    logits = engine.predict(model, inputs, forward=scores, batch_size=batch_size).cpu()
    own = probe.targets[chosen].repeat_interleave(images.shape[1] * 3)
    probabilities = logits.softmax(1).gather(1, own[:, None]).reshape(images.shape[:3])
    best = (probabilities[:, :, 1] - probabilities[:, :, 2]).argmax(1)
    each = torch.arange(len(chosen))
    return Evidence(cue, chosen, images[each, best], probabilities[each, best])
