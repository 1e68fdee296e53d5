"""What an answer loses if only the places of a map are left of the image."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...probe import Probe
from ...spatial import to_unit, upsample
from ..measures import is_constant, is_finite
from ..subject import ScoresOf, looking
from .explaining import check_maps, own_chance


@dataclass(frozen=True, eq=False)
class Shown:
    """Probability of each image's own class, of the image and of what its map leaves of it.

    Attributes:
        before: ``(N,)``.
        after: ``(N,)``; NaN for a map that shows no places.
    """

    before: Tensor
    after: Tensor

    @property
    def drop(self) -> Tensor:
        """``(N,)`` share of the probability that is lost, 0..1; the mean over images is the average drop."""
        return ((self.before - self.after).relu() / self.before).where(self.after.isfinite(), torch.nan)

    @property
    def increased(self) -> Tensor:
        """``(N,)`` 1 where the probability rose; the mean is the paper's "increase in confidence"."""
        return (self.after > self.before).float().where(self.after.isfinite(), torch.nan)


def average_drop(
    model: nn.Module, probe: Probe, maps: Tensor, *, forward: ScoresOf | None = None, batch_size: int = 32
) -> Shown:
    """The answer to each image times its own map (Grad-CAM++: Chattopadhay et al. 2018, section 4.1).

    A map is stretched to the image and to 0..1. The product is of pixels as people see them, and ``preprocess``
    follows; what the map does not show is black.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    >>> _ = model[1].weight.data.copy_(torch.tensor([[0.0, 2.0], [0.0, 0.0]]))
    >>> probe = Probe(torch.ones(2, 1, 1, 2), torch.tensor([0, 0]), classes=["a", "b"])
    >>> average_drop(model, probe, torch.tensor([[[0.0, 1.0]], [[1.0, 0.0]]])).drop
    tensor([0.0000, 0.4323])

    Args:
        model: Any classifier, in any mode.
        probe: The images that were explained, and their classes.
        maps: ``(N, h, w)``; a negative value shows as little as the lowest one.
        forward: ``(model, inputs) -> class scores``; None calls the model.
        batch_size: Images per pass.
    """
    check_maps(maps, probe)
    stretched = upsample(maps.detach().cpu().float(), (probe.images.shape[-2], probe.images.shape[-1]))
    shows = is_finite(stretched) & ~is_constant(stretched)
    kept = to_unit(stretched).where(shows[:, None, None], 0.0)
    with looking(model, probe, None, forward, batch_size) as subject:
        images = (probe.images, probe.images * kept[:, None].to(probe.images))
        before, after = (own_chance(probe, subject.logits(probe.prepare(each)).cpu()) for each in images)
    return Shown(before, after.where(shows, torch.nan))
