"""One fit: the probe, one check after another, and what is kept and said of them."""

from dataclasses import replace
from functools import partial
from typing import Any

from ..allocator import give_back
from ..attribution.self_check import TouchedError
from ..probe import Probe
from ..probe.rest import check_call
from ..probe.task import VALUES
from ..sinks.page import Run
from ..verdict import Verdict
from .agreement import Agreement
from .alarm import Alarm
from .attempts import Failure, lets_through
from .clock import Clock
from .comparison import UNSEEN, Comparison, gives_values, with_step
from .failures import Failures, print_progress
from .gallery import Gallery
from .journal import Journal
from .keeping import Keeping
from .learning import Units
from .mistakes import Mistakes
from .module import has_run, ignored_by
from .monitors import Monitors
from .observer import Judged, Observer
from .options import Options
from .remarks import OF_TRAINING, READ_AS_VALUES, UNCALLED, of_networks, warn_of_copies
from .rhythm import Depth, Effort, Occasion
from .switch import A_CHECK, Switch
from .trainer import NoProbeError, drawn_in_every_process, draws_from_training, has_whole_model, logged_step

LONG = 2.0  # seconds after which a person begins to wonder what is happening


class Fit:
    """What one fit knows and does. A callback can serve several fits, each with its own.

    Args:
        options: What the user chose.
        journal: The series of readings, which may have begun in an earlier fit.

    Attributes:
        probe: The images that are looked at; None until they are drawn.
        verdict: So far, and after `end` for good.
        clock: Times the fit and its checks.
        comparison: Of the probe with a real batch.
        mistakes: Of the last validation.
        switch: Whether anything is looked at still.
    """

    def __init__(self, options: Options, journal: Journal) -> None:
        self.probe = options.probe
        self.verdict: Verdict | None = None
        self._options = options
        self._journal = journal
        self._failures = failures = Failures(raises=options.on_error == "raise")
        self.clock = Clock(options.rhythm, options.max_overhead, has_trials=bool(options.trials), failures=failures)
        self.comparison = Comparison(failures)
        self._observer = Observer(
            layer=options.layer,
            method=options.method,
            score=options.score,
            forward=options.forward,
            batch_size=options.batch_size,
            limits=options.limits,
            failures=failures,
        )
        self._monitors = Monitors(options.name, failures)
        self._plain = self.probe  # without what comparisons with batches add
        n_images = options.n_images if options.log_images else 0
        self._gallery = Gallery(options.name, options.sinks, n_images, failures, options.audit)
        self.mistakes = Mistakes(self._observer, failures, is_wanted=bool(n_images))
        self.switch = Switch(
            self._observer,
            self._gallery,
            journal=journal,
            mistakes=self.mistakes,
            monitors=self._monitors,
            failures=failures,
        )
        self._keeping = Keeping(options, journal, self._gallery, self.mistakes, failures)
        self._alarm = Alarm(options.on_shortcut)
        self._units = Units(failures, is_on=options.features)
        self._looked_at = -1  # global step of the last check
        self._is_of_training = False  # whether the probe is, for want of validation data
        self._lacks_trials = False  # whether that check can be completed

    # ---- the course of a fit -----------------------------------------------------------------------------------------

    def begin(self, trainer: Any, module: Any) -> None:
        """Draws the probe, opens the sinks and takes the first look. Configuration errors raise here."""
        self.clock.start(trainer)
        if trainer.global_step == 0:
            self._journal.start_anew()
        self.probe = self._plain = probe = self._chosen(trainer, module)
        if probe is None:
            return
        check_call(module, probe.rest, self._options.forward)
        give_back(probe.images)
        self._observer.meet(probe)
        self._observer.doubt = UNSEEN
        self._journal.begin(probe.fingerprint)
        self._looked_at = trainer.global_step if self._journal.readings else -1
        if trainer.is_global_zero:
            warn_of_copies(probe)
            if not trainer.fast_dev_run:
                self._gallery.open(trainer, probe, run=self._run(trainer))
        self.settle(module, trainer.val_dataloaders)
        self.comparison.await_another()
        if not self._journal.readings and has_run(module) and self._can_look(module, probe):
            depth = Depth.MAPS if self._options.trials else Depth.FULL
            self._look(trainer, module, Occasion(depth, logged_step(trainer), before_training=True))

    def settle(self, module: Any, loaders: Any) -> None:
        """The probe goes the way of a batch of ``loaders``, or a doubt says which step is missing."""
        if self.switch.is_off or self._plain is None:
            return
        drawing = self._options.drawing if self._options.probe is None else None
        with self.clock.counting():
            agreement = self.comparison.settle(
                module,
                self._plain,
                loaders,
                drawing=drawing,
                given=self._options.forward,
                has_score=self._options.score is not None,
            )
        if agreement is not None:
            self._follow(agreement)

    def after_step(self, trainer: Any, module: Any, *, ends_epoch: bool) -> None:
        """Looks at growing steps of the first epoch, or every n steps; not where `after_epoch` does anyway."""
        step, rhythm = trainer.global_step, self._options.rhythm
        if step == self._looked_at or not rhythm.after_step(step, trainer.current_epoch):
            return
        if not self.switch.is_off and not (ends_epoch and rhythm.every_n_train_steps is None):
            self._look_affordably(trainer, module, logged_step(trainer))

    def after_epoch(self, trainer: Any, module: Any, step: int) -> None:
        """Looks after a validation, or after an epoch without one. Lightning allows ``self.log`` in both."""
        is_due = self._options.rhythm.after_epoch(trainer.current_epoch) and trainer.global_step != self._looked_at
        if is_due and not self.switch.is_off:
            n_readings = len(self._journal.readings)
            self._look_affordably(trainer, module, step, after_epoch=True)
            new = self._journal.readings[n_readings:]
            self._monitors.update(trainer, new[0].defined if new else (), is_off=self.switch.is_off)

    def end(self, trainer: Any, module: Any) -> None:
        """Takes the last look, concludes, keeps the evolution strip and says where all of it is."""
        completes = trainer.global_step == self._looked_at
        if not self.switch.is_off and self.comparison.has_waited and not self.comparison.is_settled:
            self.switch.turn_off(f"{UNCALLED} {UNSEEN}")
        has_begun = self._journal.readings or self.comparison.has_waited
        if has_begun and (self._lacks_trials or not completes):  # the same in every process
            self._last_look(trainer, module, completes=completes)
        self._observer.logged = self.comparison.logged(trainer.callback_metrics)
        verdict = self._observer.conclude()
        if self.probe is not None and not self.switch.is_off:
            verdict = self._observer.try_remedies(module, self.probe)
        self.verdict = self._gallery.located(verdict)
        alert = self._alarm.news(self.verdict)
        is_printed = False
        with self._failures.surviving("the summary"):
            is_printed = self._keeping.sum_up(
                self._observer,
                trainer,
                module,
                self.probe,
                self.verdict,
                alert=alert is not None,
                doubts_maps=not self.switch.is_off,
            )
        self._gallery.close()
        if alert:
            self._alarm.act(trainer, alert, is_printed=is_printed)

    def interrupt(self, trainer: Any, seconds: float) -> None:
        """Keeps the pictures made so far, if that takes no more than ``seconds``."""
        self.comparison.end()
        self.mistakes.forget()
        self._monitors.release(trainer)
        self._gallery.close(seconds)

    def close(self, trainer: Any) -> None:
        """Lets go of hooks, worker and maps."""
        self.comparison.end()
        self.mistakes.forget()
        self._monitors.release(trainer)
        self._gallery.close()
        self._observer.forget()

    def _run(self, trainer: Any) -> Run:
        return Run(self._journal.run, self._journal.resumes, logged_step(trainer))

    # ---- looking -----------------------------------------------------------------------------------------------------

    def _chosen(self, trainer: Any, module: Any) -> Probe | None:
        """The probe of this fit. None where nothing can be looked at, the same in every process."""
        if not has_whole_model(trainer):
            reason = f"{type(trainer.strategy).__name__} shards the model, which is not supported"
            self.switch.never_on(trainer, reason, run=self._run(trainer))
            return None
        return self._options.probe or self._drawn(trainer, module)

    def _drawn(self, trainer: Any, module: Any) -> Probe | None:
        """None where the data are of a task that cannot be looked at."""
        say = print_progress if self._options.verbose else None
        self._is_of_training = draws_from_training(trainer)
        draw = partial(drawn_in_every_process, trainer, fallback=self.comparison.size, say=say)
        try:
            drawing = replace(self._options.drawing, ignore_index=ignored_by(module))
            probe = draw(drawing)
            if self._options.forward is None and (remark := of_networks(dict(module.named_children()))):
                self._failures.say_once("networks", remark)
            if gives_values(module, probe, self._options.forward):
                self._failures.say_once("task", READ_AS_VALUES)
                probe = draw(replace(drawing, task=VALUES))
            return probe
        except NoProbeError as error:
            if self._options.on_error == "raise":
                raise
            self.switch.never_on(trainer, str(error), run=self._run(trainer))
            return None

    def _follow(self, agreement: Agreement) -> None:
        """Does what came of the comparison with a batch."""
        if agreement.has_touched:
            if self._options.on_error == "raise":
                raise TouchedError(agreement.has_touched)
            self.switch.turn_off(agreement.has_touched)
            return
        if self._observer.doubt not in ("", UNSEEN) and not agreement.doubt:
            self._failures.say_once("no doubt", "there will be a verdict, since the probe is now what the model sees")
        self._observer.adopt(agreement.forward or self._options.forward, agreement.doubt, agreement.guess)
        self.probe = self._plain
        if agreement.step is not None and self._plain is not None:
            self.probe = with_step(self._plain, agreement.step)

    def _can_look(self, module: Any, probe: Probe) -> bool:
        return self.comparison.shows_way(module, probe, self._options.forward)

    def _look_affordably(self, trainer: Any, module: Any, step: int, *, after_epoch: bool = False) -> None:
        """As deep as the time allows, or not at all."""
        if self.probe is None or not self._can_look(module, self.probe):
            return
        if depth := self.clock.depth(trainer, after_epoch=after_epoch):
            effort = self.clock.effort(trainer, self.probe)
            self._look(trainer, module, Occasion(depth, step, can_log=after_epoch, effort=effort))

    def _last_look(self, trainer: Any, module: Any, *, completes: bool) -> None:
        """In full. It is announced: the progress bar is complete, and a long look is like a hang."""
        if self.switch.is_off or self.probe is None:
            return
        effort = self.clock.effort(trainer, self.probe, is_last=True)
        seconds = self.clock.seconds_of(effort or Effort(len(self.probe)))
        if seconds > LONG and self._options.verbose and trainer.is_global_zero:
            print(f"\n{self._options.name}: last check of the fit, about {seconds:.0f} s")  # noqa: T201 - once a fit
        occasion = Occasion(Depth.FULL, logged_step(trainer) - 1, effort=effort, completes=completes)
        self._look(trainer, module, occasion)

    def _look(self, trainer: Any, module: Any, occasion: Occasion) -> None:
        """One check, from the forward pass to the queue of pictures. Every process logs the same numbers."""
        if self.switch.is_off or self.probe is None or (trainer.received_sigterm and trainer.world_size == 1):
            return
        began = self.clock.elapsed
        self._looked_at = trainer.global_step
        self._observer.logged = self.comparison.logged(trainer.callback_metrics)
        outcome = self._check(module, self.probe, occasion)
        of_units, learning = self._units.look(module, self.probe, self._observer, outcome, occasion)
        seconds = self.clock.elapsed - began
        tried = occasion.effort if occasion.depth is Depth.FULL else None
        self.clock.charge(occasion.depth, seconds, tried or Effort(len(self.probe)))
        self._lacks_trials = not occasion.is_judged and not isinstance(outcome, Failure)
        if isinstance(outcome, Failure) and self.switch.ends_at(outcome):
            return
        self._say_remarks()
        if isinstance(outcome, Failure):
            self.switch.count(outcome)
            return
        self._failures.succeeded(A_CHECK)
        self.verdict = self._gallery.located(outcome.verdict)
        alert = self._alarm.news(self.verdict)
        costs = {"seconds": seconds, "seconds_outside_model": seconds - outcome.model_seconds}
        if not occasion.before_training:  # then there is no time yet to take a share of
            costs["overhead"] = self.clock.overhead
        reading = self._keeping.log({**outcome.scalars, **of_units, **costs}, trainer, module, occasion)
        is_final = alert is not None and self._alarm.ends_fit  # else "FAIL" becomes "INCONCLUSIVE" as it ends the fit
        report, drawn = self._observer.report, occasion.completes
        is_news = alert is not None
        self._gallery.add(
            report, reading, self.verdict, alert=is_news, is_final=is_final, drawn=drawn, learning=learning
        )
        if alert:
            self._alarm.act(trainer, alert)

    def _check(self, module: Any, probe: Probe, occasion: Occasion) -> Judged | Failure:
        return self._observer.check(
            module,
            probe,
            self._options.trials if occasion.depth is Depth.FULL else (),
            judges=occasion.is_judged,
            effort=occasion.effort,
            lets_through=partial(lets_through, self._options, before_training=occasion.before_training),
        )

    def _say_remarks(self) -> None:
        """Once, after a check: one that switches the callback off says why, and more would be a second reason."""
        doubt = self._observer.doubt
        if self._is_of_training:
            self._failures.say_once("data", OF_TRAINING)
        if doubt not in ("", UNSEEN):
            self._failures.say_once("doubt", f"there will be no verdict. {doubt}")
