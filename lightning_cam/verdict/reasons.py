"""The verdict in sentences: what was found, how much, and for which classes and labels."""

import math
from collections.abc import Sequence

from ..cues import cue_named
from ..examination import Report
from ..intervention import MARGIN, Reliance
from ..probe.task import CLASSES, VALUES
from ..text import percent
from .phrases import PHRASES
from .record import FAIL, Finding
from .untested import LISTED, names_of_all

_MOST_LABELS = 6  # in a sentence
_MOST_CLASSES = 3  # each with its cues, in a sentence
_OF_ONE_CLASS = 16  # images of one class; 11 rule out `CLASS_MARGIN` if none of them loses anything


def kind_of(report: Report) -> str:
    """The kind of task that a report is on."""
    return CLASSES if report.task is None else report.task.kind


def relies(findings: Sequence[Finding]) -> str:
    """On what the model relies, beyond doubt or perhaps, and what is likely seen through that."""
    causes = [finding for finding in findings if finding.is_cause]
    behind_failing = {finding.cause or finding.cue for finding in findings if finding.outcome == FAIL}
    failing = [finding.cue for finding in causes if finding.cue in behind_failing]
    verb, cues = ("relies", failing) if failing else ("may rely", [finding.cue for finding in causes])
    effects = [f.cue for f in findings if not f.is_cause and f.cause in cues]
    through = f"; likely the same cause: {', '.join(effects)}" if effects else ""
    return f"the model {verb} on something that is not the object: {' and '.join(cues)}{through}"


def measured(reliance: Reliance) -> str:
    """How much a model relies on one cue."""
    if reliance.kind == VALUES:
        return _moved(reliance)
    cue, own, other = cue_named(reliance.cue), reliance.accuracy_own, reliance.accuracy_other
    what, phrases = cue.words, PHRASES[reliance.kind]
    loser, quantity = phrases.loser
    figures = f"{reliance.mean:.2f} {quantity} (95 % interval {reliance.low:.2f} to {reliance.high:.2f})"
    right = "" if math.isnan(own) else f"{_right(own, other, phrases.right)}, and "
    reach = f"; judged on {reliance.reach}" if reliance.reach else ""
    if reliance.label:
        of, lost = f"of pictures that differ in {reliance.label!r}", "the right answer for that label loses"
        return f"{reliance.cue}: with {what} {cue.other or of}, {right}{lost} {figures}{reach}"
    lost = f"{right}{loser} {figures}{reach}{_worst_class(reliance)}"
    return f"{reliance.cue}: with {what} {cue.other or phrases.other}, {lost}"


def _moved(reliance: Reliance) -> str:
    """How far predictions of a value move with one cue."""
    cue, own, other = cue_named(reliance.cue), reliance.accuracy_own, reliance.accuracy_other
    way = f"{percent(reliance.mean)} of the way to that value"
    interval = f"95 % interval {percent(reliance.low)} to {percent(reliance.high)}"
    moves = f"the prediction{f' of {reliance.label!r}' if reliance.label else ''} moves {way} ({interval})"
    right = PHRASES[VALUES].right.format(share=f"{percent(other)} of the pictures, not {percent(own)}")
    reach = f"; judged on {reliance.reach}" if reliance.reach else ""
    if cue.other:  # no way to another value
        return f"{reliance.cue}: with {cue.words} but of about the same value, {right}{reach}"
    also = reach if math.isnan(own) else f"; {right}{reach}"
    return f"{reliance.cue}: when pictures get only {cue.words} of others with another value, {moves}{also}"


def _right(own: float, other: float, words: str) -> str:
    """How often the model is right with the cue of another class, and with that of its own."""
    if percent(own) == percent(other):
        return words.format(share=f"{percent(own)} of the pictures as before")
    return words.format(share=f"{percent(other)} of the pictures, not {percent(own)}")


def _worst_class(reliance: Reliance) -> str:
    """The class that hangs on a cue most surely, where the others do less; empty without one."""
    if not reliance.hanging:
        return ""
    name, (own, other, _) = next(iter(reliance.hanging.items()))
    if percent(min(max(other, 0.0), 1.0)) in (percent(reliance.accuracy_other), percent(own)):
        return ""  # as all classes together, or as before
    return f"; on pictures of {name!r} it is right on {percent(min(max(other, 0.0), 1.0))}, not {percent(own)}"


def of_single_classes(counted: Sequence[Reliance], n_classes: int) -> str:
    """An addition to PASS: the classes for which it is not settled. A mean over classes says little about each."""
    names = list(dict.fromkeys(name for reliance in counted for name in reliance.unsettled))
    if counted and counted[0].kind == VALUES:
        return ""
    small = [name for name in names if all(r.unsettled.get(name, (0, 0))[1] < _OF_ONE_CLASS for r in counted)]
    which = "any single class" if len(small) >= n_classes else f"{_listed(small)} alone"
    text = f"; not settled for {which}: that takes {_OF_ONE_CLASS} probe images of a class, or more" if small else ""
    large = [name for name in names if name not in small]
    text += "".join(f"; not settled for {name!r} alone: {_open_cues(counted, name)}" for name in large[:_MOST_CLASSES])
    more = len(large) - _MOST_CLASSES
    return f"{text}; not settled for {more} more classes alone either" if more > 0 else text


def _open_cues(counted: Sequence[Reliance], name: str) -> str:
    """What leaves a class open that has images enough: cues that reach few of them, or losses in some."""
    open_ = {reliance.cue: reliance.unsettled[name] for reliance in counted if name in reliance.unsettled}
    few = {cue: counts for cue, counts in open_.items() if counts[0] < _OF_ONE_CLASS}
    reached = " and ".join(f"{cue} on {n or 'none'}" for cue, (n, _) in few.items())
    reached = reached.replace(" on ", " could be swapped on ", 1)
    reached = f"of its {max(n for _, n in open_.values())} pictures, {reached}"
    parts = [f"{reached}, and a claim about one class takes {_OF_ONE_CLASS}"] if few else []
    lost = " or ".join(cue for cue in open_ if cue not in few)
    parts += [f"some of its pictures lose by the swap of {lost}, which may be chance"] if lost else []
    return " and ".join(parts)


def labels(report: Report, findings: Sequence[Finding]) -> str:
    """An addition where images have several labels: which ones rely on a cue, and of which ones nothing is known."""
    if len(report.labels) < 2:
        return ""
    words = _by_label(findings, kind_of(report))
    if not report.unlearned:
        return words
    unknown = _names(report.unlearned, kind_of(report))
    return (
        f"{words}; nothing is known of {unknown}: the model does not tell such pictures from others yet, or the probe "
        "has too few of them"
    )


def _by_label(findings: Sequence[Finding], kind: str) -> str:
    """For which labels a model relies on what; effects of one cause go without saying."""
    of_causes = {f.cue: f.classes for f in findings if f.is_cause and f.classes}
    names = {classes: _names(classes, kind) for classes in of_causes.values()}
    if len(names) < 2:
        return "".join(f"; it does so for {each}" for each in names.values())
    return f"; it does so {' and '.join(f'on {cue} for {names[classes]}' for cue, classes in of_causes.items())}"


def _names(labels: Sequence[str], kind: str) -> str:
    noun = "value" if kind == VALUES else "label"
    return f"the {noun} {_listed(labels)}" if len(labels) == 1 else f"the {noun}s {_listed(labels)}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_LABELS
    return ", ".join(map(repr, names[:_MOST_LABELS])) + (f" and {more} more" if more > 0 else "")


def below_margin(counted: Sequence[Reliance]) -> str:
    """What was tested and found to be small."""
    loses = PHRASES[counted[0].kind].loses.format(bound=MARGIN, share=percent(MARGIN))
    if len(counted) == 1:
        return f"no swap of the {counted[0].cue} {loses}"
    return f"none of {len(counted)} cues that were swapped {loses}: {', '.join(reliance.cue for reliance in counted)}"


def not_tested(measured: Sequence[Reliance]) -> str:
    """An addition to PASS: the cues of which nothing is known, and what no trial swaps."""
    tested = {reliance.cue for reliance in measured if not math.isnan(reliance.low)}
    return f"; {LISTED}{', '.join(name for name in names_of_all(measured) if name not in tested)}"


def context(report: Report) -> str:
    """An addition where nothing is found: a property of the object that the model goes by, which judges nothing."""
    own = [r for r in report.reliances if cue_named(r.cue).owner == "object" and r.mean > MARGIN and r.low > 0]
    return "".join(
        f"; as context: with the {r.cue} of {PHRASES[r.kind].did.format(mean=r.mean, share=percent(r.mean))}; "
        f"that is no finding, since {r.cue} belongs to the object; it is a shortcut if light or processing differ"
        for r in own
    )
