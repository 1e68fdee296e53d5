"""See where a model looks while it trains, and whether it relies on something that is not the object.

``Trainer(callbacks=[CAMCallback()])`` is all it takes; `examine` and `judge` do the same without a trainer.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import maskers, metrics, remedies, sinks, transforms
    from .attribution import Similarity, cams, features, localisation, measures, pixels, trust
    from .audit import AuditResult, audit_dataset
    from .comparing import RunComparison, compare
    from .cues import Remedy
    from .examination import Reading, Report, examine
    from .intervention import Reliance, Trial
    from .notices import LightningCAMWarning
    from .probe import Probe
    from .training import CAMCallback, Looker
    from .verdict import Finding, ShortcutError, Verdict, judge

__version__ = "0.1.0"
__all__ = [
    "AuditResult",
    "CAMCallback",
    "Finding",
    "LightningCAMWarning",
    "Looker",
    "Probe",
    "Reading",
    "Reliance",
    "Remedy",
    "Report",
    "RunComparison",
    "ShortcutError",
    "Similarity",
    "Trial",
    "Verdict",
    "audit_dataset",
    "cams",
    "compare",
    "examine",
    "features",
    "judge",
    "localisation",
    "maskers",
    "measures",
    "metrics",
    "pixels",
    "remedies",
    "sinks",
    "transforms",
    "trust",
]

if not TYPE_CHECKING:
    # Where a name comes from is imported when the name is first used. TensorBoard imports this package at each start to
    # find its tab, and must not wait for torch and Lightning, which take seconds.
    _HOMES = {
        "": ("maskers", "metrics", "remedies", "sinks", "transforms"),
        "attribution": ("Similarity", "cams", "features", "localisation", "measures", "pixels", "trust"),
        "audit": ("AuditResult", "audit_dataset"),
        "comparing": ("RunComparison", "compare"),
        "cues": ("Remedy",),
        "examination": ("Reading", "Report", "examine"),
        "intervention": ("Reliance", "Trial"),
        "notices": ("LightningCAMWarning",),
        "probe": ("Probe",),
        "training": ("CAMCallback", "Looker"),
        "verdict": ("Finding", "ShortcutError", "Verdict", "judge"),
    }

    def __getattr__(name):
        home = next((home for home, names in _HOMES.items() if name in names), None)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(f".{home}", __name__), name) if home else import_module(f".{name}", __name__)
        globals()[name] = found
        return found

    def __dir__():
        return sorted({*globals(), *__all__})
