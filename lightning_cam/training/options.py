"""Options of the callback: what there is to choose, what is refused, and which trials an audit adds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..attribution import cams
from ..attribution.layers import Layers
from ..attribution.scored import Score, check_callable
from ..audit import AuditResult
from ..intervention import STANDARD, Trial, region_trial
from ..probe import Probe
from ..probe.drawn import check_request
from ..sinks.page import Sink
from .alarm import OnShortcut
from .rhythm import Rhythm
from .trainer import Drawing

OnError = Literal["warn", "raise"]


def known_trials(audit: AuditResult | None) -> tuple[Trial, ...]:
    """The standard trials, and one of the parts of a picture from which an audit can tell the label."""
    if audit is None or not audit.candidate_region.any():
        return STANDARD
    return (*STANDARD, region_trial(torch.from_numpy(audit.candidate_region)))


@dataclass(frozen=True, eq=False, kw_only=True)
class Options:
    """What the user chose, as `CAMCallback` explains it.

    Raises:
        TypeError: ``probe`` is no `Probe`, or ``score`` no function.
        ValueError: An option that cannot be.
    """

    probe: Probe | None
    layer: Layers | None
    method: cams.Method
    score: Score | None
    forward: Callable[[nn.Module, Tensor], Any] | None
    drawing: Drawing
    batch_size: int
    rhythm: Rhythm
    max_overhead: float
    trials: tuple[Trial, ...]
    limits: Mapping[str, str]
    audit: AuditResult | None
    on_shortcut: OnShortcut
    on_error: OnError
    verbose: bool
    sinks: Sequence[Sink] | None
    log_images: bool
    features: bool
    n_images: int
    name: str

    def __post_init__(self) -> None:
        _check_options(self)

    @property
    def functions(self) -> dict[str, Any]:
        """Those that may hold functions, which not every strategy can send to the processes that it spawns."""
        names = ("probe", "method", "score", "trials", "on_shortcut", "forward", "sinks")
        return {name: getattr(self, name) for name in names} | vars(self.drawing)


def prepared(probe: Probe | None, drawing: Drawing) -> Probe | None:
    """A probe that was given, with the ``preprocess`` that was given beside it.

    Raises:
        ValueError: The probe has one of its own, or is told how to be drawn.
    """
    if not isinstance(probe, Probe):
        return probe
    if any(given is not None for given in (drawing.read, drawing.size, drawing.attributes)):
        raise ValueError(
            "read=, size= and attributes= are for a probe that is drawn from the data; leave them out beside probe="
        )
    if drawing.preprocess is None:
        return probe
    if probe.preprocess is not None:
        raise ValueError("the probe has a preprocess of its own; leave out preprocess=, or make the probe without")
    return probe.with_preprocess(drawing.preprocess)


def _check_options(given: Options) -> None:
    """Refuses options that cannot be, before anything is trained."""
    check_callable(given.score)
    if given.probe is not None and not isinstance(given.probe, Probe):
        found = type(given.probe).__name__
        raise TypeError(f"probe must be a Probe, got {found}; see Probe.from_dataset and from_folder")
    if given.on_error not in ("warn", "raise"):
        raise ValueError(f'on_error must be "warn" or "raise", got {given.on_error!r}')
    if given.on_shortcut not in ("warn", "stop", "raise") and not callable(given.on_shortcut):
        raise ValueError(f'on_shortcut must be "warn", "stop", "raise" or a function, got {given.on_shortcut!r}')
    check_request(1, given.drawing.size)
    if min(given.n_images, given.batch_size) < 1:
        raise ValueError(f"n_images and batch_size must be 1 or more, got {given.n_images} and {given.batch_size}")
    if not given.max_overhead > 0:
        raise ValueError(f"max_overhead must be above 0, such as 0.02 for 2 % of the fit, got {given.max_overhead}")
    if not given.name or not given.name.replace("_", "").replace("-", "").isalnum():
        raise ValueError(f"name must be letters, digits, - and _, since it begins every logged key; got {given.name!r}")
