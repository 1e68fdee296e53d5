"""A model before a probe: its maps and its answers, batch by batch, and the time that they take."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..attribution import asking, cams, engine, targets
from ..attribution.detectors import Framed
from ..attribution.fusion import fused
from ..attribution.heads import ClassScores
from ..attribution.outputs import asked
from ..attribution.regions import RegionScores, overlaps
from ..attribution.scored import OwnScore, Scored, own_score
from ..intervention import Donors, Session, Trial, answers, as_volumes, context, first_part, in_parts
from ..probe import Probe
from ..probe.task import OBJECTS, VALUES
from .tasks import FOUND
from .views import View, views_of


def name_of(method: cams.Method) -> str:
    """The name of a function or of an object that makes maps."""
    return str(getattr(method, "__name__", type(method).__qualname__))


class _Stopwatch:
    """Adds up the wall time of its ``with`` blocks."""

    def __init__(self) -> None:
        self.seconds = self._since = 0.0

    def __enter__(self) -> None:
        self._since = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        self.seconds += time.perf_counter() - self._since


@dataclass(frozen=True, eq=False)
class Maps:
    """A model's maps of probe images, under their names in a `Look`."""

    logits: Tensor
    grid_maps: Tensor
    predicted_grid_maps: Tensor
    n_calls: int
    method_maps: Mapping[str, Tensor]
    scores: Tensor | None = None


@dataclass(frozen=True)
class ProbedModel:
    """A model before a probe, and the time that is spent inside the model.

    Attributes:
        model: The model.
        probe: The images.
        forward: Its class scores; None of a model without, which then has a score of the user's own.
        batch_size: Images per pass.
        run: Model inputs to the outputs that hold the class scores.
        own: The score that all maps explain; None where they explain classes.
        clock: Adds up the time.
    """

    model: nn.Module
    probe: Probe
    forward: ClassScores | None
    batch_size: int
    run: engine.Forward
    own: OwnScore | None = None
    clock: _Stopwatch = field(default_factory=_Stopwatch)

    def maps(self, parts: Sequence[Tensor], first: Tensor, framed: Framed, methods: Sequence[cams.Method]) -> Maps:
        """Maps of all images, on the CPU. The inputs of the first part are ``first``, if there is no other part."""
        with self.clock:
            batches = list(self._batches(parts, first, framed, methods))
        logits, maps, n_calls = zip(*batches, strict=True)
        of_methods = torch.cat(maps, 2)
        further = {name_of(method): each for method, each in zip(methods[1:], of_methods[1:], strict=True)}
        columns, scores = torch.cat(logits), None
        if self.own is not None:
            columns, scores = columns[:, :-2], own_score(columns)
        if self.forward is None:
            columns = torch.full((len(columns), self.probe.task.n_scores * (1 + self.probe.task.asks)), torch.nan)
        return Maps(columns, of_methods[0, 0], of_methods[0, 1], max(n_calls), further, scores)

    def _batches(
        self, parts: Sequence[Tensor], first: Tensor, framed: Framed, methods: Sequence[cams.Method]
    ) -> Iterator[tuple[Tensor, Tensor, int]]:
        """Logits, maps and calls of a batch at a time: the activations of all images would fill the memory."""
        n, probe = self.batch_size, self.probe
        for part in parts:
            inputs = first if len(parts) == 1 else probe.prepare(probe.images[part], part)
            for batch, rows in zip(torch.split(inputs, n), torch.split(part, n), strict=True):
                yield self._batch(batch, rows, framed, methods)

    def _batch(
        self, inputs: Tensor, rows: Tensor, framed: Framed, methods: Sequence[cams.Method]
    ) -> tuple[Tensor, Tensor, int]:
        """Maps ``(M, 2, n, h, w)`` by each method, of the true and of the predicted class.

        All methods by gradients share one pass forward and one back for either class.
        """
        labels, task = self.probe.targets[rows], self.probe.task
        forward = self._scores(rows)
        options: dict[str, Any] = {"layers": framed.layers, "forward": forward, "batch_size": self.batch_size}
        true_class, is_value = targets.true_class(task.explained(labels)), task.kind == VALUES
        down = targets.true_class(labels & ~1)  # what lowers a value tells where it comes from as well

        def of(logits: Tensor) -> list[targets.Target]:
            if self.own is not None:
                return [own_score]
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
                    wanted = (true_class, down if is_value else predicted_class) if self.own is None else (own_score,)
                    captures = engine.capture_all(
                        self.model, inputs, wanted, **options, may_be_unreached=task.kind == OBJECTS
                    )
                by_layer = [[method(each.activations, back) for back in each.gradients] for each in captures]
                both = zip(*by_layer, strict=True)
                logits, n_calls = captures[0].logits, max(each.n_calls for each in captures)
            maps = [fused([framed.cropped(grid) for grid in each]).cpu() for each in both]
            found.append((maps[0], maps[0]) if self.own else _both(maps[0], maps[1], is_value=is_value))
        if self.own is None:
            logits = task.turned(logits, labels)
        elif self.forward is not None:
            logits = torch.cat([task.turned(logits[:, :-2], labels), logits[:, -2:]], 1)
        return logits.cpu(), torch.stack([torch.stack(each) for each in found]), n_calls

    def _scores(self, rows: Tensor) -> engine.Forward:
        """Class scores of the images ``rows`` from their inputs, and beside them the user's own."""
        regions = self._regions(rows)
        scores: ClassScores | RegionScores | None = self.forward
        if regions is not None and self.forward is not None:
            scores = RegionScores(self.forward, regions)
        if self.own is not None:
            return Scored(self.run, None if scores is None else scores.of, self.own, rows)
        assert scores is not None
        return scores

    def answers(
        self,
        trials: Sequence[Trial],
        chosen: Tensor,
        is_tried: Tensor,
        donors: Donors | None,
        logits: Tensor,
        *,
        until_settled: bool,
    ) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        """The answers for the images that are tried, by cue and by context; NaN for the other chosen images.

        With ``until_settled`` only a part of the images is asked for what has settled, and for the context.
        """
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
            _put(answers(trials, session, until_settled=until_settled), swaps, are_asked)
            shown = first_part(view.material.targets[session.chosen]) | (not until_settled)
            _put(_context(session.part(shown), self.probe.depth), parts_of_images, _within(are_asked, shown))
            if self.probe.task.kind in FOUND:
                asked_for = self.probe.targets[chosen[are_asked]]
                own = plain.gather(1, asked_for[:, None])[:, 0]
                own = own.where(self.probe.task.has_place(asked_for), torch.nan)
                _put({FOUND[self.probe.task.kind]: own}, parts_of_images, are_asked)
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
        if self.probe.has_volumes and pixels.ndim == 4:  # slices one below another
            pixels = as_volumes(pixels, self.probe.depth)
        inputs, regions = self.probe.prepare(pixels, rows), self._regions(rows)
        assert self.forward is not None  # else nothing is swapped
        with self.clock:
            if regions is not None:
                n = self.batch_size
                odds = overlaps(self.model, inputs, regions, scores=self.forward, batch_size=n).cpu()
                return odds if rows is None else self.probe.task.turned(odds, self.probe.targets[rows])
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


def _within(are_asked: Tensor, shown: Tensor) -> Tensor:
    """Rows ``(n,)`` bool: of those that are asked, the ones that are ``shown (m,)``."""
    rows = are_asked.clone()
    rows[are_asked] = shown
    return rows


def _context(session: Session, depth: int) -> Mapping[str, Tensor]:
    """The answers for parts of the chosen images."""
    material, parts = session.material, []
    chosen, plain = (in_parts(each, material.images) for each in (session.chosen, session.plain))
    for some, before in zip(chosen, plain, strict=True):
        masks = None if material.masks is None else material.masks[some]
        ask = partial(_of_those, session, some, masks)
        parts.append(context(material.images[some], material.targets[some], masks, before, ask, depth=depth))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
