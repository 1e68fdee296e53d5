"""What the page of a run says, as JSON: the verdict, its findings and cues, and the audit of the data."""

from collections.abc import Mapping
from typing import Any

from ..audit import AuditResult
from ..cues import Remedy, cue_named
from ..intervention import MARGIN, Reliance
from ..text import printable
from ..verdict import FAIL, Finding, Verdict
from .figures import interval, lost, reach, right_answers, why_no_finding
from .groups import attribute_entries
from .wording import capital, effects_of, most_in, phrases_of, to_do

WORST, BEST = -0.25, 1.0  # ends of the picture of an interval; hardly any reliance is lower
HEADLINES = {
    "PASS": "No shortcut found among the cues that were tested",
    "WARN": "The model may rely on a shortcut",
    "FAIL": "The model relies on a shortcut",
    "INCONCLUSIVE": "Not enough is known for a verdict",
}
_PERCENT = "\N{NO-BREAK SPACE}%"  # a line does not end before it
NOT_JUDGED = "No verdict: no cue was swapped"


FIGURES = {  # heading and explanation by name
    "map_groups": (
        "Pictures with like maps",
        "The probe's pictures in groups by where the model looks, at the end of the fit. Each row has the mean map of "
        "a group and some of its pictures. The groups convict nobody.",
    ),
    "methods": ("Methods side by side", "Maps of the true class, or of score=, by each method, from the same passes."),
    "features_over_time": (
        "What units have learnt, over time",
        "For each check: the filters of the first convolution, and the patch that each unit answers to most.",
    ),
    "features": (
        "What units answer to, at the last check",
        "The patches of the probe to which each unit answers most, and what in them it answers to.",
    ),
    "invariance": (
        "How features move with the picture, at the last check",
        "How far the features of a layer move while the picture is shifted, enlarged and turned, and the probability "
        "of the right class meanwhile.",
    ),
}


def verdict_entry(verdict: Verdict | None) -> dict[str, Any]:
    """A verdict in the words of the page."""
    if verdict is None:
        return {
            "outcome": "",
            "headline": NOT_JUDGED,
            "reasons": [],
            "findings": [],
            "cues": [],
            "untested": [],
            "attributes": [],
        }
    found = {finding.cue for finding in verdict.findings}
    measured = [reliance for reliance in verdict.measured if reliance.cue in verdict.tested]
    return {
        "outcome": verdict.outcome,
        "headline": HEADLINES[verdict.outcome],
        "reasons": [_sentence(part) for part in verdict.reasons],
        "findings": [_finding(finding, verb, verdict) for finding, verb in to_do(verdict)],
        "head": capital(phrases_of(verdict).head),
        "figure": phrases_of(verdict).figure,
        "donor": phrases_of(verdict).donor,
        "cues": [_cue(reliance, verdict, is_found=reliance.cue in found) for reliance in measured],
        "untested": [
            {"cues": ", ".join(map(printable, cues)), "n": len(cues), "why": _sentence(why)}
            for why, cues in verdict.untested_by_reason.items()
        ],
        "attributes": attribute_entries(verdict),
    }


def audit_entry(audit: AuditResult) -> dict[str, Any]:
    """What the pictures of the data set give away, cue by cue; the clearest fact of each speaks for it."""
    clearest = {finding.cue: finding for finding in reversed(audit.findings)}
    rows = [
        {
            "cue": printable(finding.cue),
            "severity": finding.severity,
            "skill": f"{finding.skill:.2f}",
            "text": _sentence(finding.text),
            "what": printable(finding.remedy),
        }
        for finding in (clearest[cue] for cue in audit.cues)
    ]
    return {"n_read": sum(audit.n_read), "n_facts": len(audit.facts), "n_skipped": len(audit.skipped), "rows": rows}


def _sentence(text: str) -> str:
    """One line that begins and ends like a sentence. The name of an argument keeps its small letter."""
    line = printable(text)
    begins_with_code = any(sign in line.split(" ")[0] for sign in "_=(")
    start = line[:1] if begins_with_code else line[:1].upper()
    return line and f"{start}{line[1:]}{'' if line.endswith('.') else '.'}".replace(" %", _PERCENT)


def _finding(finding: Finding, verb: str, verdict: Verdict) -> dict[str, Any]:
    return {
        "cue": printable(finding.cue),
        "weight": "relied on" if finding.outcome == FAIL else "perhaps relied on",
        "text": _sentence(finding.text.removeprefix(f"{finding.cue}: ")),
        "classes": most_in(finding, verdict),
        "effects": effects_of(finding, verdict),
        "verb": verb.capitalize(),
        "what": printable(finding.remedy.what),
        "code": _code(finding.remedy),
        "tried": _sentence(finding.tried),
        "other": None
        if finding.remedy.other is None
        else {"what": printable(finding.remedy.other.what), "code": _code(finding.remedy.other)},
    }


def _code(remedy: Remedy) -> str:
    return "\n".join(map(printable, remedy.code.splitlines()))


def _cue(reliance: Reliance, verdict: Verdict, *, is_found: bool) -> dict[str, Any]:
    """A row of the table, with the places of its picture in per cent of the width."""
    return {
        "name": printable(reliance.cue),
        "right": right_answers(reliance).replace(" %", _PERCENT),
        "text": f"{lost(reliance)} ({interval(reliance)})",
        "reach": reach(reliance),
        "note": "" if is_found else why_no_finding(reliance, verdict) or _context(reliance),
        "is_found": is_found,
        **{end: place(getattr(reliance, end)) for end in ("low", "mean", "high")},
        "goes_on": reliance.low < WORST,
        "zero": place(0.0),
        "margin": place(MARGIN),
    }


def _context(reliance: Reliance) -> str:
    """A mark for what the object has itself: a low figure acquits nobody, as a high one convicts nobody."""
    return "The object's own property: it judges nothing." if cue_named(reliance.cue).owner == "object" else ""


def place(value: float) -> float:
    """Where a reliance lies in the picture of an interval, 0 to 100.

    >>> place(-0.25), place(1.0), place(2.0)
    (0.0, 100.0, 100.0)
    """
    return round(100 * min(max((value - WORST) / (BEST - WORST), 0.0), 1.0), 2)


def figures_entry(figures: Mapping[str, str]) -> list[dict[str, str]]:
    """Pictures that belong to no single probe, in the order of `FIGURES`, each with its heading and what it shows."""
    rows = [(*FIGURES[name], figures[name]) for name in FIGURES if name in figures]
    return [{"title": title, "text": text, "picture": picture} for title, text, picture in rows]
