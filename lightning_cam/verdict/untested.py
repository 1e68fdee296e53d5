"""Why there is no number for a cue, in sentences that several cues may share."""

import math
from collections.abc import Mapping, Sequence

from ..attributes import FEWEST_IN_GROUP
from ..cues import CUES, REGION
from ..examination import Report
from ..intervention import NOT_ON_VOLUMES, GroupSwap, LevelSwap, Reliance, Trial

_NO_TRIAL = "No trial of this run swaps it; leave trials=None to swap all."
_NO_REGION = (
    "No audit names a part of the pictures that gives the class away; CAMCallback(audit=audit_dataset(folder)) looks "
    "for one."
)
_NO_MASKS = "No masks of the objects were given; Probe.from_dataset(dataset, masks=masks) takes them."
_ONE_CLASS = "All pictures of the probe are of one class, so no picture can lend anything of another class."
_NO_ANSWERS = "The model's outputs are NaN or infinite, so a swap has no answer that it could change."
_NO_CLASS_SCORES = (
    "The model gives no class scores, so a swap has no answer that it could change; pass forward= that returns them."
)
_TOO_ALIKE = "The probe's pictures of different classes are alike in this respect, so a swap would change nothing."
_TOO_FEW = "Too few of the probe's pictures differ in this respect, so it was swapped on too few to judge."
# What networks have learned to live on and no trial swaps: in the reports that measured it they got PASS.
UNSWAPPED = ("hue, shading or a lone mark on the object",)
_NO_SWAP = (
    "No swap exists for such cues. If you know one of each picture, attributes= compares right answers by its values, "
    "and swaps backgrounds by them. To take one away, vary it at random in the training."
)
_NO_GROUPS = (
    "{attribute!r} cannot be told from the class in the probe: that takes two classes, each with {n} pictures of one "
    "value and {n} of another, and the same values in both. Take a larger probe, or collect such pictures."
)
_NO_VOLUMES = "It is swapped on pictures alone, and these are volumes; there is no such trial of them."
LISTED = "not tested: "  # begins the part of a reason that lists such cues
# For verdicts of earlier versions, which do not say why.
UNKNOWN = "It was not swapped in this run, or on too few pictures."


def reasons_by_cue(report: Report) -> dict[str, str]:
    """A sentence for each cue without a number: of the table, and of the report's own trials."""
    measured = {reliance.cue: reliance for reliance in report.reliances}
    trials = {trial.cue: trial for trial in report.trials}
    unknown = [cue for cue in names_of_all(report.reliances, report.trials) if not has_number(measured.get(cue))]
    return {cue: _why(report, trials.get(cue), measured.get(cue), cue) for cue in unknown}


def names_of_all(reliances: Sequence[Reliance], trials: Sequence[Trial] = ()) -> list[str]:
    """The cues of the table, those of the user's own, and what no trial swaps."""
    names = [*(cue.name for cue in CUES), *(trial.cue for trial in trials), *(reliance.cue for reliance in reliances)]
    return list(dict.fromkeys([*names, *UNSWAPPED]))


def has_number(reliance: Reliance | None) -> bool:
    """Whether anything can be said of a cue."""
    return reliance is not None and not math.isnan(reliance.low)


def grouped(cues: Sequence[str], why: Mapping[str, str]) -> dict[str, list[str]]:
    """The cues by the reason that they share.

    >>> grouped(["a", "b", "c"], {"a": "x", "b": "y", "c": "x"})
    {'x': ['a', 'c'], 'y': ['b']}
    """
    groups: dict[str, list[str]] = {}
    for cue in cues:
        groups.setdefault(why.get(cue, _NO_SWAP if cue in UNSWAPPED else UNKNOWN), []).append(cue)
    return groups


def _why(report: Report, trial: Trial | None, reliance: Reliance | None, cue: str) -> str:
    if trial is None and cue in UNSWAPPED:
        return _NO_SWAP
    if trial is None and cue in NOT_ON_VOLUMES and len(report.size) == 3:
        return _NO_VOLUMES
    if trial is None:
        return _NO_REGION if cue == REGION.name else _NO_TRIAL
    if not report.has_answers:
        return _NO_CLASS_SCORES
    if report.has_one_class:
        return _ONE_CLASS
    if (trial.swap.needs_masks and cue not in report.effects) or (reads_masks(trial) and _has_no_masks(report)):
        return _NO_MASKS
    if report.n_unanswered and not report.learned:
        return _NO_ANSWERS
    if isinstance(trial.swap, GroupSwap) and not (reliance is not None and reliance.n):
        return _NO_GROUPS.format(attribute=trial.swap.attribute, n=FEWEST_IN_GROUP)
    return _TOO_FEW if reliance is not None and reliance.n else _TOO_ALIKE


def reads_masks(trial: Trial) -> bool:
    """Whether a cue shows by the objects' masks alone, such as their size."""
    return isinstance(trial.swap, LevelSwap) and trial.swap.reads_masks


def _has_no_masks(report: Report) -> bool:
    return set(report.mask_sources) <= {"none"}
