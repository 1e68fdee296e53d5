"""The callback: which hook of Lightning leads to which check, and where the results go."""

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from typing import Any, TypeVar, cast

from torch import Tensor, nn

from ..attribution import cams, layers
from ..attribution.self_check import TouchedError
from ..audit import AuditResult
from ..examination import Reading
from ..intervention import Trial, chosen_trials
from ..probe import Probe
from ..sinks.page import Sink
from ..sinks.worker import MOST_FAILURES_IN_A_ROW
from ..verdict import Verdict, limits
from .alarm import Alarm, OnShortcut
from .comparison import UNSEEN, Comparison, can_be_called, with_step
from .failures import Failures, explain_pickling, print_progress, warn
from .gallery import Gallery
from .journal import Journal
from .module import has_run
from .namespaces import Callback
from .observer import Failure, Judged, Observer
from .options import OnError, check_options, known_trials
from .ranks import from_first
from .rhythm import Budget, Depth, Effort, Occasion, Rhythm
from .trainer import Drawing, drawn_in_every_process, has_whole_model, logged_step, progress, validates

A_CHECK = "a check"
LONG = 2.0  # seconds after which a person begins to wonder what is happening
MAX_EVIDENCE = 3  # findings that get a picture
SECONDS_AFTER_EXCEPTION = 10.0  # for pictures; a checkpoint may wait to be saved, and a cluster waits 30 s
# Options that may hold functions, which not every strategy can send to the processes that it spawns.
MAY_HOLD_FUNCTIONS = ("probe", "method", "trials", "on_shortcut", "forward", "sinks")


Hook = TypeVar("Hook", bound=Callable[..., None])


def _counted(hook: Hook) -> Hook:
    """Counts all that a hook takes, not its check alone: the probe, sinks, loggers, evidence, waiting for pictures."""

    @wraps(hook)
    def counting(self: "CAMCallback", *args: Any, **kwargs: Any) -> None:
        started, charged = time.perf_counter(), self._budget.spent
        try:
            hook(self, *args, **kwargs)
        finally:
            of_checks = self._budget.spent - charged
            self._budget.charge_apart(time.perf_counter() - started - of_checks)

    return cast(Hook, counting)


class CAMCallback(Callback):
    """Looks at where the model looks, while it trains, and changes nothing about the training.

    ``Trainer(callbacks=[CAMCallback()])`` draws a class-balanced probe set from the validation data once, looks at it
    before the training, at growing steps of the first epoch and after every validation, and logs scalars and pictures
    to the trainer's loggers and to a folder beside them.

    Args:
        probe: *What to look at.* The fixed images. Choose images that the model is not trained on; the callback cannot
            check this. None draws 64 to 256 from the validation data or, without any, from the training data.
        layer: Dotted name of the layer; None finds the last one with a spatial map.
        method: How activations and gradients become maps, e.g. `cams.layer_cam`.
        forward: ``(module, inputs) -> class scores``, for modules whose ``forward`` gives something else.
        preprocess: Pixels in [0, 1] to model input, for a drawn probe. None finds it: in the data set's transform, and
            by a comparison with the first validation batch that reaches the model.
        read: Item of the data set to ``(image, target)`` or ``(image, target, mask)``, for a drawn probe.
        size: ``(height, width)`` of the images of a drawn probe; None leaves them as they are.
        batch_size: Probe images in one forward pass.

        every_n_epochs: *When.* Look after every n-th epoch instead of the default rhythm.
        every_n_train_steps: Look after every n-th optimizer step instead of the default rhythm.
        max_overhead: Largest share of the fit's time that checks may take under the default rhythm; ten seconds are
            always allowed. Half is for full checks, half for cheaper ones without trials, which replace full checks
            that do not fit; a check that fits neither is skipped. Always made: the first, the last, and one full check
            after the first epoch. In a fit of a few minutes these swap cues on fewer images, such that all checks take
            about a quarter of the fit at most. A value of 1 or more removes every limit.

        trials: *Trials and verdict.* Cues to swap on the probe images, by name such as ``("background", "cast")`` or
            as `Trial` objects. None means all standard ones. With ``()`` there is no verdict.
        expected_cues: Cues that the model may rely on, such as "background" where context is part of the task. They
            are measured and shown, but lead to no verdict.
        audit: The result of `audit_dataset` for the training data. A cue that may belong to the object, such as the
            position, leads to "FAIL" only if this audit found that it gives the label away. Parts of the picture that
            give the label away are swapped as well, where pictures are resized as a whole.

        on_shortcut: *What happens.* "warn", "stop" the training, "raise" a `ShortcutError`, or call a function with
            the `Verdict`, in every process that trains. It happens once a fit, when the verdict is "FAIL" at two checks
            in a row or at the end.
        on_error: "warn" keeps the training going and says once what failed. "raise" raises, for CI.
        verbose: Whether to print the verdict, and where the pictures are, at the end of the fit. Warnings always come.

        sinks: *Where it is kept.* Receivers of the pictures; None means the trainer's loggers and a folder.
        log_images: Whether to keep pictures at all; without them only scalars are logged.
        n_images: How many probe images get a series of pictures. All of them are measured.
        name: First part of every logged key. Two callbacks on one trainer need two names.

    Raises:
        ValueError: Here for a rhythm or option that cannot be, and when the fit starts for an unknown layer, data that
            no probe can be drawn from, or labels that the model has no score for. Never once training has started.
    """

    def __init__(
        self,
        probe: Probe | None = None,
        *,
        layer: str | None = None,
        method: cams.CamMethod = cams.grad_cam,
        forward: Callable[[nn.Module, Tensor], Any] | None = None,
        preprocess: Callable[[Tensor], Tensor] | None = None,
        read: Callable[[Any], Any] | None = None,
        size: tuple[int, int] | None = None,
        batch_size: int = 32,
        every_n_epochs: int | None = None,
        every_n_train_steps: int | None = None,
        max_overhead: float = 0.02,
        trials: Sequence[Trial | str] | None = None,
        expected_cues: Sequence[str] = (),
        audit: AuditResult | None = None,
        on_shortcut: OnShortcut = "warn",
        on_error: OnError = "warn",
        verbose: bool = True,
        sinks: Sequence[Sink] | None = None,
        log_images: bool = True,
        n_images: int = 16,
        name: str = "cam",
    ) -> None:
        self.probe = probe
        self.layer = layer
        self.method = method
        self.forward = forward
        self.drawing = Drawing(read, size, preprocess)
        self.batch_size = batch_size
        self.rhythm = Rhythm(every_n_epochs, every_n_train_steps)
        self.max_overhead = max_overhead
        self.trials = chosen_trials(trials, known_trials(audit))
        self.limits = limits(self.trials, expected_cues, {found.cue for found in audit.findings} if audit else ())
        self.on_shortcut = on_shortcut
        self.on_error = on_error
        self.verbose = verbose
        self.sinks = sinks
        self.log_images = log_images
        self.n_images = n_images
        self.name = name
        check_options(self)
        self._journal = Journal(name)
        self._draws_probe = probe is None
        self._reset()

    def _reset(self) -> None:
        """Sets up what belongs to one fit: one callback can serve several."""
        self._verdict: Verdict | None = None
        self._looked_at = -1  # global step of the last check
        self._lacks_trials = False  # whether that check can be completed
        self._off = False
        self._fit_started = 0.0
        self._done_before = 0.0  # share of the training that earlier fits have done
        self._alarm = Alarm(self.on_shortcut)
        self._budget = Budget(self.max_overhead, has_trials=bool(self.trials))
        self._failures = Failures(raises=self.on_error == "raise")
        self._gallery = Gallery(self.name, self.sinks, self.n_images if self.log_images else 0, self._failures)
        self._observer = Observer(
            layer=self.layer,
            method=self.method,
            forward=self.forward,
            batch_size=self.batch_size,
            limits=self.limits,
            failures=self._failures,
        )
        self._comparison = Comparison(self._failures)

    def __repr__(self) -> str:
        outcome = None if self._verdict is None else self._verdict.outcome
        state = f"{len(self.trials)} trials, {len(self.history)} checks so far, verdict {outcome}"
        return f"CAMCallback(name={self.name!r}, layer={self.layer!r}; {state})"

    def __deepcopy__(self, memo: dict[int, Any]) -> "CAMCallback":
        """Shares probe and sinks: nobody edits a probe, and what a sink writes to is open once."""
        memo.update({id(shared): shared for shared in (self.probe, *(self.sinks or ()))})
        twin = memo[id(self)] = type(self).__new__(type(self))
        vars(twin).update(copy.deepcopy(vars(self), memo))
        return twin

    @property
    def history(self) -> tuple[Reading, ...]:
        """The reading of each check so far: step, epoch, and scalars with their keys as logged."""
        return self._journal.readings

    @property
    def verdict(self) -> Verdict | None:
        """Whether the model relies on something that is not the object: so far, and after the fit for good."""
        return self._verdict

    @property
    def state_key(self) -> str:
        """One key per name, so that two callbacks can share a trainer."""
        return self._generate_state_key(name=self.name)

    def state_dict(self) -> dict[str, Any]:
        """The series so far, which a resumed run continues."""
        return self._journal.as_state(self.probe.fingerprint if self.probe is not None else None)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues the series of a checkpoint."""
        self._journal.restore(state_dict)

    # ---- hooks -------------------------------------------------------------------------------------------------------

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Starts afresh."""
        if stage == "fit":
            self._reset()

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Checks what can be checked without data."""
        if self.layer is not None:
            layers.check_layer(pl_module, self.layer)

    @_counted
    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Draws the probe, opens the sinks and takes the first look. Configuration errors raise here."""
        self._fit_started = time.perf_counter()
        self._done_before = progress(trainer)
        if not has_whole_model(trainer):
            self._switch_off(f"{type(trainer.strategy).__name__} shards the model, which is not supported")
            self._journal.keep_monitors_alive(trainer)
            return
        if self.probe is None or self._draws_probe:
            say = print_progress if self.verbose else None
            self.probe = drawn_in_every_process(trainer, self.drawing, self._comparison.size, say=say)
        self._observer.meet(self.probe)
        self._journal.begin(self.probe.fingerprint, is_new_run=trainer.global_step == 0)
        self._looked_at = trainer.global_step if self.history else -1
        if trainer.is_global_zero:
            _warn_of_copies(self.probe)
            if not trainer.fast_dev_run:
                self._gallery.open(trainer, self.probe, run=self._journal.run)
        self._observer.doubt = UNSEEN
        self._settle(trainer, pl_module, trainer.val_dataloaders)
        if (
            not self.history
            and has_run(pl_module)
            and (
                self._comparison.is_settled
                or can_be_called(pl_module, self.probe, self.forward, validates=validates(trainer))
            )
        ):
            depth = Depth.MAPS if self.trials else Depth.FULL
            self._look(trainer, pl_module, Occasion(depth, logged_step(trainer), before_training=True))

    @_counted
    def on_validation_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Watches what the first batch of a fit gives to the model."""
        if trainer.state.fn == "fit" and batch_idx == dataloader_idx == 0 and not self._off:
            self._comparison.begin(pl_module, trainer.val_dataloaders, validates=True)

    @_counted
    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """The hooks that watched are gone."""
        self._comparison.end()

    @_counted
    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Watches the first training batch where there is no validation."""
        if not validates(trainer) and not self._off:
            self._comparison.begin(pl_module, trainer.train_dataloader, validates=False)

    @_counted
    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Looks at growing steps of the first epoch, or every n steps."""
        if not validates(trainer):
            self._comparison.end()
            self._settle(trainer, pl_module, trainer.train_dataloader)
        step = trainer.global_step
        if step == self._looked_at or not self.rhythm.after_step(step, trainer.current_epoch):
            return
        leave_to_validation = self.rhythm.every_n_train_steps is None and batch_idx + 1 == trainer.num_training_batches
        if not leave_to_validation and (depth := self._affordable(trainer)):
            self._look(trainer, pl_module, Occasion(depth, logged_step(trainer), effort=self._effort(trainer)))

    @_counted
    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Looks where scalars can be monitored and averaged weights (EMA) are in place."""
        if not trainer.sanity_checking and trainer.state.fn == "fit":
            self._settle(trainer, pl_module, trainer.val_dataloaders)
            self._after_epoch(trainer, pl_module, logged_step(trainer))

    @_counted
    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Looks here if there is no validation. Lightning has counted the step already."""
        if not validates(trainer):
            self._after_epoch(trainer, pl_module, logged_step(trainer) - 1)

    @_counted
    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Takes the last look, keeps the evolution strip and says where all of it is."""
        completes = trainer.global_step == self._looked_at
        if self.history and (self._lacks_trials or not completes):  # the same in every process, unlike the report
            effort = self._effort(trainer, is_last=True)
            self._announce_last(trainer, effort)
            occasion = Occasion(Depth.FULL, logged_step(trainer) - 1, effort=effort, completes=completes)
            self._look(trainer, pl_module, occasion)
        self._observer.logged = self._comparison.logged(trainer.callback_metrics)
        self._verdict = self._observer.conclude()
        alert = self._alarm.news(self._verdict)
        with self._failures.surviving("the summary"):
            self._sum_up(pl_module, alert=alert is not None)
        self._gallery.close()
        if alert:
            self._alarm.act(trainer, alert)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Keeps the pictures made so far; Lightning calls no `teardown` after an exception."""
        with suppress(Exception):  # nothing may take the place of the user's own exception
            self._comparison.end()
            self._gallery.close(timeout=SECONDS_AFTER_EXCEPTION)
            explain_pickling(exception, {name: vars(self)[name] for name in MAY_HOLD_FUNCTIONS})

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Lets go of the worker and the maps."""
        self._comparison.end()
        self._gallery.close()
        self._observer.forget()

    # ---- looking -----------------------------------------------------------------------------------------------------

    def _settle(self, trainer: Any, pl_module: Any, loaders: Any) -> None:
        """Once a fit: the probe goes the way of a batch, or a doubt says which step is missing."""
        if self._off or self.probe is None or self._comparison.is_settled:
            return
        drawing = self.drawing if self._draws_probe else None
        started = time.perf_counter()
        agreement = self._comparison.settle(pl_module, self.probe, loaders, drawing=drawing, given=self.forward)
        self._budget.charge_apart(time.perf_counter() - started)
        if agreement is None:
            return
        if agreement.has_touched:
            if self.on_error == "raise":
                raise TouchedError(agreement.has_touched)
            self._switch_off(agreement.has_touched)
        self._observer.doubt = agreement.doubt
        if agreement.doubt:
            warn(f"there will be no verdict. {agreement.doubt}")
        if agreement.forward is not None:
            self._observer.call_with(agreement.forward)
        if agreement.step is not None:
            self.probe = with_step(self.probe, agreement.step)

    def _after_epoch(self, trainer: Any, pl_module: Any, step: int) -> None:
        is_due = self.rhythm.after_epoch(trainer.current_epoch) and trainer.global_step != self._looked_at
        if is_due and (depth := self._affordable(trainer, after_epoch=True)):
            self._look(trainer, pl_module, Occasion(depth, step, can_log=True, effort=self._effort(trainer)))

    def _announce_last(self, trainer: Any, effort: Effort | None) -> None:
        """Says that the last check is under way: the progress bar is complete, and a long one looks like a hang."""
        if self._off or self.probe is None or not self.verbose or not trainer.is_global_zero:
            return
        seconds = self._budget.seconds_of(effort or Effort(len(self.probe)))
        if seconds > LONG:
            print(f"\n{self.name}: last check of the fit, about {seconds:.0f} s")  # noqa: T201 - once a fit

    def _affordable(self, trainer: Any, *, after_epoch: bool = False) -> Depth | None:
        """The deepest check that the budget allows; the first process decides for all, whose clocks differ."""
        if self._off or self.rhythm.was_chosen:
            return Depth.FULL
        elapsed, expected = self._times(trainer)
        depth = from_first(self._budget.affordable(elapsed, expected=expected, after_epoch=after_epoch))
        if depth is not Depth.FULL:
            self._failures.say_once("overhead", self._budget.explanation(elapsed))
        return depth

    def _effort(self, trainer: Any, *, is_last: bool = False) -> Effort | None:
        """How many images a full check swaps cues on; None for all.

        Several processes share the images, so that each of them has few, and fits of a minute have one process.
        """
        if self._off or self.rhythm.was_chosen or self.probe is None or trainer.world_size > 1:
            return None
        elapsed, expected = self._times(trainer)
        whole = elapsed - self._budget.spent if is_last else expected
        effort = self._budget.effort(len(self.probe), whole, is_last=is_last)
        if is_last and effort.n_images < len(self.probe):
            self._failures.say_once("short fit", self._budget.confession(effort, len(self.probe)))
        return effort

    def _times(self, trainer: Any) -> tuple[float, float]:
        """Seconds since the fit began, and seconds that it will take without checks; infinite where nobody knows."""
        elapsed, done = time.perf_counter() - self._fit_started, progress(trainer) - self._done_before
        return elapsed, (elapsed - self._budget.spent) * (1 - self._done_before) / done if done > 0 else math.inf

    def _look(self, trainer: Any, pl_module: Any, occasion: Occasion) -> None:
        """One check, from the forward pass to the queue of pictures. Every process logs the same numbers."""
        if self._off or self.probe is None or (trainer.received_sigterm and trainer.world_size == 1):
            return
        started = time.perf_counter()
        self._looked_at = trainer.global_step
        self._observer.logged = self._comparison.logged(trainer.callback_metrics)
        outcome = self._check(pl_module, self.probe, occasion)
        seconds = time.perf_counter() - started
        tried = occasion.effort if occasion.depth is Depth.FULL else None
        self._budget.charge(occasion.depth, seconds, tried or Effort(len(self.probe)))
        self._lacks_trials = not occasion.is_judged and not isinstance(outcome, Failure)
        if isinstance(outcome, Failure):
            self._cope(outcome)
            self._journal.keep_monitors_alive(trainer)
            return
        self._failures.succeeded(A_CHECK)
        self._verdict = outcome.verdict
        alert = self._alarm.news(self._verdict)
        self._keep(trainer, pl_module, occasion, self._scalars(outcome, seconds, occasion), alert=alert is not None)
        if alert:
            self._alarm.act(trainer, alert)

    def _check(self, pl_module: Any, probe: Probe, occasion: Occasion) -> Judged | Failure:
        return self._observer.check(
            pl_module,
            probe,
            self.trials if occasion.depth is Depth.FULL else (),
            judges=occasion.is_judged,
            effort=occasion.effort,
            lets_through=lambda error: (
                self.on_error == "raise" or (occasion.before_training and isinstance(error, ValueError))
            ),
        )

    def _scalars(self, outcome: Judged, seconds: float, occasion: Occasion) -> Mapping[str, float]:
        """What was measured and what it cost. Before the training there is no time yet to take a share of."""
        costs = {"seconds": seconds, "seconds_outside_model": seconds - outcome.model_seconds}
        if not occasion.before_training:
            costs["overhead"] = self._budget.spent / (time.perf_counter() - self._fit_started)
        return {**outcome.scalars, **costs}

    def _keep(
        self, trainer: Any, pl_module: Any, occasion: Occasion, scalars: Mapping[str, float], *, alert: bool
    ) -> None:
        """Logs a reading and queues its pictures."""
        if occasion.completes:
            reading, news = self._journal.complete(scalars)
        else:
            reading, news = self._journal.record(scalars, occasion.step, trainer.current_epoch)
        with self._failures.surviving("logging"):
            self._journal.log(news, trainer, self._failures, through=pl_module if occasion.can_log else None)
        if not occasion.before_training and scalars["zero_map_rate"] == 1:  # a head may begin with zeros
            self._failures.say_once("empty maps", _empty_maps(occasion.step))
        self._gallery.add(self._observer.report, reading, self._verdict, alert=alert, drawn=occasion.completes)

    def _cope(self, failure: Failure) -> None:
        """Says the first failure of a fit once, and gives up after several in a row."""
        if failure.has_touched:
            self._switch_off(failure.text.removeprefix("TouchedError: "))
            return
        self._failures.count(A_CHECK, failure.text)
        if self._failures.too_many(A_CHECK):
            self._switch_off(f"{MOST_FAILURES_IN_A_ROW} checks in a row failed, the last with {failure.text!r}")

    def _switch_off(self, reason: str) -> None:
        self._off = True
        warn(f"switched off for this fit, training goes on; {reason}")

    def _sum_up(self, pl_module: Any, *, alert: bool) -> None:
        """Hands over the last page and says on the terminal how the fit ended."""
        report, verdict = self._observer.report, self._verdict
        if self.probe is None or not self.history:
            return
        findings = verdict.findings[:MAX_EVIDENCE] if verdict and self._gallery.is_open and self.log_images else ()
        evidence = self._observer.evidence(pl_module, self.probe, [finding.cue for finding in findings])
        if not self._gallery.is_open or report is None:
            return
        self._gallery.finish(self.history, verdict, evidence, alert=alert)
        if self.verbose:
            words = self._gallery.last_words(self.probe, report, len(self.history), verdict)
            print(f"\n{words}")  # noqa: T201 - once a fit


def _warn_of_copies(probe: Probe) -> None:
    """Copies count twice in every mean, and make every interval narrower than it is."""
    if copies := probe.copies():
        warn(f"{len(copies)} of {len(probe)} probe images are copies, such as {copies[0]!r}; leave them out")


def _empty_maps(step: int) -> str:
    return (
        f"every map of the check at step {step} is empty: the class scores do not depend on this layer there, or no "
        "channel supports the class; try another layer='...'"
    )
