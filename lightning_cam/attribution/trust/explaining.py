"""What makes maps again and again, and how like each other they are."""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from torch import Tensor, nn

from ...probe import Probe
from ...spatial import area_average
from ...statistics import rank_correlation
from .. import cams
from ..outputs import asked
from ..subject import ScoresOf, looking
from ..targets import Target, true_class

Explain: TypeAlias = Callable[[nn.Module, Probe], Tensor]
"""A model and a probe to maps ``(N, h, w)``."""


def attention(
    model: nn.Module,
    probe: Probe,
    *,
    method: cams.CamMethod = cams.grad_cam,
    layer: str | None = None,
    score: Target | None = None,
    forward: ScoresOf | None = None,
    batch_size: int = 32,
) -> Tensor:
    """Maps ``(N, h, w)`` by a method of `cams`, at the layer's own size; with `functools.partial` an `Explain`.

    Args:
        model: Any classifier, in any mode.
        probe: The images to explain, and their classes.
        method: How activations and gradients become maps.
        layer: Dotted name; None finds the last spatial one.
        score: Logits ``(N, n_classes)``, or a batch of outputs of a model without class scores, to the numbers ``(N,)``
            to explain; None is the logit of each image's own class.
        forward: ``(model, inputs) -> class scores``; None calls the model.
        batch_size: Images per pass.
    """
    with looking(model, probe, score, forward, batch_size) as subject:
        captured = subject.captured(layer or subject.last_layer())
        return method(captured.activations, captured.gradients[0]).cpu()


def grad_cam_of(model: nn.Module, probe: Probe, forward: ScoresOf | None, batch_size: int) -> Explain:
    """At the layer that the model has as it is."""
    with looking(model, probe, None, forward, batch_size) as subject:
        layer = subject.last_layer()
    return partial(attention, layer=layer, forward=forward, batch_size=batch_size)


def answers_of(probe: Probe, logits: Tensor) -> Tensor:
    """Of several labels those of the one that each image is asked for."""
    return asked(logits, probe.targets) if probe.task.asks else logits


def own_chance(probe: Probe, logits: Tensor) -> Tensor:
    """Probability ``(N,)`` of each image's own class."""
    return true_class(probe.targets)(answers_of(probe, logits).softmax(1))


def check_maps(maps: Tensor, probe: Probe) -> None:
    """Raises a ValueError unless there is a map for each image."""
    if maps.ndim != 3 or len(maps) != len(probe):
        raise ValueError(f"expected a map for each of the {len(probe)} images, (N, h, w), found {tuple(maps.shape)}")


def similarity_of(one: Tensor, other: Tensor) -> Tensor:
    """Rank correlation ``(N,)`` on the coarser of two grids."""
    size = tuple(map(min, one.shape[1:], other.shape[1:]))
    return rank_correlation(*(area_average(each, size).flatten(1) for each in (one, other)))
