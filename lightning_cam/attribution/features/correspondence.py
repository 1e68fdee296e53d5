"""Whether a model has learnt that the same part in several images is the same thing."""

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...probe import Probe
from ..layer_search import find_layer
from ..layers import Layers, check_layers
from ..subject import ScoresOf
from .answers import Reader, reading

FILL = 0.5  # mid-grey, as in the paper


class Correspondence(NamedTuple):
    """One row of Zeiler and Fergus' table 1.

    Attributes:
        layer: Dotted name.
        distance: Share of the features whose change has another sign in the other image; mean over the pairs, 0..1.
        deviation: Standard deviation over the pairs; NaN for one pair.
        random: The same where equally large blocks hide random places.
        random_deviation: Over the pairs of all draws.
    """

    layer: str
    distance: float
    deviation: float
    random: float
    random_deviation: float

    @property
    def corresponds(self) -> bool:
        """Whether the part changes the features more alike than random places do; no test of significance."""
        return self.distance < self.random


def part_correspondence(
    model: nn.Module,
    probe: Probe,
    boxes: Tensor,
    layers: Layers | None = None,
    *,
    n_random: int = 10,
    generator: torch.Generator | None = None,
    forward: ScoresOf | None = None,
    batch_size: int = 32,
) -> tuple[Correspondence, ...]:
    """How alike the features of images change when the same part is hidden; low where the model knows the part.

    ``e_i = x_i - x~_i`` is what a grey block on the part takes from the features of image ``i``. The distance of two
    images is ``Hamming(sign e_i, sign e_j)`` (Zeiler and Fergus 2014, section 4.3 and table 1). The paper sums over the
    pairs; here the distance is the share of the features, and the mean over the pairs of images of the same class. A
    feature that does not change has sign 0. The random places are drawn ``n_random`` times and may overlap the part.

    Args:
        model: Any model, in any mode.
        probe: At least two images of a class; the paper has five of dogs from the front.
        boxes: ``(N, 4)`` the part in each image as ``x1, y1, x2, y2`` in pixels.
        layers: Dotted names, of layers with maps or with vectors; None takes the last spatial layer.
        n_random: How often random places are drawn.
        generator: On the CPU; None is a new one with seed 0.
        forward: ``(model, inputs) -> anything``; None calls the model.
        batch_size: Images per pass.

    Raises:
        ValueError: No two images of a class, a box that is empty or outside of its image, or no such layer.
        RuntimeError: A layer does not run.
    """
    places = _checked(boxes, probe)
    pairs = [pair for pair in combinations(range(len(probe)), 2) if probe.targets[pair[0]] == probe.targets[pair[1]]]
    if not pairs or n_random < 1:
        raise ValueError(f"expected two images of a class and n_random above 0, found {len(pairs)} pairs, {n_random=}")
    source = torch.Generator().manual_seed(0) if generator is None else generator
    with reading(model, probe, forward, batch_size) as reader:
        inputs = reader.inputs(probe.images[:2])
        names = check_layers(reader.model, layers or find_layer(reader.model, inputs, reader.run))
        known = _distances(reader, names, places, pairs)
        drawn = [_distances(reader, names, _elsewhere(places, probe, source), pairs) for _ in range(n_random)]
    random = torch.cat(drawn, 1)
    rows = zip(known.mean(1), _deviation(known), random.mean(1), _deviation(random), strict=True)
    return tuple(Correspondence(name, *map(float, row)) for name, row in zip(names, rows, strict=True))


def _checked(boxes: Tensor, probe: Probe) -> Tensor:
    """Whole pixels, ``(N, 4)`` int64."""
    height, width = probe.images.shape[-2:]
    if boxes.shape != (len(probe), 4):
        raise ValueError(
            f"expected one box x1, y1, x2, y2 for each image, ({len(probe)}, 4), found {tuple(boxes.shape)}"
        )
    x1, y1, x2, y2 = boxes.cpu().double().nan_to_num(-1).unbind(1)
    is_inside = (x1 >= 0) & (y1 >= 0) & (x2 <= width) & (y2 <= height)
    rounded = torch.stack([x1.floor(), y1.floor(), x2.ceil(), y2.ceil()], 1).long()
    wrong = (~(is_inside & (x1 < x2) & (y1 < y2))).nonzero().flatten().tolist()
    if wrong:
        raise ValueError(
            f"expected boxes x1 < x2, y1 < y2 in images of {width} x {height} pixels, found {boxes[wrong[0]].tolist()} "
            f"for {probe.names[wrong[0]]}"
        )
    return rounded


def _elsewhere(boxes: Tensor, probe: Probe, source: torch.Generator) -> Tensor:
    """Blocks of the same sizes, each at a place of its own."""
    sides = boxes[:, 2:] - boxes[:, :2]
    room = torch.tensor([probe.images.shape[-1], probe.images.shape[-2]]) - sides
    corner = (torch.rand(len(boxes), 2, generator=source) * (room + 1)).long().minimum(room)
    return torch.cat([corner, corner + sides], 1)


def _distances(reader: Reader, names: tuple[str, ...], boxes: Tensor, pairs: list[tuple[int, int]]) -> Tensor:
    """``(L, pairs)``; NaN where features are not finite."""
    signs = [torch.cat(parts) for parts in zip(*_signs(reader, names, boxes), strict=True)]
    return torch.stack([torch.stack([_hamming(each[i], each[j]) for i, j in pairs]) for each in signs])


def _signs(reader: Reader, names: tuple[str, ...], boxes: Tensor) -> Iterator[list[Tensor]]:
    """For each batch and layer the signs ``(n, F)`` of what hiding takes away."""
    hidden = reader.probe.images.clone()
    for image, (x1, y1, x2, y2) in zip(hidden, boxes.tolist(), strict=True):
        image[:, y1:y2, x1:x2] = FILL
    plain, behind = (reader.features_of(reader.inputs(images), names) for images in (reader.probe.images, hidden))
    for before, after in zip(plain, behind, strict=True):
        yield [(a - b).sign().flatten(1).cpu() for a, b in zip(before, after, strict=True)]


def _deviation(distances: Tensor) -> Tensor:
    """Over the pairs ``(L, pairs)``; a single one has none."""
    squares = (distances - distances.mean(1, keepdim=True)).square().sum(1)
    n = distances.shape[1]
    return (squares / (n - 1)).sqrt() if n > 1 else squares * torch.nan


def _hamming(one: Tensor, other: Tensor) -> Tensor:
    is_defined = one.isfinite().all() & other.isfinite().all()
    return (one != other).double().mean().where(is_defined, torch.nan)
