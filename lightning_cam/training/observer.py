"""Looking at a model again and again while it trains, alone or with other processes, whatever goes wrong."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..attribution import cams
from ..attribution.guard import is_state, untouched
from ..attribution.self_check import TouchedError, witnessed
from ..examination import Evidence, Look, Report, collect_evidence, look, merged, report_on
from ..intervention import Trial
from ..probe import Probe
from ..text import error_text
from ..verdict import Verdict, Vigil, judge
from .failures import Failures, steers_lightning
from .module import forward_of
from .ranks import from_everyone, from_first, n_ranks, rank, share_of

T = TypeVar("T")


@dataclass(frozen=True)
class Failure:
    """Why there is nothing to see, the same in every process.

    Attributes:
        text: What was raised.
        is_configuration: Whether the user can mend it before the training.
        has_touched: Whether the model's own forward changed what looking must not change.
    """

    text: str
    is_configuration: bool
    has_touched: bool


_UNKNOWN = Failure("not heard of the first process", False, False)


@dataclass(frozen=True)
class Judged:
    """What came of a check, the same in every process.

    Attributes:
        scalars: As in `Report.scalars`, without prefix; ``shortcut_score`` is added where there is a verdict.
        verdict: The verdict so far; None before anything was judged.
        model_seconds: Wall time spent inside the model.
    """

    scalars: dict[str, float]
    verdict: Verdict | None
    model_seconds: float


class Observer:
    """Looks at one model in one fit. Every process looks at its share of the probe, the first one judges.

    Attributes:
        seen: What the last check saw, in the first process; None before, and in the others.
        report: The same of the last check that was judged.
        images_a_pass: Images per forward pass, halved where memory did not suffice.
    """

    def __init__(
        self,
        *,
        layer: str | None,
        method: cams.CamMethod,
        forward: Callable[[nn.Module, Tensor], Any] | None,
        batch_size: int,
        limits: Mapping[str, str],
        failures: Failures,
    ) -> None:
        self.seen: Report | None = None
        self.report: Report | None = None
        self.images_a_pass = batch_size
        self._layer = layer
        self._method = method
        self._forward = forward
        self._limits = limits
        self._vigil = Vigil(limits)
        self._verdict: Verdict | None = None
        self._failures = failures
        self._verified: set[bool] = set()  # checks without and with trials that changed nothing
        self._shares = False

    def meet(self, probe: Probe) -> None:
        """Finds out whether all processes have the same probe; else the first one looks alone."""
        self._shares = len(set(from_everyone(probe.fingerprint))) == 1

    def check(
        self,
        model: nn.Module,
        probe: Probe,
        trials: Sequence[Trial],
        *,
        judges: bool,
        lets_through: Callable[[Exception], bool],
    ) -> Judged | Failure:
        """One check, with the same result in every process.

        Args:
            model: As it is now.
            probe: What to look at.
            trials: Cues to swap.
            judges: Whether this counts for the verdict; otherwise the one so far stands.
            lets_through: Which exceptions the caller wants.

        Raises:
            Exception: One that is let through; in company a `ValueError` or a `RuntimeError` in every process.
        """
        attempt = partial(_attempt, lets_through=lets_through)
        buffers = from_first(_buffers(model)) if self._shares and n_ranks() > 1 else {}
        looks = from_everyone(attempt(partial(self._look, model, probe, trials, buffers)))
        result: Judged | Failure = next((each for each in looks if isinstance(each, Failure)), _UNKNOWN)
        if result is _UNKNOWN:
            parts = [each for each in looks if isinstance(each, Look)]
            judging = partial(self._judge, parts, probe, trials, judges=judges)
            result = from_first(attempt(judging) if rank() == 0 else _UNKNOWN)
        if isinstance(result, Failure) and n_ranks() > 1:
            _raise_everywhere(result, lets_through)
        return result

    def _look(
        self, model: nn.Module, probe: Probe, trials: Sequence[Trial], buffers: Mapping[str, Tensor]
    ) -> Look | None:
        """This process' share; the first look of its kind in a fit is verified to change nothing."""
        everything = torch.arange(len(probe))
        chosen = share_of(len(probe)) if self._shares else everything[: len(probe) if rank() == 0 else 0]
        if not len(chosen):
            return None
        through = partial(
            look,
            model,
            probe,
            chosen,
            trials,
            layer=self._layer,
            method=self._method,
            n_donors=2,
            forward=forward_of(model, self._forward),
        )
        with self._verifying(model, bool(trials)), untouched(model):
            _put(buffers, model)
            seen = self._within_memory(through, len(chosen))
        self._verified.add(bool(trials))
        self._layer = seen.layer
        return seen

    def _verifying(self, model: nn.Module, kind: bool) -> AbstractContextManager[None]:
        return nullcontext() if kind in self._verified else witnessed(model)

    def _within_memory(self, through: Callable[..., Look], n_images: int) -> Look:
        """Looks with half as many images a pass as long as memory does not suffice, in this and all later checks."""
        while True:
            try:
                return through(batch_size=self.images_a_pass)
            except RuntimeError as error:
                if not is_out_of_memory(error) or self.images_a_pass == 1:
                    raise
            # After the handler, whose exception keeps the tensors of the failed pass.
            self._failures.say_once(
                "memory", f"out of memory with {self.images_a_pass} images a pass; trying with half"
            )
            self.images_a_pass = (min(self.images_a_pass, n_images) + 1) // 2

    def _judge(self, looks: Sequence[Look], probe: Probe, trials: Sequence[Trial], *, judges: bool) -> Judged:
        seen = merged(looks)
        if seen.n_calls > 1:
            said = f"layer {seen.layer!r} runs {seen.n_calls} times in a forward pass; the maps are of its last run"
            self._failures.say_once("calls", f"{said}, choose another with layer='...'")
        previous = self.seen.grid_maps if self.seen else None
        self.seen = report_on(seen, probe, method=self._method, trials=trials, previous=previous)
        scalars = dict(self.seen.scalars)
        if judges:
            self.report = self.seen
            self._verdict = self._vigil.judge(self.report)
            scalars["shortcut_score"] = self._verdict.score
        return Judged(scalars, self._verdict, self.seen.model_seconds)

    def conclude(self) -> Verdict | None:
        """The verdict so far becomes the one on the last check that was judged, in every process."""
        with self._failures.surviving("the verdict"):
            if self.report is not None:
                self._verdict = judge(self.report, limits=self._limits)
        self._verdict = from_first(self._verdict)
        return self._verdict

    def evidence(self, model: nn.Module, probe: Probe, cues: Sequence[str]) -> list[Evidence]:
        """Pictures of what led to the findings; without them the verdict still stands."""
        collected: list[Evidence] = []
        if self.report is None:
            return collected
        with self._failures.surviving("the evidence"):
            run = forward_of(model, self._forward)
            for cue in cues:
                seen = collect_evidence(model, probe, self.report, cue, forward=run, batch_size=self.images_a_pass)
                collected.append(seen)
        return collected

    def forget(self) -> None:
        """Lets go of the maps."""
        self.seen = self.report = None


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether fewer images per pass may help. Only CUDA has an exception of its own for it."""
    said = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in said)


def _attempt(act: Callable[[], T], lets_through: Callable[[Exception], bool]) -> T | Failure:
    """The promise: nothing of ours stops a training, and no process leaves the others waiting."""
    try:
        return act()
    except Exception as error:
        if steers_lightning(error) or (n_ranks() == 1 and lets_through(error)):
            raise
        return Failure(error_text(error), isinstance(error, ValueError), isinstance(error, TouchedError))


def _raise_everywhere(failure: Failure, lets_through: Callable[[Exception], bool]) -> None:
    error = (ValueError if failure.is_configuration else RuntimeError)(failure.text)
    if lets_through(error):
        raise error


def _buffers(model: nn.Module) -> dict[str, Tensor]:
    """What the first process has learned of means and spreads: each has its own between two steps."""
    return {name: buffer.detach().cpu() for name, buffer in model.named_buffers() if is_state(buffer)}


def _put(buffers: Mapping[str, Tensor], model: nn.Module) -> None:
    """Takes the first process' buffers; `untouched` gives the model its own back."""
    own = dict(model.named_buffers()) if rank() else {}
    for name in buffers.keys() & own.keys():
        own[name].copy_(buffers[name])
