"""The one pipeline: a model and a probe in, a `Report` out. Callback, command line and notebook run the same line."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..attributes import AttributeReading, read_attributes
from ..attribution import cams, measures
from ..attribution.layers import Layers
from ..attribution.outputs import predicted_classes
from ..attribution.scored import Score, check_callable
from ..intervention import (
    Reliance,
    Trial,
    as_pictures,
    chosen_trials,
    effects,
    from_own,
    limited,
    summary,
)
from ..probe import Probe
from . import tasks
from .look import Look, ScoresOf, look, method_for
from .probed import name_of
from .report import Report
from .trusting import untrusted_maps
from .views import pictures_of, trials_of, views_of


def examine(
    model: nn.Module,
    probe: Probe,
    *,
    layer: Layers | None = None,
    method: cams.Method = cams.grad_cam,
    methods: Sequence[cams.Method] = (),
    score: Score | None = None,
    trials: Sequence[Trial | str] | None = None,
    n_donors: int = 2,
    previous: Tensor | None = None,
    forward: ScoresOf | None = None,
    batch_size: int = 32,
    until_settled: bool = True,
    random_weights: bool = False,
) -> Report:
    """Where the model looks on every probe image, and which cues its answers need. The model is not changed.

    Args:
        model: Any classifier; it may be in training mode, frozen or compiled.
        probe: The images, targets and masks to look at.
        layer: Dotted name of the layer to look at; None finds the last spatial one. Of several, such as
            ``["layer3", "layer4"]``, the maps are fused.
        method: How activations and gradients become maps; `cams.score_cam` and `cams.ablation_cam` need no gradients.
        methods: Further ones to compare it with, see `Report.method_maps`. Those by gradients take no further pass.
        score: What the maps explain instead of the true class: a function from the model's outputs, as the model or
            ``forward`` gives them, to one number ``(N,)`` for each image, such as the word of a caption,
            ``lambda outputs: outputs[:, 3, word]``. Outputs come in batches. A function that knows something of each
            image gets a row for every image of the probe. Answers, trials and verdict stay those of the classes; for a
            model without class scores nothing is swapped.
        trials: Cues to swap, such as ``("background", "cast")``, or `Trial` objects; None means all standard ones,
            ``()`` none. The background is also swapped by each attribute of the probe, within a class. Nothing is
            swapped where fewer than two classes have two images or more.
        n_donors: How many images of the own class, and how many of another, lend their cue to each image.
        previous: ``(N, h, w)`` grid maps of an earlier report, for the drift.
        forward: ``(model, inputs) -> class scores``; None calls the model.
        batch_size: Images per forward pass; keep it fixed over time, results depend on it in the last bit.
        until_settled: Whether a cue that a part of the images shows to do no harm stops there. It costs half the
            passes; all others are swapped on all images. `Reliance.reach` says on how many.
        random_weights: Whether maps are compared with those of random weights, see `Report.untrusted`: a map that stays
            shows nothing that was learned. It costs the maps once more, and up to three times where some stay.

    Raises:
        ValueError: The layer does not exist, none can be found, a trial's name is unknown, or a target is no class
            of the model, or ``score`` returns something else than one number with a gradient for each image.
        TypeError: ``score`` is no function.
    """
    check_callable(score)
    chosen = chosen_trials(trials)
    everything = torch.arange(len(probe))
    options: dict[str, Any] = {"n_donors": n_donors, "forward": forward, "batch_size": batch_size, "score": score}
    seen = look(
        model,
        probe,
        everything,
        chosen,
        layer=layer,
        method=method,
        methods=methods,
        until_settled=until_settled,
        **options,
    )
    report = report_on(seen, probe, method=method, trials=chosen, previous=previous)
    if not random_weights:
        return report
    return replace(report, untrusted=untrusted_maps(model, probe, seen, [method, *methods], **options))


def report_on(
    seen: Look,
    probe: Probe,
    *,
    method: cams.Method = cams.grad_cam,
    trials: Sequence[Trial | str] | None = None,
    previous: Tensor | None = None,
) -> Report:
    """The report on a look at all of a probe: measures and statistics, without the model. See `examine`."""
    tried = tuple(trials_of(chosen_trials(trials), probe))
    has_place = probe.task.has_place(probe.targets)
    values = {
        name: column.where(has_place, torch.nan)
        for name, column in _values(seen.grid_maps, probe.masks, previous).items()
    }
    has_answers = seen.head is not None or seen.scores is None
    learned = tasks.learned(seen.logits, probe, seen.context) if has_answers else set()
    changes = _of_learned(_changes(tried, seen, probe), probe, learned)
    losses = {cue: from_own(columns) for cue, columns in changes.items()}
    reliances = tasks.weighed(changes, probe)
    is_right = predicted_classes(seen.logits) == probe.targets
    attributes = read_attributes(probe.attributes, probe.targets.tolist(), is_right.tolist(), probe.classes)
    return Report(
        layer=seen.layer,
        method=name_of(method_for(probe, method)),
        grid_maps=seen.grid_maps,
        predicted_grid_maps=seen.predicted_grid_maps,
        logits=seen.logits,
        method_maps=seen.method_maps,
        values=values,
        learned=bool(learned),
        trials=_limited(tried, probe),
        donors=seen.donors,
        effects=losses,
        reliances=reliances,
        scalars=_scalars(values, seen, has_place)
        | (tasks.quality(seen.logits, probe) if has_answers else {"probe_accuracy": math.nan})
        | _reliance_scalars(reliances)
        | _summaries(seen.context)
        | _worst_groups(attributes),
        model_seconds=seen.model_seconds,
        head=seen.head,
        scores=seen.scores,
        is_against=isinstance(method, cams.Against),
        unlearned=tuple(name for asked, name in enumerate(probe.task.names) if asked not in learned),
        attributes=attributes,
        **_facts_of(probe),
    )


def _facts_of(probe: Probe) -> dict[str, Any]:
    """What a report takes over from its probe."""
    return {
        "has_one_class": bool((probe.targets == probe.targets[0]).all()),
        "size": tuple(probe.images.shape[2:]),
        "names": probe.names,
        "classes": probe.classes,
        "targets": probe.targets,
        "probe": probe,
        "mask_sources": probe.mask_sources,
        "mask_doubts": tuple(doubt.text for doubt in probe.mask_doubts),
        "labels": probe.task.names,
        "task": probe.task,
    }


def _limited(trials: Sequence[Trial], probe: Probe) -> tuple[Trial, ...]:
    """The trials with the worst outcome that each may lead to on this probe."""
    (images, masks), known = pictures_of(probe), probe.known_masks
    known = as_pictures(known) if known is not None and probe.has_volumes else known
    return tuple(limited(trial, images, masks, known, probe.targets) for trial in trials)


def _of_learned(changes: Mapping[str, Tensor], probe: Probe, learned: Collection[int]) -> Mapping[str, Tensor]:
    """Changes ``(N, ...)`` by cue; of several labels or values NaN for images that are asked for an unlearned one."""
    if not probe.task.asks:
        return changes
    is_judged = torch.isin(probe.targets // 2, torch.tensor(sorted(learned), dtype=torch.long))
    return {cue: columns.where(is_judged[:, None], torch.nan) for cue, columns in changes.items()}


def _worst_groups(attributes: Sequence[AttributeReading]) -> dict[str, float]:
    return {f"worst_group_accuracy/{r.attribute}": r.worst.accuracy if r.worst else math.nan for r in attributes}


def _changes(trials: Sequence[Trial], seen: Look, probe: Probe) -> dict[str, Tensor]:
    """Effects ``(N, 3)`` by cue."""
    changes: dict[str, Tensor] = {}
    for view in views_of(probe, seen.donors) if seen.donors else ():
        answers = {cue: column[view.rows] for cue, column in seen.answers.items()}
        for cue, columns in effects(trials, answers, view.material).items():
            changes.setdefault(cue, torch.full((len(probe), columns.shape[1]), torch.nan))[view.rows] = columns
    return changes


def _values(grid_maps: Tensor, masks: Tensor | None, previous: Tensor | None) -> dict[str, Tensor]:
    """Every measure that can be taken. Of the layer's own maps: stretched, a constant one would have a peak."""
    values = {
        "border_attention_ratio": measures.border_attention_ratio(grid_maps),
        "attention_entropy": measures.attention_entropy(grid_maps),
    }
    if masks is not None:
        values |= {
            "background_attention_ratio": measures.background_attention_ratio(grid_maps, masks),
            "background_attention_lift": measures.background_attention_lift(grid_maps, masks),
            "pointing_accuracy": measures.pointing_accuracy(grid_maps, masks),
            "box_iou": measures.box_iou(grid_maps, masks),
        }
    if previous is not None and previous.shape == grid_maps.shape:
        values["attention_drift"] = measures.attention_drift(grid_maps, previous)
    return values


def _reliance_scalars(reliances: Sequence[Reliance]) -> dict[str, float]:
    """Each mean with both ends of its interval, or none of the three: TensorBoard draws no band with a point less."""
    lost = {f"accuracy_lost/{r.cue}": r.accuracy_lost for r in reliances}
    return {f"reliance/{r.cue}{end}": value for r in reliances for end, value in _with_interval(r).items()} | lost


def _with_interval(reliance: Reliance) -> dict[str, float]:
    figures = {"": reliance.mean, "_low": reliance.low, "_high": reliance.high}
    return figures if all(map(math.isfinite, figures.values())) else dict.fromkeys(figures, math.nan)


def _summaries(context: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: summary(column) for name, column in context.items()}


def _scalars(values: Mapping[str, Tensor], seen: Look, is_counted: Tensor) -> dict[str, float]:
    means = {name: float(measures.nan_mean(column)) for name, column in values.items()}
    leading = values.get("background_attention_ratio", values["attention_entropy"])
    empty = measures.is_empty(seen.grid_maps)
    leading, empty = leading[is_counted], empty[is_counted]
    return means | {
        "zero_map_rate": float(empty.float().mean()),
        "undefined_rate": float(leading.isnan().float().mean()),
    }
