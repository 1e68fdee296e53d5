"""From reliances to a verdict: what convicts, what only warns, and what was not measured."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import torch

from .. import statistics
from ..audit import AuditResult
from ..cues import attribute_of, cue_named
from ..examination import Report
from ..intervention import MARGIN, Reliance, Trial
from ..probe import GUESS
from ..probe.task import VALUES
from . import hiding, lacking, reasons
from .advice import remedy_of
from .attributes import with_attributes
from .causes import with_causes
from .record import FAIL, INCONCLUSIVE, PASS, WARN, Finding, Outcome, Verdict
from .untested import reads_masks, reasons_by_cue

ALPHA = 0.05  # chance of any false alarm in a run, and of one at its end


def limits(trials: Sequence[Trial], expected_cues: Sequence[str], audited_cues: Collection[str]) -> dict[str, str]:
    """What the user declares of cues instead of what their trials say: "PASS" is reported and no more, "FAIL" convicts.

    Args:
        trials: What is put to the test.
        expected_cues: Cues that the user declares legitimate; attributes as "attribute site", or "background by site".
        audited_cues: Cues from which the labels of the data set can be predicted: none of these is just the object's.

    Raises:
        ValueError: An expected cue is none of the trials'.
    """
    cues = [trial.cue for trial in trials]
    unknown = [cue for cue in expected_cues if cue not in cues and not attribute_of(cue)]
    if isinstance(expected_cues, str) or (unknown and cues):
        raise ValueError(f"expected_cues must be a list of names out of {cues}, got {expected_cues!r}")
    declared = dict.fromkeys(audited_cues, FAIL) | dict.fromkeys(expected_cues, PASS)
    return {cue: most for cue, most in declared.items() if cue in cues or attribute_of(cue)}


def judge(report: Report, expected_cues: Sequence[str] = (), audit: AuditResult | None = None) -> Verdict:
    """The verdict on one report. The callback also compares the probe with a batch, and may withhold its verdict.

    Args:
        report: What `examine` measured.
        expected_cues: Cues that the model may rely on. They are measured and shown, but lead to no verdict.
        audit: The result of `audit_dataset` for the training data. Any cue that it found may lead to "FAIL".

    Raises:
        ValueError: An expected cue is none of the report's trials.
    """
    return _judged(report, limits(report.trials, expected_cues, audit.cues if audit else ()))


def _judged(report: Report, limits: Mapping[str, str], shown: Mapping[str, bool] | None = None) -> Verdict:
    """The verdict on one check: on the cues that were swapped, and on attributes; see `_on_cues`."""
    expected = tuple(cue for cue, most in limits.items() if most == PASS)
    return replace(with_attributes(_on_cues(report, limits, shown), report, limits), expected=expected)


def _on_cues(report: Report, limits: Mapping[str, str], shown: Mapping[str, bool] | None) -> Verdict:
    """The verdict on the cues that were swapped.

    Args:
        report: What `examine` measured.
        limits: The worst outcome that cues may lead to, where that is not what their trials say.
        shown: For a run that is judged check by check: the cues that are significantly above the margin now, and
            whether that has held for enough checks in a row to fail. None judges this report on its own.
    """
    most = _most(report, limits)
    counted = [r for r in report.reliances if most[r.cue] != PASS and not math.isnan(r.low)]
    missing = _missing(report, {cue for cue in most if most[cue] != PASS} - {r.cue for r in counted})
    if not report.learned or not counted:
        of_labels = reasons.labels(report, ()) if report.learned else ""
        reason = lacking.nothing_to_judge(report, most) + of_labels + lacking.without_masks(missing, report)
        return Verdict(INCONCLUSIVE, 0.0, (), report.reliances, reason, why_untested=reasons_by_cue(report))
    corrected = dict(zip((r.cue for r in counted), statistics.holm([r.convicting_p for r in counted]), strict=True))
    shown = {cue: True for cue, p in corrected.items() if p < ALPHA} if shown is None else shown
    found = [r for r in counted if _is_found(r, most[r.cue], is_shown=r.cue in shown)]
    found += [r for r in counted if most[r.cue] == INCONCLUSIVE and r.cue in shown and _may_be_behind(r, found)]
    as_findings = [
        _finding(r, corrected[r.cue], report, convicts=shown.get(r.cue, False) and most[r.cue] == FAIL) for r in found
    ]
    findings = with_causes(sorted(as_findings, key=lambda f: (f.outcome != FAIL, -f.low)))
    uncertain = _on_uncertain_masks(report, [finding.cue for finding in findings] or [r.cue for r in counted])
    outcome, reason = _outcome(findings, counted, [*missing, *uncertain], report)
    score = max((r.score for r in counted if most[r.cue] != INCONCLUSIVE), default=0.0)
    doubtful = _doubtful(report, findings) if missing and outcome == WARN else []
    return Verdict(
        outcome,
        score,
        findings,
        report.reliances,
        reason
        + lacking.without_answers(report)
        + reasons.labels(report, findings)
        + (reasons.context(report) if not findings else "")
        + lacking.perhaps_object(doubtful)
        + lacking.of_object(_at_most_warn(findings, most, [*doubtful, *uncertain]) if outcome == WARN else [])
        + lacking.on_masks(uncertain if outcome != FAIL else [], report.mask_doubts)
        + lacking.without_masks(missing, report),
        why_untested=reasons_by_cue(report),
    )


def _is_found(reliance: Reliance, most: str, *, is_shown: bool) -> bool:
    return most != INCONCLUSIVE and (is_shown or (not reliance.may_be_none and most == FAIL))


def _may_be_behind(reliance: Reliance, found: Sequence[Reliance]) -> bool:
    """Whether a cue that may be the objects' own does more than one that is found, in which it would be felt."""
    felt_in = cue_named(reliance.cue).felt_in
    return any(each.cue in felt_in and each.mean < reliance.mean for each in found)


def _most(report: Report, limits: Mapping[str, str]) -> dict[str, str]:
    """The most that each cue may lead to; an expected one brings along those that it contains.

    What an audit finds may be the objects' own as well.
    """
    expected = {cue for cue, most in limits.items() if most == PASS}

    def most_of(trial: Trial) -> str:
        if not expected.isdisjoint(cue_named(trial.cue).allowed_with):
            return PASS
        declared = limits.get(trial.cue, trial.at_most)
        return WARN if declared == FAIL and trial.at_most == INCONCLUSIVE else declared

    return {trial.cue: most_of(trial) for trial in report.trials}


class RunningVerdict:
    """Judges a run check by check; false "FAIL"s of 20 checks together stay below ``alpha``.

    Args:
        limits: The most that cues may lead to, where that is not what their trials say.
        alpha: Chance of any false "FAIL" in 20 checks, see `statistics.check_level`.
        streak: Checks in a row that must agree: trainings wobble from check to check.
    """

    def __init__(self, limits: Mapping[str, str], *, alpha: float = ALPHA, streak: int = 2) -> None:
        self._limits = limits
        self._alpha = alpha
        self._streak = streak
        self._checks = 0
        self._in_a_row: dict[str, int] = {}

    def judge(self, report: Report) -> Verdict:
        """The verdict so far; a cue leads to "FAIL" only where it was above the margin the check before as well."""
        most = _most(report, self._limits)
        counted = [r for r in report.reliances if most[r.cue] != PASS] if report.learned else []
        convicting = self.add_check({r.cue: r.convicting_p for r in counted})
        return _judged(report, self._limits, {cue: cue in convicting for cue in self._in_a_row})

    def conclude(self, report: Report) -> Verdict:
        """The verdict at the end of a run, from its last report alone."""
        return _judged(report, self._limits)

    def add_check(self, p_values: Mapping[str, float]) -> set[str]:
        """Counts a check, and returns the cues that were above the margin for enough checks in a row.

        A NaN, or a check without the cue, ends its streak.
        """
        self._checks += bool(p_values)
        level = statistics.check_level(self._alpha, max(1, self._checks), cues=max(1, len(p_values)))
        self._in_a_row = {cue: self._in_a_row.get(cue, 0) + 1 for cue, p in p_values.items() if p < level}
        return {cue for cue, n in self._in_a_row.items() if n >= self._streak}


def _finding(reliance: Reliance, p_value: float, report: Report, *, convicts: bool) -> Finding:
    remedy = remedy_of(reliance.cue, report)
    return Finding(
        cue=reliance.cue,
        outcome=FAIL if convicts else WARN,
        reliance=reliance.mean,
        low=reliance.low,
        high=reliance.high,
        p_value=p_value,
        classes=_classes(reliance),
        remedy=remedy.in_slices() if len(report.size) == 3 else remedy,
        text=reasons.measured(reliance),
        accuracy_own=reliance.accuracy_own,
        accuracy_other=reliance.accuracy_other,
    )


def _classes(reliance: Reliance) -> tuple[str, ...]:
    """The classes that rely on a cue, the strongest first; the halves of a single value are no classes."""
    if reliance.kind == VALUES and not reliance.label:
        return ()
    ranked = sorted(reliance.by_class, key=lambda name: -reliance.by_class[name][0])
    return tuple(name for name in ranked if reliance.by_class[name][1] < ALPHA) or tuple(reliance.hanging)


def _outcome(
    findings: Sequence[Finding], counted: Sequence[Reliance], unknown: Collection[str], report: Report
) -> tuple[Outcome, str]:
    if findings:
        return (FAIL if any(f.outcome == FAIL for f in findings) else WARN), reasons.relies(findings)
    apart = [r for r in counted if r.is_apart]
    if apart:
        return INCONCLUSIVE, lacking.apart(apart[0])
    unsettled = [r for r in counted if not r.is_settled]
    untold = {trial.cue for trial in report.trials if trial.at_most == INCONCLUSIVE}
    perhaps_own = [r for r in unsettled if r.cue in untold and r.mean > MARGIN]
    if perhaps_own:
        return INCONCLUSIVE, lacking.perhaps_own(perhaps_own[0])
    if unsettled:
        return INCONCLUSIVE, lacking.unsettled(unsettled, _n_swapped(report), len(report.logits))
    hidden = hiding.perhaps_above(report, counted)
    if hidden:
        return INCONCLUSIVE, lacking.hidden(hidden, hiding.share_left(report))
    below = reasons.below_margin(counted)
    if unknown or report.n_unanswered > MARGIN * len(report.logits):
        return INCONCLUSIVE, below
    of_classes = reasons.of_single_classes(counted, len(set(report.targets.tolist())))
    return PASS, below + reasons.not_tested(report.reliances) + of_classes


def _n_swapped(report: Report) -> int:
    """Of how many images at least one cue was swapped."""
    effects = list(report.effects.values())
    n_shown = int((~torch.stack(effects).isnan()).any(0).sum()) if effects else 0
    return max(n_shown, *(reliance.n for reliance in report.reliances), 0)


def _missing(report: Report, uncounted: Collection[str]) -> list[str]:
    """Of the cues that do not count, those for which masks are missing; none where no image found donors."""
    if not report.effects and not all(trial.swap.needs_masks for trial in report.trials):
        return []
    return [trial.cue for trial in report.trials if trial.swap.needs_masks and trial.cue in uncounted]


def _on_uncertain_masks(report: Report, cues: Sequence[str]) -> list[str]:
    """Of these cues, those whose readings rest on masks that were guessed or cannot be right: none of them passes."""
    if GUESS not in report.mask_sources and not report.mask_doubts:
        return []
    by_masks = {trial.cue for trial in report.trials if trial.needs_masks_to_convict or reads_masks(trial)}
    return [cue for cue in cues if cue in by_masks]


def _at_most_warn(findings: Sequence[Finding], most: Mapping[str, str], masked: Sequence[str]) -> list[str]:
    """Causes that cannot fail, since the object may have a part in them; not those for which masks are what lacks."""
    return [
        finding.cue
        for finding in findings
        if finding.is_cause and most.get(finding.cue) == WARN and finding.cue not in masked
    ]


def _doubtful(report: Report, findings: Sequence[Finding]) -> list[str]:
    """Cues that are thought not to be the object's, which nobody knows without masks."""
    off_object = {trial.cue for trial in report.trials if trial.needs_masks_to_convict}
    return [finding.cue for finding in findings if finding.cue in off_object]
