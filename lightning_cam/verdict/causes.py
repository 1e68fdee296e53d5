"""Findings that are one cause: a model that relies on one cue often seems to rely on others that come with it."""

import math
from collections.abc import Sequence
from dataclasses import replace

from ..cues import cue_named
from .record import FAIL, Finding

# Of probability or right answers. A photograph behind the object also brings its colours and its texture, and a swap of
# these alone took up to 0.07 more than a swap of the whole background. Chosen from the planted benchmark.
_AS_STRONG = 0.1
_SURE = 0.05  # of the p value: a cue that the object has a part in leads to a warning, however sure it is


def with_causes(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings, causes first, each with its cause and the remedy of that: one for an effect leaves the cause."""
    first = [one for one in findings if not any(_explains(other, one) for other in findings)]
    cause_of = {
        one.cue: one if one in first else next((each for each in first if _explains(each, one)), one)
        for one in findings
    }
    named = [replace(one, cause=cause_of[one.cue].cue, remedy=cause_of[one.cue].remedy) for one in findings]
    return tuple(sorted(named, key=lambda one: not one.is_cause))


def _explains(one: Finding, other: Finding) -> bool:
    """Whether a finding is likely the cause of another: it brings that cue along, and it is as sure and as strong.

    Some bring one another along: a background has its colours, and a colour cast lies on the background, too. Then the
    lesser one of the table is the cause only where it is clearly stronger.
    """
    cue, brought = cue_named(one.cue), cue_named(other.cue)
    if other.cue not in (*cue.shows_as, *cue.felt_in) or (other.outcome == FAIL and one.p_value >= _SURE):
        return False
    is_mutual = other.cue not in cue.shows_as and one.cue in (*brought.shows_as, *brought.felt_in)
    return _strength(one) - _strength(other) > (_AS_STRONG if is_mutual else -_AS_STRONG)


def _strength(finding: Finding) -> float:
    lost = finding.accuracy_own - finding.accuracy_other
    return finding.reliance if math.isnan(lost) else max(finding.reliance, lost)
