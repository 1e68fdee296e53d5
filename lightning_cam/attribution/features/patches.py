"""The patches of a probe's images to which a unit answers most strongly."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...probe import Probe
from ..layer_search import find_layer
from ..layers import check_layer
from ..subject import ScoresOf
from .answers import Reader, reading
from .projecting import PictureRule, Projection, grid_of, project

MOST_UNITS = 8  # where nobody names units: as many rows as fit on one screen


@dataclass(frozen=True, eq=False)
class StrongestPatches:
    """For each of ``U`` units the ``k`` images that it answers to most strongly, the strongest first.

    Attributes:
        layer: Dotted name.
        units: Channels of the layer.
        activations: ``(U, k)`` float32; NaN where the unit's answer to an image is not finite, which comes last.
        images: ``(U, k)`` int64 positions in the probe.
        places: ``(U, k, 2)`` int64 row and column in the layer's map.
        boxes: ``(U, k, 4)`` int64 ``x1, y1, x2, y2`` in pixels of the probe's images: all that the unit sees there.
        patches: ``(U, k, C, P, Q)`` what is in the boxes. All are as large as the largest; NaN is beyond the image.
        pictures: ``(U, k, C, P, Q)`` what the unit answers to in each, with sign; None if the model has no ReLUs but
            other activations, for which there is no rule.
    """

    layer: str
    units: tuple[int, ...]
    activations: Tensor
    images: Tensor
    places: Tensor
    boxes: Tensor
    patches: Tensor
    pictures: Tensor | None


def strongest_patches(
    model: nn.Module,
    probe: Probe,
    layer: str | None = None,
    units: Sequence[int] | None = None,
    *,
    k: int = 9,
    picture: PictureRule = "deconvnet",
    forward: ScoresOf | None = None,
    batch_size: int = 32,
) -> StrongestPatches:
    """The patches to which each unit answers most, and what in them it answers to (Zeiler and Fergus 2014, figure 2).

    An image counts once, with the place of its largest activation. The patch is the unit's receptive field. It is
    traced for each place from the layer back to the pixels: through ReLUs as if they were open, and from a max-pooling
    to its whole window. So it ends at the image's edge, and is the whole image behind a global operation. Weights
    of exactly 0 see nothing: residual branches that begin with zeros make the patches of an untrained network small.

    The picture is the gradient of that one activation under the rule at each ReLU, see `pixels.deconvnet` and
    `pixels.guided_backprop`. The paper starts with the activation's size; here all start with 1, so that the pictures
    differ by a factor.

    Args:
        model: Any model, in any mode.
        probe: The images to choose from.
        layer: Dotted name; None finds the last spatial layer of a classifier.
        units: Channels of the layer; None takes the eight whose largest activations differ most
            between the images.
        k: Images for each unit; all images if there are fewer.
        picture: The rule at ReLUs.
        forward: ``(model, inputs) -> anything``; None calls the model.
        batch_size: Images per pass.

    Raises:
        ValueError: There is no such layer or unit, or it gives no map of the image.
        RuntimeError: The layer does not run, or no gradient goes from it to the pixels.
    """
    if k < 1:
        raise ValueError(f"expected at least one image for each unit, found k={k}")
    with reading(model, probe, forward, batch_size) as reader:
        inputs = reader.inputs(probe.images)
        name = check_layer(reader.model, layer) if layer else find_layer(reader.model, inputs[:2], reader.run)
        peaks = _peaks(reader, name, inputs, units)
        order = peaks.values.nan_to_num(-torch.inf).sort(dim=0, descending=True, stable=True).indices[:k].T  # (U, k)
        rows = torch.arange(len(order))[:, None]
        places, channels = peaks.places[order, rows], torch.tensor(peaks.units)[:, None, None]
        values = torch.cat([channels.expand(*order.shape, 1), places], 2)
        traced = _traced(reader, name, inputs[order.flatten().to(inputs.device)], values.flatten(0, 1), picture)
    boxes = _boxes(traced.reached, probe.images.shape[-2:])
    patches, pictures = _cut(probe.images[order.flatten()], boxes), None
    if traced.pictures is not None:
        pictures = _by_unit(_cut(_resized(traced.pictures, probe.images.shape[-2:]), boxes), order)
    return StrongestPatches(
        name,
        peaks.units,
        peaks.values[order, rows],
        order,
        places,
        _by_unit(boxes, order),
        _by_unit(patches, order),
        pictures,
    )


@dataclass(frozen=True, eq=False)
class _Peaks:
    """Largest activation of each unit in each image, ``(N, U)``, and where, ``(N, U, 2)``."""

    units: tuple[int, ...]
    values: Tensor
    places: Tensor


def _peaks(reader: Reader, layer: str, inputs: Tensor, units: Sequence[int] | None) -> _Peaks:
    values, places = [], []
    for batch, (answer,) in zip(
        torch.split(inputs, reader.batch_size), reader.features_of(inputs, [layer]), strict=True
    ):
        grid = grid_of(answer, batch)
        of_units = grid.detach().float().flatten(2)
        peak = of_units.nan_to_num(-torch.inf).max(2)
        values.append(peak.values.where(of_units.isfinite().all(2), torch.nan).cpu())
        row, column = peak.indices // grid.shape[3], peak.indices % grid.shape[3]
        places.append(torch.stack([row, column], 2).cpu())
    peaks = torch.cat(values)
    chosen = _telling(peaks) if units is None else _checked(units, peaks.shape[1], layer)
    return _Peaks(chosen, peaks[:, list(chosen)], torch.cat(places)[:, list(chosen)])


def _telling(peaks: Tensor) -> tuple[int, ...]:
    """The units that tell images apart best: a dead one has the same answer to all. Sorted."""
    finite = peaks.where(peaks.isfinite().all(0), 0)
    ranges = finite.amax(0) - finite.amin(0)
    return tuple(ranges.sort(descending=True, stable=True).indices[:MOST_UNITS].sort().values.tolist())


def _checked(units: Sequence[int], n_units: int, layer: str) -> tuple[int, ...]:
    chosen = tuple(units)
    if not chosen or not all(0 <= unit < n_units for unit in chosen):
        raise ValueError(f"expected units from 0 to {n_units - 1}, which layer {layer!r} has, found {list(chosen)}")
    return chosen


def _traced(reader: Reader, layer: str, inputs: Tensor, values: Tensor, picture: PictureRule) -> Projection:
    batches = zip(torch.split(inputs, reader.batch_size), torch.split(values, reader.batch_size), strict=True)
    parts = [project(reader, layer, batch, value, picture) for batch, value in batches]
    pictures = [part.pictures.cpu() for part in parts if part.pictures is not None]
    return Projection(torch.cat([part.reached.cpu() for part in parts]), torch.cat(pictures) if pictures else None)


def _by_unit(rows: Tensor, order: Tensor) -> Tensor:
    """``(U * k, ...)`` to ``(U, k, ...)``."""
    return rows.reshape(*order.shape, *rows.shape[1:])


def _boxes(reached: Tensor, size: tuple[int, ...]) -> Tensor:
    """``(M, 4)`` boxes around what is reached, in pixels of an image of another size; nothing reached is all of it."""
    sides = []
    for axis, length in ((1, size[1]), (2, size[0])):  # any over rows leaves columns
        line = reached.any(axis)
        line = line | ~line.any(1, keepdim=True)
        n = line.shape[1]
        first, last = line.float().argmax(1), n - line.flip(1).float().argmax(1)
        sides.append((first * length // n, -(-last * length // n)))
    (x1, x2), (y1, y2) = sides
    return torch.stack([x1, y1, x2, y2], 1)


def _resized(pictures: Tensor, size: tuple[int, ...]) -> Tensor:
    """At the size of the probe's images, which a ``preprocess`` may have changed."""
    if pictures.shape[-2:] == size:
        return pictures
    return F.interpolate(pictures, list(size), mode="bilinear", antialias=True)


def _cut(images: Tensor, boxes: Tensor) -> Tensor:
    """``(M, C, P, Q)``: what is in the boxes. One that the upper or left edge has cut lies at the other end."""
    width, height = (int((boxes[:, i + 2] - boxes[:, i]).max()) for i in (0, 1))
    patches = torch.full((len(images), images.shape[1], height, width), torch.nan)
    for patch, image, (x1, y1, x2, y2) in zip(patches, images, boxes.tolist(), strict=True):
        top = height - (y2 - y1) if y1 == 0 else 0
        left = width - (x2 - x1) if x1 == 0 else 0
        patch[:, top : top + y2 - y1, left : left + x2 - x1] = image[:, y1:y2, x1:x2]
    return patches
