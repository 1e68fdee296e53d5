"""Weakly supervised localisation: how well maps find objects that the model was never shown the outlines of.

Maps are ``(N, h, w)``, not negative. Masks are ``(N, H, W)`` bool at image size; an all-False one is not known. Maps
are stretched to the masks bilinearly. Undefined is NaN, for that image only: a map that is constant or not finite, or
an object without a mask. Volumes have one axis more, first of the space.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..spatial import largest_component, mask_boxes, to_unit, upsample
from .measures import box_overlap, check_maps_and_masks, is_constant, is_finite, map_boxes, nan_mean, space_of

SHARE = 0.2  # of the maximum, from which a pixel belongs to the box (Zhou et al. 2016, section 3.2)
HALF = 0.5  # overlap from which an object counts as found, in all of the papers
POINTING_TOLERANCE = 15  # pixels (Zhang et al. 2018, section 4.1)
_ROUNDING = 1e-6  # a pixel of exactly the threshold may lie on either side


def boxes(maps: Tensor, size: tuple[int, ...], *, share: float = SHARE) -> Tensor:
    """Boxes ``(N, 4)`` as ``x1, y1, x2, y2`` around the largest region of ``map >= share of its maximum``.

    (Zhou et al. 2016, section 3.2; Selvaraju et al. 2017, section 4.1, with a share of 0.15.) Regions are 4-connected.

    >>> boxes(torch.tensor([[[0.0, 0.1, 1.0, 0.5]]]), (1, 4))
    tensor([[2., 0., 4., 1.]])
    """
    return map_boxes(maps, size, share).where(_shows_places(maps)[:, None], torch.nan)


def localisation_error(
    maps: Tensor, masks: Tensor, correct: Tensor, *, share: float = SHARE, overlap: float = HALF
) -> Tensor:
    """``(N,)``: 0 where the class is right and the box overlaps the object's by half, else 1 (ILSVRC's measure).

    As in Zhou et al. 2016, section 3.2, for the predicted class alone ("top-1"). The mean is the localisation error. A
    wrong answer is an error whatever the map is.

    Args:
        maps: Of the predicted class.
        masks: Of the objects.
        correct: ``(N,)`` bool, whether the class is right.
        share: As in `boxes`.
        overlap: Intersection over union from which an object counts as found.
    """
    check_maps_and_masks(maps, masks)
    overlaps = box_overlap(boxes(maps, masks.shape[1:], share=share), mask_boxes(masks))
    missed = (overlaps < overlap).to(maps).where(overlaps.isfinite(), torch.nan)
    return missed.where(correct.to(maps.device), 1.0).where(masks.flatten(1).any(1), torch.nan)


@dataclass(frozen=True, eq=False)
class BoxAccuracy:
    """How often the box around a map finds the object, by the threshold that cuts the box out.

    Attributes:
        thresholds: ``(T,)`` from 0 to 1.
        overlaps: ``(T, N)`` intersection over union with the object's box; NaN where undefined.
        accuracies: ``(T,)`` share of the defined images whose overlap is large enough.
    """

    thresholds: Tensor
    overlaps: Tensor
    accuracies: Tensor

    @property
    def best(self) -> float:
        """MaxBoxAcc: the highest of the accuracies. NaN where nothing is defined."""
        return float(self.accuracies.amax())

    @property
    def threshold(self) -> float:
        """The first threshold that reaches it."""
        return float(self.thresholds[self.accuracies.argmax()])

    @property
    def n_defined(self) -> int:
        """How many images it is of."""
        return int(self.overlaps.isfinite().all(0).sum())


def box_accuracy(maps: Tensor, masks: Tensor, *, overlap: float = HALF, n_thresholds: int = 100) -> BoxAccuracy:
    """Accuracy of boxes over all thresholds, and the best, MaxBoxAcc (Choe et al. 2020, section 4.1, eq. 3 and 4).

    Each map is stretched to 0..1, a threshold cuts out its pixels from that value on, and the box surrounds the largest
    region of them. Regions are 4-connected. One threshold holds for all images. Images without an object to find, or
    whose map shows no places, are left out; the paper has no such images.

    >>> masks = torch.tensor([[[True, True, False, False]]])
    >>> box_accuracy(torch.tensor([[[1.0, 0.8, 0.6, 0.0]]]), masks, overlap=0.9, n_thresholds=5).accuracies
    tensor([0., 0., 0., 1., 0.])

    Args:
        maps: Of the true class, so that only the place is judged.
        masks: Of the objects; the box around each is compared.
        overlap: Intersection over union from which an object counts as found. The paper's second version is the mean
            of ``best`` for 0.3, 0.5 and 0.7.
        n_thresholds: Equal steps from 0 to 1, both among them.
    """
    check_maps_and_masks(maps, masks)
    _check_thresholds(n_thresholds)
    thresholds, scaled = torch.linspace(0, 1, n_thresholds), _scaled(maps, masks)
    objects = mask_boxes(masks)
    rows = [box_overlap(mask_boxes(largest_component(scaled >= each - _ROUNDING)), objects) for each in thresholds]
    overlaps = torch.stack(rows).where(_shows_places(maps), torch.nan).cpu()
    found = (overlaps >= overlap).float().where(overlaps.isfinite(), torch.nan)
    return BoxAccuracy(thresholds, overlaps, torch.stack([nan_mean(row) for row in found]))


@dataclass(frozen=True, eq=False)
class PixelPrecision:
    """Precision and recall of pixels, over all images together, by threshold.

    Attributes:
        thresholds: ``(T,)`` from 0 to 1.
        precision: ``(T,)`` share of the pixels from that value on that lie on an object.
        recall: ``(T,)`` share of the objects' pixels that have that value or more.
    """

    thresholds: Tensor
    precision: Tensor
    recall: Tensor

    @property
    def average(self) -> float:
        """PxAP: the area under precision over recall. NaN where nothing is defined."""
        steps = self.recall - torch.cat([self.recall[1:], self.recall.new_zeros(1)])
        return float((self.precision.nan_to_num() * steps).sum())


def pixel_precision(maps: Tensor, masks: Tensor, *, n_thresholds: int = 1000) -> PixelPrecision:
    """Precision and recall of pixels over all thresholds, and the area, PxAP (Choe et al. 2020, section 4.1, eq. 5).

    For masks, where `box_accuracy` is for boxes. Each map is stretched to 0..1. Images are left out as there.

    >>> curve = pixel_precision(torch.tensor([[[1.0, 0.5, 0.0]]]), torch.tensor([[[True, False, True]]]))
    >>> round(curve.average, 3)
    0.833

    Args:
        maps: Of the true class.
        masks: Of the objects.
        n_thresholds: Equal steps from 0 to 1, both among them.
    """
    check_maps_and_masks(maps, masks)
    _check_thresholds(n_thresholds)
    kept = _shows_places(maps) & masks.flatten(1).any(1)
    values, inside = _scaled(maps[kept], masks[kept]).flatten(), masks[kept].flatten()
    thresholds = torch.linspace(0, 1, n_thresholds)
    chosen, hit = (_at_least(some, thresholds) for some in (values.cpu(), values[inside].cpu()))
    return PixelPrecision(thresholds, hit / chosen, hit / int(inside.sum()) if len(values) else hit / torch.nan)


def pointing_hits(maps: Tensor, masks: Tensor, *, tolerance: float = POINTING_TOLERANCE) -> Tensor:
    """``(N,)``: 1 where the map's highest point lies on the object, or no further than ``tolerance`` pixels from it.

    The pointing game (Zhang et al. 2018, section 4.1). The highest point is the pixel of the stretched map that is the
    highest, the first one of several. `measures.pointing_accuracy` has no tolerance and reads the map's own cells.

    >>> pointing_hits(torch.tensor([[[0.0, 0.0, 1.0]]]), torch.tensor([[[True, False, False]]]), tolerance=2)
    tensor([1.])
    """
    check_maps_and_masks(maps, masks)
    resized, axes = upsample(maps, masks.shape[1:]), [torch.arange(n, device=maps.device) for n in masks.shape[1:]]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)
    peaks = points[:, resized.flatten(1).argmax(1)]
    squares = (points[:, None] - peaks[:, :, None]).square().sum(0)
    nearest = squares.double().where(masks.flatten(1), torch.inf).amin(1).sqrt()
    hits = (nearest <= tolerance).to(maps)
    return hits.where(_shows_places(maps) & masks.flatten(1).any(1), torch.nan)


def _shows_places(maps: Tensor) -> Tensor:
    return is_finite(maps) & ~is_constant(maps)


def _scaled(maps: Tensor, masks: Tensor) -> Tensor:
    """At the size of the masks, from 0 to 1; a map that shows no places is 0."""
    shows = _shows_places(maps).reshape(-1, *[1] * len(space_of(maps)))
    return to_unit(upsample(maps, masks.shape[1:])).where(shows, 0.0)


def _at_least(values: Tensor, thresholds: Tensor) -> Tensor:
    """How many values reach each threshold."""
    return len(values) - torch.searchsorted(values.double().sort().values, thresholds.double() - _ROUNDING)


def _check_thresholds(n: int) -> None:
    if n < 2:
        raise ValueError(f"expected two thresholds or more, 0 and 1 among them, found n_thresholds={n}")
