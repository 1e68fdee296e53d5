"""A model before a probe: what every explanation of pixels needs of both."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..probe import Probe
from ..spatial import upsample
from .engine import Capture, Forward, capture, placed, predict_inside
from .guard import untouched
from .heads import class_scores, traced_output
from .layer_search import find_layer
from .layers import unwrapped
from .rectifiers import Rule
from .scored import Scored, checked_score, own_score
from .similarity import scoring
from .targets import Target, true_class
from .tracing import input_gradients

ScoresOf: TypeAlias = Callable[[nn.Module, Tensor], Any]  # a model and its inputs to class scores


@dataclass(frozen=True)
class Subject:
    """A model, and what it is given and asked. Without class scores ``forward`` gives what `own_score` reads."""

    model: nn.Module
    inputs: Tensor
    score: Target
    forward: Forward
    batch_size: int
    size: tuple[int, ...]
    has_classes: bool = True

    def gradients(self, inputs: Tensor, rule: Rule | None = None) -> Tensor:
        """``(N, C, H, W)`` float32, at other inputs than the probe's as well."""
        return input_gradients(
            self.model, inputs, self.score, forward=self.forward, batch_size=self.batch_size, rule=rule
        )

    def last_layer(self) -> str:
        """Dotted name of the last spatial layer."""
        return find_layer(self.model, self.inputs[:2], self.forward)

    def captured(self, layer: str) -> Capture:
        """Activations of a layer, and the gradients of the score there."""
        return capture(
            self.model, self.inputs, [self.score], layer=layer, forward=self.forward, batch_size=self.batch_size
        )

    def logits(self, inputs: Tensor) -> Tensor:
        """``(M, n_classes)`` float32, at any inputs."""
        return predict_inside(self.model, inputs, forward=self.forward, batch_size=self.batch_size)

    def maps(self, values: Tensor) -> Tensor:
        """Maps at the size of the probe's images, which a ``preprocess`` may have changed."""
        if values.shape[1:] != self.size and len(self.size) == 3:  # torch has no antialiasing of volumes
            values = upsample(values, self.size)
        elif values.shape[1:] != self.size:
            values = F.interpolate(values[:, None], self.size, mode="bilinear", antialias=True)[:, 0]
        return values.cpu()


@contextmanager
def looking(
    model: nn.Module,
    probe: Probe,
    score: Target | None,
    forward: ScoresOf | None,
    batch_size: int,
    *,
    of_classes: bool = False,
) -> Iterator[Subject]:
    """The model in evaluation mode, the same before and after.

    A ``score`` reads class scores or, if the model has none and it is not ``of_classes``, the outputs as they are.
    """
    model = unwrapped(model)
    forward = scoring(model, probe, forward, batch_size)
    bound = None if forward is None else partial(forward, model)
    with untouched(model):
        inputs = placed(model, probe.prepare(probe.images))
        if inputs.ndim != probe.images.ndim:
            form = "(N, C, H, W)" if probe.images.ndim == 4 else "(N, C, D, H, W)"
            raise ValueError(f"expected model inputs {form}, found shape {tuple(inputs.shape)} from preprocess")
        size, scores = tuple(probe.images.shape[2:]), None
        try:
            scores = class_scores(model, inputs[:batch_size], probe.n_scores, bound, task=probe.task)
        except ValueError:
            if score is None or of_classes:
                raise
        if scores is None or (score is not None and not of_classes and scores.head.remark and not scores.head.is_guess):
            scored = _scored(model, inputs[:2], bound or model, score or own_score)
            yield Subject(model, inputs, own_score, scored, batch_size, size, has_classes=False)
            return
        explained = score or true_class(probe.task.explained(probe.targets))
        yield Subject(model, inputs, explained, scores, batch_size, size)


def _scored(model: nn.Module, inputs: Tensor, run: Forward, score: Target) -> Scored:
    """The user's own score of outputs, batch by batch."""
    outputs = traced_output(model, run, inputs)
    own = checked_score(score, outputs, len(inputs), len(inputs), needs_gradient=False)  # not all methods need one
    return Scored(run, None, own, torch.arange(len(inputs)))
