"""Evidence: the images that one trial changed most, as they are and with the cue swapped."""

from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..attribution import engine
from ..attribution.guard import untouched
from ..attribution.heads import ClassScores
from ..attribution.layers import unwrapped
from ..attribution.regions import overlaps
from ..intervention import in_parts
from ..probe import Probe
from ..probe.rest import carrying
from ..probe.task import REGIONS, VALUES
from .look import ScoresOf, bound
from .report import Report
from .views import View, views_of

LONGEST = 512  # pixels a side; a panel of the picture has 160, and twelve pictures of 2048 pixels a side take 600 MB


@dataclass(frozen=True, eq=False)
class Evidence:
    """The images that one trial changed most, and how they looked to the model.

    Attributes:
        cue: What was swapped.
        chosen: ``(n,)`` indices into the probe.
        images: ``(n, 3, C, h, w)``: as they are, with the cue of their own class, with the cue of another; at most
            `LONGEST` pixels a side.
        probabilities: ``(n, 3)`` of their own class.
        predictions: ``(n, 3)`` of their value; None where classes are predicted.
    """

    cue: str
    chosen: Tensor
    images: Tensor
    probabilities: Tensor
    predictions: Tensor | None = None

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
    model = unwrapped(model)
    run = bound(carrying(forward, probe.rest), model)
    scores = run if report.head is None else ClassScores(run or model, report.head, probe.task)
    n_donors, parts = report.donors.same.shape[1], []
    for view in views_of(probe, report.donors):
        places = view.places(chosen)
        mine = (places >= 0).nonzero()[:, 0]
        for r, some in product(range(n_donors), in_parts(mine, probe.images) if len(mine) else ()):
            pictures = torch.stack(
                [probe.images[chosen[some]], *trial.swap.pictures(view.material, places[some], r)], 1
            )
            inputs = probe.prepare(pictures.flatten(0, 1), chosen[some].repeat_interleave(3))
            if probe.masks is not None and isinstance(scores, ClassScores) and probe.task.kind == REGIONS:
                regions = probe.masks[chosen[some]].repeat_interleave(3, 0)
                with untouched(model):
                    logits = overlaps(model, inputs, regions, scores=scores, batch_size=batch_size).cpu()
            else:
                logits = engine.predict(model, inputs, forward=scores, batch_size=batch_size).cpu()
            own = _of_own_class(view, logits, view.material.targets[places[some]])
            parts.append((r, some, _small(pictures), own, _values(view, logits, like=own)))
    images, probabilities, predictions = (
        torch.zeros(n_donors, len(chosen), *example.shape[1:]) for example in (parts[0][2:] if parts else ())
    )
    for r, some, *found in parts:
        images[r, some], probabilities[r, some], predictions[r, some] = found
    best = (probabilities[:, :, 1] - probabilities[:, :, 2]).argmax(0), torch.arange(len(chosen))
    return Evidence(
        cue, chosen, images[best], probabilities[best], predictions[best] if probe.values is not None else None
    )


def _of_own_class(view: View, logits: Tensor, targets: Tensor) -> Tensor:
    """Probabilities ``(n, 3)`` of the own class, from logits of three pictures for each image."""
    chances = view.probabilities(logits, centre=0.0)
    return chances.gather(1, targets.repeat_interleave(3)[:, None]).reshape(-1, 3).clamp(0, 1)


def _values(view: View, logits: Tensor, *, like: Tensor) -> Tensor:
    """The predicted values ``(n, 3)``; NaN where classes are predicted."""
    if view.task.kind != VALUES:
        return torch.full_like(like, torch.nan)
    odds = logits[:, view.columns] @ torch.tensor([-1.0, 1.0])
    return view.task.value(odds, view.columns.start // 2).reshape(like.shape)


def _small(pictures: Tensor) -> Tensor:
    """Pictures ``(n, 3, C, H, W)``, large ones no larger than a person is shown."""
    height, width = pictures.shape[-2:]
    scale = LONGEST / max(height, width)
    if scale >= 1:
        return pictures
    size = max(round(height * scale), 1), max(round(width * scale), 1)
    shrunk: Tensor = F.interpolate(pictures.flatten(0, 1), size=size, mode="area")
    return shrunk.reshape(*pictures.shape[:3], *size)
