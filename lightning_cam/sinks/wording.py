"""A verdict in words: markdown for dashboards, plain lines for a terminal."""

import math
import re

from ..intervention import MARGIN, Reliance
from ..text import escape, printable
from ..verdict import FAIL, Finding, Verdict

_LEGEND = (
    "Probability lost: what the right class loses when an image gets the cue of another class instead of another image "
    f"of its own class. 0 means not used, more than {MARGIN:.2f} is too much."
)


def markdown(verdict: Verdict) -> str:
    """The outcome, every finding with its remedy, and what was measured."""
    findings = [line for finding in verdict.findings for line in _finding(finding)]
    rows = [_row(reliance) for reliance in verdict.measured]
    head = ["", _LEGEND, "", "| cue | probability lost | 95 % interval |", "|---|---:|---:|"]
    return "\n".join(
        [f"## Verdict: {verdict.outcome}", "", _prose(verdict.reason), *findings, *(head if rows else []), *rows]
    )


def lines(verdict: Verdict) -> list[str]:
    """For the terminal, remedies included."""
    text = [f"{verdict.outcome}: {verdict.reason}"]
    for finding in verdict.findings:
        text += [f"  {finding.text}", *([f"    most in: {', '.join(finding.classes)}"] if finding.classes else [])]
        text += [f"    to do: {finding.remedy.what}"]
        text += [f"      {line}" for line in finding.remedy.code.splitlines()]
    return [printable(line) for line in text]


def standing(verdict: Verdict, *, is_final: bool) -> dict[str, str]:
    """For the columns of a list of runs: the outcome, the cues of its findings and the reason."""
    cues = ", ".join(printable(finding.cue) for finding in verdict.findings)
    return {
        "verdict": verdict.outcome if is_final else f"{verdict.outcome} so far",
        "relies_on": cues or "-",
        "verdict_reason": printable(verdict.reason),
    }


def _finding(finding: Finding) -> list[str]:
    weight = "relied on" if finding.outcome == FAIL else "perhaps relied on"
    classes = [f"Most in: {', '.join(map(_prose, finding.classes))}.", ""] if finding.classes else []
    code = ["```python", finding.remedy.code, "```"] if finding.remedy.code else []
    head = ["", f"### {_prose(finding.cue)}: {weight}", "", _prose(finding.text), "", *classes]
    return [*head, f"To do: {_prose(finding.remedy.what)}.", "", *code]


def _row(reliance: Reliance) -> str:
    interval = f"{_number(reliance.low)} to {_number(reliance.high)}" if math.isfinite(reliance.low) else "not known"
    return f"| {escape(reliance.cue)} | {_number(reliance.mean)} | {interval} |"


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "-"


def _prose(text: str) -> str:
    r"""Escaped, but full stops and brackets inside a sentence stay: many read markdown as it is written.

    >>> _prose("*x* loses 0.31 (at least 0.2)")
    '\\*x\\* loses 0.31 (at least 0.2)'
    """
    return re.sub(r"(?<=\w)\\([.-])(?=\w)|\\([()])", r"\1\2", escape(text))
