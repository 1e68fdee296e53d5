"""Swaps from a model's answers to effects in one go."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lightning_cam.intervention import Donors, Material, Session, Trial, answers, effects
from lightning_cam.intervention.effects import PROBABILITY


def effects_of(
    trials: Sequence[Trial],
    images: Tensor,
    targets: Tensor,
    masks: Tensor | None,
    donors: Donors,
    probabilities: Callable[[Tensor], Tensor],
) -> dict[str, Tensor]:
    """Effects ``(N,)`` of probability by cue, of all images looked at together."""
    columns = columns_of(trials, images, targets, masks, donors, probabilities)
    return {cue: effect[:, PROBABILITY] for cue, effect in columns.items()}


def columns_of(
    trials: Sequence[Trial],
    images: Tensor,
    targets: Tensor,
    masks: Tensor | None,
    donors: Donors,
    probabilities: Callable[[Tensor], Tensor],
) -> dict[str, Tensor]:
    """Effects ``(N, 3)`` by cue: of probability, of decisions, and how often the answer is right with the own cue."""
    material = Material(images, targets, masks, donors)
    session = Session(material, torch.arange(len(images)), probabilities(images), probabilities)
    return effects(trials, answers(trials, session), material)
