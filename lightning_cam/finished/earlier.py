"""What a run found before its masks were reviewed, and what is not found with the reviewed ones any more."""

from dataclasses import replace
from pathlib import Path

from ..sinks.reading_back import Kept, newest
from ..verdict import INCONCLUSIVE, PASS, Verdict, qualified

_WAY_OUT = "pass --data with the folder of the pictures, and --masks with masks of the objects alone"


def verdict_of(folder: Path) -> Verdict | None:
    """The last verdict at or below the folder of a run; None where a run has none.

    Raises:
        ValueError: As `newest`.
    """
    last = newest(folder)
    return last.verdict if isinstance(last, Kept) else None


def with_lost_findings(verdict: Verdict, earlier: Verdict) -> Verdict:
    """The verdict with reviewed masks, which says what the run itself found and this one does not.

    A wrong part of a guess may have been corrected, or a line may hold a stamp now. Nothing here can tell, so such a
    model does not pass. Of 31 clean networks no guess led to a finding, so this stands in the way of few.
    """
    found = {finding.cue for finding in verdict.findings} | {*verdict.expected}
    lost = [finding.cue for finding in earlier.findings if finding.cue not in found]
    if not lost:
        return verdict
    outcome = INCONCLUSIVE if verdict.outcome == PASS else verdict.outcome
    return qualified(replace(verdict, outcome=outcome), _said(lost))


def _said(lost: list[str]) -> str:
    them = "it" if len(lost) == 1 else "them"
    return (
        f"the run itself found {' and '.join(lost)}, and with the reviewed masks nothing shows {them} any more: either "
        "the guess had left out a part of an object, or a line now holds what the model relies on, such as a stamp; "
        f"look at what lies inside the lines; if it is the object alone and you want a PASS, {_WAY_OUT}"
    )
