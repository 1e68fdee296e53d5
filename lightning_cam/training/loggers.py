"""The trainer's loggers: the sink of each, how a person opens it, and logging scalars to all of them."""

import shlex
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlparse

from ..sinks import headings
from ..sinks.comet import CometSink
from ..sinks.folder import REPORT, FolderSink
from ..sinks.litlogger import LitLoggerSink
from ..sinks.mlflow import MLflowSink
from ..sinks.page import Run, Sink
from ..sinks.places import place_of
from ..sinks.tensorboard import TensorBoardSink, command
from ..sinks.wandb import WandbSink
from .failures import Failures
from .trainer import run_folder


class Kind(NamedTuple):
    """What there is to know of a class of loggers. Both functions open the logger's experiment.

    Attributes:
        sink: Shows pictures where the logger shows scalars; takes the folder of the same run as well.
        opening: How a person gets to see them: a command or an address.
        tag: What a scalar is called there, by its key.
    """

    sink: Callable[[Any, FolderSink | None], Sink]
    opening: Callable[[Any], str | None]
    tag: Callable[[str], str] = str


def _opening_of_wandb(logger: Any) -> str | None:
    run = logger.experiment
    where = f"wandb sync {Path(run.dir).parent}" if run.offline else run.url
    return where if isinstance(where, str) else None


def _opening_of_mlflow(logger: Any) -> str:
    uri = logger.experiment.tracking_uri
    if urlparse(uri).scheme in ("http", "https"):
        return f"{uri.rstrip('/')}/#/experiments/{logger.experiment_id}/runs/{logger.run_id}"
    return f"mlflow ui --backend-store-uri {shlex.quote(uri)}"


def _opening_of_comet(logger: Any) -> str | None:
    experiment = logger.experiment
    folder = getattr(experiment, "offline_directory", None)
    if isinstance(folder, str) and not experiment.disabled:
        return f"comet upload {shlex.quote(f'{folder}/{experiment.get_key()}.zip')}"
    return experiment.url if isinstance(experiment.url, str) else None


# By the name of the class: `pytorch_lightning` and `lightning.pytorch` have one each, and either may be missing.
# A CSVLogger shows no pictures; the folder beside it has them.
KINDS = {
    "TensorBoardLogger": Kind(
        lambda logger, _: TensorBoardSink(logger.experiment), lambda logger: command(logger.log_dir), headings.tag_of
    ),
    "WandbLogger": Kind(lambda logger, folder: WandbSink(logger.experiment, folder), _opening_of_wandb),
    "MLFlowLogger": Kind(
        lambda logger, folder: MLflowSink(logger.experiment, logger.run_id, folder), _opening_of_mlflow
    ),
    "CometLogger": Kind(lambda logger, folder: CometSink(logger.experiment, folder), _opening_of_comet),
    "LitLogger": Kind(lambda logger, folder: LitLoggerSink(logger.experiment, folder), lambda logger: logger.url),
}


# Seconds. MLflow tries a lost server again for some minutes, and the training waits: once is enough.
LONGEST_FAILURE = 5.0


def kind_of(logger: Any) -> Kind | None:
    """What there is to know of a logger, by its class or one of its parents; None where it shows no pictures."""
    return next((KINDS[parent.__name__] for parent in type(logger).__mro__ if parent.__name__ in KINDS), None)


def for_logger(logger: Any, folder: FolderSink | None = None) -> Sink | None:
    """The sink that shows pictures where ``logger`` shows scalars, or None if it shows none.

    Opens the logger's experiment; call it on rank zero only.
    """
    kind = kind_of(logger)
    return None if kind is None else kind.sink(logger, folder)


def opening(logger: Any) -> str | None:
    """How a person gets to see what ``logger`` keeps: a command or an address, None if there is none."""
    kind = kind_of(logger)
    return None if kind is None else kind.opening(logger)


def default_sinks(trainer: Any, folder: str | None, failures: Failures, *, run: Run) -> tuple[list[Sink], list[str]]:
    """The sinks that a fit has where the user gives none, and how a person gets to see the pictures.

    Args:
        trainer: Whose loggers.
        folder: Name of a folder of pictures beside the loggers' own; None for no folder.
        failures: Counts what cannot be opened.
        run: Which fit it is; a resumed one finds its folder by it.
    """
    folders = [] if folder is None else folder_of(trainer, folder, failures, run=run)
    kept = [FolderSink(each) for each in folders]  # first, since loggers take its page of the run
    of_loggers, openings = opened(trainer.loggers, failures, *kept)
    return [*kept, *of_loggers], [*(str(each / REPORT) for each in folders), *openings]


def folder_of(trainer: Any, folder: str, failures: Failures, *, run: Run) -> list[Path]:
    """The folder of pictures of a run, taken at once; none where it cannot be made."""
    with failures.surviving("choosing a folder for pictures and verdict"):
        return [place_of(run_folder(trainer) / folder, run)]
    return []


def opened(
    loggers: Iterable[Any], failures: Failures, folder: FolderSink | None = None
) -> tuple[list[Sink], list[str]]:
    """The loggers' sinks, and how a person gets to see their pictures. One that cannot be opened is left out."""
    sinks: list[Sink] = []
    openings: list[str] = []
    for logger in loggers:
        with failures.surviving(f"opening {type(logger).__name__} for pictures"):
            sinks += [sink for sink in [for_logger(logger, folder)] if sink is not None]
            openings += [where for where in [opening(logger)] if where]
    return sinks, openings


def log(loggers: Iterable[Any], scalars: Mapping[str, float], step: int, failures: Failures) -> None:
    """Hands scalars to every logger. One that fails three times in a row gets no more, nor one that failed late."""
    for logger in loggers:
        what = f"logging to {type(logger).__name__}"
        if not failures.too_many(what):
            kind = kind_of(logger)
            named = {kind.tag(key) if kind else key: value for key, value in scalars.items()}
            begun = time.monotonic()
            with failures.surviving(what):
                logger.log_metrics(named, step=step)
                continue
            if time.monotonic() - begun > LONGEST_FAILURE:
                failures.give_up(what)
