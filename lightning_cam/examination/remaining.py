"""What a remedy leaves of a cue: the swap once more, with both pictures after the remedy that the verdict prints."""

import inspect
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import tv_tensors

from ..attribution.layers import unwrapped
from ..cues import Remedy
from ..intervention import balanced_subset, moves_object
from ..probe import Probe
from .evidence import answers_to, of_own_class, scores_of, swapped
from .look import ScoresOf
from .report import Report

MOST_IMAGES = 64  # two passes for each; the mean effect is then known to about 0.05


@dataclass(frozen=True)
class Remaining:
    """What the swap of a cue still does after a remedy.

    Attributes:
        effect: Mean own-class probability lost to the swap, as a reliance, where both pictures went through the remedy.
        before: The same without the remedy, on the same pictures and donors.
        right: Share of pictures with the cue of their own class on which the model is right after the remedy.
        right_before: The same without the remedy.
        chance: Share of right answers of a model that guesses.
        n: How many pictures that was tried on.

    >>> print(Remaining(effect=0.22, before=0.45, right=0.8, right_before=1.0, chance=0.5, n=64))
    tried on 64 pictures of the probe, without training: after this remedy the swap costs 0.22 instead of 0.45
    """

    effect: float
    before: float
    right: float
    right_before: float
    chance: float
    n: int

    def __str__(self) -> str:
        opening = f"tried on {self.n} pictures of the probe, without training"
        if self.right < (self.right_before + self.chance) / 2:
            return (
                f"{opening}: pictures after this remedy are new to the model, which is right on "
                f"{100 * self.right:.0f} % of them instead of {100 * self.right_before:.0f} %; train with the remedy, "
                "and lightning-cam compare says what is left of the cue"
            )
        said = f"{opening}: after this remedy the swap costs {self.effect:.2f} instead of {self.before:.2f}"
        return f"{said}; that leaves much, so look for the source too" if self.effect > self.before / 2 else said


def what_is_left(
    model: nn.Module,
    probe: Probe,
    report: Report,
    cue: str,
    remedy: Remedy,
    *,
    forward: ScoresOf | None = None,
    batch_size: int = 32,
) -> Remaining | None:
    """What the code of a remedy, as it is printed, leaves of a cue on the probe. The model is not trained anew.

    None where that cannot be tried: without code that changes a picture, as for transparency that is gone when a probe
    has been read, without effects of the cue, for pictures that the code does not take, as volumes, or where the swap
    moves the object away from the mask that the code takes.
    """
    effects = report.effects.get(cue)
    transform = None if effects is None or probe.has_volumes else _transform_of(remedy)
    if effects is None or transform is None or report.donors is None:
        return None
    if _takes_mask(transform) and any(moves_object(trial) for trial in report.trials if trial.cue == cue):
        return None
    some = torch.isin(torch.arange(len(effects)), balanced_subset(probe.targets, MOST_IMAGES))
    chosen = (effects.isfinite() & some).nonzero()[:, 0]
    if not len(chosen):
        return None
    model = unwrapped(model)
    scores = scores_of(model, probe, report, forward, batch_size)
    rows = []
    for view, part, pictures in swapped(probe, report, cue, chosen, 0):
        edited = pictures[:, 1:]
        images = chosen[part]
        treated = _treated(transform, edited, None if probe.masks is None else probe.masks[images], images.tolist())
        if treated is None or treated.shape != edited.shape:
            return None
        logits = answers_to(model, probe, images, torch.cat([edited, treated], 1), scores, batch_size)
        own = of_own_class(view, logits, probe.targets[images])
        chances = view.probabilities(logits, centre=0.0)
        right = (own >= chances.reshape(*own.shape, -1).amax(2)).float()
        rows.append(torch.stack([own[:, 2] - own[:, 3], own[:, 0] - own[:, 1], right[:, 2], right[:, 0]], 1))
    effect, before, right_after, right_before = torch.cat(rows).mean(0).tolist()
    return Remaining(effect, before, right_after, right_before, 1 / chances.shape[1], len(chosen))


def _transform_of(remedy: Remedy) -> Callable[..., Any] | None:
    """The transform of the printed code: what is tried is what a user pastes."""
    names: dict[str, Any] = {}
    if "transform" in remedy.code:  # not that for an attribute, which needs the user's own data set
        exec(remedy.code, names)
    return None if "loader" in names else names.get("transform")


def _treated(transform: Callable[..., Any], pictures: Tensor, masks: Tensor | None, seeds: list[int]) -> Tensor | None:
    """Pictures ``(n, 2, C, H, W)`` after a transform, both of a row in the same way; None where it takes none such."""
    takes_mask = _takes_mask(transform)
    rows = []
    with torch.random.fork_rng(devices=[]), suppress(TypeError, ValueError, RuntimeError):  # as of many channels
        for i, (row, seed) in enumerate(zip(pictures, seeds, strict=True)):
            mask = () if not takes_mask or masks is None else (tv_tensors.Mask(masks[i]),)
            rows.append(torch.stack([_seeded(transform, seed, picture, *mask) for picture in row]))
        return torch.stack(rows)
    return None


def _takes_mask(transform: Callable[..., Any]) -> bool:
    return "mask" in inspect.signature(transform).parameters


def _seeded(transform: Callable[..., Any], seed: int, *sample: Tensor) -> Tensor:
    torch.default_generator.manual_seed(seed)  # not `torch.manual_seed`, which seeds the GPUs as well
    changed: Tensor = transform(*sample)
    return changed.as_subclass(Tensor)
