"""Verdict and finding: what was concluded, with the figures that led to it."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ..attributes import AttributeReading
from ..cues import Remedy
from ..intervention import Reliance
from ..text import printable, typed
from . import untested

Outcome: TypeAlias = Literal["PASS", "WARN", "FAIL", "INCONCLUSIVE"]
PASS: Literal["PASS"] = "PASS"
WARN: Literal["WARN"] = "WARN"
FAIL: Literal["FAIL"] = "FAIL"
INCONCLUSIVE: Literal["INCONCLUSIVE"] = "INCONCLUSIVE"
_FOLDER = re.compile(r"(?<=lightning-cam masks ).+?(?= writes a page)")  # in a reason; a folder may have been moved


@dataclass(frozen=True)
class Finding:
    """A cue that the model relies on.

    Attributes:
        cue: Name of the cue.
        outcome: "FAIL" or "WARN": what this finding alone leads to.
        reliance: Own-class probability lost when only the cue is swapped, -1 to 1; for an attribute, right answers
            that a group lacks.
        low: Lower end of the 95 % interval of the reliance.
        high: Upper end.
        p_value: Of a reliance of at most `MARGIN`, after Holm's correction for the number of cues.
        classes: Classes that rely on it, strongest first; empty where no class can be told from the rest.
        remedy: What to do about its cause, and code to paste.
        text: One sentence.
        accuracy_own: Share of the pictures on which the model is right with the cue of another picture of the class.
        accuracy_other: The same with the cue of another class. NaN in files of earlier versions.
        cause: The cue that this one is likely seen through; its own where it is a cause itself. Empty in files of
            earlier versions.
        tried: What the remedy leaves of the cue on the probe, in words; empty where it could not be tried. Two findings
            are equal whatever it says.
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
    accuracy_own: float = math.nan
    accuracy_other: float = math.nan
    cause: str = ""
    tried: str = field(default="", compare=False)

    @property
    def is_cause(self) -> bool:
        """Whether no other finding explains this one."""
        return self.cause in ("", self.cue)

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
        findings: The cues that the model relies on: first the causes, strongest first, then what is likely seen through
            the same causes, see `causes`.
        measured: Every cue that was put to the test, whether it counts or not.
        reason: Why this outcome, in a sentence or two.
        attributes: Right answers by group, for every attribute of the probe that the user knows.
        expected: Cues that the user allows the model to use.
        why_untested: For each cue without a number, why there is none. Empty in files of earlier versions.
    """

    outcome: Outcome
    score: float
    findings: tuple[Finding, ...]
    measured: tuple[Reliance, ...]
    reason: str
    attributes: tuple[AttributeReading, ...] = ()
    why_untested: Mapping[str, str] = field(default_factory=dict)
    expected: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Verdict({self.outcome}, score {self.score:.2f}, findings {[finding.cue for finding in self.findings]})"

    @property
    def causes(self) -> dict[str, tuple[str, ...]]:
        """The cues that need a remedy, strongest first, each with other findings that are likely the same thing."""
        effects = {finding.cue: finding.cause for finding in self.findings if not finding.is_cause}
        return {
            finding.cue: tuple(cue for cue, cause in effects.items() if cause == finding.cue)
            for finding in self.findings
            if finding.is_cause
        }

    @property
    def tested(self) -> tuple[str, ...]:
        """The cues for which there is a number, whatever the outcome."""
        return tuple(reliance.cue for reliance in self.measured if not math.isnan(reliance.low))

    @property
    def untested(self) -> tuple[str, ...]:
        """The cues for which there is no number, of the table or of the user's own: nothing is known of them."""
        return tuple(cue for cue in untested.names_of_all(self.measured) if cue not in self.tested)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The parts of the reason, but for the list of what was not tested: `untested_by_reason` says more."""
        parts = self.reason.split("; ")
        return tuple(part for part in parts if not (self.why_untested and part.startswith(untested.LISTED)))

    @property
    def untested_by_reason(self) -> dict[str, list[str]]:
        """The same by the reason that they share, which is a sentence."""
        return untested.grouped(self.untested, self.why_untested)

    def __str__(self) -> str:
        texts = (f"  {'' if one.is_cause else 'likely the same cause: '}{one.text}" for one in self.findings)
        return "\n".join(map(printable, [f"{self.outcome}: {self.reason}", *texts]))

    def _repr_html_(self) -> str:
        """In words, for notebooks."""
        from ..sinks import alone  # up: a record that shows itself asks the floor that draws

        return alone.verdict_html(self)

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON types; what is not finite becomes None."""
        return dict(_plain(asdict(self)))


def withheld(verdict: Verdict, reason: str) -> Verdict:
    """The verdict where something else is wrong first: nothing is found and nothing is excluded."""
    return replace(verdict, outcome=INCONCLUSIVE, score=0.0, findings=(), reason=reason)


def qualified(verdict: Verdict, addition: str) -> Verdict:
    """The verdict with what it leaves open; a conviction leaves nothing open."""
    is_open = addition and verdict.outcome != FAIL
    return replace(verdict, reason=f"{verdict.reason}; {addition}") if is_open else verdict


def with_remedies_tried(verdict: Verdict, left: Callable[[str, Remedy], object | None]) -> Verdict:
    """The verdict with what is ``left`` of each cause after its remedy, in words."""
    findings = (
        replace(finding, tried=str(left(finding.cue, finding.remedy) or "")) if finding.is_cause else finding
        for finding in verdict.findings
    )
    return replace(verdict, findings=tuple(findings))


def located(verdict: Verdict, folder: Path) -> Verdict:
    """The verdict on what ``folder`` keeps: the command in it that shows masks can be pasted as it is."""
    place = typed(folder)
    return replace(verdict, reason=_FOLDER.sub(lambda _: place, verdict.reason))


class ShortcutError(RuntimeError):
    """Raised by ``CAMCallback(on_shortcut="raise")``; ``verdict`` says why."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(str(verdict))
        self.verdict = verdict


def _plain(value: Any) -> Any:
    """JSON has neither NaN nor infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
