"""Whether a map depends on what the model has learned."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from ...probe import Probe
from ..layers import unwrapped
from ..subject import ScoresOf
from .explaining import Explain, grad_cam_of, similarity_of


@dataclass(frozen=True, eq=False)
class Randomisation:
    """How like a model's maps those are that it gives with more and more random weights.

    Attributes:
        layers: The first layer, in the order of the model, that is random at each stage; the last stage is all.
        similarity: ``(stages, N)`` rank correlation of each map with that of the model as it is. Near 1 at the last
            stage means that the map does not show what the model has learned.
    """

    layers: tuple[str, ...]
    similarity: Tensor


def randomisation(
    model: nn.Module,
    probe: Probe,
    explain: Explain | None = None,
    *,
    n_stages: int = 8,
    seed: int = 0,
    forward: ScoresOf | None = None,
    batch_size: int = 32,
) -> Randomisation:
    """Similarity of maps while weights become random from the last layer to the first (Adebayo et al. 2018, fig. 2).

    The paper's cascading randomisation, with the rank correlation of section 3. The paper initialises weights as before
    the training. Here each tensor is drawn from a normal distribution with its own mean and spread, since a module
    needs no known initialisation for that. Running means stay. The model's own tensors are never written to: they are
    taken out for the time, and put back whatever happens.

    Args:
        model: Any classifier, in any mode.
        probe: The images to explain, and their classes.
        explain: What makes the maps, such as ``pixels.guided_backprop``, which fails; None is Grad-CAM.
        n_stages: How many times more layers become random, in the order in which the model defines them. Each costs
            the maps once more.
        seed: Of the random weights.
        forward: For Grad-CAM: ``(model, inputs) -> class scores``; None calls the model.
        batch_size: For Grad-CAM: images per pass.
    """
    inner = unwrapped(model)
    maps_of = explain or grad_cam_of(inner, probe, forward, batch_size)
    plain = maps_of(model, probe).detach().cpu()
    generator = torch.Generator().manual_seed(seed)
    names, rows = [], []
    with _lent(inner):
        for stage in _stages(inner, n_stages):
            for module in stage.values():
                _draw_anew(module, generator)
            names.append(next(iter(stage)))
            rows.append(similarity_of(plain, maps_of(model, probe).detach().cpu()))
    similarity = torch.stack(rows) if rows else torch.empty(0, len(probe))
    return Randomisation(tuple(names), similarity)


@contextmanager
def random_weights(model: nn.Module, *, seed: int) -> Iterator[None]:
    """All weights are random, as at the last stage of `randomisation`, and the model's own again behind it."""
    inner, generator = unwrapped(model), torch.Generator().manual_seed(seed)
    with _lent(inner):
        for module in inner.modules():
            _draw_anew(module, generator)
        yield


def _stages(model: nn.Module, n: int) -> Iterator[dict[str, nn.Module]]:
    """Modules with weights of their own in groups of about one size, the last group first."""
    modules = [
        (name, each) for name, each in model.named_modules() if next(each.parameters(recurse=False), None) is not None
    ]
    ends = torch.linspace(len(modules), 0, min(n, len(modules)) + 1).round().int().tolist()
    for last, first in pairwise(ends):
        yield dict(modules[first:last])


@contextmanager
def _lent(model: nn.Module) -> Iterator[None]:
    """Parameters have their own values back at the end: the same memory, to which nobody has written."""
    own = [(parameter, parameter.data) for parameter in model.parameters()]
    try:
        yield
    finally:
        for parameter, values in own:
            parameter.data = values


def _draw_anew(module: nn.Module, generator: torch.Generator) -> None:
    for parameter in module.parameters(recurse=False):
        if parameter.is_floating_point():
            values = parameter.data.float()
            noise = torch.randn(values.shape, generator=generator).to(values.device)
            parameter.data = (values.mean() + values.std(correction=0) * noise).to(parameter.dtype)
