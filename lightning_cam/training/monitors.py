"""Others that monitor a key of ours, such as `EarlyStopping`: where it has no value, they count and end nothing.

Lightning stops a training where a monitored key is missing, or is NaN, or has kept its value for too long. So a check
that was left out, or a callback that switched itself off, would end a training that has nothing to do with it.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from .failures import Failures

# Attributes that count what was no improvement, and what that does not do without a value.
_COUNTERS = {"wait_count": "will not stop it", "num_bad_epochs": "will not lower its learning rate"}
_OF_CHECKPOINTS = "best_k_models"
_OF_NAN = "check_finite"


@dataclass(frozen=True)
class _Other:
    """A callback or a scheduler, and the key that it monitors."""

    key: str
    who: Any

    @property
    def counter(self) -> str | None:
        return next((name for name in _COUNTERS if hasattr(self.who, name)), None)

    @property
    def consequence(self) -> str:
        """What it does without a value, in words."""
        if self.counter is not None:
            does = _COUNTERS[self.counter]
        elif hasattr(self.who, _OF_CHECKPOINTS):
            does = "cannot tell which of its next checkpoints is better; pass save_last=True"
        else:
            does = "finds NaN"
        return f"{type(self.who).__name__} {does}"


@dataclass(frozen=True)
class _Kept:
    """What an object had before it was paused."""

    count: int | None
    check_finite: bool | None


class Monitors:
    """Callbacks and schedulers of one fit that monitor our keys.

    Args:
        name: First part of every key of ours.
        failures: Says once what has no value.
    """

    def __init__(self, name: str, failures: Failures) -> None:
        self._prefix = f"{name}/"
        self._failures = failures
        self._kept: dict[int, _Kept] = {}  # by the identity of who is paused

    def update(self, trainer: Any, new: Container[str], *, is_off: bool = False) -> None:
        """Pauses those whose key has no new value, before they look at it; the others go on.

        Args:
            trainer: Of the fit.
            new: Keys that have a new value.
            is_off: Whether there will be none any more, so that even the last value is none.
        """
        with self._failures.surviving("pausing what monitors a key without a value"):
            others = list(self._others(trainer))
            for other in others:
                (self._resume if other.key in new else self._pause)(other)
            without = [other for other in others if other.key not in new]
            for key in {other.key for other in without}:
                if is_off or key not in trainer.callback_metrics:
                    trainer.callback_metrics[key] = torch.tensor(torch.nan)
            if without:
                self._say(without, is_off=is_off)

    def release(self, trainer: Any) -> None:
        """Gives everything back as it was."""
        for other in self._others(trainer) if self._kept else ():
            self._resume(other)

    def _others(self, trainer: Any) -> Iterator[_Other]:
        plateaus = [each for each in trainer.lr_scheduler_configs if each.reduce_on_plateau]
        pairs = [(getattr(callback, "monitor", None), callback) for callback in trainer.callbacks]
        for key, who in [*pairs, *((each.monitor, each.scheduler) for each in plateaus)]:
            if isinstance(key, str) and key.startswith(self._prefix):
                yield _Other(key, who)

    def _pause(self, other: _Other) -> None:
        """Lowers its count, which its next look raises again: after each look the count is as it was."""
        count = None if other.counter is None else getattr(other.who, other.counter)
        kept = self._kept.setdefault(id(other.who), _Kept(count, getattr(other.who, _OF_NAN, None)))
        if other.counter is not None and kept.count is not None:
            setattr(other.who, other.counter, _lowered(kept.count, other.who))
        if kept.check_finite:
            setattr(other.who, _OF_NAN, False)

    def _resume(self, other: _Other) -> None:
        kept = self._kept.pop(id(other.who), None)
        if kept is None:
            return
        if other.counter is not None and kept.count is not None:
            setattr(other.who, other.counter, kept.count)
        if kept.check_finite:
            setattr(other.who, _OF_NAN, True)

    def _say(self, without: list[_Other], *, is_off: bool) -> None:
        keys = " and ".join(sorted({repr(other.key) for other in without}))
        if is_off:
            does = "; ".join(dict.fromkeys(other.consequence for other in without))
            self._failures.say_once("monitors off", f"{keys} has no value any more in this training: {does}")
        else:
            who = " and ".join(dict.fromkeys(type(other.who).__name__ for other in without))
            self._failures.say_once(
                "monitors", f"{keys} has no new value after some epochs; {who} will not count those"
            )


def _lowered(count: int, who: Any) -> int:
    """One less. With a patience of 0 any look would be the last, so one less again."""
    return min(count, getattr(who, "patience", count + 1) - 1) - 1
