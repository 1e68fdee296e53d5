"""The measures as torchmetrics: the same arithmetic, streamed over batches and processes.

Each metric calls its function from `attribution.measures` and keeps the sum and the number of the defined values, so
that `compute()` is the mean over all defined samples, in however many batches and processes; NaN if there are none.
What share of the samples that mean stands for is `defined()`.

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


class _DefinedMean(Metric):
    """Sum and number of a measure's defined values, and the number of samples seen."""

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
        """Share of the samples seen whose value is defined, 0-dim; like `compute`, to be called in every process."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=self.sync_on_compute):
            return self.count / self.seen

    def _add(self, values: Tensor) -> None:
        self.total += values.nansum()
        self.count += values.isnan().logical_not().sum()
        self.seen += len(values)


class _OfMapsAndMasks(_DefinedMean):
    def update(self, maps: Tensor, masks: Tensor) -> None:
        """Take in maps ``(N, h, w)`` and their masks ``(N, H, W)``."""
        self._add(type(self).measure(maps, masks))


class _OfMaps(_DefinedMean):
    def update(self, maps: Tensor) -> None:
        """Take in maps ``(N, h, w)``."""
        self._add(type(self).measure(maps))


class BackgroundAttentionRatio(_OfMapsAndMasks):
    """Mean of `measures.background_attention_ratio`."""

    higher_is_better = False
    measure = staticmethod(measures.background_attention_ratio)


class BackgroundAttentionLift(_OfMapsAndMasks):
    """Mean of `measures.background_attention_lift`."""

    higher_is_better = False
    measure = staticmethod(measures.background_attention_lift)


class PointingAccuracy(_OfMapsAndMasks):
    """Mean of `measures.pointing_accuracy`."""

    higher_is_better = True
    measure = staticmethod(measures.pointing_accuracy)


class BoxIoU(_OfMapsAndMasks):
    """Mean of `measures.box_iou`."""

    higher_is_better = True
    measure = staticmethod(measures.box_iou)


class BorderAttentionRatio(_OfMaps):
    """Mean of `measures.border_attention_ratio`."""

    higher_is_better = False
    measure = staticmethod(measures.border_attention_ratio)


class AttentionEntropy(_OfMaps):
    """Mean of `measures.attention_entropy`; neither high nor low is better."""

    higher_is_better = None
    measure = staticmethod(measures.attention_entropy)
