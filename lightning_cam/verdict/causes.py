"""Findings that are one cause: a model that relies on one cue often seems to rely on others that come with it."""

import math
from collections.abc import Sequence
from dataclasses import replace

from ..cues import cue_named
from .record import FAIL, Finding

# Of probability or right answers. A photograph behind the object also brings its colours and its texture, and a swap of
# these alone took up to 0.07 more than a swap of the whole background. Chosen from the planted benchmark.
_AS_STRONG = 0.1


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

    The other way round, a cue that another one contains is the cause itself where it is clearly stronger: a colour cast
    is seen through the background as well, but the background alone takes less.
    """
    if one.cue == other.cue or (other.outcome == FAIL) > (one.outcome == FAIL):
        return False
    if other.cue in _seen_through(one):
        return _strength(one) + _AS_STRONG >= _strength(other)
    return one.cue in _seen_through(other) and _strength(one) > _strength(other) + _AS_STRONG


def _seen_through(finding: Finding) -> tuple[str, ...]:
    cue = cue_named(finding.cue)
    return (*cue.shows_as, *cue.felt_in)


def _strength(finding: Finding) -> float:
    lost = finding.accuracy_own - finding.accuracy_other
    return finding.reliance if math.isnan(lost) else max(finding.reliance, lost)
