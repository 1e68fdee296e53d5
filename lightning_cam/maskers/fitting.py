"""Whether masks belong to their pictures: outlines lie on edges of the own picture more than on those of others."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

FEWEST = 8  # pictures: of fewer, outlines and edges agree by chance
# Pictures: 13 right boxes of pets reached a z of 2.6 to 3.2, where 64 of other objects had 10 to 25.
FEWEST_BOXES = 32
_SIDE = 32  # pixels a side while looking: an outline that is one pixel of 64 off still lies on its edge
_DEPTHS = (1, 0, -1, -2, -3, -4)  # pixels by which masks are grown: loose ones have the object's edge inside
# On 18 sets of 13 to 64 pictures, right masks reached 7.6 to 50, and up to 6 pixels of 64 too wide or too narrow 6.0 to
# 50. Those of other pictures had 2.7 at most.
_BELONGS = 4.0
_MIRRORED = 4.0  # by how much mirrored masks must fit better; right ones fit 6 worse or more
_TIGHT = 1.5  # z over the root of the number: from here on no single right mask of 700 fitted others as well
# Mean over standard deviation, against the same mask moved: right masks had 1.15 or more, one box in all pictures of
# photographs and drawn objects 0.57 at most.
_STAYS = 0.9
_SHIFT = 3  # pixels of `_SIDE`
_TINY = 1e-6

_MIRRORS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "left to right": lambda masks: masks.flip(2),
    "upside down": lambda masks: masks.flip(1),
    "with rows for columns": lambda masks: masks.transpose(1, 2),
}


@dataclass(frozen=True)
class Fit:
    """How masks fit their pictures.

    Attributes:
        belongs: Whether they fit their own pictures better than others.
        strays: ``(N,)`` bool, those that do not, where nearly all do; each wrong mask is one with a chance of a half.
        mirrored: How masks must be mirrored to fit clearly better; empty where they need not.
    """

    belongs: bool
    strays: Tensor
    mirrored: str = ""


def fit_of(images: Tensor, masks: Tensor) -> Fit | None:
    """The fit of ``masks (N, H, W)`` to ``images (N, C, H, W)``; None where it cannot be told.

    It cannot of few pictures, of pictures without any edge, and of boxes, unless there are many.
    """
    is_one = bool((masks == masks[:1]).all())
    if len(masks) < FEWEST or (len(masks) < FEWEST_BOXES and _are_boxes(masks) and not is_one):
        return None
    edges = _edges(F.interpolate(images, size=(_SIDE, _SIDE), mode="area"))
    small = F.interpolate(masks[:, None].float(), size=(_SIDE, _SIDE), mode="area")[:, 0]
    if not edges.any():
        return None
    if is_one:
        return Fit(_stays(edges, small), torch.zeros(len(masks), dtype=torch.bool, device=masks.device))
    fits = [_fit(edges, _grown(small, depth)) for depth in _DEPTHS]
    own, apart = max(fits, key=lambda fit: fit[0])
    is_tight = own >= _TIGHT * len(masks) ** 0.5 and not _are_boxes(masks)
    return Fit(own >= _BELONGS, (apart <= 0) & is_tight, _mirrored(edges, small, own))


def _are_boxes(masks: Tensor) -> bool:
    """Whether most masks fill the box around them."""
    boxes = masks.any(2)[:, :, None] & masks.any(1)[:, None]
    return bool((masks == boxes).all(2).all(1).float().mean() > 0.5)


def _edges(images: Tensor) -> Tensor:
    """Steps between neighbours, ``(N, pairs)``, of each picture by its own spread."""
    steps = torch.cat([images.diff(dim=dim).abs().sum(1).flatten(1) for dim in (2, 3)], 1)
    return (steps - steps.mean(1, keepdim=True)) / steps.std(1, keepdim=True).clamp_min(_TINY)


def _outlines(masks: Tensor) -> Tensor:
    """The same of masks, with a sum of 1."""
    steps = torch.cat([masks.diff(dim=dim).abs().flatten(1) for dim in (1, 2)], 1)
    return steps / steps.sum(1, keepdim=True).clamp_min(_TINY)


def _fit(edges: Tensor, masks: Tensor) -> tuple[float, Tensor]:
    """How much better masks fit their own pictures: a z score, and the difference for each.

    The score is the sum over all pictures, by its mean and deviation over all orders of the masks (Hoeffding 1951).
    """
    table = edges @ _outlines(masks).T
    apart = table - table.mean(0) - table.mean(1, keepdim=True) + table.mean()
    deviation = (apart.square().sum() / (len(table) - 1)).sqrt()
    own = apart.diagonal()
    return float(own.sum() / deviation) if deviation > _TINY else 0.0, own


def _mirrored(edges: Tensor, masks: Tensor, own: float) -> str:
    fits = {name: _fit(edges, mirror(masks))[0] for name, mirror in _MIRRORS.items()}
    best = max(fits, key=lambda name: fits[name])
    return best if fits[best] >= max(_BELONGS, own + _MIRRORED) else ""


def _stays(edges: Tensor, masks: Tensor) -> bool:
    """Whether one mask of all pictures fits them better than where it is moved to."""
    padded = F.pad(masks[:, None], (_SHIFT,) * 4, mode="replicate")[:, 0]
    places = [(y, x) for y in (0, _SHIFT, 2 * _SHIFT) for x in (0, _SHIFT, 2 * _SHIFT)]
    moved = {(y, x): (edges * _outlines(padded[:, y : y + _SIDE, x : x + _SIDE])).sum(1) for y, x in places}
    better = moved.pop((_SHIFT, _SHIFT)) - torch.stack(list(moved.values())).mean(0)
    return bool(better.mean() >= _STAYS * better.std().clamp_min(_TINY))


def _grown(masks: Tensor, depth: int) -> Tensor:
    reach = 2 * abs(depth) + 1
    values = masks if depth >= 0 else 1 - masks
    grown = F.max_pool2d(values[:, None], reach, stride=1, padding=abs(depth))[:, 0]
    return grown if depth >= 0 else 1 - grown
