"""The callback: what a user may choose, and which hook of Lightning leads to which step of a fit."""

import copy
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import wraps
from typing import Any, TypeVar, cast

from torch import Tensor, nn

from ..attribution import cams, layers
from ..attribution.scored import Score
from ..audit import AuditResult
from ..datasets.tables import Attributes
from ..examination import Reading
from ..intervention import Trial, chosen_trials
from ..probe import Probe
from ..sinks.page import Sink
from ..verdict import Verdict, limits
from .alarm import OnShortcut
from .failures import explain_pickling
from .fit import Fit
from .homecoming import Message
from .journal import Journal
from .namespaces import Callback
from .options import OnError, Options, known_trials, prepared
from .rhythm import Rhythm
from .trainer import Drawing, logged_step, validates

SECONDS_AFTER_EXCEPTION = 10.0  # for pictures; a checkpoint may wait to be saved, and a cluster waits 30 s

Hook = TypeVar("Hook", bound=Callable[..., None])


def _counted(hook: Hook) -> Hook:
    """Counts all that a hook takes as overhead."""

    @wraps(hook)
    def counting(self: "CAMCallback", *args: Any, **kwargs: Any) -> None:
        with self._fit.clock.counting():
            hook(self, *args, **kwargs)

    return cast(Hook, counting)


class CAMCallback(Callback):
    """Looks at where the model looks, while it trains, and changes nothing about the training.

    ``Trainer(callbacks=[CAMCallback()])`` draws a class-balanced probe set from the validation data once, looks at it
    before the training, at growing steps of the first epoch and after every validation, and logs scalars and pictures
    to the trainer's loggers and to a folder beside them.

    Args:
        probe: *What to look at.* The fixed images. Choose images that the model is not trained on; the callback cannot
            check this. None draws 64 to 256 from the validation data or, without any, from the training data.
        layer: Dotted name of the layer; None finds the last one with a spatial map. Of several, such as
            ``["layer3", "layer4"]``, the maps are fused as in LayerCAM.
        method: How activations and gradients become maps, e.g. `cams.layer_cam`.
        score: What the maps explain instead of the true class: a function from the model's outputs to one number
            ``(N,)`` for each image, such as a word of a caption; see `examine`. Trials and verdict stay those of the
            classes; for a model without class scores nothing is swapped.
        forward: ``(module, inputs) -> class scores``, for modules whose ``forward`` gives something else.
        preprocess: Pixels in [0, 1] to model input, for a probe that has none. None finds it for a drawn probe: in the
            data set's transform, and by a comparison with the first validation batch that reaches the model.
        read: Item of the data set to ``(image, target)``, to ``(image, target, mask)`` or, for models of more than
            images, to a dict with "image", "label" and "rest", as in `Probe`. For a drawn probe.
        size: ``(height, width)`` of the images of a drawn probe; None leaves them as they are.
        attributes: What you know of the pictures of a drawn probe, such as the site, see `Probe.from_dataset`; of items
            as ``read`` returns them.
        batch_size: Probe images in one forward pass.

        every_n_epochs: *When.* Look after every n-th epoch instead of the default rhythm.
        every_n_train_steps: Look after every n-th optimizer step instead of the default rhythm.
        max_overhead: Largest share of the fit's time that checks may take under the default rhythm; in a fit of more
            than two minutes ten seconds are always allowed. Half is for full checks, half for cheaper ones without
            trials, which replace full checks that do not fit; a check that fits neither is skipped. Always made: the
            first, the last, and one full check after the first epoch. In a fit of a few minutes these swap cues on
            fewer images: a fit of 45 s took a sixth longer, one of 16 s two fifths. A value of 1 or more removes every
            limit.

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
        n_images: How many probe images get a series of pictures. All of them are measured, and 64 are on the page.
        features: Whether each check shows as well what units have learnt: the filters of the first layer, the patches
            to which units answer most, and how far features move with a picture that is shifted, enlarged or turned.
        name: First part of every logged key. Two callbacks on one trainer need two names.

    Raises:
        ValueError: Here for a rhythm or option that cannot be. Before the first step for a ``layer``, ``probe``,
            ``score``, ``forward`` or ``preprocess`` of yours that does not fit. Anything else that cannot be looked at,
            such as another task, switches the callback off for this fit with a warning, and the training goes on.
    """

    def __init__(
        self,
        probe: Probe | None = None,
        *,
        layer: layers.Layers | None = None,
        method: cams.Method = cams.grad_cam,
        score: Score | None = None,
        forward: Callable[[nn.Module, Tensor], Any] | None = None,
        preprocess: Callable[[Tensor], Tensor] | None = None,
        read: Callable[[Any], Any] | None = None,
        size: tuple[int, int] | None = None,
        attributes: Attributes | None = None,
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
        features: bool = False,
        name: str = "cam",
    ) -> None:
        drawing = Drawing(read, size, preprocess, attributes=attributes)
        chosen = chosen_trials(trials, known_trials(audit))
        self.options = Options(
            probe=prepared(probe, drawing),
            layer=layer,
            method=method,
            score=score,
            forward=forward,
            drawing=drawing,
            batch_size=batch_size,
            rhythm=Rhythm(every_n_epochs, every_n_train_steps),
            max_overhead=max_overhead,
            trials=chosen,
            limits=limits(chosen, expected_cues, audit.cues if audit else ()),
            audit=audit,
            on_shortcut=on_shortcut,
            on_error=on_error,
            verbose=verbose,
            sinks=sinks,
            log_images=log_images,
            n_images=n_images,
            features=features,
            name=name,
        )
        self._journal = Journal(name)
        self._fit = Fit(self.options, self._journal)
        self._message = Message()

    def __repr__(self) -> str:
        outcome = None if self.verdict is None else self.verdict.outcome
        state = f"{len(self.trials)} trials, {len(self.history)} checks so far, verdict {outcome}"
        return f"CAMCallback(name={self.options.name!r}, layer={self.options.layer!r}; {state})"

    def __deepcopy__(self, memo: dict[int, Any]) -> "CAMCallback":
        """Shares probe and sinks: nobody edits a probe, and what a sink writes to is open once."""
        memo.update({id(shared): shared for shared in (self.probe, self.options.probe, *(self.options.sinks or ()))})
        twin = memo[id(self)] = type(self).__new__(type(self))
        vars(twin).update(copy.deepcopy(vars(self), memo))
        return twin

    @property
    def probe(self) -> Probe | None:
        """The images that are looked at: as given, or as drawn when the fit began."""
        return self._fit.probe

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Which cues are swapped on the probe images."""
        return self.options.trials

    @property
    def history(self) -> tuple[Reading, ...]:
        """The reading of each check so far: step, epoch, and scalars with their keys as logged."""
        self._receive()
        return self._journal.readings

    @property
    def verdict(self) -> Verdict | None:
        """Whether the model relies on something that is not the object: so far, and after the fit for good."""
        self._receive()
        return self._fit.verdict

    def _receive(self) -> None:
        """Takes what a fit in other processes has left, for example with ``ddp_spawn``."""
        if news := self._message.receive():
            self._journal.adopt(news[0])
            self._fit.verdict = news[1]

    @property
    def state_key(self) -> str:
        """One key per name, so that two callbacks can share a trainer."""
        return self._generate_state_key(name=self.options.name)

    def state_dict(self) -> dict[str, Any]:
        """The series so far, which a resumed run continues."""
        return self._journal.as_state(self.probe.fingerprint if self.probe is not None else None)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues the series of a checkpoint."""
        self._journal.restore(state_dict)

    # ---- hooks -------------------------------------------------------------------------------------------------------

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Starts afresh: one callback can serve several fits."""
        if stage == "fit":
            self._receive()  # of a fit before this one
            self._fit = Fit(self.options, self._journal)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Checks what can be checked without data."""
        if self.options.layer is not None:
            layers.check_layers(pl_module, self.options.layer)

    @_counted
    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Draws the probe and takes the first look. Configuration errors raise here."""
        self._fit.begin(trainer, pl_module)

    @_counted
    def on_validation_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Watches what the first batch gives to the model, before the training and once in it."""
        if trainer.state.fn == "fit" and batch_idx == dataloader_idx == 0 and not self._fit.switch.is_off:
            self._fit.comparison.begin(pl_module, trainer.val_dataloaders, validates=True)
        if trainer.state.fn == "fit" and dataloader_idx == 0 and not self._fit.switch.is_off:
            self._fit.mistakes.before(trainer, pl_module, is_first=batch_idx == 0)

    @_counted
    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """The hooks that watched are gone."""
        self._fit.comparison.end()
        self._fit.mistakes.after(batch)

    @_counted
    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Watches the first training batch where there is no validation."""
        if not validates(trainer) and not self._fit.switch.is_off:
            self._fit.comparison.begin(pl_module, trainer.train_dataloader, validates=False)

    @_counted
    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Looks at growing steps of the first epoch, or every n steps."""
        if not validates(trainer):
            self._fit.comparison.end()
            self._fit.settle(pl_module, trainer.train_dataloader)
        self._fit.after_step(trainer, pl_module, ends_epoch=batch_idx + 1 == trainer.num_training_batches)
        self._fit.switch.keep_monitors_alive(trainer)

    @_counted
    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Looks where scalars can be monitored and averaged weights (EMA) are in place."""
        if not trainer.sanity_checking and trainer.state.fn == "fit":
            self._fit.settle(pl_module, trainer.val_dataloaders)
            self._fit.after_epoch(trainer, pl_module, logged_step(trainer))

    @_counted
    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Looks here if there is no validation. Lightning has counted the step already."""
        if not validates(trainer):
            self._fit.after_epoch(trainer, pl_module, logged_step(trainer) - 1)

    @_counted
    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Takes the last look, keeps the evolution strip and says where all of it is."""
        self._fit.end(trainer, pl_module)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Keeps the pictures made so far; Lightning calls no `teardown` after an exception."""
        with suppress(Exception):  # nothing may take the place of the user's own exception
            self._fit.interrupt(trainer, SECONDS_AFTER_EXCEPTION)
            self._message.send(trainer, self._journal.readings, self._fit.verdict)
            explain_pickling(exception, self.options.functions)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Lets go of the worker and the maps."""
        self._fit.close(trainer)
        if stage == "fit":
            self._message.send(trainer, self._journal.readings, self._fit.verdict)
