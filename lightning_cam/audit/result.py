"""The result of an audit, for people, for programs and for shells."""

import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..cues import CODEC, FILE, cue_named, cue_of_fact
from ..text import printable
from .findings import AuditFinding, FactSkill
from .recurring import RecurringPatch

_COLOURS = {"strong": "\033[31m", "moderate": "\033[33m", "weak": "\033[36m"}
_AS_CLEAR = 0.1  # of skill: a cue is no effect of one that is less clear than this. Chosen, not measured.
_SHOWN = 10  # classes and skipped files that a table lists; the rest are counted


@dataclass(frozen=True, eq=False)
class AuditResult:
    """The result of an audit.

    Prints in one line; `as_table` gives the text for people.

    Args:
        classes: Names of the classes.
        n_found: Number of pictures of each class.
        n_read: Number of pictures of each class that were read. Smaller if a sample was drawn or files are broken.
        skipped: Name and reason of each file that could not be read.
        facts: Every fact that was tested.
        findings: The facts from which the label can be predicted, clearest first.
        cue_map: Skill of each part of the picture, ``(8, 8)``. The object explains skill in the middle; at the edge it
            is a risk.
        candidate_region: True on parts from which the label can be predicted beyond doubt, ``(8, 8)``. Whether a model
            uses them is tested by the trials of a `CAMCallback`.
        patches: Small patches that recur nearly identical in pictures of one class, each with a picture of it.
    """

    classes: tuple[str, ...]
    n_found: tuple[int, ...]
    n_read: tuple[int, ...]
    skipped: tuple[tuple[str, str], ...]
    facts: tuple[FactSkill, ...]
    findings: tuple[AuditFinding, ...]
    cue_map: npt.NDArray[np.float64]
    candidate_region: npt.NDArray[np.bool_]
    patches: tuple[RecurringPatch, ...] = ()

    def __repr__(self) -> str:
        cues = ", ".join(self.cues) or "none"
        return f"AuditResult({sum(self.n_read)} pictures, {len(self.classes)} classes, cues: {cues})"

    @property
    def cues(self) -> tuple[str, ...]:
        """Names of the cues from which the label can be predicted, clearest first."""
        return tuple(dict.fromkeys(finding.cue for finding in self.findings))

    @property
    def causes(self) -> dict[str, tuple[str, ...]]:
        """The cues that need a remedy, clearest first, each with other cues that are likely the same thing.

        Another background changes the border, the mean colour and the contrast too. Such a cue is no cause where the
        one that it shows is as clear: its remedy would leave the background in place. A size of files that differs
        may be an effect of whatever else is as clear: a stamp makes files larger.
        """
        skills = {finding.cue: finding.skill for finding in reversed(self.findings)}  # the clearest of each
        by_size = {CODEC.name} if all(map(_has_object, self._of(CODEC.name))) else set()

        def explains(one: str, other: str) -> bool:
            may_show = other in cue_named(one).shows_as or (other in by_size and one not in (other, FILE.name))
            return may_show and skills[one] + _AS_CLEAR >= skills[other]

        first = [cue for cue in self.cues if not any(explains(one, cue) for one in self.cues)]
        causes = [cue for cue in self.cues if cue in first or not any(explains(one, cue) for one in first)]
        effects = [cue for cue in self.cues if cue not in causes]
        return {one: tuple(cue for cue in effects if explains(one, cue)) for one in causes}

    def _of(self, cue: str) -> list[AuditFinding]:
        return [finding for finding in self.findings if finding.cue == cue]

    @property
    def ok(self) -> bool:
        """Whether a network can see none of the findings."""
        return all(finding.cue == FILE.name for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """0 where `ok`, else 1."""
        return 0 if self.ok else 1

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON types."""
        classes = zip(self.classes, self.n_found, self.n_read, strict=True)
        return {
            "ok": self.ok,
            "classes": [{"name": name, "n_found": n_found, "n_read": n_read} for name, n_found, n_read in classes],
            "skipped": [{"name": name, "reason": reason} for name, reason in self.skipped],
            "facts": [asdict(fact) for fact in self.facts],
            "findings": [asdict(finding) for finding in self.findings],
            "causes": {cue: list(others) for cue, others in self.causes.items()},
            "patches": [patch.as_json() for patch in self.patches],
            "cue_map": self.cue_map.tolist(),
            "candidate_region": self.candidate_region.tolist(),
        }

    def as_table(self, *, colour: bool | None = None) -> str:
        """Text for people, a paragraph for each cause; coloured by default where standard output is a terminal."""
        if colour is None:
            colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        return "\n".join([*self._counts(), "", *self._paragraphs(colour)])

    def _counts(self) -> Iterator[str]:
        classes = list(zip(self.classes, self.n_read, self.n_found, strict=True))
        counts = [f"{printable(name)} {n_read} of {n_found}" for name, n_read, n_found in classes[:_SHOWN]]
        yield f"read {', '.join(counts)} pictures{_more(classes)}"
        if self.skipped:
            names = [f"\n  {printable(name)} ({printable(reason)})" for name, reason in self.skipped[:_SHOWN]]
            yield f"skipped {len(self.skipped)} files that cannot be read:{''.join(names)}{_more(self.skipped)}"

    def _paragraphs(self, colour: bool) -> Iterator[str]:
        if not self.findings:
            yield f"none of the {len(self.facts)} facts predicts the label"
        else:
            yield "skill: how well one fact alone tells a class from the others; 0 is chance, 1 is always right"
        advised: set[str] = set()
        for cue, others in self.causes.items():
            findings = self._of(cue)
            first, facts = findings[0], ", ".join(finding.fact for finding in findings)
            head = f"{first.severity:<8}  {cue:<10}  skill {first.skill:.2f} (at least {first.bound:.2f})  {facts}"
            yield f"{_COLOURS[first.severity]}{head}\033[0m" if colour else head
            yield f"  {printable(first.text)}"
            if others:
                yield f"  likely the same cause: {', '.join(others)}"
            if first.remedy not in advised:
                verb = "to do" if advised or len(self.causes) < 2 else "start with this"
                doubt = ", if it is not the object itself" if all(map(_has_object, findings)) else ""
                yield "\n      ".join([f"  {verb}{doubt}: {first.remedy}", *first.code.splitlines()])
            advised.add(first.remedy)


def _has_object(finding: AuditFinding) -> bool:
    return finding.fact in cue_of_fact(finding.fact).object_facts


def _more(listed: "list[Any] | tuple[Any, ...]") -> str:
    return f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
