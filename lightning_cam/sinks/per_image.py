"""What a verdict rests on, image by image. With it two runs that looked at the same images can be compared in pairs."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..attribution.outputs import predicted_classes
from ..examination import Report
from ..probe import Probe

MOST_LETTERS = 100  # of a name; a longer one is kept as its digest, which tells it from others as well
_CELLS = 4  # a side of what is kept of a picture
# Of 255, in the mean colour of a cell. Pillow and torch resize the demo's pictures with cells that differ by 1 at most.
_LIKE = 4
_DECIMALS = 4  # of an effect; the widest use is an interval with two


@dataclass(frozen=True, eq=False)
class PerImage:
    """Effects and answers of the ``N`` images of a probe.

    Attributes:
        names: Of the images.
        glances: The mean colours of 4 x 4 cells of each picture, in hex: enough to tell whether two are the same.
        classes: Names of the probe's classes.
        targets: ``(N,)`` indices of the true classes.
        predicted: ``(N,)`` indices of the predicted classes; the model may have more than the probe,
            and `NO_ANSWER` is none.
        effects: ``(N,)`` by cue, as in `Report.effects`; NaN where undefined.
    """

    names: tuple[str, ...]
    glances: tuple[str, ...]
    classes: tuple[str, ...]
    targets: Tensor
    predicted: Tensor
    effects: Mapping[str, Tensor]

    @classmethod
    def of(cls, report: Report, probe: Probe, glances: tuple[str, ...]) -> "PerImage":
        """From a report with swaps. ``glances`` are those of the probe's images, which one run takes once."""
        predicted, effects = predicted_classes(report.logits), dict(report.effects)
        return cls(probe.names, glances, probe.classes, probe.targets, predicted, effects)

    def as_json(self) -> dict[str, Any]:
        """In JSON types, None for NaN."""
        return {
            "names": [name if len(name) <= MOST_LETTERS else _digest(name) for name in self.names],
            "glances": list(self.glances),
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
            names, glances, classes = (_texts(entry[key]) for key in ("names", "glances", "classes"))
            targets, predicted = (torch.tensor(entry[key], dtype=torch.long) for key in ("targets", "predicted"))
            effects = {str(cue): _column(values) for cue, values in entry["effects"].items()}
            columns = [targets, predicted, *effects.values()]
            if len(glances) != len(names) or any(column.shape != (len(names),) for column in columns):
                raise ValueError("not every list has one entry for each image")
            if not all(0 <= target < len(classes) for target in targets.tolist()):
                raise ValueError("a target is no class")
        except (KeyError, TypeError, AttributeError, OverflowError, RuntimeError, ValueError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
        return cls(names, glances, classes, targets, predicted, effects)


def glances(images: Tensor) -> tuple[str, ...]:
    """Of pictures ``(N, C, H, W)`` in [0, 1].

    >>> glances(torch.zeros(1, 1, 8, 8))
    ('00000000000000000000000000000000',)
    """
    cells = F.adaptive_avg_pool2d(images.float(), _CELLS)
    return tuple(bytes((255 * cell).round().to(torch.uint8).flatten().tolist()).hex() for cell in cells)


def looks_the_same(one: str, other: str) -> bool:
    """Whether two glances are of one picture, which may have been read and resized in two ways.

    >>> looks_the_same("0a0b", "0c0b"), looks_the_same("0a0b", "0a7f"), looks_the_same("0a0b", "0a")
    (True, False, False)
    """
    try:
        pairs = list(zip(bytes.fromhex(one), bytes.fromhex(other), strict=True))
    except ValueError:
        return False
    return all(abs(a - b) <= _LIKE for a, b in pairs)


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


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
