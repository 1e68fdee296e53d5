"""A verdict in words: markdown for dashboards, plain lines for a terminal."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from urllib.parse import quote

from ..cues import ATTRIBUTE
from ..intervention import MARGIN, Reliance
from ..probe.task import CLASSES
from ..text import escape, printable
from ..verdict import FAIL, Finding, Verdict
from ..verdict.phrases import PHRASES, Phrases
from .figures import interval, lost, reach, right_answers, why_no_finding
from .groups import group_lines

MOST_CLASSES = 6  # that are named: more are no help to a reader; the strongest come first
MOST_ROWS = 6  # of cues at the end of a fit; all of them are on the page


def closing(verdict: Verdict) -> list[str]:
    """For the end of a fit: the outcome, the cues that matter, and what to do first."""
    found = {finding.cue: _weight(finding) for finding in verdict.findings}
    mattering = sorted(
        (each for each in verdict.measured if each.cue in found or each.high > MARGIN),
        key=lambda each: (each.cue not in found, -each.mean),
    )[:MOST_ROWS]
    rows = [
        (
            each.cue,
            *_cells(each),
            "; ".join(filter(None, [reach(each), found.get(each.cue) or why_no_finding(each, verdict)])),
        )
        for each in mattering
    ]
    n_more = len(verdict.tested) - len(rows)
    text = [*_opening(verdict), *_aligned([_heads(phrases_of(verdict)), *rows] if rows else [])]
    text += [f"  and {n_more} other cue{'s' * (n_more > 1)}, see the page"] if rows and n_more else []
    text += [f"  {line}" for line in group_lines(verdict)]
    for finding in verdict.findings[:1]:
        text += [
            f"  {line}" for line in (finding.text, most_in(finding, verdict), effects_of(finding, verdict)) if line
        ]
        text += [f"  first: {finding.remedy.what}", *(f"    {line}" for line in finding.remedy.code.splitlines())]
        text += [f"    {finding.tried}"] if finding.tried else []
    text += [f"  {line}" for line in _untested(verdict)]
    return [printable(line) for line in text]


def phrases_of(verdict: Verdict) -> Phrases:
    """The words for the task of a verdict; all of its reliances are of one."""
    return PHRASES[next((reliance.kind for reliance in verdict.measured), CLASSES)]


def _untested(verdict: Verdict, escaped: Callable[[str], str] = printable) -> list[str]:
    """The cues of which nothing is known, a line for each reason. Earlier versions kept no reasons."""
    by_reason = verdict.untested_by_reason if verdict.why_untested else {}
    return [
        f"not tested: {escaped(_named(cues))}. {escaped(why.removesuffix('.'))}." for why, cues in by_reason.items()
    ]


def _named(cues: Sequence[str]) -> str:
    n_more = len(cues) - MOST_CLASSES
    few = cues if n_more <= 1 else cues[:MOST_CLASSES]
    listed = ", ".join(few) + (f" and {n_more} more" if n_more > 1 else "")
    return f"{len(cues)} cues ({listed})" if len(cues) > 1 else listed


def _opening(verdict: Verdict) -> list[str]:
    """The outcome and why, a line for each part of the reason."""
    first, *others = verdict.reasons
    return [f"{verdict.outcome}: {first}", *(f"  {part}" for part in others)]


def swapped(verdict: Verdict | None) -> list[str]:
    """The cues of the findings that have pictures to draw: of attributes none are edited."""
    found = verdict.findings if verdict else ()
    return [finding.cue for finding in found if not finding.cue.startswith(ATTRIBUTE)]


def undrawn(verdict: Verdict, drawn: Collection[str]) -> str:
    """Which findings have no pictures, where others have some; empty where that is true of none."""
    without = [cue for cue in swapped(verdict) if cue not in drawn]
    if not drawn or not without:
        return ""
    return f"No pictures were drawn of {_named(without)}: that is done for the first findings alone."


def _heads(phrases: Phrases) -> tuple[str, ...]:
    return "cue", "right answers", phrases.head, "95 % interval", ""


def _legend(phrases: Phrases) -> str:
    counted = f"Right answers: with the cue of {phrases.donor}, then after the swap."
    return f"{phrases.legend.format(margin=MARGIN)} {counted}"


def _cells(reliance: Reliance) -> tuple[str, str, str]:
    return right_answers(reliance), lost(reliance), interval(reliance)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns as wide as their widest cell; the last one ends where it ends."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows)
    return ["  " + "  ".join(row).rstrip() for row in padded]


def markdown(verdict: Verdict) -> str:
    """The outcome, every cause with its remedy, and what was measured."""
    findings = [line for finding, verb in to_do(verdict) for line in _finding(finding, verb, verdict)]
    cues = {finding.cue for finding in verdict.findings}
    first, *others = verdict.reasons or ("",)
    why = [(each.cue, why_no_finding(each, verdict)) for each in verdict.measured if each.cue not in cues]
    above = f"is above {MARGIN:.2f} and no finding"
    notes = [f"- {escape(cue)} {above}. {prose(note.removesuffix('.'))}." for cue, note in why if note]
    phrases = phrases_of(verdict)
    unknown = [f"- {line[:1].upper()}{line[1:]}" for line in _untested(verdict, prose)]
    return "\n".join(
        [
            f"## Verdict: {verdict.outcome}",
            "",
            prose(first),
            *(["", *(f"- {prose(part)}" for part in others)] if others else []),
            *findings,
            *(["", _legend(phrases), "", *_table(verdict.measured, phrases)] if verdict.measured else []),
            *([""] if notes or unknown else []),
            *notes,
            *unknown,
            *(["", *(f"- {prose(line)}" for line in group_lines(verdict))] if verdict.attributes else []),
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
            text += [f"      {finding.tried}"] if finding.tried else []
    text += [f"  {line}" for line in group_lines(verdict)]
    text += [f"  {line}" for line in _untested(verdict)]
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
    sentences = [most_in(finding, verdict, prose), effects_of(finding, verdict, prose)]
    beneath = [line for sentence in sentences if sentence for line in (sentence, "")]
    head = ["", f"### {prose(finding.cue)}: {_weight(finding)}", "", prose(finding.text), "", *beneath]
    if not verb:
        return head[:-1]
    code = ["```python", finding.remedy.code, "```"] if finding.remedy.code else []
    tried = ["", f"{capital(prose(finding.tried))}."] if finding.tried else []
    return [*head, f"{verb.capitalize()}: {prose(finding.remedy.what)}.", "", *code, *tried]


def capital(text: str) -> str:
    """With a capital at the beginning; others stay."""
    return text[:1].upper() + text[1:]


def _weight(finding: Finding) -> str:
    return "relied on" if finding.outcome == FAIL else "perhaps relied on"


def _table(measured: Sequence[Reliance], phrases: Phrases) -> list[str]:
    """As markdown. A last column says on how many images, where that is not on all."""
    rows = [(escape(each.cue), *_cells(each), reach(each)) for each in measured]
    n_columns = len(_heads(phrases)) - (not any(row[-1] for row in rows))
    ruled = ["---", "---:", "---:", "---:", "---"]
    return [f"| {' | '.join(row[:n_columns])} |" for row in [_heads(phrases), ruled, *rows]]


def prose(text: str) -> str:
    r"""Escaped, but full stops and brackets inside a sentence stay: many read markdown as it is written.

    >>> prose("*x* loses 0.31 (at least 0.2)")
    '\\*x\\* loses 0.31 (at least 0.2)'
    """
    return re.sub(r"(?<=\w)\\([.-])(?=\w)|\\([()])", r"\1\2", escape(text))
