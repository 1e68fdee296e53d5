"""Options of the callback: which are refused, and which trials an audit adds."""

from typing import Any, Literal

import torch

from ..audit import AuditResult
from ..intervention import STANDARD, Trial, region_trial
from ..probe import Probe

OnError = Literal["warn", "raise"]


def known_trials(audit: AuditResult | None) -> tuple[Trial, ...]:
    """The standard trials, and one of the parts of a picture from which an audit can tell the label."""
    if audit is None or not audit.candidate_region.any():
        return STANDARD
    return (*STANDARD, region_trial(torch.from_numpy(audit.candidate_region)))


def check_options(given: Any) -> None:
    """Refuses options of a `CAMCallback` that cannot be, before anything is trained."""
    if given.probe is not None and not isinstance(given.probe, Probe):
        found = type(given.probe).__name__
        raise TypeError(f"probe must be a Probe, got {found}; see Probe.from_dataset and from_folder")
    if given.on_error not in ("warn", "raise"):
        raise ValueError(f'on_error must be "warn" or "raise", got {given.on_error!r}')
    if given.on_shortcut not in ("warn", "stop", "raise") and not callable(given.on_shortcut):
        raise ValueError(f'on_shortcut must be "warn", "stop", "raise" or a function, got {given.on_shortcut!r}')
    if min(given.n_images, given.batch_size) < 1:
        raise ValueError(f"n_images and batch_size must be 1 or more, got {given.n_images} and {given.batch_size}")
    if not given.max_overhead > 0:
        raise ValueError(f"max_overhead must be above 0, such as 0.02 for 2 % of the fit, got {given.max_overhead}")
    if not given.name or not given.name.replace("_", "").replace("-", "").isalnum():
        raise ValueError(f"name must be letters, digits, - and _, since it begins every logged key; got {given.name!r}")
