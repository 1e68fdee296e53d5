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
from ..attribution.outputs import asked
from ..attribution.regions import RegionScores, overlaps
from ..intervention import Donors, Session, Trial, answers, context, in_parts, moves_object
from ..probe import Probe
from ..probe.rest import carrying
from ..probe.task import VALUES
from .views import View, donors_of, views_of

MOST_VALUES_A_PASS = 2**24  # of model input: 64 MiB, 32 images of 418 x 418 pixels in colour, and at least one image

ScoresOf: TypeAlias = Callable[[nn.Module, Tensor], Any]  # a model and its inputs to class scores


@dataclass(frozen=True, eq=False)
class Look:
    """The maps and answers of a model for ``n`` probe images; everything on the CPU.

    Attributes:
        layer: Dotted name of the layer whose maps these are, as the model's modules are called; of several that were
            fused, the names joined by " + ".
        logits: ``(n, n_classes)`` float32; of several labels see `asked`.
        grid_maps: ``(n, h, w)`` float32, attention of the true class at the layer's own size.
        predicted_grid_maps: ``(n, h, w)`` float32, attention of the predicted class.
        donors: Who lent properties to whom in all of the probe; None if nothing was swapped.
        answers: What `intervention.answers` found, by cue.
        context: What `intervention.context` read, ``(n,)`` or ``(n, n_classes)`` each.
        model_seconds: Wall time spent inside the model.
        n_calls: How often the layer ran in a forward pass, at most. The maps are of its last call.
        head: Where in the model's output the class scores were, and what they are.
        method_maps: ``(2, n, h, w)`` by the name of each further method: of the true and of the predicted class.
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
    method_maps: Mapping[str, Tensor] = field(default_factory=dict)

    def first(self, n: int) -> "Look":
        """The look at the first ``n`` of its images."""
        return replace(
            self,
            logits=self.logits[:n],
            grid_maps=self.grid_maps[:n],
            predicted_grid_maps=self.predicted_grid_maps[:n],
            answers={cue: values[:n] for cue, values in self.answers.items()},
            context={name: values[:n] for name, values in self.context.items()},
            method_maps={name: maps[:, :n] for name, maps in self.method_maps.items()},
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
    methods: Sequence[cams.Method] = (),
) -> Look:
    """Looks at the ``chosen`` images ``(n,)`` of a probe; the others lend their properties. See `examine`.

    Cues are swapped on those that are ``tried (m,)`` as well; None means all. The answers for the rest are NaN.
    """
    model, forward = layers.unwrapped(model), carrying(forward, probe.rest)
    trials = [trial for trial in trials if probe.regions is None or not moves_object(trial)]
    donors = donors_of(probe, n_donors) if trials else None
    is_tried = torch.ones_like(chosen, dtype=torch.bool) if tried is None else torch.isin(chosen, tried)
    with untouched(model):
        batch_size = min(batch_size, max(1, MOST_VALUES_A_PASS // probe.images[0].numel()))
        parts = in_parts(chosen, probe.images)
        first = chosen[: max(len(parts[0]), 2)]
        inputs = probe.prepare(probe.images[first], first)
        scores = class_scores(model, inputs[:batch_size], probe.n_scores, bound(forward, model), task=probe.task)
        subject = _Subject(model, probe, scores, batch_size)
        single = replace(scores, task=None)  # a layer may have as many channels as there are scores
        found = layer_search.find_layer(model, engine.placed(model, inputs[:2]), single) if layer is None else layer
        names = layers.check_layers(model, found)
        maps = subject.maps(parts, inputs, names, [method, *methods])
        del inputs  # trials would hold them as long as they run
        give_back(probe.images)
        swaps, parts_of_images = subject.answers(trials, chosen, is_tried, donors, maps.logits)
        if probe.task.asks:
            maps = replace(maps, logits=asked(maps.logits, probe.targets[chosen]))
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
        answers=_merged_columns(looks, lambda each: each.answers),
        context=_merged_columns(looks, lambda each: each.context),
        model_seconds=max(each.model_seconds for each in looks),
        n_calls=max(each.n_calls for each in looks),
        head=first.head,
        method_maps={name: torch.cat([each.method_maps[name] for each in looks], 1) for name in first.method_maps},
    )


def _merged_columns(looks: Sequence[Look], of: Callable[[Look], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
    """Columns of all looks; NaN for the images of a look without such a column: none of its share was asked."""
    known = {name: column for each in looks for name, column in of(each).items()}
    return {
        name: torch.cat(
            [of(each).get(name, column.new_full((len(each.logits), *column.shape[1:]), torch.nan)) for each in looks]
        )
        for name, column in known.items()
    }


def name_of(method: cams.Method) -> str:
    """The name of a function or of an object that makes maps."""
    return str(getattr(method, "__name__", type(method).__qualname__))


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
    method_maps: Mapping[str, Tensor]


@dataclass(frozen=True)
class _Subject:
    """A model before a probe, and the time that is spent inside the model."""

    model: nn.Module
    probe: Probe
    forward: ClassScores
    batch_size: int
    clock: _Stopwatch = field(default_factory=_Stopwatch)

    def maps(
        self, parts: Sequence[Tensor], first: Tensor, names: Sequence[str], methods: Sequence[cams.Method]
    ) -> _Maps:
        """Maps of all images, on the CPU. The inputs of the first part are ``first``, if there is no other part."""
        with self.clock:
            batches = list(self._batches(parts, first, names, methods))
        logits, maps, n_calls = zip(*batches, strict=True)
        of_methods = torch.cat(maps, 2)
        further = {name_of(method): each for method, each in zip(methods[1:], of_methods[1:], strict=True)}
        return _Maps(torch.cat(logits), of_methods[0, 0], of_methods[0, 1], max(n_calls), further)

    def _batches(
        self, parts: Sequence[Tensor], first: Tensor, names: Sequence[str], methods: Sequence[cams.Method]
    ) -> Iterator[tuple[Tensor, Tensor, int]]:
        """Logits, maps and calls of a batch at a time: the activations of all images would fill the memory."""
        n, probe = self.batch_size, self.probe
        for part in parts:
            inputs = first if len(parts) == 1 else probe.prepare(probe.images[part], part)
            for batch, rows in zip(torch.split(inputs, n), torch.split(part, n), strict=True):
                yield self._batch(batch, rows, names, methods)

    def _batch(
        self, inputs: Tensor, rows: Tensor, names: Sequence[str], methods: Sequence[cams.Method]
    ) -> tuple[Tensor, Tensor, int]:
        """Maps ``(M, 2, n, h, w)`` by each method, of the true and of the predicted class.

        All methods by gradients share one pass forward and one back for either class.
        """
        labels, regions = self.probe.targets[rows], self._regions(rows)
        forward = self.forward if regions is None else RegionScores(self.forward, regions)
        options: dict[str, Any] = {"layers": names, "forward": forward, "batch_size": self.batch_size}
        task = self.probe.task
        true_class, is_value = targets.true_class(task.explained(labels)), task.kind == VALUES
        down = targets.true_class(labels & ~1)  # what lowers a value tells where it comes from as well

        def of(logits: Tensor) -> list[targets.Target]:
            predicted = (asked(logits, labels) if task.asks else logits).argmax(1)
            return [true_class, down if is_value else targets.true_class(predicted)]

        captures: tuple[engine.Capture, ...] = ()
        found: list[tuple[Tensor, Tensor]] = []
        for method in methods:
            if isinstance(method, cams.ForwardMethod):
                answer = asking.ask(self.model, inputs, of, method, **options)
                both, logits, n_calls = zip(*answer.maps, strict=True), answer.logits, answer.n_calls
            else:
                if not captures:
                    predicted_class = targets.predicted_answer(labels) if task.asks else targets.predicted_class()
                    wanted = true_class, down if is_value else predicted_class
                    captures = engine.capture_all(self.model, inputs, wanted, **options)
                by_layer = [[method(each.activations, back) for back in each.gradients] for each in captures]
                both = zip(*by_layer, strict=True)
                logits, n_calls = captures[0].logits, max(each.n_calls for each in captures)
            true_maps, predicted_maps = (fused(list(each)).cpu() for each in both)
            found.append(_both(true_maps, predicted_maps, is_value=is_value))
        return logits.cpu(), torch.stack([torch.stack(each) for each in found]), n_calls

    def answers(
        self, trials: Sequence[Trial], chosen: Tensor, is_tried: Tensor, donors: Donors | None, logits: Tensor
    ) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        """The answers for the images that are tried, by cue and by context; NaN for the other chosen images."""
        if donors is None:
            return {}, {}
        swaps: dict[str, Tensor] = {}
        parts_of_images: dict[str, Tensor] = {}
        everything = logits
        if self.probe.task.asks and len(chosen) < len(self.probe):  # the rest is of other processes
            everything = torch.cat(
                [
                    self._predicted(self.probe.images[some], some)
                    for some in torch.split(torch.arange(len(self.probe)), self.batch_size)
                ]
            )
        for view in views_of(self.probe, donors):
            places = view.places(chosen)
            are_asked = is_tried & (places >= 0)
            if not are_asked.any():
                continue
            centre = view.centre_of(everything)
            plain = view.probabilities(self._plain(logits[are_asked], chosen[are_asked]), centre)
            ask = partial(self._probabilities, view, centre)
            session = Session(view.material, places[are_asked], plain, ask, ask)
            _put(answers(trials, session), swaps, are_asked)
            _put(_context(session), parts_of_images, are_asked)
            if self.probe.regions is not None:
                own = plain.gather(1, self.probe.targets[chosen[are_asked], None])[:, 0]
                _put({"region_iou": own}, parts_of_images, are_asked)
        return swaps, parts_of_images

    def _probabilities(self, view: View, centre: float, pixels: Tensor, places: Tensor | None = None) -> Tensor:
        return view.probabilities(self._predicted(pixels, None if places is None else view.rows[places]), centre)

    def _plain(self, logits: Tensor, rows: Tensor) -> Tensor:
        """What the model says of images as they are; of regions more than their mean ``logits``: how they overlap."""
        if self.probe.regions is None:
            return logits
        parts = torch.split(rows, self.batch_size)
        return torch.cat([self._predicted(self.probe.images[part], part) for part in parts])

    def _regions(self, rows: Tensor | None) -> Tensor | None:
        """The regions that some images are asked for; None where the task is another."""
        if rows is None or self.probe.regions is None or self.probe.masks is None:
            return None
        return self.probe.masks[rows]

    def _predicted(self, pixels: Tensor, rows: Tensor | None) -> Tensor:
        inputs, regions = self.probe.prepare(pixels, rows), self._regions(rows)
        with self.clock:
            if regions is not None:
                n = self.batch_size
                return overlaps(self.model, inputs, regions, scores=self.forward, batch_size=n).cpu()
            return engine.predict_inside(self.model, inputs, forward=self.forward, batch_size=self.batch_size).cpu()


def _both(true_maps: Tensor, predicted_maps: Tensor, *, is_value: bool) -> tuple[Tensor, Tensor]:
    """Maps of the true and of the predicted class; of a value one map, of what raises it and of what lowers it."""
    return (true_maps + predicted_maps,) * 2 if is_value else (true_maps, predicted_maps)


def _of_those(session: Session, chosen: Tensor, masks: Tensor | None, pixels: Tensor) -> Tensor:
    """Answers to pictures of all chosen images, or of those of them that have masks."""
    are_meant = slice(None) if masks is None or len(pixels) == len(chosen) else masks.any((1, 2))
    return session.ask(pixels, chosen[are_meant])


def _put(found: Mapping[str, Tensor], columns: dict[str, Tensor], rows: Tensor) -> None:
    """Adds columns ``(m, ...)`` to columns ``(n, ...)``, at the rows that are True; NaN where nothing is added."""
    for name, column in found.items():
        blank = column.new_full((len(rows), *column.shape[1:]), torch.nan)
        columns.setdefault(name, blank)[rows] = column


def _context(session: Session) -> Mapping[str, Tensor]:
    """The answers for parts of the chosen images."""
    material, parts = session.material, []
    chosen, plain = (in_parts(each, material.images) for each in (session.chosen, session.plain))
    for some, before in zip(chosen, plain, strict=True):
        masks = None if material.masks is None else material.masks[some]
        ask = partial(_of_those, session, some, masks)
        parts.append(context(material.images[some], material.targets[some], masks, before, ask))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
