"""A finding explains a fact that predicts the label: its cue, an example from the data, and what to do."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from ..attributes import association
from ..cues import ATTRIBUTE, FILE, cue_of_fact, remedy_for
from ..text import percent
from .pixels import Array

Severity: TypeAlias = Literal["strong", "moderate", "weak"]

# Balanced accuracy of two classes is (1 + skill) / 2: right on 90 % of the pictures from 0.8, on 75 % from 0.5.
_SEVERITIES: tuple[tuple[float, Severity], ...] = ((0.8, "strong"), (0.5, "moderate"), (0.0, "weak"))


_OF_TRANSPARENCY = ("alpha", "hidden colour")  # facts that pictures with transparency alone have


@dataclass(frozen=True)
class FactSkill:
    """How well one fact tells one class from the others.

    Args:
        fact: The name of the fact.
        cue: The shortcut that the fact may become; ``file`` if no network can see the fact.
        told_apart: The class that the fact tells from the others best.
        skill: Balanced accuracy for this class, cross-validated and corrected for chance: 0 is chance, 1 always right.
        bound: Lower 95 % bound of the skill.
        p_value: p value of the skill against shuffled labels, after Holm's correction for the number of facts.
    """

    fact: str
    cue: str
    told_apart: str
    skill: float
    bound: float
    p_value: float


@dataclass(frozen=True)
class AuditFinding(FactSkill):
    """A fact that predicts the label.

    Args:
        severity: ``strong`` (skill from 0.8), ``moderate`` (from 0.5) or ``weak``.
        text: The finding in a sentence, with examples.
        remedy: The advice: what to do.
        code: Code to paste that defines ``transform``. Empty if code does not help.
    """

    severity: Severity
    text: str
    remedy: str
    code: str

    def __repr__(self) -> str:
        return f"AuditFinding({self.fact!r}, cue={self.cue!r}, {self.severity}, skill {self.skill:.2f})"


def finding(result: FactSkill, values: Array, labels: Array, classes: tuple[str, ...]) -> AuditFinding:
    """The finding for a fact that predicts the label, with examples from the fact's values ``(N,)`` or ``(N, D)``."""
    remedy = remedy_for(result.cue).fitting(("alpha",) if result.fact in _OF_TRANSPARENCY else ())
    return AuditFinding(
        **vars(result),
        severity=severity_of(result.skill),
        text=_sentence(result, values, labels == classes.index(result.told_apart), classes),
        remedy=remedy.what,
        code=remedy.code,
    )


def severity_of(skill: float) -> Severity:
    """How clear a skill is."""
    return next((word for least, word in _SEVERITIES if skill >= least), _SEVERITIES[-1][1])


def clearest_first(findings: list[AuditFinding]) -> tuple[AuditFinding, ...]:
    """Sorts findings: first those that a network can see, then by skill, then those without a part of the object."""
    return tuple(sorted(findings, key=lambda f: (f.cue == FILE.name, -round(f.skill, 2), _has_object(f.fact))))


def _has_object(fact: str) -> bool:
    """Whether the object contributes to the fact."""
    return fact in cue_of_fact(fact).object_facts


def _sentence(result: FactSkill, values: Array, inside: Array, classes: tuple[str, ...]) -> str:
    one = repr(result.told_apart)
    others = next(repr(name) for name in classes if name != result.told_apart) if len(classes) == 2 else "other"
    example = (_word_example if values.dtype.kind == "U" else _number_example)(values, inside, one, others)
    caveat = "; the object is part of it and may be the reason" if _has_object(result.fact) else ""
    accuracy = f"with {percent((1 + result.skill) / 2)} balanced accuracy"
    if result.fact.startswith(ATTRIBUTE):
        table = np.array([[(values[side] == word).sum() for word in np.unique(values)] for side in (inside, ~inside)])
        caveat = f"; Cramer's V of this class and the value is {association(table)[0]:.2f}"
    return f"{result.fact} alone tells {one} from {others} pictures {accuracy}: {example}{caveat}"


def _word_example(values: Array, inside: Array, one: str, others: str) -> str:
    """The most frequent word on each side. If both sides have the same one, the word whose share differs most."""
    words = np.unique(values)
    shares = np.array([[(values[side] == word).mean() for word in words] for side in (inside, ~inside)])
    here, there = shares.argmax(1)
    if here == there:
        here = there = np.abs(shares[0] - shares[1]).argmax()
    return f"{_share(words[here], shares[0, here], one)}, {_share(words[there], shares[1, there], others)}"


def _share(word: str, share: float, whose: str) -> str:
    amount = {0.0: f"no {whose} picture", 1.0: f"every {whose} picture"}
    return f"{word or 'nothing'} in {amount.get(float(share), f'{percent(share)} of {whose} pictures')}"


def _number_example(values: Array, inside: Array, one: str, others: str) -> str:
    return f"typically {_typical(values[inside])} in {one}, {_typical(values[~inside])} in {others} pictures"


def _typical(values: Array) -> str:
    """The median of numbers. Of vectors, the median of the first three components, which are a colour."""
    if values.ndim == 2:
        return "({:.0f}, {:.0f}, {:.0f})".format(*np.median(values, axis=0))
    numbers = values[~np.isnan(values.astype(float))]
    if not len(numbers):
        return "undefined"
    typical = float(np.median(numbers))
    return f"{typical:.0f}" if abs(typical) >= 1000 else f"{typical:.3g}"
