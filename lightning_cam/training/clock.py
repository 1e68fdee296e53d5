"""The time of one fit: how long it has run, what checks have taken of it, and which check the next one may be."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..probe import Probe
from .failures import Failures
from .ranks import from_first
from .rhythm import Budget, Depth, Effort, Rhythm
from .trainer import progress

WORTH_A_WORD = 2.0  # seconds of checks; in a fit that is shorter nobody minds that checks are left out


class Clock:
    """Times one fit and its checks.

    Args:
        rhythm: Checks that the user asked for are made at any price.
        max_overhead: As in `CAMCallback`.
        has_trials: Whether there are trials, which make a full check more expensive than one of maps alone.
        failures: Says once which checks were left out or made smaller.
    """

    def __init__(self, rhythm: Rhythm, max_overhead: float, *, has_trials: bool, failures: Failures) -> None:
        self._is_limited = not rhythm.was_chosen
        self._has_trials = has_trials
        self._budget = Budget(max_overhead, has_trials=has_trials)
        self._failures = failures
        self._started = 0.0
        self._done_before = 0.0  # share of the training that earlier fits have done

    def start(self, trainer: Any) -> None:
        """The fit begins, perhaps from a checkpoint."""
        self._started = time.perf_counter()
        self._done_before = progress(trainer)

    @property
    def elapsed(self) -> float:
        """Seconds since the fit began."""
        return time.perf_counter() - self._started

    @property
    def overhead(self) -> float:
        """Share of the fit so far that was not training, 0 to 1."""
        return self._budget.spent / self.elapsed

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Counts all that the block takes, not its check alone: the probe, sinks, loggers, evidence, pictures."""
        started, charged = time.perf_counter(), self._budget.spent
        try:
            yield
        finally:
            charged_inside = self._budget.spent - charged
            self._budget.charge_apart(time.perf_counter() - started - charged_inside)

    def charge(self, depth: Depth, seconds: float, effort: Effort) -> None:
        """Takes note of a check, also of one that failed."""
        self._budget.charge(depth, seconds, effort)

    def seconds_of(self, effort: Effort) -> float:
        """Expected time of a full check; 0 where nothing is known yet."""
        return self._budget.seconds_of(effort)

    def depth(self, trainer: Any, *, after_epoch: bool = False) -> Depth | None:
        """The deepest check that the budget allows; the first process decides for all, whose clocks differ."""
        if not self._is_limited:
            return Depth.FULL
        elapsed = self.elapsed
        allowed = self._budget.affordable(elapsed, expected=self._expected(trainer), after_epoch=after_epoch)
        depth = from_first(allowed)
        if depth is not Depth.FULL and self._budget.spent > WORTH_A_WORD:
            self._failures.say_once("overhead", self._budget.explanation(elapsed))
        return depth

    def effort(self, trainer: Any, probe: Probe, *, is_last: bool = False) -> Effort | None:
        """How many of the probe's images a full check swaps cues on; None for all.

        Several processes share the images, so that each of them has few, and fits of a minute have one process.
        """
        if not self._is_limited or not self._has_trials or trainer.world_size > 1:
            return None
        whole = self.elapsed - self._budget.spent if is_last else self._expected(trainer)
        effort = self._budget.effort(len(probe), whole, is_last=is_last, n_questions=len(probe.task.names) or 1)
        if is_last and effort.n_images < len(probe):
            self._failures.say_once("short fit", self._budget.confession(effort, len(probe)))
        return effort

    def _expected(self, trainer: Any) -> float:
        """Seconds that the whole fit will take without checks; infinite where nobody knows."""
        done = progress(trainer) - self._done_before
        return (self.elapsed - self._budget.spent) * (1 - self._done_before) / done if done > 0 else math.inf
