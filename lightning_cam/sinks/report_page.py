"""A run as one page that asks for nothing: its verdict in words, and the checks as numbers that the page draws."""

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import front
from ..audit import AuditResult
from ..front import embedded
from ..intervention import MARGIN
from ..text import printable
from ..verdict import Verdict
from .page import Page
from .page_numbers import check_entry, curve_values, mistakes_entry, portraits_entry
from .page_words import audit_entry, figures_entry, verdict_entry
from .snapshot import Portraits, data_uri
from .wording import swapped, undrawn

MOST_BARE = 3  # checks without maps behind the last one that has some
MOST_CHECKS = 100  # on the slider; of more, every second one is left out
MOST_OF_MISTAKES = 1_000_000  # letters: 64 probes that are all wrong for 45 checks
_BLOCK = re.compile(r'<script type="application/json" id="(portraits|checks)">(.*?)</script>', re.DOTALL)
ONE_LOOK = "One look at a model"  # no fit has ended
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
        figures: Data URIs of the last pictures that belong to no single probe, by name.
    """

    checks: dict[int, str] = field(default_factory=dict)
    portraits: str = "null"
    shown: Portraits | None = None
    verdict: Verdict | None = None
    evidence: dict[str, str] = field(default_factory=dict)
    audit: AuditResult | None = None
    mistakes: Mapping[str, Any] | None = None
    figures: dict[str, str] = field(default_factory=dict)

    def add(self, page: Page) -> None:
        """Takes over what a page says. A check that comes again without pictures keeps its maps."""
        if page.snapshot is not None and page.snapshot.portraits is not self.shown:
            self._show(page.snapshot.portraits)
        if page.snapshot is not None or (page.scalars and page.step not in self.checks):
            self.checks[page.step] = embedded(check_entry(page))
            self.checks = lightened(self.checks)
        elif page.scalars:
            self.checks[page.step] = embedded({**json.loads(self.checks[page.step]), "values": curve_values(page)})
        if len(self.checks) > MOST_CHECKS:
            self.checks = thinned(self.checks)
        if page.untrusted and self.shown is not None:
            self._mark(page.untrusted, self.shown)
        self.verdict = page.verdict or self.verdict
        self.audit = page.audit or self.audit
        if page.mistakes is not None:
            self.mistakes = mistakes_entry(page.mistakes)
        self.figures |= {name: data_uri(picture) for name, picture in page.figures.items()}
        self.evidence |= {printable(cue): data_uri(picture) for cue, picture in page.evidence.items()}

    def _mark(self, untrusted: Sequence[str], shown: Portraits) -> None:
        """At the last check that has maps: they are of the weights that were drawn anew."""
        entries = {step: json.loads(line) for step, line in sorted(self.checks.items())[-MOST_BARE:]}
        last = max((step for step, entry in entries.items() if "maps" in entry), default=None)
        if last is not None:
            rows = [i for i, name in enumerate(shown.names) if name in untrusted]
            self.checks[last] = embedded({"untrusted": rows, **entries[last]})

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
        facts = {
            **page.facts,
            "made": time.strftime("%Y-%m-%d %H:%M"),
            "step": page.step,
            "epoch": page.epoch,
            "run": page.run.name,
            "probe fingerprint": page.probe,
            **versions,
        }
        return self.words(_when(page), facts)

    def words(self, when: str, facts: Mapping[str, object], *, no_evidence: str = LATER) -> dict[str, Any]:
        """What the page says: ``when`` it was made, and why a finding has no pictures where there are none."""
        return {
            "when": when,
            "no_evidence": no_evidence if swapped(self.verdict) else "",
            "audit": None if self.audit is None else audit_entry(self.audit),
            "verdict": verdict_entry(self.verdict),
            "evidence": self.evidence,
            "undrawn": printable(undrawn(self.verdict, self.evidence)) if self.verdict else "",
            "facts": {key: printable(value) for key, value in facts.items() if value != ""},
            "margin": MARGIN,
            "mistakes": self.mistakes,
            "figures": figures_entry(self.figures),
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


def _when(page: Page) -> str:
    if not page.run.is_fit:
        return ONE_LOOK
    return "At the end of the fit" if page.is_final else f"So far: the fit had not ended at step {page.step}"


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
