"""The accuracy that the user's own step logs, and whether the probe's accuracy goes together with it."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..statistics import is_below_chance
from ..text import percent
from ..verdict.reasons import REVERSED

# Of accuracy. 64 images right by half have a standard error of 0.06; three of them, and a hard probe may be harder.
CLEARLY = 0.2
_OTHERWISE = (
    "So the probe is not what the model sees, or other numbers are its class scores. Pass CAMCallback(preprocess=...) "
    "or CAMCallback(forward=lambda module, images: class_scores)."
)
_FEWEST_FOR_ACCURACY = 16  # probe images; with fewer, an accuracy contradicts nothing. Chosen, not measured.
_VALIDATION = re.compile(r"(^|[^a-z])(val|valid|validation|dev|test)([^a-z]|$)")
_ACCURACY = re.compile(r"(^|[^a-z])(acc|accuracy|top1|top_1|acc1|acc_1|multiclassaccuracy|binaryaccuracy)([^a-z]|$)")


@dataclass(frozen=True)
class Logged:
    """The accuracy that the user's own step logs, and how the classes are distributed in the data.

    Attributes:
        key: As the user calls it.
        value: Between 0 and 1.
        shares: Share of each class in the validation data; empty where nobody knows.
    """

    key: str
    value: float
    shares: Mapping[int, float]

    def contradicts(self, logits: Tensor, targets: Tensor) -> str:
        """Why the probe cannot be what the model sees; empty where the two accuracies go together."""
        expected = self._expected(logits, targets)
        if len(targets) < _FEWEST_FOR_ACCURACY or not expected < self.value - _margin(targets):
            return ""
        is_reversed = is_below_chance(logits.argmax(1) == targets, targets)
        return (
            f"The model is right on {percent(expected)} of the probe's pictures, and on {percent(self.value)} by "
            f"your own {self.key!r}. {f'The {REVERSED}.' if is_reversed else _OTHERWISE}"
        )

    def agrees(self, logits: Tensor, targets: Tensor) -> bool:
        """Whether the probe's accuracy is about the same, so that these are the scores that the user looks at."""
        is_enough = len(targets) >= _FEWEST_FOR_ACCURACY
        return is_enough and abs(self._expected(logits, targets) - self.value) <= _margin(targets)

    def _expected(self, logits: Tensor, targets: Tensor) -> float:
        """The user's accuracy, if these logits are the user's own."""
        right = (logits.argmax(1) == targets).float()
        per_class = {c: float(right[targets == c].mean()) for c in sorted(set(targets.tolist()))}
        shares = {c: self.shares.get(c, 0.0) for c in per_class} if self.shares else dict.fromkeys(per_class, 1.0)
        expected = sum(per_class[c] * shares[c] for c in per_class) / (sum(shares.values()) or 1.0)
        if not self.shares:  # the user's accuracy may be of images or of classes
            expected = max(expected, float(right.mean()))
        return expected


def _margin(targets: Tensor) -> float:
    return max(CLEARLY, 3 * math.sqrt(0.25 / len(targets)))


def logged_in(metrics: Mapping[str, Any], shares: Mapping[int, float]) -> Logged | None:
    """The accuracy on validation data among the metrics of a trainer, if there is one."""
    for key, value in metrics.items():
        name = key.lower()
        number = float(value) if isinstance(value, (int, float)) or getattr(value, "numel", int)() == 1 else math.nan
        if _VALIDATION.search(name) and _ACCURACY.search(name) and 0 <= number <= 100:
            return Logged(key, number if number <= 1 else number / 100, shares)
    return None
