"""WHAT it means: reliances on cues become a verdict, with what convicts, what only warns, and what was not measured."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

from . import statistics
from .audit import AuditResult
from .cues import CUES, Remedy, cue_named
from .examination import Report
from .intervention import MARGIN, Reliance, Trial
from .text import printable

ALPHA = 0.05  # chance of any false alarm in a run, and of one at its end

Outcome: TypeAlias = Literal["PASS", "WARN", "FAIL", "INCONCLUSIVE"]
PASS: Literal["PASS"] = "PASS"
WARN: Literal["WARN"] = "WARN"
FAIL: Literal["FAIL"] = "FAIL"
INCONCLUSIVE: Literal["INCONCLUSIVE"] = "INCONCLUSIVE"


@dataclass(frozen=True)
class Finding:
    """A cue that the model relies on.

    Attributes:
        cue: Name of the cue.
        outcome: "FAIL" or "WARN": what this finding alone leads to.
        reliance: Own-class probability lost when only the cue is swapped, -1 to 1.
        low: Lower end of the 95 % interval of the reliance.
        high: Upper end.
        p_value: Of a reliance of at most `MARGIN`, after Holm's correction for the number of cues.
        classes: Classes that rely on it, strongest first; empty where no class can be told from the rest.
        remedy: What to do about it, and code to paste.
        text: One sentence.
    """

    cue: str
    outcome: str
    reliance: float
    low: float
    high: float
    p_value: float
    classes: tuple[str, ...]
    remedy: Remedy
    text: str

    def __repr__(self) -> str:
        return (
            f"Finding({self.cue!r}, {self.outcome}, reliance {self.reliance:.2f} ({self.low:.2f} to {self.high:.2f}))"
        )


@dataclass(frozen=True)
class Verdict:
    """Whether a model relies on something that is not the object.

    Attributes:
        outcome: "PASS" only if every cue is shown to stay below `MARGIN`, which takes masks for the background; "FAIL"
            if one that cannot be the object's own is shown to lie above; "WARN" for weaker evidence of such a cue, or
            where one that may be the object's own is shown to lie above; else "INCONCLUSIVE".
        score: For ranking runs, -1 to 1: the highest lower bound of a reliance; higher = more reliance on a shortcut.
        findings: The cues that the model relies on, strongest first.
        measured: Every cue that was put to the test, whether it counts or not.
        reason: Why this outcome, in a sentence or two.
    """

    outcome: Outcome
    score: float
    findings: tuple[Finding, ...]
    measured: tuple[Reliance, ...]
    reason: str

    def __repr__(self) -> str:
        return f"Verdict({self.outcome}, score {self.score:.2f}, findings {[finding.cue for finding in self.findings]})"

    @property
    def tested(self) -> tuple[str, ...]:
        """The cues for which there is a number, whatever the outcome."""
        return tuple(reliance.cue for reliance in self.measured if not math.isnan(reliance.low))

    @property
    def untested(self) -> tuple[str, ...]:
        """The cues of the table for which there is no number: nothing is known of them."""
        return tuple(cue.name for cue in CUES if cue.name not in self.tested)

    def __str__(self) -> str:
        said = [f"{self.outcome}: {self.reason}", *(f"  {finding.text}" for finding in self.findings)]
        return "\n".join(map(printable, said))

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON types; what is not finite becomes None."""
        return dict(_plain(asdict(self)))


def limits(trials: Sequence[Trial], expected_cues: Sequence[str], audited_cues: Collection[str]) -> dict[str, str]:
    """What the user declares of cues instead of what their trials say: "PASS" is reported and no more, "FAIL" convicts.

    Args:
        trials: What is put to the test.
        expected_cues: Cues that the user declares legitimate.
        audited_cues: Cues from which the labels of the data set can be predicted: none of these is just the object's.

    Raises:
        ValueError: An expected cue is none of the trials'.
    """
    cues = [trial.cue for trial in trials]
    unknown = [cue for cue in expected_cues if cue not in cues]
    if isinstance(expected_cues, str) or (unknown and cues):
        raise ValueError(f"expected_cues must be a list of names out of {cues}, got {expected_cues!r}")
    declared = dict.fromkeys(audited_cues, FAIL) | dict.fromkeys(expected_cues, PASS)
    return {cue: most for cue, most in declared.items() if cue in cues}


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
    """The verdict on one check.

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
        reason = _nothing_to_judge(report, most) + _unmeasured(missing)
        return Verdict(INCONCLUSIVE, 0.0, (), report.reliances, reason)
    corrected = dict(zip((r.cue for r in counted), statistics.holm([r.p_value for r in counted]), strict=True))
    shown = {cue: True for cue, p in corrected.items() if p < ALPHA} if shown is None else shown
    found = [
        _finding(r, corrected[r.cue], convicts=shown.get(r.cue, False) and most[r.cue] == FAIL)
        for r in counted
        if r.cue in shown or (r.low > 0 and r.mean > MARGIN and most[r.cue] == FAIL)
    ]
    findings = tuple(sorted(found, key=lambda f: (f.outcome != FAIL, -f.low)))
    outcome, reason = _outcome(findings, counted, missing)
    score = max(reliance.low for reliance in counted)
    doubtful = _doubtful(report, findings) if missing and outcome == WARN else []
    return Verdict(
        outcome, score, findings, report.reliances, reason + _perhaps_object(doubtful) + _unmeasured(missing)
    )


def _most(report: Report, limits: Mapping[str, str]) -> dict[str, str]:
    """The most that each cue may lead to."""
    return {trial.cue: limits.get(trial.cue, trial.at_most) for trial in report.trials}


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
        convicting = self.add_check({r.cue: r.p_value for r in counted})
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


def withheld(verdict: Verdict, reason: str) -> Verdict:
    """The verdict where something else is wrong first: nothing is found and nothing is excluded."""
    return replace(verdict, outcome=INCONCLUSIVE, score=0.0, findings=(), reason=reason)


class ShortcutError(RuntimeError):
    """Raised by ``CAMCallback(on_shortcut="raise")``; ``verdict`` says why."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(str(verdict))
        self.verdict = verdict


_NOT_LEARNED = "the model does not tell the probe's classes apart, so there is nothing to judge"
_ONE_CLASS = "the probe has images of one class alone, so nothing can be judged; a verdict needs two classes or more"
_NONE_COUNTS = "no cue that counts was put to the test: there are no trials, or all of their cues are expected"
_NOTHING_MEASURED = (
    f"too few probe images for any claim; two classes with two images each, {statistics.FEWEST} in all, are the least, "
    "32 a class do well"
)


def _finding(reliance: Reliance, p_value: float, *, convicts: bool) -> Finding:
    ranked = sorted(reliance.by_class, key=lambda name: -reliance.by_class[name][0])
    return Finding(
        cue=reliance.cue,
        outcome=FAIL if convicts else WARN,
        reliance=reliance.mean,
        low=reliance.low,
        high=reliance.high,
        p_value=p_value,
        classes=tuple(name for name in ranked if reliance.by_class[name][1] < ALPHA),
        remedy=cue_named(reliance.cue).remedy,
        text=_sentence(reliance),
    )


def _sentence(reliance: Reliance) -> str:
    what = cue_named(reliance.cue).words
    return (
        f"{reliance.cue}: with {what} of another class instead of its own, the right class loses "
        f"{reliance.mean:.2f} of its probability (95 % interval {reliance.low:.2f} to {reliance.high:.2f})"
    )


def _outcome(findings: Sequence[Finding], counted: Sequence[Reliance], missing: Collection[str]) -> tuple[Outcome, str]:
    if findings and findings[0].outcome == FAIL:
        cues = " and ".join(finding.cue for finding in findings if finding.outcome == FAIL)
        return FAIL, f"the model relies on something that is not the object: {cues}"
    if findings:
        cues = " and ".join(finding.cue for finding in findings)
        return WARN, f"the model may rely on something that is not the object: {cues}"
    unsettled = [r for r in counted if not statistics.equivalent((r.low, r.high), MARGIN)]
    if unsettled:
        return INCONCLUSIVE, _needed(unsettled)
    cues = ", ".join(reliance.cue for reliance in counted)
    outcome = INCONCLUSIVE if missing else PASS
    return outcome, f"no prediction hangs on any of {cues} by more than {MARGIN:.2f} of probability"


def _needed(unsettled: Sequence[Reliance]) -> str:
    widest = max(unsettled, key=lambda reliance: reliance.needed_n)
    n = f"{widest.needed_n:.0f} probe images" if widest.needed_n < 10_000 else "many more probe images"
    return f"the probe is too small to rule out {' and '.join(r.cue for r in unsettled)}; {n} would settle it"


def _nothing_to_judge(report: Report, most: Mapping[str, str]) -> str:
    if report.has_one_class:
        return _ONE_CLASS
    if not report.learned:
        return _NOT_LEARNED
    return _NONE_COUNTS if all(most[trial.cue] == PASS for trial in report.trials) else _NOTHING_MEASURED


def _missing(report: Report, uncounted: Collection[str]) -> list[str]:
    """Of the cues that do not count, those for which masks are missing; none where no image found donors."""
    if not report.effects and not all(trial.swap.needs_masks for trial in report.trials):
        return []
    return [trial.cue for trial in report.trials if trial.swap.needs_masks and trial.cue in uncounted]


def _doubtful(report: Report, findings: Sequence[Finding]) -> list[str]:
    """Cues that are thought not to be the object's, which nobody knows without masks."""
    off_object = {trial.cue for trial in report.trials if trial.needs_masks_to_convict}
    return [finding.cue for finding in findings if finding.cue in off_object]


def _perhaps_object(cues: Sequence[str]) -> str:
    return f"; the object itself may be what was swapped ({' and '.join(cues)}): only masks would tell" if cues else ""


def _unmeasured(cues: Sequence[str]) -> str:
    way_out = "give the probe masks, or name in expected_cues what the model may use"
    return f"; not measured without masks of the objects: {' and '.join(cues)}; {way_out}" if cues else ""


def _plain(value: Any) -> Any:
    """JSON has neither NaN nor infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
