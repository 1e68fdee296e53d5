"""A comparison in words: did the remedy help, in one sentence for each run, and a table."""

import math
from collections.abc import Mapping, Sequence

from ..cues import cue_named
from ..intervention import MARGIN
from ..sinks.wording import phrases_of
from ..text import percent, printable
from ..verdict import INCONCLUSIVE
from .changes import ACCURACY, Change
from .runs import ComparedRun

MOST_NAMED = 3  # cues in a sentence
_MEANINGS = {"less": "less", "more": "more", "same": "the same", "open": "not settled", "unknown": ""}


def number(value: float) -> str:
    """With two decimals; zero has no sign.

    >>> number(-0.001), number(math.nan)
    ('0.00', '-')
    """
    return "-" if math.isnan(value) else f"{round(value, 2) + 0.0:.2f}"


def sentence(baseline: ComparedRun, run: ComparedRun, changes: Mapping[str, Change]) -> str:
    """Whether the remedy that ``run`` was trained with helped."""
    for each in (baseline, run):
        if each.learned is False:
            return (
                f"Nothing can be said: {each.letter} is right on {percent(each.accuracy)} of its probe, no better than "
                "chance, and a model that knows nothing relies on nothing."
            )
    opening = _helped if baseline.found else _nothing_to_remedy
    return f"{opening(baseline, run, changes)}{_instead(baseline, run, changes)}{_fewer_right(baseline, run, changes)}."


def _helped(baseline: ComparedRun, run: ComparedRun, changes: Mapping[str, Change]) -> str:
    """On the cues that the baseline was found to rely on."""
    known = [changes[cue] for cue in baseline.found if changes[cue].direction != "unknown"]
    unknown = [changes[cue] for cue in baseline.found if changes[cue].direction == "unknown"]
    if not known:
        return f"Whether the remedy helped cannot be said: {run.letter} has not measured {_named(unknown)}"
    beyond = f"; {run.letter} has not measured {_named(unknown)}" if unknown else ""
    return f"{_judged(run, known)}: {_lost(baseline, run, known)}{beyond}"


def _judged(run: ComparedRun, known: Sequence[Change]) -> str:
    """What became of all cues of the baseline together."""
    less = [change for change in known if change.direction == "less"]
    if len(less) == len(known):
        is_left = any(change.what in run.found or change.after > MARGIN for change in less)
        return "The remedy helped, but not enough" if is_left else "The remedy helped"
    if less:
        rest = [change for change in known if change not in less]
        return f"The remedy helped against {_named(less)}; against {_named(rest)} that is not shown"
    if any(change.direction == "more" for change in known):
        return "The remedy made it worse"
    is_same = all(change.direction == "same" for change in known)
    return "The remedy did not help" if is_same else "Whether the remedy helped is not settled"


def _nothing_to_remedy(baseline: ComparedRun, run: ComparedRun, changes: Mapping[str, Change]) -> str:
    less = [change for what, change in changes.items() if change.direction == "less" and what != ACCURACY]
    said = f"{baseline.letter} was not found to rely on a shortcut, so there was nothing to remedy"
    if baseline.verdict.outcome == INCONCLUSIVE:
        said = f"Whether {baseline.letter} relies on a shortcut is not known, so nothing can be said of a remedy"
    return f"{said}; {_lost(baseline, run, less)}" if less else said


def _instead(baseline: ComparedRun, run: ComparedRun, changes: Mapping[str, Change]) -> str:
    """Cues that the other run was found to rely on, and the baseline was not."""
    new = [changes[cue] for cue in run.found if cue not in baseline.found]
    new = [change for change in new if change.direction in ("more", "unknown")]
    return f"; but {run.letter} relies on {_named(new)}: {_lost(baseline, run, new)}" if new else ""


def _fewer_right(baseline: ComparedRun, run: ComparedRun, changes: Mapping[str, Change]) -> str:
    change = changes[ACCURACY]
    if change.direction != "less":
        return ""
    before, after = percent(change.before), percent(change.after)
    return f"; but {run.letter} is right on {after} of the pictures, and {baseline.letter} on {before}"


def _named(changes: Sequence[Change]) -> str:
    return " and ".join(printable(change.what) for change in changes[:MOST_NAMED])


def _lost(baseline: ComparedRun, run: ComparedRun, changes: Sequence[Change]) -> str:
    """What swaps cost in both runs, for some of the cues."""
    first, *rest = changes[:MOST_NAMED]
    cue, phrases = cue_named(first.what), phrases_of(baseline.verdict)
    loser, quantity = phrases.loser
    swapped = f"{printable(cue.words)} {cue.other or phrases.other}"
    said = (
        f"with {swapped}, {loser} {_part(first.before)} {quantity} in {baseline.letter} and "
        f"{_part(first.after)} in {run.letter}"
    )
    others = [
        f"with {printable(cue_named(each.what).words)} {_part(each.before)} and {_part(each.after)}" for each in rest
    ]
    return ", ".join([said, *others])


def _part(lost: float) -> str:
    return "an unknown part" if math.isnan(lost) else number(lost)


def cell(change: Change, *, after: bool) -> str:
    """The figure of one run, as the table has it."""
    value = change.after if after else change.before
    return percent(value) if change.what == ACCURACY and not math.isnan(value) else number(value)


def difference(change: Change) -> tuple[str, str]:
    """With its interval, as the table has them: accuracies in percent points."""
    if change.direction == "unknown":
        return "-", ""
    is_accuracy = change.what == ACCURACY
    figures = (change.difference, change.low, change.high)
    mean, low, high = (str(round(100 * value)) if is_accuracy else number(value) for value in figures)
    return mean, f"{low} to {high}{' points' if is_accuracy else ''}"


def meaning(change: Change) -> str:
    """The direction of a change in a few words. Whether it is more than another seed explains may be open."""
    if change.direction == "open" and (change.low > 0 or change.high < 0):
        return "more, by how much is open" if change.low > 0 else "less, by how much is open"
    return _MEANINGS[change.direction]


def table(runs: Sequence[ComparedRun], changes: Sequence[Mapping[str, Change]], rows: Sequence[str]) -> list[str]:
    """For the terminal: a line for each cue, two columns for each run but the first."""
    baseline, *others = runs
    head = [f"{phrases_of(baseline.verdict).head} with", baseline.letter]
    head += [text for run in others for text in (run.letter, f"{run.letter} - {baseline.letter}", "")]
    body = [_cells(what, changes) for what in rows]
    widths = [max(len(row[column]) for row in (head, *body)) for column in range(len(head))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in (head, *body)
    ]


def _with_interval(change: Change) -> str:
    mean, interval = difference(change)
    return f"{mean} ({interval})" if interval else mean


def _cells(what: str, changes: Sequence[Mapping[str, Change]]) -> list[str]:
    of_runs = [each[what] for each in changes]
    figures = [
        text for change in of_runs for text in (cell(change, after=True), _with_interval(change), meaning(change))
    ]
    return [printable(what), cell(of_runs[0], after=False), *figures]
