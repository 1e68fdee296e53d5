"""WHAT it means: reliances on cues become a verdict, with what convicts, what only warns, and what was not measured."""

from .judging import RunningVerdict, judge, limits
from .record import (
    FAIL,
    INCONCLUSIVE,
    PASS,
    WARN,
    Finding,
    Outcome,
    ShortcutError,
    Verdict,
    located,
    qualified,
    with_remedies_tried,
    withheld,
)

__all__ = [
    "FAIL",
    "INCONCLUSIVE",
    "PASS",
    "WARN",
    "Finding",
    "Outcome",
    "RunningVerdict",
    "ShortcutError",
    "Verdict",
    "judge",
    "limits",
    "located",
    "qualified",
    "with_remedies_tried",
    "withheld",
]
