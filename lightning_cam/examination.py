"""The one pipeline: a model and a probe in, a `Report` out. Callback, command line and notebook run the same line."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .attribution import cams, engine, layers, measures, targets
from .attribution.guard import untouched
from .intervention import (
    STANDARD,
    Donors,
    Reliance,
    Trial,
    as_masked,
    can_swap,
    context,
    draw_donors,
    effects,
    swapped,
    weigh,
)
from .probe import Probe
from .spatial import upsample
from .statistics import has_learned


@dataclass(frozen=True, eq=False)
class Report:
    """What one look at a model saw.

    Attributes:
        layer: Dotted name of the layer whose maps these are.
        method: Name of the `CamMethod`.
        maps: ``(N, H, W)`` float32, raw attention of the true class at image size, not normalised.
        grid_maps: ``(N, h, w)`` float32, the same at the layer's own size; mass is measured here.
        predicted_grid_maps: ``(N, h, w)`` float32, attention of the predicted class.
        logits: ``(N, n_classes)`` float32.
        values: One ``(N,)`` tensor per measure; NaN where it is undefined.
        learned: Whether the model tells the probe's classes apart better than chance: without that no cue is judged.
        trials: The cues that were to be swapped, with what they may lead to on this probe.
        effects: One ``(N,)`` tensor per cue that was swapped: how much of its class an image loses, -1 to 1.
        reliances: The same over the probe, with intervals and tests.
        scalars: Means over the defined probes, by their logged key.
        model_seconds: Wall time spent inside the model.
    """

    layer: str
    method: str
    maps: Tensor
    grid_maps: Tensor
    predicted_grid_maps: Tensor
    logits: Tensor
    values: Mapping[str, Tensor]
    learned: bool
    trials: tuple[Trial, ...]
    effects: Mapping[str, Tensor]
    reliances: tuple[Reliance, ...]
    scalars: Mapping[str, float]
    model_seconds: float


@dataclass(frozen=True)
class Reading:
    """The scalars of one check, on Lightning's own step axis."""

    step: int
    epoch: int
    scalars: Mapping[str, float]

    @property
    def defined(self) -> dict[str, float]:
        """What can be logged: an undefined mean has no point on a curve, and EarlyStopping stops at a NaN."""
        return {key: value for key, value in self.scalars.items() if math.isfinite(value)}

    def as_json(self) -> dict[str, Any]:
        """In JSON types; NaN, which JSON has not, becomes None."""
        scalars = {key: value if math.isfinite(value) else None for key, value in self.scalars.items()}
        return {"step": self.step, "epoch": self.epoch, "scalars": scalars}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "Reading":
        """The reading that `as_json` was asked of."""
        scalars = {str(key): math.nan if value is None else float(value) for key, value in entry["scalars"].items()}
        return cls(int(entry["step"]), int(entry["epoch"]), scalars)


def examine(
    model: nn.Module,
    probe: Probe,
    *,
    layer: str | None = None,
    method: cams.CamMethod = cams.grad_cam,
    trials: Sequence[Trial] | None = None,
    n_donors: int = 2,
    previous: Tensor | None = None,
    forward: Callable[[Tensor], Any] | None = None,
    batch_size: int = 32,
) -> Report:
    """Where the model looks on every probe image, and what its answers hang on. The model is the same before and after.

    Args:
        model: Any classifier; it may be in training mode, frozen or compiled.
        probe: The images, targets and masks to look at.
        layer: Dotted name of the layer to look at; None finds the last spatial one.
        method: How activations and gradients become maps.
        trials: Cues to swap; None means all standard ones, ``()`` none. Classes with a single image allow none.
        n_donors: How often each cue of each image is swapped, either way.
        previous: ``(N, h, w)`` grid maps of an earlier report, for the drift.
        forward: How to get class scores from model inputs; None calls the model.
        batch_size: Images per forward pass; keep it fixed over time, results depend on it in the last bit.

    Raises:
        ValueError: The layer does not exist, none can be found, or a target is no class of the model.
    """
    chosen = tuple(as_masked(trial, probe.masks) for trial in (STANDARD if trials is None else trials))
    with untouched(model):
        inputs = probe.inputs()
        layer = layer or layers.find_layer(model, _on_device_of(model, inputs[:2]), forward)
        in_model = _Stopwatch()
        with in_model:
            batches = list(_looks(model, inputs, probe.targets, layer, method, forward, batch_size))
        changes, known_from_parts = _use(model, probe, chosen, n_donors, forward, batch_size, in_model)
    logits, grid_maps, predicted_grid_maps = (torch.cat(parts) for parts in zip(*batches, strict=True))
    maps = upsample(grid_maps, (probe.images.shape[-2], probe.images.shape[-1]))
    values = _values(maps, grid_maps, probe.masks, previous)
    reliances = weigh(changes, probe.targets, probe.classes)
    return Report(
        layer=layers.check_layer(model, layer),
        method=getattr(method, "__name__", type(method).__name__),
        maps=maps,
        grid_maps=grid_maps,
        predicted_grid_maps=predicted_grid_maps,
        logits=logits,
        values=values,
        learned=has_learned(logits.argmax(1) == probe.targets, probe.targets),
        trials=chosen,
        effects=changes,
        reliances=reliances,
        scalars=_scalars(values, grid_maps, logits, probe.targets)
        | _reliance_scalars(reliances)
        | {f"cam/{name}": value for name, value in known_from_parts.items()},
        model_seconds=in_model.seconds,
    )


@dataclass(frozen=True, eq=False)
class Evidence:
    """What one trial made of the images that it changed most.

    Attributes:
        cue: What was swapped.
        chosen: ``(n,)`` indices into the probe.
        images: ``(n, 3, C, H, W)``: as they are, with the cue of their own class, with the cue of another.
        probabilities: ``(n, 3)`` of their own class.
    """

    cue: str
    chosen: Tensor
    images: Tensor
    probabilities: Tensor


def collect_evidence(
    model: nn.Module,
    probe: Probe,
    report: Report,
    cue: str,
    *,
    n: int = 4,
    forward: Callable[[Tensor], Any] | None = None,
    batch_size: int = 32,
) -> Evidence:
    """The ``n`` images that lost most to the swap of a cue that the report has, with the first of their donors.

    Fewer where fewer have an effect.
    """
    trial = next(trial for trial in report.trials if trial.cue == cue)
    lost = report.effects[cue]
    chosen = lost.nan_to_num(-torch.inf).topk(min(n, int(lost.isfinite().sum()))).indices
    pairs = swapped(trial, probe.images, probe.masks, _donors(probe, 1), chosen)
    images = torch.stack([probe.images[chosen], *pairs], 1)
    inputs = probe.prepare(images.flatten(0, 1))
    logits = engine.predict(model, inputs, forward=forward, batch_size=batch_size).cpu()
    own = probe.targets[chosen].repeat_interleave(3)
    probabilities = logits.softmax(1).gather(1, own[:, None]).reshape(len(chosen), 3)
    return Evidence(cue, chosen, images, probabilities)


class _Stopwatch:
    """Adds up the wall time of its ``with`` blocks."""

    def __init__(self) -> None:
        self.seconds = self._since = 0.0

    def __enter__(self) -> None:
        self._since = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        self.seconds += time.perf_counter() - self._since


def _donors(probe: Probe, n: int) -> Donors:
    """The same at every check of a run, since they depend on the probe alone."""
    return draw_donors(probe.targets, n, seed=int(probe.fingerprint[:15], 16))


def _looks(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    layer: str,
    method: cams.CamMethod,
    forward: Callable[[Tensor], Any] | None,
    batch_size: int,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Logits, maps of the true and maps of the predicted class, a batch at a time, on the CPU."""
    for batch, true in zip(torch.split(inputs, batch_size), torch.split(labels, batch_size), strict=True):
        wanted = (_checked_true_class(true), targets.predicted_class())
        seen = engine.capture(model, batch, wanted, layer=layer, forward=forward)
        true_maps, predicted_maps = (method(seen.activations, gradients).cpu() for gradients in seen.gradients)
        yield seen.logits.cpu(), true_maps, predicted_maps


def _use(
    model: nn.Module,
    probe: Probe,
    trials: Sequence[Trial],
    n_donors: int,
    forward: Callable[[Tensor], Any] | None,
    batch_size: int,
    in_model: "_Stopwatch",
) -> tuple[Mapping[str, Tensor], Mapping[str, float]]:
    """Effects and context; nothing without trials, or where classes are too small to find donors in."""
    if not trials or not can_swap(probe.targets):
        return {}, {}

    def probabilities(pixels: Tensor) -> Tensor:
        inputs = probe.prepare(pixels)
        with in_model:
            return engine.predict_inside(model, inputs, forward=forward, batch_size=batch_size).softmax(1).cpu()

    seen = (probe.images, probe.targets, probe.masks)
    donors = _donors(probe, n_donors)
    return effects(trials, *seen, donors, probabilities), context(*seen, probabilities)


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


def _values(maps: Tensor, grid_maps: Tensor, masks: Tensor | None, previous: Tensor | None) -> dict[str, Tensor]:
    """Every measure that can be taken: mass on the layer's grid, peak and box at image size."""
    values = {
        "border_attention_ratio": measures.border_attention_ratio(grid_maps),
        "attention_entropy": measures.attention_entropy(grid_maps),
    }
    if masks is not None:
        values |= {
            "background_attention_ratio": measures.background_attention_ratio(grid_maps, masks),
            "background_attention_lift": measures.background_attention_lift(grid_maps, masks),
            "pointing_accuracy": measures.pointing_accuracy(grid_maps, masks),
            "box_iou": measures.box_iou(maps, masks),
        }
    if previous is not None and previous.shape == grid_maps.shape:
        values["attention_drift"] = measures.attention_drift(grid_maps, previous)
    return values


def _reliance_scalars(reliances: Sequence[Reliance]) -> dict[str, float]:
    ends = (("", "mean"), ("_low", "low"), ("_high", "high"))
    return {f"cam/reliance/{r.cue}{end}": getattr(r, field) for r in reliances for end, field in ends}


def _scalars(values: Mapping[str, Tensor], grid_maps: Tensor, logits: Tensor, labels: Tensor) -> dict[str, float]:
    means = {f"cam/{name}": float(measures.nan_mean(column)) for name, column in values.items()}
    leading = values.get("background_attention_ratio", values["attention_entropy"])
    return means | {
        "cam/probe_accuracy": float((logits.argmax(1) == labels).float().mean()),
        "cam/zero_map_rate": float(measures.is_empty(grid_maps).float().mean()),
        "cam/undefined_rate": float(leading.isnan().float().mean()),
    }
