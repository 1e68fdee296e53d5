"""The one pipeline: a model and a probe in, a `Report` out. Callback, command line and notebook run the same line."""

from .evidence import Evidence, collect_evidence
from .look import Look, ScoresOf, look, merged
from .reading import Reading
from .report import Report, examine, report_on

__all__ = [
    "Evidence",
    "Look",
    "Reading",
    "Report",
    "ScoresOf",
    "collect_evidence",
    "examine",
    "look",
    "merged",
    "report_on",
]
