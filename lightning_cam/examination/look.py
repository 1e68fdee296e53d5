"""One look: a model's maps and answers for probe images, image by image, so that processes can share the images."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from ..allocator import give_back
from ..attribution import asking, cams, engine, layer_search, layers, targets
from ..attribution.fusion import fused
from ..attribution.guard import untouched
from ..attribution.heads import ClassScores, Head, class_scores
from ..intervention import Donors, Material, Session, Trial, answers, can_swap, context, draw_donors, in_parts
from ..probe import Probe

MOST_VALUES_A_PASS = 2**24  # of model input: 64 MiB, 32 images of 418 x 418 pixels in colour, and at least one image

ScoresOf: TypeAlias = Callable[[nn.Module, Tensor], Any]  # a model and its inputs to class scores


@dataclass(frozen=True, eq=False)
class Look:
    """The maps and answers of a model for ``n`` probe images; everything on the CPU.

    Attributes:
        layer: Dotted name of the layer whose maps these are, as the model's modules are called; of several that were
            fused, the names joined by " + ".
        logits: ``(n, n_classes)`` float32.
        grid_maps: ``(n, h, w)`` float32, attention of the true class at the layer's own size.
        predicted_grid_maps: ``(n, h, w)`` float32, attention of the predicted class.
        donors: Who lent properties to whom in all of the probe; None if nothing was swapped.
        answers: What `intervention.answers` found, by cue.
        context: What `intervention.context` read, ``(n,)`` or ``(n, n_classes)`` each.
        model_seconds: Wall time spent inside the model.
        n_calls: How often the layer ran in a forward pass, at most. The maps are of its last call.
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

    def first(self, n: int) -> "Look":
        """The look at the first ``n`` of its images."""
        return replace(
            self,
            logits=self.logits[:n],
            grid_maps=self.grid_maps[:n],
            predicted_grid_maps=self.predicted_grid_maps[:n],
            answers={cue: values[:n] for cue, values in self.answers.items()},
            context={name: values[:n] for name, values in self.context.items()},
        )


def look(
    model: nn.Module,
    probe: Probe,
    chosen: Tensor,
    trials: Sequence[Trial],
    *,
    layer: layers.Layers | None,
    method: cams.Method,
    n_donors: int,
    forward: ScoresOf | None,
    batch_size: int,
    tried: Tensor | None = None,
) -> Look:
    """Looks at the ``chosen`` images ``(n,)`` of a probe; the others lend their properties. See `examine`.

    Cues are swapped on those that are ``tried (m,)`` as well; None means all. The answers for the rest are NaN.
    """
    model = layers.unwrapped(model)
    donors = donors_of(probe, n_donors) if trials and can_swap(probe.targets) else None
    is_tried = torch.ones_like(chosen, dtype=torch.bool) if tried is None else torch.isin(chosen, tried)
    with untouched(model):
        batch_size = min(batch_size, max(1, MOST_VALUES_A_PASS // probe.images[0].numel()))
        parts = in_parts(chosen, probe.images)
        inputs = probe.prepare(probe.images[chosen[: max(len(parts[0]), 2)]])
        scores = class_scores(model, inputs[:batch_size], len(probe.classes), bound(forward, model))
        subject = _Subject(model, probe, scores, batch_size)
        found = layer_search.find_layer(model, engine.placed(model, inputs[:2]), scores) if layer is None else layer
        names = layers.check_layers(model, found)
        maps = subject.maps(parts, inputs, names, method)
        del inputs  # trials would hold them as long as they run
        give_back(probe.images)
        swaps, parts_of_images = subject.answers(trials, chosen, is_tried, donors, maps.logits)
    return Look(
        layer=" + ".join(names),
        donors=donors,
        answers=swaps,
        context=parts_of_images,
        model_seconds=subject.clock.seconds,
        head=scores.head,
        **vars(maps),
    )


def merged(looks: Sequence[Look]) -> Look:
    """Looks at parts of a probe, in its order, as one look at all of it; as long as the longest."""
    first = looks[0]
    return Look(
        layer=first.layer,
        logits=torch.cat([each.logits for each in looks]),
        grid_maps=torch.cat([each.grid_maps for each in looks]),
        predicted_grid_maps=torch.cat([each.predicted_grid_maps for each in looks]),
        donors=first.donors,
        answers={cue: torch.cat([each.answers[cue] for each in looks]) for cue in first.answers},
        context={name: torch.cat([each.context[name] for each in looks]) for name in first.context},
        model_seconds=max(each.model_seconds for each in looks),
        n_calls=max(each.n_calls for each in looks),
        head=first.head,
    )


def donors_of(probe: Probe, n: int) -> Donors:
    """Who lends to whom: the same at every check of a run, since donors depend on the probe alone."""
    return draw_donors(probe.targets, n, seed=int(probe.fingerprint[:15], 16))


def _spread(columns: Mapping[str, Tensor], is_tried: Tensor) -> Mapping[str, Tensor]:
    """Columns ``(m, ...)`` as ``(n, ...)``: their rows where ``is_tried (n,)`` is True, NaN elsewhere."""
    return {name: _spread_column(column, is_tried) for name, column in columns.items()}


def _spread_column(column: Tensor, is_tried: Tensor) -> Tensor:
    spread = column.new_full((len(is_tried), *column.shape[1:]), torch.nan)
    spread[is_tried] = column
    return spread


def bound(forward: ScoresOf | None, model: nn.Module) -> Callable[[Tensor], Any] | None:
    """``forward`` with its model, as the engine calls it; None calls the model."""
    return None if forward is None else partial(forward, model)


class _Stopwatch:
    """Adds up the wall time of its ``with`` blocks."""

    def __init__(self) -> None:
        self.seconds = self._since = 0.0

    def __enter__(self) -> None:
        self._since = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        self.seconds += time.perf_counter() - self._since


@dataclass(frozen=True, eq=False)
class _Maps:
    """A model's maps of probe images, under their names in a `Look`."""

    logits: Tensor
    grid_maps: Tensor
    predicted_grid_maps: Tensor
    n_calls: int


@dataclass(frozen=True)
class _Subject:
    """A model before a probe, and the time that is spent inside the model."""

    model: nn.Module
    probe: Probe
    forward: ClassScores
    batch_size: int
    clock: _Stopwatch = field(default_factory=_Stopwatch)

    def maps(self, parts: Sequence[Tensor], first: Tensor, names: Sequence[str], method: cams.Method) -> _Maps:
        """Maps of all images, on the CPU. The inputs of the first part are ``first``, if there is no other part."""
        with self.clock:
            batches = list(self._batches(parts, first, names, method))
        *columns, n_calls = zip(*batches, strict=True)
        logits, grid_maps, predicted_grid_maps = map(torch.cat, columns)
        return _Maps(logits, grid_maps, predicted_grid_maps, max(n_calls))

    def _batches(
        self, parts: Sequence[Tensor], first: Tensor, names: Sequence[str], method: cams.Method
    ) -> Iterator[tuple[Tensor, Tensor, Tensor, int]]:
        """The fields of `_Maps` for a batch at a time: the activations of all images would fill the memory."""
        n, probe = self.batch_size, self.probe
        for part in parts:
            inputs = first if len(parts) == 1 else probe.prepare(probe.images[part])
            for batch, labels in zip(torch.split(inputs, n), torch.split(probe.targets[part], n), strict=True):
                yield self._batch(batch, labels, names, method)

    def _batch(
        self, inputs: Tensor, labels: Tensor, names: Sequence[str], method: cams.Method
    ) -> tuple[Tensor, Tensor, Tensor, int]:
        options: dict[str, Any] = {"layers": names, "forward": self.forward, "batch_size": self.batch_size}
        true_class = targets.true_class(labels)
        if isinstance(method, cams.ForwardMethod):

            def of(logits: Tensor) -> list[targets.Target]:
                return [true_class, targets.true_class(logits.argmax(1))]

            asked = asking.ask(self.model, inputs, of, method, **options)
            true_maps, predicted_maps = (fused([each[i] for each in asked.maps]).cpu() for i in range(2))
            return asked.logits.cpu(), true_maps, predicted_maps, asked.n_calls
        captures = engine.capture_all(self.model, inputs, (true_class, targets.predicted_class()), **options)
        true_maps, predicted_maps = (
            fused([method(each.activations, each.gradients[i]) for each in captures]).cpu() for i in range(2)
        )
        return captures[0].logits.cpu(), true_maps, predicted_maps, max(each.n_calls for each in captures)

    def answers(
        self, trials: Sequence[Trial], chosen: Tensor, is_tried: Tensor, donors: Donors | None, logits: Tensor
    ) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        """The answers for the images that are tried, by cue and by context; NaN for the other chosen images."""
        if donors is None:
            return {}, {}
        indices, plain = chosen[is_tried], logits.softmax(1)[is_tried]
        swaps = answers(trials, Session(material_of(self.probe, donors), indices, plain, self._probabilities))
        return _spread(swaps, is_tried), _spread(self._context(indices, plain), is_tried)

    def _context(self, chosen: Tensor, plain: Tensor) -> Mapping[str, Tensor]:
        """The answers for parts of the chosen images."""
        images, labels, masks = self.probe.images, self.probe.targets, self.probe.masks
        parts = [
            context(images[some], labels[some], None if masks is None else masks[some], before, self._probabilities)
            for some, before in zip(in_parts(chosen, images), in_parts(plain, images), strict=True)
        ]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _probabilities(self, pixels: Tensor) -> Tensor:
        inputs = self.probe.prepare(pixels)
        with self.clock:
            logits = engine.predict_inside(self.model, inputs, forward=self.forward, batch_size=self.batch_size)
            return logits.softmax(1).cpu()


def material_of(probe: Probe, donors: Donors) -> Material:
    """What trials need to know of a probe."""
    return Material(probe.images, probe.targets, probe.masks, donors)
