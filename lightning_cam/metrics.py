"""The measures as torchmetrics: the same arithmetic, streamed over batches and processes.

Each metric calls its function from `attribution.measures` and keeps the sum and the number of the defined values.
`compute()` is the mean over all defined samples, over any number of batches and processes. It is NaN if no sample is
defined. `defined()` is the share of the samples that the mean stands for.

Keyword arguments are those of `torchmetrics.Metric`, such as ``sync_on_compute``.

>>> metric = AttentionEntropy()
>>> metric.update(torch.tensor([[[1.0, 1.0]], [[0.0, 0.0]]]))  # a uniform map and an empty one
>>> metric.compute(), metric.defined()
(tensor(1.), tensor(0.5000))
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from .attribution import measures

__all__ = [
    "AttentionEntropy",
    "BackgroundAttentionLift",
    "BackgroundAttentionRatio",
    "BorderAttentionRatio",
    "BoxIoU",
    "PointingAccuracy",
]


class _DefinedMean(Metric):
    """Sum and number of a measure's defined values, and the number of all samples."""

    full_state_update = False
    is_differentiable = False
    measure: ClassVar[Callable[..., Tensor]]
    total: Tensor
    count: Tensor
    seen: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("seen", torch.tensor(0), dist_reduce_fx="sum")
        # MetricCollection lets metrics share one update for good when their states have equal names and, after the
        # first batch, equal values: here as soon as nothing in it is defined. A name of its own prevents that.
        self.add_state(type(self).__name__, torch.tensor(0), dist_reduce_fx="sum")

    def compute(self) -> Tensor:
        """Mean of the defined values, 0-dim; NaN if there are none."""
        return self.total / self.count

    def defined(self) -> Tensor:
        """Share of the samples whose value is defined, 0-dim. Like `compute`, call it in every process."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=self.sync_on_compute):
            return self.count / self.seen

    def _add(self, values: Tensor) -> None:
        self.total += values.nansum()
        self.count += values.isnan().logical_not().sum()
        self.seen += len(values)


class _OfMapsAndMasks(_DefinedMean):
    def update(self, maps: Tensor, masks: Tensor) -> None:
        """Adds maps ``(N, h, w)`` and their masks ``(N, H, W)``."""
        self._add(type(self).measure(maps, masks))


class _OfMaps(_DefinedMean):
    def update(self, maps: Tensor) -> None:
        """Adds maps ``(N, h, w)``."""
        self._add(type(self).measure(maps))


class BackgroundAttentionRatio(_OfMapsAndMasks):
    """Share of a map's mass that lies outside the object (one minus the energy of Wang et al. 2020, section 4.3).

    - Input: maps ``(N, h, w)``, float, non-negative; masks ``(N, H, W)``, bool, True on the object.
    - Output: 0-dim mean, 0 to 1. A uniform map has the background's share of the image. Lower is better.
    - Undefined: empty maps, and masks that are empty or cover the whole image.

    >>> metric = BackgroundAttentionRatio()
    >>> metric(torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[True, False]]]))
    tensor(0.2500)
    """

    higher_is_better = False
    measure = staticmethod(measures.background_attention_ratio)


class BackgroundAttentionLift(_OfMapsAndMasks):
    """Log odds of the background attention ratio, minus the log odds of the background's area.

    - Input: maps ``(N, h, w)``, float, non-negative; masks ``(N, H, W)``, bool, True on the object.
    - Output: 0-dim mean. 0 is uniform attention; above 0 the background gets more than its share. Lower is better.
    - Undefined: empty maps, and masks that are empty or cover the whole image.

    Source: this package; `measures.background_attention_lift` has the formula and its bounds.

    >>> metric = BackgroundAttentionLift()
    >>> metric(torch.ones(1, 2, 2), torch.tensor([[[True, False], [True, False]]]))
    tensor(0.)
    """

    higher_is_better = False
    measure = staticmethod(measures.background_attention_lift)


class PointingAccuracy(_OfMapsAndMasks):
    """Share of the maps whose peak lies on the object (Zhang et al. 2018, without the tolerance of 15 pixels).

    - Input: maps ``(N, h, w)``, float; masks ``(N, H, W)``, bool, True on the object.
    - Output: 0-dim mean, 0 to 1. Higher is better.
    - Undefined: constant maps, and masks that are empty or cover the whole image.

    >>> metric = PointingAccuracy()
    >>> metric(torch.tensor([[[3.0, 1.0]], [[0.0, 1.0]]]), torch.tensor([[[True, False]], [[True, False]]]))
    tensor(0.5000)
    """

    higher_is_better = True
    measure = staticmethod(measures.pointing_accuracy)


class BoxIoU(_OfMapsAndMasks):
    """Overlap of the map's box, at 20 % of its maximum, with the box around the mask (Zhou et al. 2016, section 3.2).

    - Input: maps ``(N, h, w)``, float, non-negative; masks ``(N, H, W)``, bool, True on the object.
    - Output: 0-dim mean, 0 to 1. Higher is better.
    - Undefined: constant maps and empty masks.

    >>> metric = BoxIoU()
    >>> metric(torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[True, False]]]))
    tensor(0.5000)
    """

    higher_is_better = True
    measure = staticmethod(measures.box_iou)


class BorderAttentionRatio(_OfMaps):
    """Share of a map's mass in the outer ring, 10 % of height and width on each side.

    - Input: maps ``(N, h, w)``, float, non-negative.
    - Output: 0-dim mean, 0 to 1. A uniform map has 0.36. Lower is better.
    - Undefined: empty maps.

    Source: this package.

    >>> metric = BorderAttentionRatio()
    >>> metric(torch.ones(2, 10, 10))
    tensor(0.3600)
    """

    higher_is_better = False
    measure = staticmethod(measures.border_attention_ratio)


class AttentionEntropy(_OfMaps):
    """Entropy of a map's mass over its cells, divided by that of a uniform map (Shannon 1948).

    - Input: maps ``(N, h, w)``, float, non-negative.
    - Output: 0-dim mean, 0 (all mass in one cell) to 1 (uniform). Neither high nor low is better.
    - Undefined: empty maps.

    >>> metric = AttentionEntropy()
    >>> metric(torch.tensor([[[2.0, 2.0, 0.0, 0.0]]]))
    tensor(0.5000)
    """

    higher_is_better = None
    measure = staticmethod(measures.attention_entropy)
