"""Swaps from a model's answers to effects in one go."""

from collections.abc import Callable, Sequence

from torch import Tensor

from lightning_cam.intervention import Donors, Trial, answers, effects


def effects_of(
    trials: Sequence[Trial],
    images: Tensor,
    targets: Tensor,
    masks: Tensor | None,
    donors: Donors,
    probabilities: Callable[[Tensor], Tensor],
) -> dict[str, Tensor]:
    """Effects ``(N,)`` by cue, of all images looked at together."""
    said = answers(trials, images, targets, masks, donors, probabilities(images), probabilities)
    return effects(trials, said, targets, masks, donors)
