"""One look: a model's maps and answers for probe images, image by image, so that processes can share the images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from ..allocator import give_back
from ..attribution import cams, engine, layer_search, layers
from ..attribution.detectors import Framed, framed_layer
from ..attribution.guard import untouched
from ..attribution.heads import ClassScores, Head, class_scores, traced_output
from ..attribution.outputs import asked
from ..attribution.scored import OwnScore, Score, Scored, checked_score
from ..attribution.similarity import scoring
from ..intervention import Donors, Trial, in_parts, moves_object
from ..probe import COVERING, Probe
from ..probe.task import OBJECTS
from .probed import ProbedModel
from .views import donors_of, trials_of

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
        head: Where in the model's output the class scores were, and what they are; None of a model without, whose maps
            explain a score of the user's own.
        method_maps: ``(2, n, h, w)`` by the name of each further method: of the true and of the predicted class.
        scores: ``(n,)`` float32 of the user's own score, which all maps explain then; None where they explain classes.
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
    scores: Tensor | None = None

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
            scores=None if self.scores is None else self.scores[:n],
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
    score: Score | None = None,
    until_settled: bool = False,
) -> Look:
    """Looks at the ``chosen`` images ``(n,)`` of a probe; the others lend their properties. See `examine`.

    Cues are swapped on those that are ``tried (m,)`` as well; None means all. The answers for the rest are NaN.
    With ``until_settled`` a cue stops that is shown to do no harm, unless masks hide a part of what it may do.
    """
    model = layers.unwrapped(model)
    trials = trials_of([each for each in trials if not probe.task.is_of_part or not moves_object(each)], probe)
    all_methods = [method_for(probe, each) for each in (method, *methods)]
    is_tried = torch.ones_like(chosen, dtype=torch.bool) if tried is None else torch.isin(chosen, tried)
    with untouched(model):
        batch_size = min(batch_size, max(1, MOST_VALUES_A_PASS // probe.images[0].numel()))
        forward = scoring(model, probe, forward, batch_size)
        parts = in_parts(chosen, probe.images)
        first = chosen[: max(len(parts[0]), 2)]
        inputs = probe.prepare(probe.images[first], first)
        scores = _class_scores(model, probe, inputs[:batch_size], forward, has_own=score is not None)
        n_tried = 3 if probe.n_scores == 2 else 2  # as many images as classes would hide that a score mixes both up
        own = None if score is None else _own_score(model, probe, inputs[:n_tried], forward, score, all_methods)
        subject = ProbedModel(model, probe, scores, batch_size, bound(forward, model) or model, own)
        framed = _framed(subject, inputs[:2], first[:2], layer)
        maps = subject.maps(parts, inputs, framed, all_methods)
        donors = donors_of(probe, n_donors) if trials and scores is not None else None
        del inputs  # trials would hold them as long as they run
        give_back(probe.images)
        swaps, parts_of_images = subject.answers(
            trials,
            chosen,
            is_tried,
            donors,
            maps.logits,
            until_settled=until_settled and COVERING.isdisjoint(probe.mask_sources),
        )
        if probe.task.asks:
            maps = replace(maps, logits=asked(maps.logits, probe.targets[chosen]))
    return Look(
        layer=" + ".join(framed.layers),
        donors=donors,
        answers=swaps,
        context=parts_of_images,
        model_seconds=subject.clock.seconds,
        head=None if scores is None else scores.head,
        **vars(maps),
    )


def _class_scores(
    model: nn.Module, probe: Probe, inputs: Tensor, forward: ScoresOf | None, *, has_own: bool
) -> ClassScores | None:
    """The model's class scores; None of a model without, if there is another score to explain."""
    try:
        found = class_scores(model, inputs, probe.n_scores, bound(forward, model), task=probe.task)
    except ValueError:
        if not has_own:
            raise
        return None
    # A remark says that the scores are of other classes than the probe's, unless several tensors may be right.
    return None if has_own and found.head.remark and not found.head.is_guess else found


def _own_score(
    model: nn.Module, probe: Probe, inputs: Tensor, forward: ScoresOf | None, score: Score, methods: Sequence[Any]
) -> OwnScore:
    """The user's own score, tried on the first images."""
    needs_gradient = not all(isinstance(method, cams.ForwardMethod) for method in methods)
    outputs = traced_output(model, bound(forward, model) or model, engine.placed(model, inputs))
    with torch.enable_grad():
        return checked_score(score, outputs, len(inputs), len(probe), needs_gradient=needs_gradient)


def method_for(probe: Probe, method: cams.Method) -> cams.Method:
    """How maps are made. Of one object among others Grad-CAM's mean over a whole map says little.

    Of 64 pictures with two objects, its peak was in the box that was asked for in 20 to 31 %, and that of HiResCAM at
    the same layer in 95 %.
    """
    return cams.hires_cam if probe.task.kind == OBJECTS and method is cams.grad_cam else method


def _framed(subject: ProbedModel, inputs: Tensor, rows: Tensor, layer: layers.Layers | None) -> Framed:
    """The layers to look at, as named or as found with the inputs of the images ``rows``."""
    model, probe, scores = subject.model, subject.probe, subject.forward
    named = None if layer is None else layers.check_layers(model, layer)
    if probe.boxes is not None and scores is not None:
        height, width = probe.images.shape[2:]
        shares = probe.boxes / torch.tensor([width, height] * 2)
        found = framed_layer(model, inputs, scores, shares)
        return found if named is None else replace(found, layers=named)
    if named is None and subject.own is not None:
        scored = Scored(subject.run, None, subject.own, rows)
        named = layers.check_layers(model, layer_search.find_layer(model, engine.placed(model, inputs), scored))
    if named is None:
        assert scores is not None
        head = replace(scores.head, region=0)  # as the model gives them
        single = replace(scores, head=head, task=None)  # a layer may have as many channels as there are scores
        named = layers.check_layers(model, layer_search.find_layer(model, engine.placed(model, inputs), single))
    return Framed(named)


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
        scores=None if first.scores is None else torch.cat([each.scores for each in looks if each.scores is not None]),
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


def bound(forward: ScoresOf | None, model: nn.Module) -> Callable[[Tensor], Any] | None:
    """``forward`` with its model, as the engine calls it; None calls the model."""
    return None if forward is None else partial(forward, model)
