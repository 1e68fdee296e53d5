"""How runs differ from the first one, cue by cue, with intervals that hold together."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import Tensor

from .. import statistics
from ..intervention import MARGIN
from ..sinks.per_image import PerImage
from .runs import ComparedRun, shared_rows

Direction: TypeAlias = Literal["less", "more", "same", "open", "unknown"]

ACCURACY = "right on the probe"  # the row of a table that is no cue
LEVEL = 0.95  # with which all intervals of a comparison hold together
# Of probability. Trainings that differ by their seed alone wobble by an sd of about 0.02, see the simulation of the
# statistics, and two of them differ by 0.03. A change within that is no work of a remedy. Chosen at half of `MARGIN`.
BY_SEED = 0.05


@dataclass(frozen=True)
class Change:
    """What one run has more or less of than the baseline.

    Attributes:
        what: Name of a cue, or `ACCURACY`.
        before: Of the baseline, on the images that are compared; NaN where it was not measured.
        after: Of the other run.
        low: Lower end of the interval of ``after - before``. All intervals of a comparison hold together with `LEVEL`.
        high: Upper end.
        n: Images in pairs; 0 where two samples are compared.
    """

    what: str
    before: float
    after: float
    low: float
    high: float
    n: int = 0

    @property
    def difference(self) -> float:
        """``after - before``."""
        return self.after - self.before

    @property
    def direction(self) -> Direction:
        """Less or more than another seed explains, the same within `MARGIN`, or open where nothing is shown."""
        if math.isnan(self.low):
            return "unknown"
        if self.high < -BY_SEED:
            return "less"
        if self.low > BY_SEED:
            return "more"
        return "same" if self.low > -MARGIN and self.high < MARGIN else "open"


@dataclass(frozen=True, eq=False)
class Pairs:
    """Two runs on the ``n`` images that both looked at.

    Attributes:
        targets: ``(n,)`` classes of the images.
        before: ``(n,)`` by cue and for `ACCURACY`, of the baseline; NaN where undefined.
        after: The same of the other run.
    """

    targets: Tensor
    before: Mapping[str, Tensor]
    after: Mapping[str, Tensor]

    def change(self, what: str, level: float) -> Change:
        """On the images where both are defined; without an interval where they are too few."""
        before, after = self.before[what], self.after[what]
        both = ~(before + after).isnan()
        before, after, targets = before[both], after[both], self.targets[both]
        means = [statistics.stratified_mean(values, targets) for values in (before, after)]
        low, high = statistics.paired_interval(before, after, targets, level=level)
        return Change(what, means[0], means[1], low, high, len(targets))


def pairs_of(baseline: ComparedRun, other: ComparedRun) -> tuple[Pairs | None, str]:
    """The images in both, and what a reader has to know of them; None where two samples have to be compared."""
    one, two = baseline.images, other.images
    letters = f"{baseline.letter} and {other.letter}"
    if one is None or two is None:
        doubts = "; ".join(filter(None, (baseline.doubt, other.doubt)))
        return None, f"{letters} are compared as two samples, with wider intervals: {doubts}"
    rows = shared_rows(one, two)
    n, fewer = len(rows[0]), min(len(one.names), len(two.names))
    if n < max(statistics.FEWEST, fewer / 2):
        return None, f"{letters} are compared as two samples, with wider intervals: they looked at other pictures"
    columns = [_columns(run, run_rows) for run, run_rows in zip((one, two), rows, strict=True)]
    is_same = baseline.kept.probe == other.kept.probe and n == fewer
    remark = (
        f"{letters} are compared on the {n} pictures that both looked at; their probes differ in the rest or in masks, "
        "so these figures are not those of the runs' own reports"
    )
    return Pairs(one.targets[rows[0]], columns[0], columns[1]), "" if is_same else remark


def _columns(images: PerImage, rows: Tensor) -> dict[str, Tensor]:
    right = (images.predicted == images.targets).double()
    return {what: values.double()[rows] for what, values in {**images.effects, ACCURACY: right}.items()}


def changes_from(baseline: ComparedRun, others: Sequence[ComparedRun]) -> tuple[list[dict[str, Change]], list[str]]:
    """Of each other run, by cue; and remarks. The intervals are widened for the number of them all (Bonferroni)."""
    found = [pairs_of(baseline, other) for other in others]
    counts = [
        len(baseline.measured.keys() & other.measured.keys()) + (None not in (baseline.images, other.images))
        for other in others
    ]
    level = 1 - (1 - LEVEL) / max(sum(counts), 1)
    changes = [_changes(baseline, other, pairs, level) for other, (pairs, _) in zip(others, found, strict=True)]
    return changes, [remark for _, remark in found if remark]


def _changes(baseline: ComparedRun, other: ComparedRun, pairs: Pairs | None, level: float) -> dict[str, Change]:
    cues = dict.fromkeys([*baseline.measured, *other.measured])
    changes = {cue: _change(cue, pairs, baseline, other, level) for cue in cues}
    accuracy = _accuracy(baseline, other, level) if pairs is None else pairs.change(ACCURACY, level)
    return {**changes, ACCURACY: accuracy}


def _accuracy(baseline: ComparedRun, other: ComparedRun, level: float) -> Change:
    """Of two samples; without an interval where the answers of one run are not known."""
    before, after = baseline.accuracy, other.accuracy
    if baseline.images is None or other.images is None:
        return Change(ACCURACY, before, after, math.nan, math.nan)
    one, two = (
        (share, *statistics.wilson_interval(share, n))
        for share, n in ((before, len(baseline.images.names)), (after, len(other.images.names)))
    )
    return Change(ACCURACY, before, after, *statistics.unpaired_interval(one, two, level=level))


def _change(cue: str, pairs: Pairs | None, baseline: ComparedRun, other: ComparedRun, level: float) -> Change:
    """In pairs where there are enough, else of two samples; unknown where one run has not measured the cue."""
    one, two = baseline.measured.get(cue), other.measured.get(cue)
    if one is None or two is None:
        before, after = (math.nan if reliance is None else reliance.mean for reliance in (one, two))
        return Change(cue, before, after, math.nan, math.nan)
    if pairs is not None and not math.isnan((change := pairs.change(cue, level)).low):
        return change
    interval = statistics.unpaired_interval(baseline.ends(one), other.ends(two), level=level)
    return Change(cue, one.mean, two.mean, *interval)
