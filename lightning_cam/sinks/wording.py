"""A verdict in words: markdown for dashboards, plain lines for a terminal."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

from ..cues import cue_named
from ..intervention import MARGIN, Reliance
from ..probe.task import CLASSES
from ..text import escape, printable
from ..verdict import FAIL, Finding, Verdict
from ..verdict.phrases import PHRASES, Phrases
from .groups import group_lines

MOST_CLASSES = 6  # that are named: more are no help to a reader; the strongest come first
WHY_NO_FINDING = {
    "object": "Context: the object has this property itself, so a model may use it; only an audit makes it a finding.",
    "shared": "The object has a part in this, so a model may use it; it leads to a warning at most.",
}
MOST_ROWS = 6  # of cues at the end of a fit; all of them are on the page


def why_no_finding(reliance: Reliance) -> str:
    """Why a cue above the margin is not found; empty for one that is not above."""
    if not reliance.mean > MARGIN:
        return ""
    # Only a cue that the user expects is no finding where its interval excludes 0.
    doubt = "Expected, or not judged." if reliance.low > 0 else "Not beyond doubt with so few images."
    return WHY_NO_FINDING.get(cue_named(reliance.cue).owner, doubt)


def closing(verdict: Verdict) -> list[str]:
    """For the end of a fit: the outcome, the cues that matter, and what to do first."""
    found = {finding.cue: _weight(finding) for finding in verdict.findings}
    mattering = sorted(
        (each for each in verdict.measured if each.cue in found or each.high > MARGIN),
        key=lambda each: (each.cue not in found, -each.mean),
    )[:MOST_ROWS]
    rows = [
        (each.cue, _number(each.mean), _interval(each), found.get(each.cue) or why_no_finding(each))
        for each in mattering
    ]
    n_more = len(verdict.measured) - len(rows)
    heads = ("cue", phrases_of(verdict).head, "95 % interval", "")
    text = [*_opening(verdict), *_aligned([heads, *rows] if rows else [])]
    text += [f"  and {n_more} other cue{'s' * (n_more > 1)}, see the page"] if rows and n_more else []
    text += [f"  {line}" for line in group_lines(verdict)]
    for finding in verdict.findings[:1]:
        text += [
            f"  {line}" for line in (finding.text, most_in(finding, verdict), effects_of(finding, verdict)) if line
        ]
        text += [f"  first: {finding.remedy.what}", *(f"    {line}" for line in finding.remedy.code.splitlines())]
    return [printable(line) for line in text]


def phrases_of(verdict: Verdict) -> Phrases:
    """The words for the task of a verdict; all of its reliances are of one."""
    return PHRASES[next((reliance.kind for reliance in verdict.measured), CLASSES)]


def _opening(verdict: Verdict) -> list[str]:
    """The outcome and why, a line for each part of the reason."""
    first, *others = verdict.reason.split("; ")
    return [f"{verdict.outcome}: {first}", *(f"  {part}" for part in others)]


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns as wide as their widest cell; the last one ends where it ends."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows)
    return ["  " + "  ".join(row).rstrip() for row in padded]


def markdown(verdict: Verdict) -> str:
    """The outcome, every cause with its remedy, and what was measured."""
    findings = [line for finding, verb in to_do(verdict) for line in _finding(finding, verb, verdict)]
    cues = {finding.cue for finding in verdict.findings}
    rows = [_row(reliance) for reliance in verdict.measured]
    why = [(each.cue, why_no_finding(each)) for each in verdict.measured if each.cue not in cues]
    above = f"is above {MARGIN:.2f} and no finding"
    notes = [f"- {escape(cue)} {above}. {_prose(note.removesuffix('.'))}." for cue, note in why if note]
    phrases = phrases_of(verdict)
    columns = [f"| cue | {phrases.head} | 95 % interval |", "|---|---:|---:|"]
    head = ["", phrases.legend.format(margin=MARGIN), "", *columns]
    return "\n".join(
        [
            f"## Verdict: {verdict.outcome}",
            "",
            _prose(verdict.reason),
            *findings,
            *(head if rows else []),
            *rows,
            *([""] if notes else []),
            *notes,
            *(["", *(f"- {_prose(line)}" for line in group_lines(verdict))] if verdict.attributes else []),
        ]
    )


def lines(verdict: Verdict) -> list[str]:
    """For the terminal, remedies included."""
    text = _opening(verdict)
    for finding, verb in to_do(verdict):
        beneath = [line for line in (most_in(finding, verdict), effects_of(finding, verdict)) if line]
        text += [f"  {finding.text}", *(f"    {line}" for line in beneath)]
        if verb:
            text += [f"    {verb}: {finding.remedy.what}"]
            text += [f"      {line}" for line in finding.remedy.code.splitlines()]
    text += [f"  {line}" for line in group_lines(verdict)]
    return [printable(line) for line in text]


def summary(text: str, numbers: str, pictures: Mapping[str, str]) -> str:
    """For a file beside pictures: the text with them, evidence first, and the numbers that end it below a fold.

    Args:
        text: Markdown.
        numbers: Its end, which is folded; may be empty.
        pictures: Captions by the name of the file.
    """
    words = text.removesuffix(numbers).rstrip() if numbers else text
    shown = [f"![{escape(caption)}]({quote(name)})" for name, caption in pictures.items()]
    fold = ["<details>", "<summary>All scalars</summary>", numbers, "</details>"] if numbers else []
    return "\n\n".join([*([words] if words else []), *shown, *fold])


def standing(verdict: Verdict, *, is_final: bool) -> dict[str, str]:
    """For the columns of a list of runs: the outcome, the cues of its findings and the reason."""
    cues = ", ".join(printable(finding.cue) for finding in verdict.findings)
    return {
        "verdict": verdict.outcome if is_final else f"{verdict.outcome} so far",
        "relies_on": cues or "-",
        "verdict_reason": printable(verdict.reason),
    }


def to_do(verdict: Verdict) -> list[tuple[Finding, str]]:
    """The findings that are causes, each with the words before its remedy; empty where an earlier one has the same."""
    causes = [finding for finding in verdict.findings if finding.is_cause]
    remedies = list(dict.fromkeys(finding.remedy for finding in causes))
    first = "start with this" if len(remedies) > 1 else "to do"
    verbs = {remedy: first if remedy == remedies[0] else "to do" for remedy in remedies}
    return [(finding, verbs.pop(finding.remedy, "")) for finding in causes]


def effects_of(finding: Finding, verdict: Verdict, escaped: Callable[[str], str] = printable) -> str:
    """The findings that a cause explains, as a sentence; empty without any."""
    lost = {effect.cue: effect.reliance for effect in verdict.findings}
    effects = [f"{escaped(cue)} ({lost[cue]:.2f})" for cue in verdict.causes.get(finding.cue, ())]
    return f"Seen through the same cause: {', '.join(effects)}." if effects else ""


def most_in(finding: Finding, verdict: Verdict, escaped: Callable[[str], str] = printable) -> str:
    """The classes that rely on a cue, as a sentence; empty where none can be told from the rest."""
    names = [escaped(name) for name in finding.classes[:MOST_CLASSES]]
    measured = next((reliance.by_class for reliance in verdict.measured if reliance.cue == finding.cue), {})
    if len(measured) > 1 and set(measured) <= set(finding.classes):
        return "In all classes."
    more = len(finding.classes) - len(names)
    return f"Most in: {', '.join(names)}{f' and {more} more' if more else ''}." if names else ""


def _finding(finding: Finding, verb: str, verdict: Verdict) -> list[str]:
    sentences = [most_in(finding, verdict, _prose), effects_of(finding, verdict, _prose)]
    beneath = [line for sentence in sentences if sentence for line in (sentence, "")]
    head = ["", f"### {_prose(finding.cue)}: {_weight(finding)}", "", _prose(finding.text), "", *beneath]
    if not verb:
        return head[:-1]
    code = ["```python", finding.remedy.code, "```"] if finding.remedy.code else []
    return [*head, f"{verb.capitalize()}: {_prose(finding.remedy.what)}.", "", *code]


def _weight(finding: Finding) -> str:
    return "relied on" if finding.outcome == FAIL else "perhaps relied on"


def _row(reliance: Reliance) -> str:
    return f"| {escape(reliance.cue)} | {_number(reliance.mean)} | {_interval(reliance)} |"


def _interval(reliance: Reliance) -> str:
    return f"{_number(reliance.low)} to {_number(reliance.high)}" if math.isfinite(reliance.low) else "not known"


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "-"


def _prose(text: str) -> str:
    r"""Escaped, but full stops and brackets inside a sentence stay: many read markdown as it is written.

    >>> _prose("*x* loses 0.31 (at least 0.2)")
    '\\*x\\* loses 0.31 (at least 0.2)'
    """
    return re.sub(r"(?<=\w)\\([.-])(?=\w)|\\([()])", r"\1\2", escape(text))
