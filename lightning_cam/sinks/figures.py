"""The figures of a cue in words, the same on the page, in the summary and on a terminal."""

import math

from ..cues import cue_named
from ..intervention import MARGIN, Reliance
from ..text import percent
from ..verdict import INCONCLUSIVE, Verdict

OF_OBJECT = "Context: the object has this property itself, so a model may use it; only an audit makes it a finding."


def why_no_finding(reliance: Reliance, verdict: Verdict) -> str:
    """Why a cue above the margin is not found; empty for one that is not above."""
    if not reliance.mean > MARGIN:
        return ""
    if reliance.cue in verdict.expected:
        return "Expected: you allowed the model to use it."
    if cue_named(reliance.cue).owner == "object":
        return OF_OBJECT
    if reliance.low < MARGIN:
        return f"Not certain: the interval reaches below {MARGIN:.2f}."
    if verdict.outcome == INCONCLUSIVE:
        return "Not judged: the reason of the verdict says why."
    return "Not certain: of so many cues, one may lie above by chance, or it did so for too few checks."


def lost(reliance: Reliance) -> str:
    """The probability that the right class loses."""
    return _number(reliance.mean)


def interval(reliance: Reliance) -> str:
    """Of the probability lost, at 95 %."""
    return f"{_number(reliance.low)} to {_number(reliance.high)}" if math.isfinite(reliance.low) else "not known"


def right_answers(reliance: Reliance) -> str:
    """How often the model is right with the cue of its own class, and with that of another; empty where not counted.

    >>> right_answers(Reliance("border", 0.9, 0.8, 1, 0, {}, 9, accuracy_own=0.98, accuracy_lost=0.95))
    '98 %, then 3 %'
    """
    if not math.isfinite(reliance.accuracy_own) or not math.isfinite(reliance.accuracy_other):
        return ""
    return f"{percent(reliance.accuracy_own)}, then {percent(reliance.accuracy_other)}"


def reach(reliance: Reliance) -> str:
    """On how many pictures a cue was swapped, where these are not all."""
    return f"on {reliance.reach}" if reliance.reach else ""


def _number(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}" if math.isfinite(value) else "-"
