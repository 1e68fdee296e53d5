"""What a verdict rests on, image by image. With it two runs that looked at the same images can be compared in pairs."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..examination import Report
from ..probe import Probe
from ..text import shortened

MOST_LETTERS = 40  # of a name, which is only shown
_DIGITS = 16  # of a digest: of a million pictures two have the same with a chance of 3e-8
_DECIMALS = 4  # of an effect; the widest use is an interval with two


@dataclass(frozen=True, eq=False)
class PerImage:
    """Effects and answers of the ``N`` images of a probe.

    Attributes:
        names: Of the images, shortened.
        pixels: Digests of the pictures in 8 bits, so that one picture is the same however it was read.
        classes: Names of the probe's classes.
        targets: ``(N,)`` indices of the true classes.
        predicted: ``(N,)`` indices of the predicted classes; the model may have more than the probe.
        effects: ``(N,)`` by cue, as in `Report.effects`; NaN where undefined.
    """

    names: tuple[str, ...]
    pixels: tuple[str, ...]
    classes: tuple[str, ...]
    targets: Tensor
    predicted: Tensor
    effects: Mapping[str, Tensor]

    @classmethod
    def of(cls, report: Report, probe: Probe, pixels: tuple[str, ...]) -> "PerImage":
        """From a report with swaps. ``pixels`` are the probe's `digests`, which one run computes once."""
        predicted, effects = report.logits.argmax(1), dict(report.effects)
        return cls(probe.names, pixels, probe.classes, probe.targets, predicted, effects)

    def as_json(self) -> dict[str, Any]:
        """In JSON types, None for NaN."""
        return {
            "names": [shortened(name, MOST_LETTERS) for name in self.names],
            "pixels": list(self.pixels),
            "classes": list(self.classes),
            "targets": self.targets.tolist(),
            "predicted": self.predicted.tolist(),
            "effects": {cue: [_number(value) for value in values.tolist()] for cue, values in self.effects.items()},
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "PerImage":
        """What `as_json` was asked of.

        Raises:
            ValueError: It is something else.
        """
        try:
            names, pixels, classes = (_texts(entry[key]) for key in ("names", "pixels", "classes"))
            targets, predicted = (torch.tensor(entry[key], dtype=torch.long) for key in ("targets", "predicted"))
            effects = {str(cue): _column(values) for cue, values in entry["effects"].items()}
            columns = [targets, predicted, *effects.values()]
            if len(pixels) != len(names) or any(column.shape != (len(names),) for column in columns):
                raise ValueError("not every list has one entry for each image")
            if not all(0 <= target < len(classes) for target in targets.tolist()):
                raise ValueError("a target is no class")
        except (KeyError, TypeError, AttributeError, OverflowError, RuntimeError, ValueError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
        return cls(names, pixels, classes, targets, predicted, effects)


def digests(images: Tensor) -> tuple[str, ...]:
    """Of pictures ``(N, C, H, W)`` in [0, 1], in 8 bits: a normalization that was taken back leaves no trace.

    >>> digests(torch.full((1, 3, 2, 2), 0.2)) == digests(torch.full((1, 3, 2, 2), 0.2000001))
    True
    """
    return tuple(_digest(image) for image in images)


def _digest(image: Tensor) -> str:
    levels = (255 * image).round().to(torch.uint8)
    return hashlib.sha256(repr(tuple(image.shape)).encode() + levels.numpy().tobytes()).hexdigest()[:_DIGITS]


def _number(value: float) -> float | None:
    return round(value, _DECIMALS) if math.isfinite(value) else None


def _texts(entry: object) -> tuple[str, ...]:
    if not isinstance(entry, list) or not all(isinstance(text, str) for text in entry):
        raise TypeError("a list of texts was expected")
    return tuple(entry)


def _column(entry: Any) -> Tensor:
    """Effects are probabilities lost; None is an effect that is not known."""
    column = torch.tensor([math.nan if value is None else value for value in entry], dtype=torch.float64)
    if (column.abs() > 1).any():
        raise ValueError("an effect lies outside -1 to 1")
    return column
