"""The trainer's loggers: the sink of each, how a person opens it, and logging scalars to all of them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..sinks.folder import REPORT, FolderSink
from ..sinks.page import Run, Sink
from ..sinks.places import place_of
from ..sinks.tensorboard import TensorBoardSink, image_hint
from ..sinks.wandb import WandbSink
from .failures import Failures
from .trainer import run_folder


def for_logger(logger: Any) -> Sink | None:
    """The sink that shows pictures where ``logger`` shows scalars, or None if it shows none.

    Opens the logger's experiment; call it on rank zero only.
    """
    if _is_a("TensorBoardLogger", logger):
        return TensorBoardSink(logger.experiment)
    if _is_a("WandbLogger", logger):
        return WandbSink(logger.experiment)
    return None


def _is_a(class_name: str, logger: Any) -> bool:
    """Whether the logger's class or one of its parents has the name.

    Names, because `pytorch_lightning` and `lightning.pytorch` have a class each, and either may be missing.
    """
    return class_name in {parent.__name__ for parent in type(logger).__mro__}


def default_sinks(trainer: Any, folder: str | None, failures: Failures, *, run: Run) -> tuple[list[Sink], list[str]]:
    """The sinks that a fit has where the user gives none, and how a person gets to see the pictures.

    Args:
        trainer: Whose loggers.
        folder: Name of a folder of pictures beside the loggers' own; None for no folder.
        failures: Counts what cannot be opened.
        run: Which fit it is; a resumed one finds its folder by it.
    """
    folders = []
    with failures.surviving("choosing a folder for pictures"):
        if folder is not None:
            folders = [place_of(run_folder(trainer) / folder, run)]
    of_loggers, openings = opened(trainer.loggers, failures)
    return [*map(FolderSink, folders), *of_loggers], [*(str(each / REPORT) for each in folders), *openings]


def opened(loggers: Iterable[Any], failures: Failures) -> tuple[list[Sink], list[str]]:
    """The loggers' sinks, and how a person gets to see their pictures. One that cannot be opened is left out."""
    sinks: list[Sink] = []
    openings: list[str] = []
    for logger in loggers:
        with failures.surviving(f"opening {type(logger).__name__} for pictures"):
            sinks += [sink for sink in [for_logger(logger)] if sink is not None]
            openings += [where for where in [opening(logger)] if where]
    return sinks, openings


def log(loggers: Iterable[Any], scalars: Mapping[str, float], step: int, failures: Failures) -> None:
    """Hands scalars to every logger. A logger that fails three times in a row gets no more."""
    for logger in loggers:
        what = f"logging to {type(logger).__name__}"
        if not failures.too_many(what):
            with failures.surviving(what):
                logger.log_metrics(dict(scalars), step=step)


def opening(logger: Any) -> str | None:
    """How a person gets to see what ``logger`` keeps: a command or an address, None if there is none."""
    if _is_a("TensorBoardLogger", logger):
        return image_hint(logger.log_dir)
    if _is_a("WandbLogger", logger):
        run = logger.experiment
        where = f"wandb sync {Path(run.dir).parent}" if run.offline else run.url
        return where if isinstance(where, str) else None
    return None
