"""Evidence: the images that one trial changed most, as they are and with the cue swapped."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..attribution import engine
from ..attribution.guard import untouched
from ..attribution.heads import ClassScores
from ..attribution.layers import unwrapped
from ..attribution.regions import overlaps
from ..attribution.similarity import scoring
from ..intervention import as_volumes, in_parts
from ..probe import Probe
from ..probe.task import VALUES
from .look import ScoresOf, bound
from .report import Report
from .views import View, pictures_of, views_of

LONGEST = 512  # pixels a side; a panel of the picture has 160, and twelve pictures of 2048 pixels a side take 600 MB


@dataclass(frozen=True, eq=False)
class Evidence:
    """The images that one trial changed most, and how they looked to the model.

    Attributes:
        cue: What was swapped.
        chosen: ``(n,)`` indices into the probe.
        images: ``(n, 3, C, h, w)``: as they are, with the cue of their own class, with the cue of another; at most
            `LONGEST` pixels a side. Of volumes, one slice: see `Probe.slices`.
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
    chosen = effects.nan_to_num(-torch.inf).topk(min(n, int(effects.isfinite().sum()))).indices
    model = unwrapped(model)
    scores = scores_of(model, probe, report, forward, batch_size)
    n_donors, parts = report.donors.same.shape[1], []
    for r in range(n_donors):
        for view, some, pictures in swapped(probe, report, cue, chosen, r):
            logits = answers_to(model, probe, chosen[some], pictures, scores, batch_size)
            own = of_own_class(view, logits, probe.targets[chosen[some]])
            small = _small(_in_slices(probe, chosen[some], pictures))
            parts.append((r, some, small, own, _values(view, logits, like=own)))
    images, probabilities, predictions = (
        torch.zeros(n_donors, len(chosen), *example.shape[1:]) for example in (parts[0][2:] if parts else ())
    )
    for r, some, *found in parts:
        images[r, some], probabilities[r, some], predictions[r, some] = found
    best = (probabilities[:, :, 1] - probabilities[:, :, 2]).argmax(0), torch.arange(len(chosen))
    return Evidence(
        cue, chosen, images[best], probabilities[best], predictions[best] if probe.values is not None else None
    )


def scores_of(
    model: nn.Module, probe: Probe, report: Report, forward: ScoresOf | None, batch_size: int
) -> Callable[[Tensor], Any] | None:
    """What gives the class scores of the report; None calls the model."""
    run = bound(scoring(model, probe, forward, batch_size), model)
    return run if report.head is None else ClassScores(run or model, report.head, probe.task)


def swapped(probe: Probe, report: Report, cue: str, chosen: Tensor, r: int) -> Iterator[tuple[View, Tensor, Tensor]]:
    """Parts of the chosen images with the cue of the ``r``-th donors of the report.

    Yields:
        The view; which of the chosen images these are, ``(n,)``; and ``(n, 3, C, H, W)``, each as it is, with the cue
        of its own class, and with the cue of another.
    """
    assert report.donors is not None
    trial, (pictures, _) = next(trial for trial in report.trials if trial.cue == cue), pictures_of(probe)
    for view in views_of(probe, report.donors):
        places = view.places(chosen)
        mine = (places >= 0).nonzero()[:, 0]
        for some in in_parts(mine, probe.images) if len(mine) else ():
            edited = trial.swap.pictures(view.material, places[some], r)
            found = torch.stack([pictures[chosen[some]], *edited], 1)
            yield view, some, as_volumes(found, probe.depth) if probe.has_volumes else found


def answers_to(
    model: nn.Module,
    probe: Probe,
    chosen: Tensor,
    pictures: Tensor,
    scores: Callable[[Tensor], Any] | None,
    batch_size: int,
) -> Tensor:
    """Scores ``(n k, n_classes)`` of ``k`` pictures ``(n, k, C, H, W)`` for each of the chosen images ``(n,)``."""
    k = pictures.shape[1]
    inputs = probe.prepare(pictures.flatten(0, 1), chosen.repeat_interleave(k))
    if probe.masks is not None and isinstance(scores, ClassScores) and probe.task.has_maps:
        with untouched(model):
            masks = probe.masks[chosen].repeat_interleave(k, 0)
            odds = overlaps(model, inputs, masks, scores=scores, batch_size=batch_size).cpu()
        return probe.task.turned(odds, probe.targets[chosen].repeat_interleave(k))
    return engine.predict(model, inputs, forward=scores, batch_size=batch_size).cpu()


def of_own_class(view: View, logits: Tensor, targets: Tensor) -> Tensor:
    """Probabilities ``(n, k)`` of the own class, from the scores of ``k`` pictures for each image."""
    own = targets % 2 if view.task.asks else targets
    k = len(logits) // len(targets)
    chances = view.probabilities(logits, centre=0.0)
    return chances.gather(1, own.repeat_interleave(k)[:, None]).reshape(-1, k).clamp(0, 1)


def _values(view: View, logits: Tensor, *, like: Tensor) -> Tensor:
    """The predicted values ``(n, 3)``; NaN where classes are predicted."""
    if view.task.kind != VALUES:
        return torch.full_like(like, torch.nan)
    odds = logits[:, view.columns] @ torch.tensor([-1.0, 1.0])
    return view.task.value(odds, view.columns.start // 2).reshape(like.shape)


def _in_slices(probe: Probe, chosen: Tensor, pictures: Tensor) -> Tensor:
    """Of volumes ``(n, 3, C, D, H, W)``, the slices that are shown, ``(n, 3, C, H, W)``."""
    if not probe.has_volumes:
        return pictures
    slices = probe.slices[chosen].tolist()
    return torch.stack([each[:, :, place] for each, place in zip(pictures, slices, strict=True)])


def _small(pictures: Tensor) -> Tensor:
    """Pictures ``(n, 3, C, H, W)``, large ones no larger than a person is shown."""
    height, width = pictures.shape[-2:]
    scale = LONGEST / max(height, width)
    if scale >= 1:
        return pictures
    size = max(round(height * scale), 1), max(round(width * scale), 1)
    shrunk: Tensor = F.interpolate(pictures.flatten(0, 1), size=size, mode="area")
    return shrunk.reshape(*pictures.shape[:3], *size)
