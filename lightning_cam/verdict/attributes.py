"""What groups of pictures say: an attribute that the user knows may be what a model relies on.

No picture is edited, so this is weaker than a trial and leads to "WARN" at most: pictures of a group may be harder for
another reason. That reason must be of this class alone, since what the value costs other classes is taken off.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..attributes import FEWEST_IN_GROUP, AttributeReading, Loss, corrected
from ..cues import ATTRIBUTE, attribute_of, cue_named
from ..examination import Report
from ..text import percent
from .record import FAIL, PASS, WARN, Finding, Verdict

_LEVEL = 0.05  # chance of any false finding over all groups of all attributes, if none loses more than the margin


def with_attributes(verdict: Verdict, report: Report, limits: Mapping[str, str]) -> Verdict:
    """The verdict, with a finding for each attribute of which a group is answered worse beyond doubt.

    Also where the model seems to have learned nothing: one that knows the value alone is right by chance on a probe in
    which values and classes do not go together. One that always gives the same answer has no such group.

    Args:
        verdict: On what the trials measured.
        report: With the readings of attributes.
        limits: The worst outcome that cues may lead to, where the user declared it.
    """
    p_values = corrected(report.attributes)
    found = [
        _finding(each, each.loss, p_values[each.attribute], report.size[-2:])
        for each in report.attributes
        if each.loss is not None and p_values[each.attribute] < _LEVEL
    ]
    found = [_with_cause(finding, verdict) for finding in found if limits.get(finding.cue) != PASS]
    verdict = replace(verdict, attributes=report.attributes, reason=verdict.reason + _untested(report.attributes))
    if not found:
        return verdict
    has_failed = verdict.outcome == FAIL
    return replace(
        verdict,
        outcome=FAIL if has_failed else WARN,
        findings=(*verdict.findings, *found),
        reason=_reason(verdict, found),
    )


def _with_cause(observed: Finding, verdict: Verdict) -> Finding:
    """The finding with the cause and the remedy of a swap by the same attribute that was found; it then shows why."""
    swapped = [each for each in verdict.findings if attribute_of(each.cue) == attribute_of(observed.cue)]
    return replace(observed, cause=swapped[0].cause, remedy=swapped[0].remedy) if swapped else observed


def _untested(readings: Sequence[AttributeReading]) -> str:
    """An addition where attributes say nothing: no group of pictures can be compared with others."""
    names = [repr(reading.attribute) for reading in readings if reading.loss is None]
    if not names:
        return ""
    return (
        f"; not tested: what goes with {' and '.join(names)}, since no class has {FEWEST_IN_GROUP} pictures with "
        f"one value and {FEWEST_IN_GROUP} with another, or each value occurs in one class alone"
    )


def _reason(verdict: Verdict, found: Sequence[Finding]) -> str:
    names = " and ".join(repr(attribute_of(finding.cue)) for finding in found if finding.is_cause)
    if not names:
        return f"{verdict.reason}; a group of pictures is answered worse, likely for the same cause"
    if verdict.findings:
        return f"{verdict.reason}; it may also rely on what goes with {names}"
    return f"the model may rely on what goes with {names}: a group of pictures is answered worse; {verdict.reason}"


def _finding(reading: AttributeReading, loss: Loss, p_value: float, size: tuple[int, ...]) -> Finding:
    cue = f"{ATTRIBUTE}{reading.attribute}"
    return Finding(
        cue=cue,
        outcome=WARN,
        reliance=loss.lost,
        low=loss.low,
        high=loss.high,
        p_value=p_value,
        classes=(loss.group.class_name,),
        remedy=cue_named(cue).remedy.at(size),
        text=f"{cue}: {_measured(reading, loss)}",
        accuracy_own=loss.accuracy_own,
        accuracy_other=loss.group.accuracy,
        cause=cue,
    )


def _measured(reading: AttributeReading, loss: Loss) -> str:
    group = loss.group
    elsewhere = round(100 * loss.elsewhere)
    costs = f"costs the other classes {elsewhere} points" if elsewhere > 0 else "costs the other classes nothing"
    return (
        f"of class {group.class_name!r}, the model is right on {percent(group.accuracy)} of the {group.n} pictures "
        f"with {reading.attribute} {group.value!r}, and on {percent(loss.accuracy_own)} of the others; {group.value!r} "
        f"{costs}. No picture was edited for this, so it may warn and never fail"
    )
