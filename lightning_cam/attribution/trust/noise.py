"""Whether answer and map stay where an image is changed so little that nobody sees it."""

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from ...probe import Probe
from ..engine import placed
from ..layers import unwrapped
from ..outputs import as_logits, predicted_classes
from ..subject import ScoresOf, Subject, looking
from ..targets import Target, own_loss
from ..tracing import input_gradients
from .explaining import Explain, answers_of, grad_cam_of, own_chance, similarity_of


@dataclass(frozen=True, eq=False)
class Adversarial:
    """Answers and maps before and after a step against the answer.

    Attributes:
        images: ``(N, C, H, W)`` pixels after the step.
        predicted: ``(2, N)`` class before and after; -1 where the output is not finite.
        chances: ``(2, N)`` probability of the own class before and after.
        similarity: ``(N,)`` rank correlation of the two maps: how much the map stays where it was.
    """

    images: Tensor
    predicted: Tensor
    chances: Tensor
    similarity: Tensor


def adversarial(
    model: nn.Module,
    probe: Probe,
    explain: Explain | None = None,
    *,
    epsilon: float = 2 / 255,
    forward: ScoresOf | None = None,
    batch_size: int = 32,
) -> Adversarial:
    """Whether answer and map stay under a step that nobody sees (Selvaraju et al. 2017, section 6.2).

    The fast gradient sign method, ``x + epsilon * sign(dJ/dx)`` with the cross-entropy ``J`` of the own class
    (Goodfellow et al. 2015, eq. in section 4), in pixels, which stay in [0, 1]. The paper takes the maps of the true
    class too, and finds that they stay although the answer does not.

    Args:
        model: Any classifier, in any mode.
        probe: The images, and their classes. Its ``preprocess`` must be made of torch functions.
        explain: What makes the maps; None is Grad-CAM.
        epsilon: Size of the step in pixels of 0 to 1; the paper of the method has 0.007 for ImageNet.
        forward: ``(model, inputs) -> class scores``; None calls the model.
        batch_size: Images per pass.
    """
    maps_of = explain or grad_cam_of(unwrapped(model), probe, forward, batch_size)
    with looking(model, probe, _loss_of(probe), forward, batch_size, of_classes=True) as subject:
        pixels = placed(subject.model, probe.images)
        uphill = input_gradients(
            subject.model, pixels, subject.score, forward=partial(_scores_of, subject, probe), batch_size=batch_size
        )
        step = epsilon * uphill.cpu().nan_to_num().sign()
        attacked = replace(probe, images=(probe.images + step).clamp(0, 1))
        logits = torch.stack([subject.logits(each.prepare(each.images)).cpu() for each in (probe, attacked)])
    answers = torch.stack([predicted_classes(answers_of(probe, each)) for each in logits])
    chances = torch.stack([own_chance(probe, each) for each in logits])
    before, after = (maps_of(model, each).detach().cpu() for each in (probe, attacked))
    return Adversarial(attacked.images, answers, chances, similarity_of(before, after))


def _loss_of(probe: Probe) -> Target:
    return own_loss(probe.targets, asks=probe.task.asks)


def _scores_of(subject: Subject, probe: Probe, pixels: Tensor) -> Tensor:
    return as_logits(subject.forward(placed(subject.model, probe.prepare(pixels))))
