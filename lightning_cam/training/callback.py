"""WHEN to look. The only room that knows a trainer."""

import importlib
import importlib.util
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..attribution import cams, layers
from ..audit import AuditResult
from ..examination import Reading
from ..intervention import STANDARD, Trial, region_trial
from ..probe import Probe
from ..sinks.album import Album
from ..sinks.folder import FolderSink
from ..sinks.page import Sink
from ..sinks.pages import last_words
from ..verdict import FAIL, ShortcutError, Verdict, limits
from . import loggers
from .failures import MOST_IN_A_ROW, Failures, warn
from .observer import Failure, Observer
from .ranks import from_first
from .rhythm import Account, Kind, Rhythm, affordable, spare
from .trainer import (
    cannot_be_sent,
    drawn_in_every_process,
    free_folder,
    has_run,
    has_whole_model,
    logged_step,
    monitored,
    run_folder,
    validates,
)

if TYPE_CHECKING:
    from pytorch_lightning import Callback as _Callback
else:
    # `lightning.pytorch` and `pytorch_lightning` have a Callback each and accept only their own.
    _NAMESPACES = [name for name in ("lightning", "pytorch_lightning") if importlib.util.find_spec(name)]
    _MODULES = [importlib.import_module("lightning.pytorch" if n == "lightning" else n) for n in _NAMESPACES]
    _Callback = type("_Callback", tuple(module.Callback for module in _MODULES), {})

MAX_EVIDENCE = 3  # findings that get a picture
SECONDS_AFTER_EXCEPTION = 10.0  # for pictures; a checkpoint may wait to be saved, and a cluster waits 30 s
CHECK = "a check"
SENT = ("probe", "method", "trials", "on_shortcut", "forward", "sinks")  # arguments that may hold functions
EMPTY = "the class scores do not depend on this layer there, or nothing speaks for a class; try another layer='...'"


class CAMCallback(_Callback):
    """Looks at where the model looks, while it trains, and changes nothing about the training.

    ``Trainer(callbacks=[CAMCallback()])`` draws a class-balanced probe set from the validation data once, looks at it
    before the training, at growing steps of the first epoch and after every validation, and logs scalars and pictures
    to the trainer's loggers and to a folder beside them.

    Args:
        probe: The fixed images to look at, best images that the model is not trained on, which nothing here can tell;
            None draws 64 to 256 from the validation data (without it, the training data).
        layer: Dotted name of the layer to look at; None finds the last spatial one.
        method: How activations and gradients become maps, e.g. `cams.layer_cam`.
        every_n_epochs: Look after every n-th epoch instead of the default rhythm.
        every_n_train_steps: Look after every n-th optimizer step instead of the default rhythm.
        trials: Cues to swap on the probe images; None means all standard ones, ``()`` none, which leaves no verdict.
        expected_cues: Cues that the model may rely on, such as "background" where context is part of the task: they
            are measured and shown, but lead to no verdict.
        audit: What `audit_dataset` found in the training data. A cue that may belong to the object, such as the
            position, can lead to "FAIL" only if the data set gives it away too; and parts of the picture that tell the
            label are swapped as well, where pictures are resized as a whole.
        on_shortcut: Once a fit, when the verdict is "FAIL" at two checks in a row or at the end: "warn", "stop" the
            training, "raise" a `ShortcutError`, or call a function with the `Verdict` (on the first process).
        forward: ``(module, inputs) -> class scores`` for modules whose ``forward`` gives something else.
        on_error: "warn" keeps the training going and says once what failed; "raise" raises, for CI.
        sinks: Where pictures go; None means the trainer's loggers and a folder.
        log_images: Whether to log pictures at all; without them only scalars are logged.
        n_images: How many probe images get a picture series; all of them are measured.
        batch_size: Probe images per forward pass.
        max_overhead: Share of the fit's time so far that looking may take under the default rhythm, ten seconds at
            least: half of it for checks with trials, half for checks without, which are made where the others cost too
            much; beyond that checks are skipped. The first and the last are always made, and one with trials after the
            first epoch. From 1 on all are made, with trials.
        name: First part of every logged key; two callbacks on one trainer need two names.

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
        every_n_epochs: int | None = None,
        every_n_train_steps: int | None = None,
        trials: Sequence[Trial] | None = None,
        expected_cues: Sequence[str] = (),
        audit: AuditResult | None = None,
        on_shortcut: str | Callable[[Verdict], None] = "warn",
        forward: Callable[[nn.Module, Tensor], Any] | None = None,
        on_error: str = "warn",
        sinks: Sequence[Sink] | None = None,
        log_images: bool = True,
        n_images: int = 16,
        batch_size: int = 32,
        max_overhead: float = 0.02,
        name: str = "cam",
    ) -> None:
        if probe is not None and not isinstance(probe, Probe):
            raise TypeError(
                f"probe must be a Probe, got {type(probe).__name__}; see Probe.from_dataset and from_folder"
            )
        if on_error not in ("warn", "raise"):
            raise ValueError(f'on_error must be "warn" or "raise", got {on_error!r}')
        if on_shortcut not in ("warn", "stop", "raise") and not callable(on_shortcut):
            raise ValueError(f'on_shortcut must be "warn", "stop", "raise" or a function, got {on_shortcut!r}')
        if min(n_images, batch_size) < 1:
            raise ValueError(f"n_images and batch_size must be 1 or more, got {n_images} and {batch_size}")
        if not max_overhead > 0:
            raise ValueError(f"max_overhead must be above 0, such as 0.02 for 2 % of the fit, got {max_overhead}")
        if not name or not name.replace("_", "").replace("-", "").isalnum():
            raise ValueError(f"name must be letters, digits, - and _, since it begins every logged key; got {name!r}")
        self.rhythm = Rhythm(every_n_epochs, every_n_train_steps)
        self.probe = probe
        self.layer = layer
        self.method = method
        self.trials = tuple(_standard_trials(audit) if trials is None else trials)
        self.limits = limits(self.trials, expected_cues, {found.cue for found in audit.findings} if audit else ())
        self.on_shortcut = on_shortcut
        self.forward = forward
        self.on_error = on_error
        self.sinks = sinks
        self.log_images = log_images
        self.n_images = n_images
        self.batch_size = batch_size
        self.max_overhead = max_overhead
        self.name = name
        self._history: list[Reading] = []
        self._restored_fingerprint: str | None = None
        self._draws_probe = probe is None
        self._reset()

    def _reset(self) -> None:
        """What belongs to one fit."""
        self._verdict: Verdict | None = None
        self._acted = False
        self._album: Album | None = None
        self._openings: list[str] = []  # where a person finds the pictures
        self._looked_at = -1  # global step of the last check
        self._lacks_trials = False  # whether that one can be completed
        self._failures = Failures(raises=self.on_error == "raise")
        self._observer = Observer(
            layer=self.layer,
            method=self.method,
            forward=self.forward,
            batch_size=self.batch_size,
            limits=self.limits,
            failures=self._failures,
        )
        self._off = False
        self._fit_started = 0.0
        self._accounts = dict.fromkeys(Kind, Account())

    @property
    def history(self) -> tuple[Reading, ...]:
        """What was logged at each check so far: step, epoch, scalars."""
        return tuple(self._history)

    @property
    def verdict(self) -> Verdict | None:
        """Whether the model relies on something that is not the object: so far, and after the fit for good."""
        return self._verdict

    # ---- state -------------------------------------------------------------------------------------------------------

    @property
    def state_key(self) -> str:
        """One key per name, so that two callbacks can share a trainer."""
        return self._generate_state_key(name=self.name)

    def state_dict(self) -> dict[str, Any]:
        """The series so far, in JSON types only: Lightning loads checkpoints with ``weights_only``."""
        return {
            "version": 1,
            "fingerprint": self.probe.fingerprint if self.probe is not None else self._restored_fingerprint,
            "history": [reading.as_json() for reading in self._history],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues the series of a checkpoint; a state from elsewhere is left out, it must never stop a resume."""
        try:
            history = [Reading.from_json(entry) for entry in state_dict["history"]]
            self._restored_fingerprint = str(state_dict["fingerprint"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            warn(f"the checkpoint's series cannot be read ({error!r}); starting a new one")
            return
        self._history = history

    # ---- hooks -------------------------------------------------------------------------------------------------------

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Starts afresh: one callback can serve several fits."""
        if stage == "fit":
            self._reset()

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Checks what can be checked without data."""
        if self.layer is not None:
            layers.check_layer(pl_module, self.layer)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Draws the probe, opens the sinks and takes the first look. Configuration errors raise here."""
        self._fit_started = time.perf_counter()
        if not has_whole_model(trainer):
            self._switch_off(f"{type(trainer.strategy).__name__} shards the model, which is not supported")
            self._keep_monitors_alive(trainer)
            return
        if self.probe is None or self._draws_probe:
            self.probe = drawn_in_every_process(trainer)
        self._observer.meet(self.probe)
        if trainer.global_step == 0:  # a new run, whatever this callback has seen before
            self._history = []
        self._compare_with_restored(self.probe)
        if trainer.is_global_zero:
            self._say_copies(self.probe)
        self._looked_at = trainer.global_step if self._history else -1
        if trainer.is_global_zero and not trainer.fast_dev_run:
            self._open_album(trainer, self.probe)
        if not self._history and has_run(pl_module):
            kind = Kind.MAPS if self.trials else Kind.FULL
            self._look(trainer, pl_module, kind, logged_step(trainer), self._log_directly, before_training=True)

    def on_train_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Looks at growing steps of the first epoch, or every n steps."""
        if trainer.global_step == self._looked_at or not self.rhythm.after_step(
            trainer.global_step, trainer.current_epoch
        ):
            return
        leave_to_validation = self.rhythm.every_n_train_steps is None and batch_idx + 1 == trainer.num_training_batches
        if not leave_to_validation and (kind := self._affordable()):
            self._look(trainer, pl_module, kind, logged_step(trainer), self._log_directly)

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Looks where scalars can be monitored and averaged weights (EMA) are in place."""
        if not trainer.sanity_checking and trainer.state.fn == "fit":
            self._after_epoch(trainer, pl_module, logged_step(trainer))

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Looks here if there is no validation. Lightning has counted the step already."""
        if not validates(trainer):
            self._after_epoch(trainer, pl_module, logged_step(trainer) - 1)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Takes the last look, keeps the evolution strip and says where all of it is."""
        again = trainer.global_step == self._looked_at
        if self._history and (self._lacks_trials or not again):  # the same on every rank, unlike the report
            self._look(trainer, pl_module, Kind.FULL, logged_step(trainer) - 1, self._log_directly, again=again)
        self._verdict = self._observer.conclude()
        alert = self._news()
        with self._failures.surviving("the summary"):
            self._sum_up(pl_module, alert=alert is not None)
        self._close()
        if alert:
            self._act(trainer, alert)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Keeps what was seen until here; Lightning calls no `teardown` after an exception."""
        self._close(timeout=SECONDS_AFTER_EXCEPTION)
        if isinstance(exception, (pickle.PicklingError, AttributeError, TypeError)) and "pickle" in str(exception):
            for argument in cannot_be_sent({name: vars(self)[name] for name in SENT}):
                warn(f"{argument}= of CAMCallback cannot be sent to other processes; define it at the top of a module")

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Lets go of the worker and the maps."""
        self._close()
        self._observer.forget()

    # ---- looking -----------------------------------------------------------------------------------------------------

    def _after_epoch(self, trainer: Any, pl_module: Any, step: int) -> None:
        is_due = self.rhythm.after_epoch(trainer.current_epoch) and trainer.global_step != self._looked_at
        if is_due and (kind := self._affordable(after_epoch=True)):
            self._look(trainer, pl_module, kind, step, partial(self._log_through_lightning, pl_module))

    def _affordable(self, *, after_epoch: bool = False) -> Kind | None:
        """Which check fits into what looking may cost; the first process decides for all."""
        if self._off or self.rhythm.was_chosen:
            return Kind.FULL
        elapsed = time.perf_counter() - self._fit_started
        full, maps = self._accounts[Kind.FULL], self._accounts[Kind.MAPS] if self.trials else None
        kind = from_first(affordable(full, maps, spare(elapsed, self.max_overhead), after_epoch=after_epoch))
        if kind is not Kind.FULL:
            less, one = ("made without trials, or skipped,", "a full one") if self.trials else ("skipped", "one more")
            self._failures.say_once(
                "overhead",
                f"looking has taken {self._spent:.0f} s of the fit's {elapsed:.0f} s; checks are {less} while {one} "
                f"would make it more than {self.max_overhead:.0%} (max_overhead; every_n_epochs=1 keeps them all)",
            )
        return kind

    @property
    def _spent(self) -> float:
        """Seconds of looking so far."""
        return sum(account.spent for account in self._accounts.values())

    def _look(
        self,
        trainer: Any,
        pl_module: Any,
        kind: Kind,
        step: int,
        log: Callable[[Any, Mapping[str, float], int], None],
        *,
        before_training: bool = False,
        again: bool = False,
    ) -> None:
        """One check, from the forward pass to the queue of pictures. Every rank logs the same numbers."""
        if self._off or self.probe is None or (trainer.received_sigterm and trainer.world_size == 1):
            return
        started = time.perf_counter()
        self._looked_at = trainer.global_step
        judges = before_training or kind is Kind.FULL
        seen = self._observer.check(
            pl_module,
            self.probe,
            self.trials if kind is Kind.FULL else (),
            judges=judges,
            lets_through=lambda error: self.on_error == "raise" or (before_training and isinstance(error, ValueError)),
        )
        seconds = time.perf_counter() - started
        self._accounts[kind] = self._accounts[kind].charged(seconds)
        self._lacks_trials = not judges and not isinstance(seen, Failure)
        if isinstance(seen, Failure):
            self._cope(seen)
            self._keep_monitors_alive(trainer)
            return
        self._failures.succeeded(CHECK)
        self._verdict = seen.verdict
        scalars = {f"{self.name}/{key}": value for key, value in seen.scalars.items()}
        scalars[f"{self.name}/seconds"] = seconds
        scalars[f"{self.name}/seconds_outside_model"] = seconds - seen.model_seconds
        if not before_training:
            scalars[f"{self.name}/overhead"] = self._spent / (time.perf_counter() - self._fit_started)
        earlier = self._history.pop() if again else Reading(step, trainer.current_epoch, {})
        reading = replace(earlier, scalars={**scalars, **earlier.scalars})
        self._history.append(reading)
        with self._failures.surviving("logging"):
            new = {key: value for key, value in reading.defined.items() if key not in earlier.scalars}
            log(trainer, new, reading.step)
            for key in scalars:  # what was never defined is no point on a curve, but who monitors it must find it
                trainer.callback_metrics.setdefault(key, torch.tensor(torch.nan))
        alert = self._news()
        if not before_training and scalars[f"{self.name}/zero_map_rate"] == 1:  # a head may begin with zeros
            self._failures.say_once("empty maps", f"every map of the check at step {step} is empty; {EMPTY}")
        with self._failures.surviving("drawing"):
            if self._album is not None and self._observer.seen is not None:
                self._album.add(self._observer.seen, reading, self._verdict, alert=alert is not None, drawn=again)
        if alert:
            self._act(trainer, alert)

    def _sum_up(self, pl_module: Any, *, alert: bool) -> None:
        """Hands over the last page and says on the terminal what came out."""
        seen, verdict = self._observer.seen, self._verdict
        if self._album is None or seen is None or self.probe is None or not self._history:
            return
        found = verdict.findings[:MAX_EVIDENCE] if verdict and self.log_images else ()
        evidence = self._observer.evidence(pl_module, self.probe, [finding.cue for finding in found])
        self._album.finish(self.history, verdict, evidence, alert=alert)
        print("\n" + last_words(self.probe, seen, len(self._history), self._openings, verdict))  # noqa: T201 - once a fit

    def _news(self) -> Verdict | None:
        """The verdict, where it is the first bad one of the fit."""
        if self._verdict is None or self._verdict.outcome != FAIL or self._acted:
            return None
        self._acted = True
        return self._verdict

    def _act(self, trainer: Any, verdict: Verdict) -> None:
        """What the user wants done about a shortcut. What this raises is meant to reach the training."""
        if callable(self.on_shortcut):
            if trainer.is_global_zero:
                self.on_shortcut(verdict)
        elif self.on_shortcut == "raise":
            raise ShortcutError(verdict)
        else:
            trainer.should_stop = trainer.should_stop or self.on_shortcut == "stop"
            warn(str(verdict))

    # ---- keeping -----------------------------------------------------------------------------------------------------

    def _log_through_lightning(self, pl_module: Any, trainer: Any, scalars: Mapping[str, float], step: int) -> None:
        """To the progress bar's metrics, EarlyStopping and ModelCheckpoint.

        Not to the loggers: there Lightning lets a failure stop the training.
        """
        pl_module.log_dict(dict(scalars), logger=False)
        loggers.log(trainer.loggers, scalars, step, self._failures)

    def _log_directly(self, trainer: Any, scalars: Mapping[str, float], step: int) -> None:
        """Where ``self.log`` is not allowed; monitorable all the same."""
        trainer.callback_metrics.update({key: torch.tensor(value) for key, value in scalars.items()})
        loggers.log(trainer.loggers, scalars, step, self._failures)

    def _open_album(self, trainer: Any, probe: Probe) -> None:
        """With the given sinks, or the folder's and one for each logger."""
        folders = []
        with self._failures.surviving("choosing a folder for pictures"):
            if self.sinks is None:
                folders = [free_folder(run_folder(trainer) / f"{self.name}_report", resumed=bool(self._history))]
        of_loggers, openings = loggers.opened(trainer.loggers, self._failures)
        self._openings = [*map(str, folders), *openings]
        sinks = [*map(FolderSink, folders), *of_loggers] if self.sinks is None else self.sinks
        self._album = Album(probe, self.name, sinks, self.n_images if self.log_images else 0)

    def _compare_with_restored(self, probe: Probe) -> None:
        if self._history and self._restored_fingerprint not in (None, probe.fingerprint):
            warn("the checkpoint's series was taken on another probe set; starting a new one")
            self._history = []

    def _say_copies(self, probe: Probe) -> None:
        """Copies count twice in every mean, and make every interval look narrower than it is."""
        if copies := probe.copies():
            warn(f"{len(copies)} of {len(probe)} probe images are copies, such as {copies[0]!r}; leave them out")

    def _keep_monitors_alive(self, trainer: Any) -> None:
        """Early stopping raises where a scalar is missing; where it is not a number, that is up to its options."""
        for key in monitored(trainer, f"{self.name}/"):
            trainer.callback_metrics.setdefault(key, torch.tensor(torch.nan))

    def _cope(self, failure: Failure) -> None:
        """Says the first failure of a fit once, and gives up after several in a row."""
        if failure.has_touched:
            self._switch_off(failure.text.removeprefix("TouchedError: "))
            return
        self._failures.count(CHECK, failure.text)
        if self._failures.too_many(CHECK):
            self._switch_off(f"{MOST_IN_A_ROW} checks in a row failed, last with {failure.text!r}")

    def _switch_off(self, reason: str) -> None:
        self._off = True
        warn(f"switched off for this fit, training goes on; {reason}")

    def _close(self, timeout: float = 60.0) -> None:
        """Flushes what waits to be drawn; safe to call twice."""
        album, self._album = self._album, None
        for lost in album.close(timeout) if album is not None else ():
            warn(lost)


def _standard_trials(audit: AuditResult | None) -> tuple[Trial, ...]:
    """The standard trials, and one of the parts of a picture from which an audit can tell the label."""
    if audit is None or not audit.candidate_region.any():
        return STANDARD
    return (*STANDARD, region_trial(torch.from_numpy(audit.candidate_region)))
