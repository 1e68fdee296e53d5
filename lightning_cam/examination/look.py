"""One look: what a model makes of probe images, image by image, so that processes can share the images."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..attribution import cams, engine, layers, targets
from ..attribution.guard import untouched
from ..attribution.heads import Head, class_scores
from ..intervention import Donors, Trial, answers, can_swap, context, draw_donors
from ..probe import Probe


@dataclass(frozen=True, eq=False)
class Look:
    """What a model made of ``n`` probe images; everything on the CPU.

    Attributes:
        layer: Dotted name of the layer whose maps these are, as the model's modules are called.
        logits: ``(n, n_classes)`` float32.
        grid_maps: ``(n, h, w)`` float32, attention of the true class at the layer's own size.
        predicted_grid_maps: ``(n, h, w)`` float32, attention of the predicted class.
        donors: Who lent properties to whom in all of the probe; None if nothing was swapped.
        answers: What `intervention.answers` found, by cue.
        context: What `intervention.context` read, ``(n,)`` or ``(n, n_classes)`` each.
        model_seconds: Wall time spent inside the model.
        n_calls: How often the layer ran in a forward pass, at most. Its last call is what is seen.
        head: Where in the model's output the class scores were, and what they are.
    """

    layer: str
    logits: Tensor
    grid_maps: Tensor
    predicted_grid_maps: Tensor
    donors: Donors | None
    answers: Mapping[str, Tensor]
    context: Mapping[str, Tensor]
    model_seconds: float
    n_calls: int
    head: Head | None = None


def look(
    model: nn.Module,
    probe: Probe,
    chosen: Tensor,
    trials: Sequence[Trial],
    *,
    layer: str | None,
    method: cams.CamMethod,
    n_donors: int,
    forward: Callable[[Tensor], Any] | None,
    batch_size: int,
) -> Look:
    """Looks at the ``chosen`` images ``(n,)`` of a probe; the others lend their properties. See `examine`."""
    labels = probe.targets[chosen]
    in_model = _Stopwatch()
    with untouched(model):
        inputs = probe.prepare(probe.images[chosen])
        forward = class_scores(model, inputs, len(probe.classes), forward)
        layer = layer or layers.find_layer(model, _on_device_of(model, inputs[:2]), forward)
        with in_model:
            batches = list(_maps(model, inputs, labels, layer, method, forward, batch_size))
        *parts, n_calls = zip(*batches, strict=True)
        logits, grid_maps, predicted_grid_maps = map(torch.cat, parts)

        def probabilities(pixels: Tensor) -> Tensor:
            edited = probe.prepare(pixels)
            with in_model:
                return engine.predict_inside(model, edited, forward=forward, batch_size=batch_size).softmax(1).cpu()

        donors = donors_of(probe, n_donors) if trials and can_swap(probe.targets) else None
        plain = logits.softmax(1)
        said = _answers(trials, probe, chosen, donors, plain, probabilities) if donors else {}
        known = _context(probe, chosen, plain, probabilities) if donors else {}
    name = layers.check_layer(model, layer)
    return Look(
        name, logits, grid_maps, predicted_grid_maps, donors, said, known, in_model.seconds, max(n_calls), forward.head
    )


def merged(looks: Sequence[Look]) -> Look:
    """Looks at parts of a probe, in its order, as one look at all of it; as long as the longest."""
    return Look(
        looks[0].layer,
        torch.cat([each.logits for each in looks]),
        torch.cat([each.grid_maps for each in looks]),
        torch.cat([each.predicted_grid_maps for each in looks]),
        looks[0].donors,
        {cue: torch.cat([each.answers[cue] for each in looks]) for cue in looks[0].answers},
        {name: torch.cat([each.context[name] for each in looks]) for name in looks[0].context},
        max(each.model_seconds for each in looks),
        max(each.n_calls for each in looks),
        looks[0].head,
    )


def donors_of(probe: Probe, n: int) -> Donors:
    """Who lends to whom: the same at every check of a run, since they depend on the probe alone."""
    return draw_donors(probe.targets, n, seed=int(probe.fingerprint[:15], 16))


class _Stopwatch:
    """Adds up the wall time of its ``with`` blocks."""

    def __init__(self) -> None:
        self.seconds = self._since = 0.0

    def __enter__(self) -> None:
        self._since = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        self.seconds += time.perf_counter() - self._since


def _maps(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    layer: str,
    method: cams.CamMethod,
    forward: Callable[[Tensor], Any] | None,
    batch_size: int,
) -> Iterator[tuple[Tensor, Tensor, Tensor, int]]:
    """Logits, maps of the true and of the predicted class, and calls of the layer, a batch at a time, on the CPU."""
    for batch, true in zip(torch.split(inputs, batch_size), torch.split(labels, batch_size), strict=True):
        wanted = (_checked_true_class(true), targets.predicted_class())
        seen = engine.capture(model, batch, wanted, layer=layer, forward=forward)
        true_maps, predicted_maps = (method(seen.activations, gradients).cpu() for gradients in seen.gradients)
        yield seen.logits.cpu(), true_maps, predicted_maps, seen.n_calls


def _answers(
    trials: Sequence[Trial],
    probe: Probe,
    chosen: Tensor,
    donors: Donors,
    plain: Tensor,
    probabilities: Callable[[Tensor], Tensor],
) -> Mapping[str, Tensor]:
    return answers(trials, probe.images, probe.targets, probe.masks, donors, plain, probabilities, chosen)


def _context(
    probe: Probe, chosen: Tensor, plain: Tensor, probabilities: Callable[[Tensor], Tensor]
) -> Mapping[str, Tensor]:
    masks = None if probe.masks is None else probe.masks[chosen]
    return context(probe.images[chosen], probe.targets[chosen], masks, plain, probabilities)


def _checked_true_class(labels: Tensor) -> targets.Target:
    """The score of the true class, checked on the host: an index out of range would end a CUDA context."""
    highest = int(labels.max())

    def scores(logits: Tensor) -> Tensor:
        if highest >= logits.shape[1]:
            raise ValueError(
                f"the probe has label {highest}, the model gives {logits.shape[1]} class scores; "
                "pass a probe whose labels the model knows, or forward= that returns the class scores"
            )
        return targets.true_class(labels)(logits)

    return scores


def _on_device_of(model: nn.Module, images: Tensor) -> Tensor:
    parameter = next(model.parameters(), None)
    return images if parameter is None else images.to(parameter.device, parameter.dtype)
