"""A run as one page that asks for nothing: its verdict in words, and the checks as numbers that the page draws."""

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import front
from ..audit import AuditResult
from ..front import embedded
from ..intervention import MARGIN, Reliance
from ..render import COLOURS, COLOURS_AGAINST
from ..text import printable
from ..verdict import FAIL, Finding, Verdict
from .mistakes import ShownMistakes
from .page import Page
from .snapshot import Portraits, Snapshot, data_uri
from .wording import most_in, why_no_finding

MOST_CHECKS = 100  # on the slider; of more, every second one is left out
MOST_OF_MISTAKES = 1_000_000  # letters: 64 probes that are all wrong for 45 checks
CURVES = ("background_attention_ratio", "probe_accuracy", "attention_drift")  # beside the reliances
WORST, BEST = -0.25, 1.0  # ends of the picture of an interval; hardly any reliance is lower
_BLOCK = re.compile(r'<script type="application/json" id="(portraits|checks)">(.*?)</script>', re.DOTALL)
HEADLINES = {
    "PASS": "No shortcut found among the cues that were tested",
    "WARN": "The model may rely on a shortcut",
    "FAIL": "The model relies on a shortcut",
    "INCONCLUSIVE": "Not enough is known for a verdict",
}
NOT_JUDGED = "No verdict: no cue was swapped"
LATER = "The pictures with the swapped cue are drawn when the fit ends."


@dataclass
class RunPage:
    """What the page of a run has so far; each page of the fit adds to it.

    Attributes:
        checks: A line of JSON by step, encoded once.
        portraits: The probes as a line of JSON.
        shown: Whose line that is; None where an earlier run wrote it.
        verdict: The last one there was.
        evidence: Data URIs by cue.
        audit: Of the training data.
        mistakes: Of the whole validation set.
    """

    checks: dict[int, str] = field(default_factory=dict)
    portraits: str = "null"
    shown: Portraits | None = None
    verdict: Verdict | None = None
    evidence: dict[str, str] = field(default_factory=dict)
    audit: AuditResult | None = None
    mistakes: Mapping[str, Any] | None = None

    def add(self, page: Page) -> None:
        """Takes over what a page says. A check that comes again without pictures keeps its maps."""
        if page.snapshot is not None and page.snapshot.portraits is not self.shown:
            self._show(page.snapshot.portraits)
        if page.snapshot is not None or (page.scalars and page.step not in self.checks):
            self.checks[page.step] = embedded(check_entry(page))
            self.checks = lightened(self.checks)
        elif page.scalars:
            self.checks[page.step] = embedded({**json.loads(self.checks[page.step]), "values": _values(page)})
        if len(self.checks) > MOST_CHECKS:
            self.checks = thinned(self.checks)
        self.verdict = page.verdict or self.verdict
        self.audit = page.audit or self.audit
        if page.mistakes is not None:
            self.mistakes = mistakes_entry(page.mistakes)
        self.evidence |= {printable(cue): data_uri(picture) for cue, picture in page.evidence.items()}

    def _show(self, portraits: Portraits) -> None:
        """Checks of other probes cannot be shown beside these."""
        line = embedded(portraits_entry(portraits))
        self.checks = self.checks if line == self.portraits else {}
        self.portraits, self.shown = line, portraits

    def html(self, page: Page, versions: Mapping[str, str]) -> str:
        """The page as it stands after ``page``."""
        return self.drawn(self.words_after(page, versions))

    def words_after(self, page: Page, versions: Mapping[str, str]) -> dict[str, Any]:
        """All that the page says after ``page`` beside the maps."""
        when = "At the end of the fit" if page.is_final else f"So far: the fit had not ended at step {page.step}"
        facts = {
            "step": page.step,
            "epoch": page.epoch,
            "run": page.run.name,
            "probe fingerprint": page.probe,
            **versions,
        }
        return self.words(when, facts)

    def words(self, when: str, facts: Mapping[str, object], *, no_evidence: str = LATER) -> dict[str, Any]:
        """What the page says: ``when`` it was made, and why a finding has no pictures where there are none."""
        return {
            "when": when,
            "no_evidence": no_evidence,
            "audit": None if self.audit is None else audit_entry(self.audit),
            "verdict": verdict_entry(self.verdict),
            "evidence": self.evidence,
            "facts": {key: printable(value) for key, value in facts.items() if value != ""},
            "margin": MARGIN,
            "mistakes": self.mistakes,
        }

    def drawn(self, words: Mapping[str, Any]) -> str:
        """The page with these words."""
        lines = [line for _, line in sorted(self.checks.items())]
        return front.report(
            {
                **words,
                "mistakes": embedded(words["mistakes"]),
                "portraits": self.portraits,
                "checks": "[\n" + ",\n".join(lines) + "\n]",
            }
        )


def read_back(text: str) -> RunPage:
    """The checks on a page that an earlier run left, for the run that resumes it; none where it cannot be read."""
    blocks = dict(_BLOCK.findall(text))
    try:
        checks = {int(check["step"]): embedded(check) for check in json.loads(blocks["checks"])}
        return RunPage(checks, embedded(json.loads(blocks["portraits"])))
    except (ValueError, KeyError, TypeError, RecursionError):
        return RunPage()


def thinned(checks: Mapping[int, str]) -> dict[int, str]:
    """Every second check; the first and the last stay."""
    steps = sorted(checks)
    return {step: checks[step] for step in [*steps[:-1:2], steps[-1]]}


def lightened(checks: Mapping[int, str]) -> dict[int, str]:
    """The checks with the second maps of mistakes in every second check alone, where they take too much room."""
    sizes = {step: _size_of_mistaken(line) for step, line in checks.items()}
    if sum(sizes.values()) <= MOST_OF_MISTAKES:
        return dict(checks)
    having = sorted(step for step, size in sizes.items() if size)
    dropped = set(having[1:-1:2])
    return {step: _without_mistaken(line) if step in dropped else line for step, line in checks.items()}


def _size_of_mistaken(line: str) -> int:
    """The last entry of a check; a name cannot be taken for it, since a check has none."""
    start = line.find(',"mistaken":')
    return 0 if start < 0 else len(line) - start


def _without_mistaken(line: str) -> str:
    return embedded({key: value for key, value in json.loads(line).items() if key != "mistaken"})


def portraits_entry(portraits: Portraits) -> dict[str, Any]:
    """The probes for the page: names, pictures, classes, and the colours of its maps."""
    probes = [
        {
            "name": name,
            "picture": portraits.pictures[i],
            "outline": portraits.outlines[i],
            "target": portraits.targets[i],
            "area": _number(math.nan if area is None else area),
            "source": portraits.sources[i] if portraits.sources else "",
        }
        for i, (name, area) in enumerate(zip(portraits.names, portraits.areas, strict=True))
    ]
    ramp = COLOURS_AGAINST if portraits.is_against else COLOURS
    words = {"classes": list(portraits.classes), "probes": probes, "ramp": ramp.tolist(), "margin": MARGIN}
    return {**words, "against": True} if portraits.is_against else words


def check_entry(page: Page) -> dict[str, Any]:
    """A check for the page: the scalars of its curves, and the maps of the portraits."""
    maps = {} if page.snapshot is None else _maps_entry(page.snapshot)
    return {"step": page.step, "epoch": page.epoch, "values": _values(page), **maps}


def _values(page: Page) -> dict[str, float | None]:
    scalars = {key.removeprefix(f"{page.prefix}/"): value for key, value in page.scalars.items()}
    return {key: _number(value) for key, value in scalars.items() if key in CURVES or key.startswith("reliance/")}


def _maps_entry(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "size": list(snapshot.grids.shape[1:]),
        "maps": base64.b64encode(snapshot.grids.tobytes()).decode(),
        "predicted": list(snapshot.predicted),
        "certainty": [_number(value) for value in snapshot.certainty],
        "own": [_number(value) for value in snapshot.own],
        "outside": [_number(value) for value in snapshot.outside],
        "pairs": [list(pair) for pair in snapshot.pairs],
        **({"mistaken": _mistaken_entry(snapshot)} if snapshot.mistaken else {}),
    }


def _mistaken_entry(snapshot: Snapshot) -> dict[str, Any]:
    return {"rows": list(snapshot.mistaken), "maps": base64.b64encode(snapshot.mistaken_grids.tobytes()).decode()}


def mistakes_entry(mistakes: ShownMistakes) -> dict[str, Any]:
    """The surest mistakes of the whole validation set for the page."""
    shown = mistakes.snapshot
    return {
        "portraits": portraits_entry(shown.portraits),
        "check": _maps_entry(shown),
        "images": mistakes.n_images,
        "accuracy": _number(mistakes.accuracy),
    }


def _number(value: float) -> float | None:
    """JSON knows neither NaN nor infinity."""
    return round(float(value), 4) if math.isfinite(value) else None


def verdict_entry(verdict: Verdict | None) -> dict[str, Any]:
    """A verdict in the words of the page."""
    if verdict is None:
        return {"outcome": "", "headline": NOT_JUDGED, "reasons": [], "findings": [], "cues": [], "untested": []}
    found = {finding.cue for finding in verdict.findings}
    measured = [reliance for reliance in verdict.measured if reliance.cue in verdict.tested]
    return {
        "outcome": verdict.outcome,
        "headline": HEADLINES[verdict.outcome],
        "reasons": [_sentence(part) for part in verdict.reason.split("; ")],
        "findings": [_finding(finding, verdict) for finding in verdict.findings],
        "cues": [_cue(reliance, is_found=reliance.cue in found) for reliance in measured],
        "untested": untested(verdict),
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
    return line and f"{start}{line[1:]}{'' if line.endswith('.') else '.'}"


def _finding(finding: Finding, verdict: Verdict) -> dict[str, Any]:
    return {
        "cue": printable(finding.cue),
        "weight": "relied on" if finding.outcome == FAIL else "perhaps relied on",
        "text": _sentence(finding.text.removeprefix(f"{finding.cue}: ")),
        "classes": most_in(finding, verdict),
        "what": printable(finding.remedy.what),
        "code": "\n".join(map(printable, finding.remedy.code.splitlines())),
    }


def _cue(reliance: Reliance, *, is_found: bool) -> dict[str, Any]:
    """A row of the table, with the places of its picture in per cent of the width."""
    return {
        "name": printable(reliance.cue),
        "text": "{:.2f} ({:.2f} to {:.2f})".format(
            *(round(value, 2) + 0.0 for value in (reliance.mean, reliance.low, reliance.high))
        ),
        "note": "" if is_found else why_no_finding(reliance),
        "is_found": is_found,
        **{end: place(getattr(reliance, end)) for end in ("low", "mean", "high")},
        "goes_on": reliance.low < WORST,
        "zero": place(0.0),
        "margin": place(MARGIN),
    }


def place(value: float) -> float:
    """Where a reliance lies in the picture of an interval, 0 to 100.

    >>> place(-0.25), place(1.0), place(2.0)
    (0.0, 100.0, 100.0)
    """
    return round(100 * min(max((value - WORST) / (BEST - WORST), 0.0), 1.0), 2)


def untested(verdict: Verdict) -> list[dict[str, str]]:
    """The cues of which nothing is known, and why."""
    tried = {reliance.cue for reliance in verdict.measured}
    return [{"cue": cue, "why": _why_untested(cue, tried)} for cue in verdict.untested]


def _why_untested(cue: str, tried: Sequence[str] | set[str]) -> str:
    if cue in tried:
        return "The probe's pictures do not differ in it by what a swap can bring about, or too few of them do."
    if cue == "background":
        return "It was not swapped: that takes masks of the objects, and trials that name it."
    return "No trial of this run swaps it."
