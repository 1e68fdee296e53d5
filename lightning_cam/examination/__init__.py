"""The one pipeline: a model and a probe in, a `Report` out. Callback, command line and notebook run the same line."""

from .evidence import Evidence, collect_evidence
from .look import Look, look, merged
from .reading import Reading
from .report import Report, examine, report_on

__all__ = ["Evidence", "Look", "Reading", "Report", "collect_evidence", "examine", "look", "merged", "report_on"]
