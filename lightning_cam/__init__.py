"""See where a model looks while it trains, and whether it relies on something that is not the object.

``Trainer(callbacks=[CAMCallback()])`` is all it takes; `examine` and `judge` do the same without a trainer.
"""

from . import metrics, sinks, transforms
from .attribution import cams, measures
from .audit import audit_dataset
from .examination import Reading, Report, examine
from .probe import Probe
from .training import CAMCallback
from .verdict import Finding, ShortcutError, Verdict, judge

__version__ = "0.1.0"
__all__ = [
    "CAMCallback",
    "Finding",
    "Probe",
    "Reading",
    "Report",
    "ShortcutError",
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
