"""A verdict in words: markdown for dashboards, plain lines for a terminal."""

import math
import re
from collections.abc import Callable

from ..intervention import MARGIN, Reliance
from ..text import escape, printable
from ..verdict import FAIL, Finding, Verdict

MOST_CLASSES = 6  # that are named: more are no help to a reader; the strongest come first
_LEGEND = (
    "Probability lost: what the right class loses when an image gets the cue of another class instead of another image "
    f"of its own class. 0 means not used, more than {MARGIN:.2f} is too much."
)


def markdown(verdict: Verdict) -> str:
    """The outcome, every finding with its remedy, and what was measured."""
    findings = [line for finding in verdict.findings for line in _finding(finding, verdict)]
    rows = [_row(reliance) for reliance in verdict.measured]
    head = ["", _LEGEND, "", "| cue | probability lost | 95 % interval |", "|---|---:|---:|"]
    return "\n".join(
        [f"## Verdict: {verdict.outcome}", "", _prose(verdict.reason), *findings, *(head if rows else []), *rows]
    )


def lines(verdict: Verdict) -> list[str]:
    """For the terminal, remedies included."""
    text = [f"{verdict.outcome}: {verdict.reason}"]
    for finding in verdict.findings:
        text += [f"  {finding.text}", *([f"    {classes}"] if (classes := most_in(finding, verdict)) else [])]
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


def most_in(finding: Finding, verdict: Verdict, escaped: Callable[[str], str] = printable) -> str:
    """The classes that rely on a cue, as a sentence; empty where none can be told from the rest."""
    names = [escaped(name) for name in finding.classes[:MOST_CLASSES]]
    measured = next((reliance.by_class for reliance in verdict.measured if reliance.cue == finding.cue), {})
    if len(measured) > 1 and set(measured) <= set(finding.classes):
        return "In all classes."
    more = len(finding.classes) - len(names)
    return f"Most in: {', '.join(names)}{f' and {more} more' if more else ''}." if names else ""


def _finding(finding: Finding, verdict: Verdict) -> list[str]:
    weight = "relied on" if finding.outcome == FAIL else "perhaps relied on"
    sentence = most_in(finding, verdict, _prose)
    classes = [sentence, ""] if sentence else []
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
