"""Questions to a Lightning trainer: which step, which data, which folder. Nothing here changes the trainer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor

from ..datasets.streams import is_stream
from ..datasets.tables import Attributes
from ..datasets.tasks import FormError
from ..origins import calling, is_ours, raised
from ..probe import Probe
from ..probe.drawn import ArgumentError
from ..probe.task import Kind
from ..sinks.places import local_folder
from ..text import shortened
from .batches import loaders_in
from .failures import without_errors_from_warnings
from .ranks import from_everyone

Say: TypeAlias = Callable[[str], None] | None  # is told about the progress

_OTHER_FORM = (
    "lightning_cam looks at models that give one class per image or volume, 0/1 labels, values, a class per pixel (0 "
    'to 254, and 255 for pixels that do not count), or boxes ({"boxes": (k, 4) of x1, y1, x2, y2 in pixels, "labels": '
    "(k,) of whole numbers}). If your items hold an image and its target in another form, pass "
    "CAMCallback(read=lambda item: (image, target))."
)
_OWN_PROBE = "To choose the images yourself, pass CAMCallback(probe=Probe(images, targets))."
_SECOND_LOADER = "To look at the data of another loader, pass CAMCallback(Probe.from_dataset(its_dataset))."
NOT_SHARDED = {"SingleDeviceStrategy", "DDPStrategy"}


def logged_step(trainer: Any) -> int:
    """The step on Lightning's own axis: the number of batches that stepped, one behind ``global_step`` in an epoch.

    The counter is private in Lightning, but its own LearningRateMonitor logs at it. From `on_train_epoch_end` on it is
    one ahead, so subtract one there.
    """
    return int(trainer.fit_loop.epoch_loop._batches_that_stepped)


def logged_epoch(trainer: Any) -> int:
    """The epoch that is under way, from 0 on; at the end of the fit the last one, where ``current_epoch`` is ahead."""
    return max(0, int(trainer.fit_loop.epoch_progress.current.ready) - 1)


def has_whole_model(trainer: Any) -> bool:
    """Whether every process holds the whole model. A sharded one cannot run in one process alone."""
    return any(base.__name__ in NOT_SHARDED for base in type(trainer.strategy).__mro__)


def validates(trainer: Any) -> bool:
    """Whether validation hooks will fire in this fit."""
    return bool(trainer.enable_validation and sum(trainer.num_val_batches))


def progress(trainer: Any) -> float:
    """Share of the training that is done, 0 to 1, by epochs or by steps; 0 where neither has a limit."""
    n_batches, batches = trainer.num_training_batches, trainer.fit_loop.epoch_loop.batch_progress.current.ready
    epochs = trainer.current_epoch + (batches / n_batches if n_batches else 0)
    by_epochs = epochs / trainer.max_epochs if (trainer.max_epochs or 0) > 0 else 0.0
    by_steps = trainer.global_step / trainer.max_steps if trainer.max_steps > 0 else 0.0
    return float(min(1.0, max(by_epochs, by_steps)))


@dataclass(frozen=True)
class Drawing:
    """How a probe is drawn from the trainer's data.

    Attributes:
        read: Item of the data set to ``(image, target)`` or ``(image, target, mask)``; None knows the usual ones.
        size: ``(height, width)`` of the images; None leaves them as they are.
        preprocess: Pixels to model input; None finds it.
        task: As in `Probe.from_dataset`.
        ignore_index: As there.
        attributes: As there.
    """

    read: Callable[[Any], Any] | None = None
    size: tuple[int, int] | None = None
    preprocess: Callable[[Tensor], Tensor] | None = None
    task: Kind | None = None
    ignore_index: int | None = None
    attributes: Attributes | None = None

    def items_of(self, dataset: Any) -> Any:
        """The data set as a probe reads it."""
        if self.read is None:
            return dataset
        return _RewrittenStream(dataset, self.read) if is_stream(dataset) else _Rewritten(dataset, self.read)

    def probe_of(self, loader: Any, fallback: tuple[int, int] | None, say: Say) -> Probe:
        """A probe of the loader's data; images of several sizes are made as large as ``fallback``."""
        items = self.items_of(loader.dataset)
        draw = partial(
            Probe.from_dataset,
            items,
            None,
            preprocess=self.preprocess,
            loader=loader,
            task=self.task,
            ignore_index=self.ignore_index,
            attributes=self.attributes,
            say=say,
        )
        try:
            return draw(size=self.size)
        except ValueError as error:
            if self.size is not None or fallback is None or "one size" not in str(error):
                raise
        return draw(size=fallback)


class NoProbeError(ValueError):
    """The trainer has no data that can be looked at, in a sentence for people."""


class _Rewritten:
    """A data set whose items are read by the user's own function; labels and names are looked for inside."""

    def __init__(self, dataset: Any, read: Callable[[Any], Any]) -> None:
        self.dataset = dataset
        self._read = read

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return calling("your read=", self._read, self.dataset[index])


class _RewrittenStream:
    """The same of a data set without an index."""

    def __init__(self, dataset: Any, read: Callable[[Any], Any]) -> None:
        self._dataset = dataset
        self._read = read

    def __iter__(self) -> Iterator[Any]:
        return (calling("your read=", self._read, item) for item in self._dataset)


def drawn_probe(trainer: Any, drawing: Drawing, fallback: tuple[int, int] | None, say: Say) -> Probe:
    """A probe from the validation data or, without any, from the training data."""
    for role, loaders in (("validation", trainer.val_dataloaders), ("training", trainer.train_dataloader)):
        others = loaders_in(loaders)
        loader = next(others, None)
        if loader is None:
            continue
        try:
            with without_errors_from_warnings():
                return drawing.probe_of(loader, fallback, say)
        except ArgumentError:
            raise
        except Exception as error:  # items of any data set may raise anything
            is_own = isinstance(error, (ValueError, TypeError)) and is_ours(error)  # may end in code to be pasted
            why = str(error) if is_own else shortened(raised(error))
            way_out = _way_out(error) + ("" if next(others, None) is None else f" {_SECOND_LOADER}")
            raise NoProbeError(f"no probe can be drawn from the {role} data: {why}. {way_out}") from error
    raise NoProbeError(f"the trainer has no data loader with a data set. {_OWN_PROBE}")


def draws_from_training(trainer: Any) -> bool:
    """Whether `drawn_probe` finds no validation data now."""
    return next(loaders_in(trainer.val_dataloaders), None) is None


def _way_out(error: Exception) -> str:
    return _OTHER_FORM if isinstance(error, FormError) else _OWN_PROBE


def drawn_in_every_process(
    trainer: Any, drawing: Drawing, fallback: tuple[int, int] | None = None, *, say: Say = None
) -> Probe:
    """`drawn_probe`, or the same exception in every process, so that none waits for one that has failed."""
    probe, failure = None, None
    try:
        probe = drawn_probe(trainer, drawing, fallback, say)
    except (NoProbeError, ArgumentError) as error:
        failure = error
    failures = [each for each in from_everyone(failure and (type(failure), str(failure))) if each]
    if probe is None or failures:
        kind, text = failures[0]
        raise kind(text) from failure
    return probe


def run_folder(trainer: Any) -> Path:
    """The folder of this run, as `ModelCheckpoint` chooses it. No collective: any rank may ask alone."""
    root = trainer.default_root_dir
    if not trainer.loggers:
        return local_folder(root)
    logger = trainer.loggers[0]
    if getattr(logger, "log_dir", None):
        return local_folder(logger.log_dir)
    version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
    return local_folder(logger.save_dir or root) / str(logger.name) / version
