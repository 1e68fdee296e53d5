"""WHERE a report is kept: the records handed over, the one-method contract, and which sink belongs to a logger."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..failures import Failures
from ..verdict import Verdict
from .background import Background
from .folder import FolderSink
from .memory import MemorySink
from .tensorboard import TensorBoardSink, image_hint
from .wandb import WandbSink

__all__ = [
    "Background",
    "FolderSink",
    "MemorySink",
    "Page",
    "Sink",
    "TensorBoardSink",
    "Tile",
    "WandbSink",
    "for_logger",
    "image_hint",
    "log",
    "opened",
    "opening",
]


@dataclass(frozen=True, eq=False)
class Tile:
    """One probe at one check, ready to be shown.

    Attributes:
        name: The probe's name, unique on a page.
        caption: What the picture says, as text.
        image: ``(h, w, 3)`` uint8 RGB.
        bands: ``(h, w)`` uint8, the attention bands of `render.BAND_NAMES` over the input panel; 0 elsewhere.
        values: Numbers of this probe that one may want to sort by, such as its background attention.
    """

    name: str
    caption: str
    image: NDArray[np.uint8]
    bands: NDArray[np.uint8]
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Page:
    """What one check shows.

    Attributes:
        prefix: First part of every key, such as "cam".
        step: On the axis that Lightning's own scalars use.
        epoch: The epoch in which the check was made.
        scalars: The check's scalars by their logged key; NaN where undefined. Empty on a page that is no check.
        tiles: One per shown probe.
        verdict: What is known so far; the last page of a fit has the final one. None where nothing was judged.
        alert: Whether the verdict is bad news that nobody has been told yet.
        strip: ``(h, w, 3)`` uint8 evolution strip; only the last page of a fit has one.
        evidence: ``(h, w, 3)`` uint8 pictures by cue: what convicted the model; only the last page of a fit has them.
        text: Markdown; only the last page of a fit has one.
    """

    prefix: str
    step: int
    epoch: int
    scalars: Mapping[str, float] = field(default_factory=dict)
    tiles: tuple[Tile, ...] = ()
    verdict: Verdict | None = None
    alert: bool = False
    strip: NDArray[np.uint8] | None = None
    evidence: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    text: str | None = None


class Sink(Protocol):
    """Keeps pages. Called from one worker thread, in order; may raise, which costs the others nothing."""

    def write(self, page: Page) -> None:
        """Keeps one page."""


def for_logger(logger: Any) -> Sink | None:
    """The sink that shows pictures where ``logger`` shows scalars, or None if it shows none.

    Goes by class name anywhere in the MRO: `pytorch_lightning` and `lightning.pytorch` have a class each, and users
    derive their own. Opens the logger's experiment; call it on rank zero only.
    """
    names = {cls.__name__ for cls in type(logger).__mro__}
    if "TensorBoardLogger" in names:
        return TensorBoardSink(logger.experiment)
    if "WandbLogger" in names:
        return WandbSink(logger.experiment)
    return None


def opened(loggers: Iterable[Any], failures: Failures) -> tuple[list[Sink], list[str]]:
    """The loggers' sinks, and how a person gets to see them. One that cannot be opened costs the others nothing."""
    sinks: list[Sink] = []
    openings: list[str] = []
    for logger in loggers:
        with failures.surviving(f"opening {type(logger).__name__} for pictures"):
            sinks += [sink for sink in [for_logger(logger)] if sink is not None]
            openings += [where for where in [opening(logger)] if where]
    return sinks, openings


def log(loggers: Iterable[Any], scalars: Mapping[str, float], step: int, failures: Failures) -> None:
    """Hands scalars to every logger; one that fails three times in a row gets no more."""
    for logger in loggers:
        what = f"logging to {type(logger).__name__}"
        if not failures.too_many(what):
            with failures.surviving(what):
                logger.log_metrics(dict(scalars), step=step)


def opening(logger: Any) -> str | None:
    """How a person gets to see what ``logger`` keeps: a command or an address, None if there is none."""
    names = {cls.__name__ for cls in type(logger).__mro__}
    if "TensorBoardLogger" in names:
        return image_hint(logger.log_dir)
    if "WandbLogger" in names:
        run = logger.experiment
        where = f"wandb sync {Path(run.dir).parent}" if run.offline else run.url
        return where if isinstance(where, str) else None
    return None
