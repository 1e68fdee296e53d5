"""The accuracy that the user's own step logs, and whether the probe's accuracy goes together with it."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..attribution.outputs import predicted_classes
from ..statistics import is_below_chance
from ..text import percent
from ..verdict.lacking import REVERSED

# Of accuracy. 64 images right by half have a standard error of 0.06; three of them, and a hard probe may be harder.
CLEARLY = 0.2
_OTHERWISE = (
    "So the probe is not what the model sees, or other numbers are its class scores. Pass CAMCallback(preprocess=...), "
    "CAMCallback(forward=lambda module, images: class_scores), CAMCallback(read=lambda item: (image, class_index)) if "
    "your step counts the classes otherwise, or CAMCallback(Probe.from_dataset(dataset)) for another data set. If its "
    "pictures were chosen, they may lack a shortcut that your validation data has."
)
# Of accuracy, beyond three standard errors: a probe that was drawn from the validation data lies there once in 700
# times. Networks with a shortcut were right on 0.60 of pictures without it, and on 0.97 of their validation data.
_HARDER = 0.1
_FEWEST_FOR_ACCURACY = 16  # probe images; with fewer, an accuracy contradicts nothing. Chosen, not measured.
_SAME = 0.005  # of accuracy: two keys of one value, of which one is rounded
# Words in the key of an accuracy. Those of `_OTHER` tell that it is of another model, other pictures or another time.
_VALIDATION = {"val", "valid", "validation", "dev", "test", "eval"}
_ACCURACY = {"acc", "accuracy", "top1", "acc1", "multiclassaccuracy", "binaryaccuracy"}
_OF_CLASSES = {"macro", "balanced"}
_NO_NEWS = {"epoch", "multiclass", "binary", "micro", "top", "1", "mean", "avg", "average", "total", "overall"}
_OTHER = {
    "step",
    "teacher",
    "ema",
    "swa",
    "aux",
    "auxiliary",
    "best",
    "worst",
    "max",
    "min",
    "train",
    "ood",
    "adv",
    "noisy",
}
_LOADER = re.compile(r"/dataloader_idx_(\d+)$")  # added by Lightning where there are several loaders


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

    def compared(self, logits: Tensor, targets: Tensor) -> tuple[str, str]:
        """What `contradicts` and `harder` say."""
        return self.contradicts(logits, targets), self.harder(logits, targets)

    def contradicts(self, logits: Tensor, targets: Tensor) -> str:
        """Why the probe cannot be what the model sees; empty where the two accuracies go together."""
        expected = self._expected(logits, targets)
        if len(targets) < _FEWEST_FOR_ACCURACY or not expected < self.value - _margin(targets):
            return ""
        is_reversed = is_below_chance(predicted_classes(logits) == targets, targets)
        return (
            f"The model is right on {percent(expected)} of the probe's pictures, and on {percent(self.value)} by "
            f"your own {self.key!r}. {f'The {REVERSED}.' if is_reversed else _OTHERWISE}"
        )

    def harder(self, logits: Tensor, targets: Tensor) -> str:
        """What a verdict leaves open where the probe is clearly harder than the validation data; empty where not."""
        expected, n = self._expected(logits, targets), len(targets)
        if n < _FEWEST_FOR_ACCURACY:
            return ""
        error = math.sqrt(max(self.value * (1 - self.value), 1 / n) / n)
        if not expected < self.value - max(_HARDER, 3 * error):
            return ""
        return (
            f"the model is right on {percent(expected)} of the probe's pictures, and on {percent(self.value)} by your "
            f"own {self.key!r}: the probe may lack a shortcut that your validation data has, which no swap would show; "
            "CAMCallback() without a probe draws one from the validation data"
        )

    def agrees(self, logits: Tensor, targets: Tensor) -> bool:
        """Whether the probe's accuracy is about the same, so that these are the scores that the user looks at."""
        is_enough = len(targets) >= _FEWEST_FOR_ACCURACY
        return is_enough and abs(self._expected(logits, targets) - self.value) <= _margin(targets)

    def _expected(self, logits: Tensor, targets: Tensor) -> float:
        """The user's accuracy, if these logits are the user's own."""
        right = (predicted_classes(logits) == targets).float()
        if bool((logits == -torch.inf).any()):
            return _of_labels(right, targets)
        per_class = {c: float(right[targets == c].mean()) for c in sorted(set(targets.tolist()))}
        shares = {c: self.shares.get(c, 0.0) for c in per_class} if self.shares else dict.fromkeys(per_class, 1.0)
        expected = sum(per_class[c] * shares[c] for c in per_class) / (sum(shares.values()) or 1.0)
        if not self.shares:  # the user's accuracy may be of images or of classes
            expected = max(expected, float(right.mean()))
        return expected


def _of_labels(right: Tensor, answers: Tensor) -> float:
    """The highest accuracy of labels that the probe's answers allow, whose shares in the data are not known.

    A label that most images lack is right as often as its absence is. The accuracy of whole sets of labels is lower.
    """
    shares = [
        max(
            float(right[answers == answer].mean()) for answer in (2 * label, 2 * label + 1) if (answers == answer).any()
        )
        for label in sorted(set((answers // 2).tolist()))
    ]
    return sum(shares) / len(shares)


def _margin(targets: Tensor) -> float:
    return max(CLEARLY, 3 * math.sqrt(0.25 / len(targets)))


def logged_in(metrics: Mapping[str, Any], shares: Mapping[int, float]) -> Logged | None:
    """The user's main accuracy on validation data among the metrics of a trainer.

    None where there is none, or where several may be it and differ.
    """
    found = {key: words for key in metrics if (words := _further_words(key)) is not None and _is_share(metrics[key])}
    plain = [key for key, words in found.items() if not words - _NO_NEWS - _OF_CLASSES]
    if sum(bool(words & {"0", "1", "2"}) for words in found.values()) > 1:  # one for each class or head
        plain = [key for key in plain if "1" not in found[key]]
    candidates = sorted(plain, key=lambda key: bool(found[key] & _OF_CLASSES)) or [
        key for key, words in found.items() if not words & _OTHER and not any(map(_is_number, words))
    ]
    values = {key: float(metrics[key]) / (100 if float(metrics[key]) > 1 else 1) for key in candidates}
    rivals = [key for key in candidates if bool(found[key] & _OF_CLASSES) == bool(found[candidates[0]] & _OF_CLASSES)]
    if not candidates or max(values[key] for key in rivals) - min(values[key] for key in rivals) > _SAME:
        return None
    key = candidates[0]
    return Logged(key, values[key], {} if found[key] & _OF_CLASSES else shares)


def _further_words(key: str) -> set[str] | None:
    """What the key of an accuracy on the first validation set says beside that; None for another key.

    >>> sorted(_further_words("val/Top5Acc")), _further_words("valid_accuracy"), _further_words("val_loss")
    (['top5'], set(), None)
    """
    loader = _LOADER.search(key)
    if loader is not None and loader[1] != "0":
        return None
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", _LOADER.sub("", key))
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]
    if _VALIDATION.isdisjoint(words) or _ACCURACY.isdisjoint(words):
        return None
    return set(words) - _VALIDATION - _ACCURACY


def _is_number(word: str) -> bool:
    """Whether a word counts something: a class, or the guesses among which one is right."""
    return bool(re.search(r"\d$", word))


def _is_share(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) or getattr(value, "numel", int)() == 1
    return is_number and 0 <= float(value) <= 100
