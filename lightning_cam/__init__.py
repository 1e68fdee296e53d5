"""See where a model looks while it trains.

``Trainer(callbacks=[CAMCallback()])`` is all it takes; `examine` does the same without a trainer.
"""

from . import metrics, sinks, transforms
from .attribution import cams, measures
from .audit import audit_dataset
from .callback import CAMCallback
from .examination import Reading, Report, examine
from .probe import Probe

__version__ = "0.1.0"
__all__ = [
    "CAMCallback",
    "Probe",
    "Reading",
    "Report",
    "audit_dataset",
    "cams",
    "examine",
    "measures",
    "metrics",
    "sinks",
    "transforms",
]
