"""Swaps from a model's answers to effects in one go."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lightning_cam.intervention import Donors, Material, Session, Trial, answers, effects


def effects_of(
    trials: Sequence[Trial],
    images: Tensor,
    targets: Tensor,
    masks: Tensor | None,
    donors: Donors,
    probabilities: Callable[[Tensor], Tensor],
) -> dict[str, Tensor]:
    """Effects ``(N,)`` by cue, of all images looked at together."""
    material = Material(images, targets, masks, donors)
    session = Session(material, torch.arange(len(images)), probabilities(images), probabilities)
    return effects(trials, answers(trials, session), material)
