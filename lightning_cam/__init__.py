"""See where a model looks while it trains, and whether it relies on something that is not the object.

``Trainer(callbacks=[CAMCallback()])`` is all it takes; `examine` and `judge` do the same without a trainer.
"""

from . import metrics, sinks, transforms
from .attribution import cams, measures
from .audit import AuditResult, audit_dataset
from .cues import Remedy
from .examination import Reading, Report, examine
from .intervention import Reliance, Trial
from .notices import LightningCAMWarning
from .probe import Probe
from .training import CAMCallback
from .verdict import Finding, ShortcutError, Verdict, judge

__version__ = "0.1.0"
__all__ = [
    "AuditResult",
    "CAMCallback",
    "Finding",
    "LightningCAMWarning",
    "Probe",
    "Reading",
    "Reliance",
    "Remedy",
    "Report",
    "ShortcutError",
    "Trial",
    "Verdict",
    "audit_dataset",
    "cams",
    "examine",
    "judge",
    "measures",
    "metrics",
    "sinks",
    "transforms",
]
