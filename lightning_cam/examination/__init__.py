"""The one pipeline: a model and a probe in, a `Report` out. Callback, command line and notebook run the same line."""

from .evidence import Evidence, collect_evidence
from .examining import examine, report_on
from .learning import Learning, look_at_units
from .look import Look, ScoresOf, look, merged
from .reading import Reading
from .remaining import Remaining, what_is_left
from .report import Report

__all__ = [
    "Evidence",
    "Learning",
    "Look",
    "Reading",
    "Remaining",
    "Report",
    "ScoresOf",
    "collect_evidence",
    "examine",
    "look",
    "look_at_units",
    "merged",
    "report_on",
    "what_is_left",
]
