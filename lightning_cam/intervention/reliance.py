"""From effects on single images to how much a model relies on a cue, with an interval and a test."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from .. import statistics
from . import classes as single
from .effects import APART, DECISION, PROBABILITY, RIGHT

# Of own-class probability: ordinary ImageNet models lose 6 to 10 % to another background (Xiao et al. 2021).
MARGIN = 0.10
_CONFIDENCE = 0.95  # of intervals
_LEVEL = 0.05  # of the tests of classes, and of the test that `needed_n` plans; the usual level


@dataclass(frozen=True)
class Reliance:
    """How much the answers of a model need one cue, over a probe.

    Attributes:
        cue: Name of the cue.
        mean: Own-class probability lost when only the cue is swapped, -1 to 1. Classes count equally. 0 means that
            the cue is not used.
        low: Lower end of the 95 % interval of the mean.
        high: Upper end.
        p_value: Chance of such a mean or a higher one if the true mean were at most `MARGIN`.
        by_class: The mean in each class with enough images, and its p value.
        needed_n: How many probe images would settle on which side of the margin the mean lies.
        label: Of several labels, the one that relies most on the cue: all figures are its own, after correction for
            the number of labels; `high` is the highest of any label's. Empty where images have one class.
        accuracy_own: Share of right answers with the cue of another image of the own class; NaN where only
            probabilities were read, as in files of earlier versions.
        accuracy_lost: Share of right answers that the cue of another class takes away, beyond what editing does.
        accuracy_low: Lower bound of that loss at 97.5 %, the lower end of a 95 % interval.
        accuracy_high: Upper bound of that loss at 95 %.
        either_p: Chance that probability or accuracy lost as much if neither truly lost more than `MARGIN`, and no
            single class more than `CLASS_MARGIN`.
        hanging: Classes that lose more than `CLASS_MARGIN` beyond doubt, the surest first: share of right answers with
            the cue of the own class, the same with that of another, and the p value among all classes.
        unsettled: Classes that are not shown to lose less than `CLASS_MARGIN`: on how many of their images the cue was
            swapped, and how many they have.
        apart: Share of right answers that the cue of another image of the *same* class takes away, against the image's
            own cue through the same edit. NaN where that was not tried.
        apart_low: Lower bound of that loss at 97.5 %.
        kind: Of the task. Of values, `mean` is the share of the way to a donor's value that predictions move, and a
            right answer is a prediction on the right side of the middle.
        n: Images on which the cue was swapped: all figures are of these. 0 in files of earlier versions.
        n_images: Images that were there. A swap leaves out an image in which it changes nothing.
    """

    cue: str
    mean: float
    low: float
    high: float
    p_value: float
    by_class: Mapping[str, tuple[float, float]]
    needed_n: float
    label: str = ""
    accuracy_own: float = math.nan
    accuracy_lost: float = math.nan
    accuracy_low: float = math.nan
    accuracy_high: float = math.nan
    either_p: float = math.nan
    hanging: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    unsettled: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    apart: float = math.nan
    apart_low: float = math.nan
    kind: str = "classes"
    n: int = 0
    n_images: int = 0

    @property
    def reach(self) -> str:
        """On how many images the figures rest, where these are a part of the probe; else empty."""
        return f"{self.n} of {self.n_images} pictures" if 0 < self.n < self.n_images else ""

    @property
    def accuracy_other(self) -> float:
        """Share of right answers with the cue of another class."""
        return min(max(self.accuracy_own - self.accuracy_lost, 0.0), 1.0)  # the loss has the donor class's gain in it

    @property
    def convicting_p(self) -> float:
        """The p value that may convict: of both readings where both were taken."""
        return self.p_value if math.isnan(self.either_p) else self.either_p

    @property
    def score(self) -> float:
        """For ranking, -1 to 1: the higher of the lower ends of both readings."""
        return max(self.low, -1.0 if math.isnan(self.accuracy_low) else self.accuracy_low)

    @property
    def may_be_none(self) -> bool:
        """Whether both readings leave it open that the cue is not used, or is used no more than `MARGIN`."""
        readings = ((self.mean, self.low), (self.accuracy_lost, self.accuracy_low))
        return not self.hanging and not any(mean > MARGIN and low > 0 for mean, low in readings)

    @property
    def is_apart(self) -> bool:
        """Whether the cue of another image of the same class already takes more than `MARGIN` of the right answers."""
        return self.apart > MARGIN and self.apart_low > 0

    @property
    def is_settled(self) -> bool:
        """Whether both readings are shown to lie below `MARGIN`."""
        intervals = [(self.low, self.high), (self.accuracy_low, self.accuracy_high)]
        return all(statistics.equivalent(each, MARGIN) for each in intervals if not math.isnan(each[1]))

    def __repr__(self) -> str:
        interval = f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"
        return f"Reliance({self.cue!r}, {interval}, p={self.p_value:.2g})"


def weigh(effects: Mapping[str, Tensor], targets: Tensor, classes: Sequence[str]) -> tuple[Reliance, ...]:
    """Means, intervals and p values of effects by cue; NaN where too few images have an effect.

    Effects are ``(N, 3)``, see `effects`, or ``(N,)`` of probability alone.
    """
    return tuple(_weigh(cue, values, targets, classes) for cue, values in effects.items())


def weigh_labels(effects: Mapping[str, Tensor], answers: Tensor, names: Sequence[str]) -> tuple[Reliance, ...]:
    """As `weigh`, of several labels: one reliance for each cue, that of the label with the surest one.

    One label that relies on a cue would drown in the mean of many that do not.

    Args:
        effects: As in `weigh`; NaN for images whose label is not judged.
        answers: ``(N,)``, ``2 k`` or ``2 k + 1`` for label ``k``.
        names: Of the answers.
    """
    groups = {names[2 * label + 1]: answers // 2 == label for label in sorted(set((answers // 2).tolist()))}
    return tuple(
        _of_surest(cue, {name: (values[rows], answers[rows]) for name, rows in groups.items()}, names)
        for cue, values in effects.items()
    )


def _of_surest(cue: str, of_labels: Mapping[str, tuple[Tensor, Tensor]], names: Sequence[str]) -> Reliance:
    """The reliance of the label with the lowest p value, corrected for the number of labels (Holm, Bonferroni).

    Upper ends are not: a claim of all labels needs no correction for their number (intersection-union test).
    """
    all_labels = [_of_label(cue, columns, names, name) for name, columns in of_labels.items()]
    defined = [each for each in all_labels if not math.isnan(each.low)]
    if not defined:
        return replace(all_labels[0], label="", mean=math.nan, p_value=math.nan, either_p=math.nan, by_class={})
    surest = min(defined, key=lambda each: each.convicting_p)
    p_values = statistics.holm([each.convicting_p for each in defined])
    columns, answers = of_labels[surest.label]
    level, has_decisions = 1 - (1 - _CONFIDENCE) / len(defined), columns.ndim > 1
    lost = columns[:, PROBABILITY] if has_decisions else columns
    return replace(
        surest,
        low=statistics.bca_interval(lost, answers, level=level)[0],
        high=max(each.high for each in defined),
        p_value=min(1.0, surest.p_value * len(defined)),
        by_class={each.label: (each.mean, p) for each, p in zip(defined, p_values, strict=True)},
        needed_n=max(each.needed_n for each in defined) * len(all_labels),
        accuracy_low=statistics.decision_bounds(columns[:, DECISION], answers, level=level)[0]
        if has_decisions
        else math.nan,
        accuracy_high=max(each.accuracy_high for each in defined),
        either_p=min(p_values) if has_decisions else math.nan,
    )


def _of_label(cue: str, columns: tuple[Tensor, Tensor], names: Sequence[str], label: str) -> Reliance:
    """The reliance of one label alone; it needs more images where the swap reaches a part of them only."""
    reliance = _weigh(cue, *columns, names)
    needed_n = reliance.needed_n * reliance.n_images / max(reliance.n, 1)
    return replace(reliance, label=label, needed_n=needed_n, hanging={}, unsettled={})


def _weigh(cue: str, effects: Tensor, targets: Tensor, classes: Sequence[str]) -> Reliance:
    if effects.ndim == 1:
        return _in_probability(cue, effects, targets, classes)
    reliance, lost = _in_probability(cue, effects[:, PROBABILITY], targets, classes), effects[:, DECISION]
    if math.isnan(reliance.low):
        return reliance
    hanging = single.hanging(effects, targets)
    mean, (low, high) = statistics.stratified_mean(lost, targets), statistics.decision_bounds(lost, targets)
    return replace(
        reliance,
        needed_n=max(reliance.needed_n, _needed_n(lost, targets, mean)),
        accuracy_own=min(round(statistics.stratified_mean(effects[:, RIGHT], targets), 9), 1.0),  # else 1 - 1e-16
        accuracy_lost=mean,
        accuracy_low=low,
        accuracy_high=high,
        either_p=single.either_p(statistics.joint_p(effects[:, : DECISION + 1], targets, margin=MARGIN), hanging),
        hanging={classes[label]: figures for label, figures in hanging.items()},
        unsettled={classes[label]: counts for label, counts in single.unsettled(effects, targets).items()},
        apart=statistics.stratified_mean(effects[:, APART], targets),
        apart_low=statistics.decision_bounds(effects[:, APART], targets)[0],
    )


def _in_probability(cue: str, effects: Tensor, targets: Tensor, classes: Sequence[str]) -> Reliance:
    mean = statistics.stratified_mean(effects, targets)
    low, high = statistics.bca_interval(effects, targets)
    p_value = statistics.sign_flip_p(effects, targets, margin=MARGIN)
    p_by_class = statistics.gatekept(effects, targets, p_value, margin=MARGIN, alpha=_LEVEL)
    by_class = {classes[k]: (float(effects[targets == k].nanmean()), p) for k, p in p_by_class.items()}
    needed_n, n = _needed_n(effects, targets, mean), len(effects) - statistics.n_undefined(effects)
    return Reliance(cue, mean, low, high, p_value, by_class, needed_n, n=n, n_images=len(effects))


def _needed_n(effects: Tensor, targets: Tensor, mean: float) -> float:
    n = len(effects) - statistics.n_undefined(effects)
    sd = statistics.standard_error(effects, targets) * math.sqrt(n)
    least = _needed_agreeing(mean) if sd < statistics.NO_SPREAD else _needed_unseen(mean)
    return max(statistics.needed_n(sd, mean, MARGIN, _LEVEL), least)


def _needed_unseen(mean: float) -> float:
    """Images of which a share of `MARGIN` would not have gone unseen, below which no interval ends: 29."""
    return 0 if mean >= MARGIN else math.ceil(math.log(_LEVEL) / math.log(1 - MARGIN))


def _needed_agreeing(mean: float) -> float:
    """Images that settle a mean if all of their effects agree, where the formula for `needed_n` gives 0.

    ``n`` alike images leave room for a share of unlike ones: at the level ``a / 2`` it is ``1 - (a / 2) ** (1 / n)``,
    see `statistics.clopper_pearson_upper`. Unlike images may have an effect of 1, so that share must be below
    ``(MARGIN - mean) / (1 - mean)``. That gives ``n >= log(a / 2) / log((1 - MARGIN) / (1 - mean))``.
    """
    if mean >= MARGIN:
        return statistics.FEWEST
    return math.ceil(math.log(_LEVEL / 2) / math.log((1 - MARGIN) / (1 - mean)))
