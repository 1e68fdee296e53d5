"""Checks of one model in one fit: alone or together with other processes, and whatever goes wrong."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..attribution import cams
from ..attribution.calls import Replay
from ..attribution.guard import is_state, untouched
from ..attribution.heads import Head
from ..attribution.layers import Layers
from ..attribution.scored import Score, of_part
from ..attribution.self_check import self_checked
from ..attribution.trust.weights import random_weights
from ..examination import Evidence, Look, Report, collect_evidence, look, merged, report_on, what_is_left
from ..examination.trusting import n_draws_of, stays
from ..intervention import Trial, balanced_subset
from ..probe import Probe
from ..probe.rest import carrying
from ..verdict import RunningVerdict, Verdict, qualified, with_remedies_tried, withheld
from .accuracy import Logged
from .attempts import Failure, attempt, raise_everywhere
from .failures import Failures
from .in_step import in_step
from .module import forward_of
from .ranks import from_everyone, from_first, n_ranks, rank, share_of
from .rhythm import Effort

# Only the first process judges. The others send this along, and receive the result of the first in its place.
_NO_RESULT = Failure("no result arrived from the first process", False, False)


@dataclass(frozen=True)
class Judged:
    """The result of a check, the same in every process.

    Attributes:
        scalars: As in `Report.scalars`, without prefix; ``shortcut_score`` is added where there is a verdict.
        verdict: The verdict so far; None before the first check that was judged.
        model_seconds: Wall time spent inside the model.
    """

    scalars: dict[str, float]
    verdict: Verdict | None
    model_seconds: float


class Observer:
    """Checks one model in one fit. Every process looks at its share of the probe, and the first one judges.

    Attributes:
        report: Of the last check, in the first process. None before, and in the other processes.
        judged: The last report that the verdict takes account of: checks of maps alone don't count.
        forward: As in `adopt`.
        images_a_pass: Images in one forward pass. It is halved where memory did not suffice.
        doubt: Why no verdict can be trusted, empty where nothing speaks against it.
        logged: The accuracy that the user's own step logs.
        head: The place of the class scores in the model's output, in every process; None before the first check.
    """

    def __init__(
        self,
        *,
        layer: Layers | None,
        method: cams.Method,
        score: Score | None = None,
        forward: Callable[[nn.Module, Tensor], Any] | None,
        batch_size: int,
        limits: Mapping[str, str],
        failures: Failures,
    ) -> None:
        self.report: Report | None = None
        self.judged: Report | None = None
        self.doubt = self._guess = ""
        self.logged: Logged | None = None
        self.head: Head | None = None
        self.images_a_pass = batch_size
        self._layer = layer
        self._method = method
        self._score = score
        self.forward = forward
        self._limits = limits
        self._running = RunningVerdict(limits)
        self._verdict: Verdict | None = None
        self._targets = torch.empty(0, dtype=torch.long)  # of the judged report
        self._failures = failures
        # Kinds of checks that were found to change nothing: with trials or without, in the first epoch or later.
        self._verified: set[tuple[bool, bool]] = set()
        self._shares = self._is_numbered = False

    def meet(self, probe: Probe) -> None:
        """Finds out whether all processes have the same probe. If not, the first process looks alone."""
        self._shares = len(set(from_everyone(probe.fingerprint))) == 1
        self._is_numbered = probe.is_numbered

    def adopt(self, forward: Callable[[nn.Module, Tensor], Any] | None, doubt: str, guess: str = "") -> None:
        """How the model is called from now on, and why that gives no verdict. Checks so far convict nobody any more.

        A guess gives a verdict where the accuracy that the user logs agrees.
        """
        self.forward, self.doubt, self._guess = forward, doubt, guess
        self._running = RunningVerdict(self._limits)

    def check(
        self,
        model: nn.Module,
        probe: Probe,
        trials: Sequence[Trial],
        *,
        judges: bool,
        lets_through: Callable[[Failure], bool],
        effort: Effort | None = None,
    ) -> Judged | Failure:
        """One check, with the same result in every process.

        Args:
            model: With its weights of this moment.
            probe: The images to look at.
            trials: Cues to swap.
            judges: Whether this check counts for the verdict; otherwise the verdict so far stands.
            lets_through: Tells of an exception, as a failure, whether it is to be raised here instead of returned.
            effort: On how many images the cues are swapped, and with how many donors; None for all, with two.

        Raises:
            Exception: One that is let through. With several processes it is a `ValueError` or a `RuntimeError` in all.
        """
        tried = partial(attempt, lets_through=lets_through)
        buffers = from_first(_buffers(model)) if self._shares and n_ranks() > 1 else {}
        looks = from_everyone(tried(partial(self._look, model, probe, trials, buffers, effort or Effort(len(probe)))))
        result: Judged | Failure | None = next((each for each in looks if isinstance(each, Failure)), None)
        if result is None:
            parts = [each for each in looks if isinstance(each, Look)]
            judging = partial(self._judge, parts, probe, trials, judges=judges)
            result = from_first(tried(judging) if rank() == 0 else _NO_RESULT)
        if isinstance(result, Failure) and n_ranks() > 1:
            raise_everywhere(result, lets_through)
        return result

    def _look(
        self, model: nn.Module, probe: Probe, trials: Sequence[Trial], buffers: Mapping[str, Tensor], effort: Effort
    ) -> Look | None:
        """Looks at this process' share. The first look without and with trials is verified to change nothing."""
        # A forward may write to the model from the second epoch on only.
        kind = bool(trials), int(getattr(model, "current_epoch", 0)) > 0
        with in_step(model, probe, forward_of(model, carrying(self.forward, probe))) as run:
            if rank() and not self._shares:
                return None
            chosen, n_own = share_of(len(probe)) if self._shares else (torch.arange(len(probe)), len(probe))
            through = partial(
                look,
                model,
                probe,
                chosen,
                trials,
                layer=self._layer,
                method=self._method,
                score=self._score,
                n_donors=effort.n_donors,
                tried=balanced_subset(probe.targets, effort.n_images),
                forward=run,
                until_settled=n_ranks() == 1,  # a forward may talk to other processes, so all need as many passes
            )
            with self._verifying(model, kind), untouched(model):
                _put(buffers, model)
                share = self._within_memory(through, len(chosen))
        self._verified.add(kind)
        self.head = share.head
        if self._layer is None:
            self._layer = share.layer.split(" + ")  # found once a fit, so that all checks see the same layer
        return share.first(n_own)

    def _verifying(self, model: nn.Module, kind: tuple[bool, bool]) -> AbstractContextManager[None]:
        """Once a fit for either kind of check, since reading all parameters takes 0.2 s for a ResNet-50."""
        return nullcontext() if kind in self._verified else self_checked(model)

    def _within_memory(self, through: Callable[..., Look], n_images: int) -> Look:
        """Halves the images of a pass until memory suffices, for this and all later checks."""
        while True:
            try:
                return through(batch_size=self.images_a_pass)
            except RuntimeError as error:
                if not is_out_of_memory(error) or self.images_a_pass == 1:
                    raise
            # Tried again only after the handler: its exception keeps the tensors of the failed pass alive.
            self._failures.say_once(
                "memory", f"out of memory with {self.images_a_pass} images a pass; trying with half"
            )
            self.images_a_pass = (min(self.images_a_pass, n_images) + 1) // 2

    def _judge(self, looks: Sequence[Look], probe: Probe, trials: Sequence[Trial], *, judges: bool) -> Judged:
        whole = merged(looks)
        if whole.n_calls > 1:
            text = f"layer {whole.layer!r} runs {whole.n_calls} times in a forward pass; the maps are of its last run"
            self._failures.say_once("calls", f"{text}, choose another with layer='...'")
        previous = self.report.grid_maps if self.report else None
        self.report = report_on(whole, probe, method=self._method, trials=trials, previous=previous)
        scalars = dict(self.report.scalars)
        if judges:
            self.judged, self._targets = self.report, probe.targets
            self._verdict = self._doubted(self._running.judge(self.judged), self.judged)
            scalars["shortcut_score"] = self._verdict.score
        return Judged(scalars, self._verdict, self.report.model_seconds)

    def conclude(self) -> Verdict | None:
        """The final verdict, in every process. It judges the last report alone, without the checks before."""
        with self._failures.surviving("the verdict"):
            if self.judged is not None:
                self._verdict = self._doubted(self._running.conclude(self.judged), self.judged)
        self._verdict = from_first(self._verdict)
        return self._verdict

    def try_remedies(self, model: nn.Module, probe: Probe) -> Verdict | None:
        """The verdict with what its remedies leave of the cues, in every process; all have to call this."""
        if self._verdict is None or not self._verdict.findings:  # the same in every process
            return self._verdict
        forward = forward_of(model, carrying(self.forward, probe))
        with self._failures.surviving("trying the remedies"), in_step(model, probe, forward) as run:
            if self.judged is not None:
                left = partial(what_is_left, model, probe, self.judged, forward=run, batch_size=self.images_a_pass)
                self._verdict = with_remedies_tried(self._verdict, left)
        self._verdict = from_first(self._verdict)
        return self._verdict

    def _doubted(self, verdict: Verdict, report: Report) -> Verdict:
        """The verdict, or none where the probe is not what the model sees."""
        if not report.has_answers or (
            report.n_unanswered and not report.learned
        ):  # whatever the user's metrics make of NaN
            return verdict
        # A probe of one class has fewer class names than the model has scores, which says nothing about the scores.
        may_be_another = not report.learned and not report.has_one_class
        width = report.head.remark if report.head is not None and may_be_another else ""
        logged = self._logged_for(report)
        accuracy, harder = logged.compared(report.logits, self._targets) if logged else ("", "")
        doubt = self.doubt or accuracy or width or self._unconfirmed(report)
        return withheld(verdict, doubt) if doubt else qualified(verdict, harder)

    def _logged_for(self, report: Report) -> Logged | None:
        """The accuracy that the user logs; of values, pixels and boxes it is none of images, whatever has that name."""
        return None if report.task is not None and not report.task.is_of_classes else self.logged

    def _unconfirmed(self, report: Report) -> str:
        """Why the class scores may be others, where there are several and no accuracy of the user's own agrees."""
        logged = self._logged_for(report)
        is_confirmed = logged is not None and logged.agrees(report.logits, self._targets)
        guess = self._guess or (report.head.remark if report.head is not None and report.head.is_guess else "")
        return "" if is_confirmed or report.has_one_class else guess

    def evidence(self, model: nn.Module, probe: Probe, cues: Sequence[str]) -> list[Evidence]:
        """Pictures of the swaps of the given cues, in the first process; all have to call this.

        If one cannot be made, the verdict still stands.
        """
        collected: list[Evidence] = []
        forward = forward_of(model, carrying(self.forward, probe))
        with self._failures.surviving("the evidence"), in_step(model, probe, forward) as run:
            if self.judged is not None:
                collect = partial(collect_evidence, model, probe, self.judged)
                collected += [collect(cue, forward=run, batch_size=self.images_a_pass) for cue in cues]
        return collected

    @property
    def can_listen(self) -> bool:
        """Whether the class scores can be told apart in what the user's own step computes."""
        is_known = (self.forward is None and not self._is_numbered) or isinstance(self.forward, Replay)
        gives_classes = self.head is not None and self.head.kind not in ("values", "regions")
        return is_known and gives_classes and not self.doubt and not self._guess

    @property
    def way(self) -> Replay | None:
        """How the user's step calls the model, where that is not with images alone."""
        return self.forward if isinstance(self.forward, Replay) else None

    def maps_of(self, model: nn.Module, probe: Probe) -> Look | None:
        """The maps of other images than the probe's, in the first process; all have to call this."""
        with self._failures.surviving("maps of further images"):
            return self._maps_of(model, probe)
        return None

    def _maps_of(self, model: nn.Module, probe: Probe, score: Score | None = None) -> Look | None:
        with in_step(model, probe, forward_of(model, carrying(self.forward, probe))) as run:
            if rank():
                return None
            everything, n = torch.arange(len(probe)), self.images_a_pass
            options: dict[str, Any] = {"layer": self._layer, "method": self._method, "forward": run, "batch_size": n}
            return look(model, probe, everything, (), n_donors=1, score=score, **options)

    def untrusted(self, model: nn.Module, probe: Probe, rows: Tensor) -> Tensor | None:
        """Which of the last maps of ``rows (n,)`` say nothing of what was learned: they stay with random weights.

        None where that could not be found out. All have to call this, and get the same.
        """
        some, stay = probe.select(rows.tolist()), torch.ones(len(rows), dtype=torch.bool)
        for seed in range(n_draws_of(self._method)):
            drawn = self._randomly_mapped(model, some, seed, of_part(self._score, rows, len(probe)))
            if drawn is not None and self.report is not None:
                stay &= stays(self.report.grid_maps[rows], drawn.grid_maps)
            stay, is_known = from_first((stay, drawn is not None and self.report is not None))
            if not is_known:
                return None
            if not stay.any():  # as of nearly all models, after one draw
                break
        return stay

    def _randomly_mapped(self, model: nn.Module, probe: Probe, seed: int, score: Score | None) -> Look | None:
        """The maps with random weights, in the first process; None where these cannot be drawn or looked at."""
        with suppress(Exception), nullcontext() if rank() else random_weights(model, seed=seed):
            return self._maps_of(model, probe, score)
        return None

    def forget(self) -> None:
        """Lets go of the maps."""
        self.report = self.judged = None


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether fewer images per pass may help. Only CUDA has an exception of its own for it."""
    messages = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in messages)


def _buffers(model: nn.Module) -> dict[str, Tensor]:
    """The running means and variances of this process: each process has its own between two steps."""
    return {name: buffer.detach().cpu() for name, buffer in model.named_buffers() if is_state(buffer)}


def _put(buffers: Mapping[str, Tensor], model: nn.Module) -> None:
    """Puts the first process' buffers into the model, so that all look at the same one; `untouched` takes them out."""
    own = dict(model.named_buffers()) if rank() else {}
    for name in buffers.keys() & own.keys():
        own[name].copy_(buffers[name])
