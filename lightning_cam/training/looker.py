"""The same checks without a trainer: for training loops of one's own, and for Lightning Fabric."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any

from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from ..allocator import give_back
from ..attribution import cams
from ..attribution.layers import Layers, check_layers, unwrapped
from ..attribution.scored import Score
from ..attribution.self_check import TouchedError
from ..audit import AuditResult
from ..examination import Reading
from ..intervention import Trial, chosen_trials
from ..probe import Probe
from ..probe.rest import check_call
from ..sinks.folder import REPORT, FolderSink
from ..sinks.page import Run, Sink
from ..sinks.places import place_of
from ..verdict import Verdict, limits
from .agreement import Agreement
from .alarm import Alarm, OnShortcut
from .attempts import Failure, lets_through
from .comparison import Comparison
from .failures import Failures
from .gallery import Gallery
from .journal import Journal
from .keeping import Keeping
from .mistakes import Mistakes
from .module import has_run
from .monitors import Monitors
from .observer import Judged, Observer
from .options import OnError, Options, known_trials, prepared
from .ranks import rank
from .remarks import of_check, warn_of_copies
from .rhythm import Rhythm
from .switch import A_CHECK, Switch
from .trainer import Drawing

_SHARDED = ("FullyShardedDataParallel", "FSDPModule")
_NO_CHECK = (
    "this Looker has no verdict: it was not asked to look, or could not. A model that takes more than images must run "
    "in your own loop between two looks, and the probe needs the rest: Probe(images, targets, rest=...)"
)
_WRAPPERS = (DistributedDataParallel, DataParallel, AveragedModel)
_NOT_COMPARED = (
    "the model ran no batch between two looks, so the probe was not compared with your batches, and a normalization "
    "that it lacks goes unnoticed. Of a copy, such as an average of weights (EMA), look at the model that trains once, "
    "before the training"
)
_NO_TRAINER = SimpleNamespace(checkpoint_callback=None)  # the last words ask one for a checkpoint


class Looker:
    """Looks at a model when you say so, and judges it as `CAMCallback` does. The model and the training stay the same.

    Every `look` is a full check, and `finish` gives the verdict and writes ``report.html``::

        with Looker(probe, "runs/first") as looker:
            for epoch in range(10):
                train_one_epoch(model)
                looker.look(model, epoch)
        print(looker.verdict)

    Between two looks the model's own first batch is compared with the probe, so one look before the training pays:
    a normalization that the probe lacks is noticed. In several processes all have to call `look` and `finish`.

    Args:
        probe: The fixed images, such as ``Probe.from_dataset(validation_set)``.
        folder: Where pictures, ``report.html`` and the verdict are kept. With another run in it, ``run_2`` inside.
        layer: As in `CAMCallback`, and so are the others.
        forward: ``(model, inputs) -> class scores``, for models that give something else.
        on_shortcut: "stop" sets `should_stop`, for your loop to break.
        sinks: Receivers of the pictures; None means a folder sink at ``folder``.

    Attributes:
        should_stop: Whether ``on_shortcut="stop"`` asks to end the training.
        verdict: So far, and after `finish` for good; None before the first check.

    Raises:
        ValueError: Here for an option that cannot be, and at the first `look` for a layer, probe or ``forward`` that
            does not fit the model.
    """

    def __init__(
        self,
        probe: Probe,
        folder: str | PathLike[str] = "cam_report",
        *,
        layer: Layers | None = None,
        method: cams.Method = cams.grad_cam,
        score: Score | None = None,
        forward: Callable[[nn.Module, Tensor], Any] | None = None,
        preprocess: Callable[[Tensor], Tensor] | None = None,
        batch_size: int = 32,
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
        if not isinstance(probe, Probe):
            raise TypeError(f"probe must be a Probe, got {type(probe).__name__}; see Probe.from_dataset")
        drawing = Drawing(preprocess=preprocess)
        chosen = chosen_trials(trials, known_trials(audit))
        self._options = options = Options(
            probe=prepared(probe, drawing), layer=layer, method=method, score=score, forward=forward,
            drawing=drawing, batch_size=batch_size, rhythm=Rhythm(), max_overhead=1.0, trials=chosen,
            limits=limits(chosen, expected_cues, audit.cues if audit else ()), audit=audit, on_shortcut=on_shortcut,
            on_error=on_error, verbose=verbose, sinks=sinks, log_images=log_images, features=False, n_images=n_images,
            name=name,
        )  # fmt: skip
        self.probe = options.probe or probe
        self.verdict: Verdict | None = None
        self.should_stop = False
        self._folder = Path(folder)
        self._journal = Journal(name)
        self._failures = failures = Failures(raises=on_error == "raise")
        self._comparison = Comparison(failures)
        self._observer = Observer(
            layer=layer,
            method=method,
            score=score,
            forward=forward,
            batch_size=batch_size,
            limits=options.limits,
            failures=failures,
        )
        self._gallery = Gallery(name, sinks, n_images if log_images else 0, failures, audit)
        mistakes = Mistakes(self._observer, failures, is_wanted=False)  # of a validation, which nobody announces here
        self._keeping = Keeping(options, self._journal, self._gallery, mistakes, failures)
        self._switch = Switch(
            self._observer, self._gallery, journal=self._journal, mistakes=mistakes, monitors=Monitors(name, failures),
            failures=failures,
        )  # fmt: skip
        self._alarm = Alarm(on_shortcut)
        self._model: nn.Module | None = None
        self._began, self._spent = time.perf_counter(), 0.0
        self._is_finished = False

    @property
    def history(self) -> tuple[Reading, ...]:
        """The reading of each check so far: step, epoch, and scalars with their keys as logged."""
        return self._journal.readings

    def look(self, model: nn.Module, step: int, *, epoch: int | None = None) -> dict[str, float]:
        """Looks at the model as it is now.

        Args:
            model: Any classifier; wrapped by Fabric, by DistributedDataParallel or by `torch.compile` as well.
            step: Where this check stands on your own axis, such as the number of optimizer steps; it has to grow.
            epoch: Of the check; the step where there is none.

        Returns:
            The defined scalars by key, such as "cam/shortcut_score", for a logger of yours; empty if nothing could be
            looked at.
        """
        if self._is_finished:
            self._failures.say_once("finished", "this Looker has finished; make a new one for another training")
            return {}
        step = int(step)
        began = time.perf_counter()
        network = unwrapped(model)
        network = network.module if isinstance(network, _WRAPPERS) else network
        if self._model is None:
            self._open(network, step)
        self._model = network
        self._compare(network)
        scalars = {} if self._switch.is_off else self._checked(network, step, step if epoch is None else epoch, began)
        if not self._switch.is_off and not self._comparison.is_settled:
            self._comparison.begin(network, None, validates=False)
        self._spent += time.perf_counter() - began
        return scalars

    def finish(self) -> Verdict | None:
        """Concludes from the last look, and keeps the last page. None where nothing could be looked at."""
        if self._is_finished:
            return self.verdict
        self._is_finished = True
        self._comparison.end()
        verdict = self._observer.conclude()
        if self._model is not None and not self._switch.is_off:
            verdict = self._observer.try_remedies(self._model, self.probe)
        self.verdict = self._gallery.located(verdict)
        if not self.history and not self._switch.is_off:
            self._failures.say_once("no check", _NO_CHECK)
        if len(self.history) > 1 and not (self._comparison.is_settled or self._comparison.has_come):
            self._failures.say_once("not compared", _NOT_COMPARED)
        alert = self._alarm.news(self.verdict)
        is_printed = False
        with self._failures.surviving("the summary"):
            is_printed = self._keeping.sum_up(
                self._observer,
                _NO_TRAINER,
                self._model,
                self.probe,
                self.verdict,
                alert=alert is not None,
                doubts_maps=not self._switch.is_off,
            )
        self._gallery.close()
        self._observer.forget()
        if alert:
            self._alarm.act(self, alert, is_printed=is_printed)
        return self.verdict

    def __enter__(self) -> "Looker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
            return
        self._is_finished = True
        self._comparison.end()
        self._gallery.close(10.0)  # seconds; whoever interrupts a training waits for no pictures

    def __repr__(self) -> str:
        outcome = None if self.verdict is None else self.verdict.outcome
        so_far = "" if self._is_finished else " so far"
        return f"Looker({self.probe!r}; {len(self.history)} checks{so_far}, verdict {outcome})"

    # ---- one look ----------------------------------------------------------------------------------------------------

    def _open(self, model: nn.Module, step: int) -> None:
        """Before the first check."""
        if self._options.layer is not None:
            check_layers(model, self._options.layer)
        check_call(model, self.probe.rest, self._options.forward)
        self._observer.meet(self.probe)
        self._journal.begin(self.probe.fingerprint)
        give_back(self.probe.images)
        if rank():
            return
        warn_of_copies(self.probe)
        run, places = Run(self._journal.run, first_step=step), []
        if self._options.sinks is None:
            with self._failures.surviving("choosing a folder for pictures and verdict"):
                places = [place_of(self._folder, run)]
        sinks = [FolderSink(place) for place in places] if self._options.sinks is None else self._options.sinks
        self._gallery.open_with(self.probe, run, sinks, [str(place / REPORT) for place in places])

    def _compare(self, model: nn.Module) -> None:
        """The probe with what the model was given since the last look."""
        if self._switch.is_off:
            return
        if any(kind.__name__ in _SHARDED for part in model.modules() for kind in type(part).__mro__):
            self._switch.turn_off("the model is sharded (FSDP), which is not supported")
            return
        if self._comparison.is_settled:
            return
        has_come = self._comparison.has_come
        self._comparison.end()
        if not has_come:
            self._comparison.await_another()
        agreement = self._comparison.settle(
            model,
            self.probe,
            None,
            drawing=None,
            given=self._options.forward,
            has_score=self._options.score is not None,
        )
        if agreement is None:
            return
        if agreement.has_touched:
            if self._options.on_error == "raise":
                raise TouchedError(agreement.has_touched)
            self._switch.turn_off(agreement.has_touched)
        elif agreement != Agreement():  # adopting one takes back what earlier checks have found
            doubt = agreement.doubt.replace("CAMCallback(", "Looker(")
            self._observer.adopt(agreement.forward or self._options.forward, doubt, agreement.guess)

    def _checked(self, model: nn.Module, step: int, epoch: int, began: float) -> dict[str, float]:
        """A check, its page, and what the verdict says; empty where it failed."""
        if not has_run(model) or not self._comparison.shows_way(model, self.probe, self._options.forward):
            return {}
        outcome = self._observer.check(
            model,
            self.probe,
            self._options.trials,
            judges=True,
            lets_through=partial(lets_through, self._options, before_training=not self.history),
        )
        if isinstance(outcome, Failure):
            if not self._switch.ends_at(outcome):
                self._switch.count(outcome)
            return {}
        self._failures.succeeded(A_CHECK)
        if self._observer.doubt:
            self._failures.say_once("doubt", f"there will be no verdict. {self._observer.doubt}")
        for subject, text in of_check(outcome.scalars, step, is_first=not self.history).items():
            self._failures.say_once(subject, text)
        self.verdict = self._gallery.located(outcome.verdict)
        reading, _ = self._journal.record(outcome.scalars | self._costs(outcome, began), step, epoch)
        alert = self._alarm.news(self.verdict)
        is_final = alert is not None and self._alarm.ends_fit
        self._gallery.add(
            self._observer.report, reading, self.verdict, alert=alert is not None, is_final=is_final, drawn=False
        )
        if alert:
            self._alarm.act(self, alert)
        return dict(reading.defined)

    def _costs(self, outcome: Judged, began: float) -> dict[str, float]:
        now = time.perf_counter()
        seconds = now - began
        overhead = (self._spent + seconds) / (now - self._began)
        return {"seconds": seconds, "seconds_outside_model": seconds - outcome.model_seconds, "overhead": overhead}
