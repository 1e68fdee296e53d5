"""Whether a verdict that was read back is one that a run can write: outcome, findings and figures belong together."""

import math
from collections.abc import Iterator

from ..cues import ATTRIBUTE
from ..intervention import Reliance
from ..verdict import FAIL, INCONCLUSIVE, PASS, WARN, Finding, Verdict

# A bootstrap interval may leave its mean out in theory. In 282 odd samples (one outlier, powers of 20 and 30) none did.
SLACK = 0.01


class ContradictoryError(ValueError):
    """A verdict contradicts itself. No run writes such a file: it was edited, or mixed from two."""


def contradiction_in(verdict: Verdict) -> str | None:
    """The first contradiction, in words; None where there is none."""
    return next(_contradictions(verdict), None)


def _contradictions(verdict: Verdict) -> Iterator[str]:
    yield from _of_outcome(verdict)
    if not -2 <= verdict.score <= 2:  # the lower end of an interval, which may lie beyond 1
        yield f"the score is {verdict.score}, which no run has"
    measured = {reliance.cue: reliance for reliance in verdict.measured}
    for reliance in verdict.measured:
        yield from _of_figures(reliance.cue, reliance.mean, reliance.low, reliance.high, reliance.p_value)
    causes = {finding.cue for finding in verdict.findings if finding.is_cause}
    for finding in verdict.findings:
        yield from _of_finding(finding, measured.get(finding.cue))
        if not finding.is_cause and finding.cause not in causes:
            yield f"the finding {finding.cue} has a cause, {finding.cause}, that was not found"


def _of_outcome(verdict: Verdict) -> Iterator[str]:
    outcomes = {finding.outcome for finding in verdict.findings}
    belongs = {PASS: not outcomes, INCONCLUSIVE: not outcomes, FAIL: FAIL in outcomes, WARN: outcomes == {WARN}}
    if not belongs[verdict.outcome]:
        findings = f"findings of {' and '.join(sorted(outcomes))}" if outcomes else "no findings"
        yield f"the outcome is {verdict.outcome}, with {findings}"
    if verdict.outcome == PASS and not verdict.tested:
        yield "the outcome is PASS, but no cue was tested"


def _of_finding(finding: Finding, measured: Reliance | None) -> Iterator[str]:
    if finding.outcome not in (WARN, FAIL):
        yield f"the finding {finding.cue} has the outcome {finding.outcome}"
    is_observed = measured is None and finding.cue.startswith(ATTRIBUTE)  # in pictures as they are
    if not is_observed and (measured is None or not math.isclose(finding.reliance, measured.mean, abs_tol=1e-6)):
        yield f"the finding {finding.cue} is not what was measured"
    yield from _of_figures(finding.cue, finding.reliance, finding.low, finding.high, finding.p_value)


def _of_figures(cue: str, mean: float, low: float, high: float, p_value: float) -> Iterator[str]:
    """A cue that could not be measured has no figures. NaN compares as false, so one missing figure is found too."""
    if all(map(math.isnan, (low, high))):
        return
    if not -1 <= mean <= 1 or not low - SLACK <= mean <= high + SLACK:  # an end may lie beyond 1, by widening
        yield f"the reliance on {cue} is {mean}, its interval {low} to {high}"
    if not 0 <= p_value <= 1:
        yield f"the p value of {cue} is {p_value}, which is not from 0 to 1"
