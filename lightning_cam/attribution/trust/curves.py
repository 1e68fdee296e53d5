"""What becomes of the answer while pixels go or come back, in the order of a map."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as v2_functional

from ...probe import Probe
from ...spatial import upsample
from ..subject import ScoresOf, Subject, looking
from ..targets import Target
from .explaining import check_maps, own_chance

_KERNEL, _SIGMA = 11, 5.0  # pixels, of the blurred image that insertion begins with (Petsiuk et al. 2018, section 4.1)


@dataclass(frozen=True, eq=False)
class Curve:
    """A score while more and more pixels are changed, those first where the map is high.

    Attributes:
        shares: ``(s,)`` of the pixels that are changed, from 0 to 1.
        scores: ``(N, s)``.
        by_chance: ``(N, s)``, the same with the map moved to a random place: it wraps around at the edges.
    """

    shares: Tensor
    scores: Tensor
    by_chance: Tensor

    @property
    def auc(self) -> Tensor:
        """``(N,)`` mean height of the curve. After a deletion low is good, after an insertion high."""
        return torch.trapezoid(self.scores, self.shares)

    @property
    def auc_by_chance(self) -> Tensor:
        """``(N,)``, as `auc`: a map that is not better says nothing about what the answer depends on."""
        return torch.trapezoid(self.by_chance, self.shares)


def deletion(
    model: nn.Module,
    probe: Probe,
    maps: Tensor,
    *,
    n_steps: int = 20,
    fill: float = 0.5,
    score: Target | None = None,
    forward: ScoresOf | None = None,
    batch_size: int = 32,
) -> Curve:
    """The score while the pixels where the map is highest become grey (RISE: Petsiuk et al. 2018, section 4.1).

    Pixels are changed in the picture as people see it, and `preprocess` follows. Of equal pixels the upper left ones go
    first. The paper compares methods; a comparison with chance is added, for which the map is moved.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    >>> _ = model[1].weight.data.copy_(torch.tensor([[0.0, 2.0, 4.0, 0.0], [0.0, 0.0, 0.0, 0.0]]))
    >>> probe = Probe(torch.ones(1, 1, 2, 2), torch.tensor([0]), classes=["a", "b"])
    >>> maps = torch.tensor([[[0.0, 1.0], [2.0, -1.0]]])
    >>> deletion(model, probe, maps, n_steps=4, fill=0.0, score=lambda logits: logits[:, 0]).scores
    tensor([[6., 2., 0., 0., 0.]])

    Args:
        model: Any classifier, in any mode.
        probe: The images that were explained, and their classes.
        maps: ``(N, h, w)``; smaller ones are stretched to the image bilinearly.
        n_steps: Equal steps from the whole image to none of it, each of which costs two forward passes.
        fill: Pixel value that takes their place, 0 to 1.
        score: Logits ``(N, n_classes)``, or a batch of outputs of a model without class scores, to the numbers ``(N,)``
            to follow; None is the probability of each image's own class.
        forward: ``(model, inputs) -> class scores``; None calls the model.
        batch_size: Images per pass.
    """
    emptied = torch.full_like(probe.images, fill)
    with looking(model, probe, score, forward, batch_size) as subject:
        return _curve(subject, probe, maps, (probe.images, emptied), score, n_steps)


def insertion(
    model: nn.Module,
    probe: Probe,
    maps: Tensor,
    *,
    n_steps: int = 20,
    score: Target | None = None,
    forward: ScoresOf | None = None,
    batch_size: int = 32,
) -> Curve:
    """The score while a blurred image gets its pixels back, those first where the map is highest (Petsiuk et al. 2018).

    The counterpart of `deletion`, in the same section of the paper: from a blurred image, since a sharp edge on a plain
    ground would be evidence of its own.

    Args:
        model: Any classifier, in any mode.
        probe: The images that were explained, and their classes.
        maps: ``(N, h, w)``; smaller ones are stretched to the image bilinearly.
        n_steps: Equal steps, each of which costs two forward passes.
        score: As in `deletion`.
        forward: ``(model, inputs) -> class scores``; None calls the model.
        batch_size: Images per pass.
    """
    side = min(_KERNEL, 2 * min(probe.images.shape[-2:]) - 1)  # a mirrored edge is shorter than the image
    blurred = v2_functional.gaussian_blur(probe.images, [side, side], [_SIGMA, _SIGMA])
    with looking(model, probe, score, forward, batch_size) as subject:
        return _curve(subject, probe, maps, (blurred, probe.images), score, n_steps)


def _curve(
    subject: Subject, probe: Probe, maps: Tensor, ends: tuple[Tensor, Tensor], score: Target | None, n_steps: int
) -> Curve:
    """From the first of the ends to the second."""
    check_maps(maps, probe)
    if n_steps < 1:
        raise ValueError(f"expected at least one step from no pixel to all of them, found n_steps={n_steps}")
    follow = partial(own_chance, probe) if score is None else subject.score
    stretched = upsample(maps.detach().cpu().float(), subject.size)
    shares = torch.linspace(0, 1, n_steps + 1)
    rows = [_followed(subject, probe, order, ends, follow, shares) for order in (stretched, _moved(stretched))]
    shows = _shows_places(stretched)[:, None]
    return Curve(shares, *(each.where(shows, torch.nan) for each in rows))


def _followed(
    subject: Subject, probe: Probe, maps: Tensor, ends: tuple[Tensor, Tensor], follow: Target, shares: Tensor
) -> Tensor:
    """Scores ``(N, s)``."""
    places = maps.flatten(1).argsort(dim=1, descending=True, stable=True).argsort(1).reshape(maps.shape)
    scores = []
    for share in shares.tolist():
        is_changed = (places < round(share * places[0].numel()))[:, None]
        pictures = torch.where(is_changed, ends[1], ends[0])
        scores.append(follow(subject.logits(probe.prepare(pictures))).cpu())
    return torch.stack(scores, 1)


def _moved(maps: Tensor) -> Tensor:
    """Each map shifted by a random distance, the same each time: as smooth as before, and at another place."""
    generator = torch.Generator().manual_seed(0)
    shifts = torch.rand(len(maps), 2, generator=generator) / 2 + 0.25  # of the side: neither back nor close
    sides = torch.tensor(maps.shape[1:])
    distances = (shifts * sides).round().long().tolist()
    return torch.stack([each.roll(by, (0, 1)) for each, by in zip(maps, distances, strict=True)])


def _shows_places(maps: Tensor) -> Tensor:
    """Whether a map is finite and not constant."""
    flat = maps.flatten(1)
    return flat.isfinite().all(1) & (flat.amax(1) > flat.amin(1))
