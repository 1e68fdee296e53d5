"""What detectors are worth, from the scores of many runs, as plain text."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy import stats

from lightning_cam.statistics import clopper_pearson_upper

from .baselines import FROM_ATTENTION, FROM_DATA
from .detector import ALARMS
from .scoring import GIVEN, PROBES, RELIES, Scores

CLEAN, WEAK, CLEANER = 0.05, 0.08, 0.03  # of truth; beside weak reliance, clean means even less
Score = Callable[[Scores], float]


def lines(scored: Sequence[Scores]) -> Iterator[str]:
    """The whole table. Labels that are the cue, which must FAIL, and models that learned nothing are told apart."""
    legitimate = [one for one in scored if one["run"]["control"] == "legitimate"]
    unlearned = [one for one in scored if one["run"]["control"] in ("noise", "untrained")]
    judged = [one for one in scored if one not in legitimate + unlearned]
    yield f"{len(judged)} runs: {_counts(judged)}"
    yield ""
    yield f"{'score':<28}{'AUROC, truth >= 0.2':^26}{'weak, 0.08-0.2':>16}{'Spearman':>10}"
    yield from (_ranking(name, judged, score) for name, score in _scores().items())
    for name in PROBES:
        yield ""
        yield f"verdicts, {name}"
        yield from _verdicts(name, judged)
        yield f"  legitimate background: FAIL in {_alarms(name, legitimate, ('FAIL',))} of {len(legitimate)}"
        undecided = _alarms(name, unlearned, ("INCONCLUSIVE",))
        yield f"  random labels or weights: INCONCLUSIVE in {undecided} of {len(unlearned)}"
    yield ""
    attended = [
        [one["others"][FROM_ATTENTION[0]] > 0.5 for one in group] for group in (_relying(judged), _clean(judged))
    ]
    found, false = attended
    yield f"background attention > 0.5: found {sum(found)} of {len(found)}; false alarms {sum(false)} of {len(false)}"
    yield ""
    yield from _families(judged)


def _scores() -> dict[str, Score]:
    ours: dict[str, Score] = {f"lightning_cam, {name}": lambda one, name=name: one[name]["score"] for name in PROBES}
    theirs: dict[str, Score] = {
        name: lambda one, name=name: one["others"][name] for name in (*FROM_ATTENTION, *FROM_DATA)
    }
    return ours | theirs


def _counts(scored: Sequence[Scores]) -> str:
    relying, weak, clean = by_truth(scored)
    return (
        f"{len(relying)} rely on their cue (>= {RELIES}), {len(weak)} weakly ({WEAK}-{RELIES}), {len(clean)} are clean"
    )


def _relying(scored: Sequence[Scores]) -> list[Scores]:
    return [one for one in scored if one["truth"] >= RELIES]


def _weak(scored: Sequence[Scores]) -> list[Scores]:
    return [one for one in scored if WEAK <= one["truth"] < RELIES]


def _clean(scored: Sequence[Scores], most: float = CLEAN) -> list[Scores]:
    return [one for one in scored if one["truth"] <= most]


def by_truth(scored: Sequence[Scores]) -> tuple[list[Scores], list[Scores], list[Scores]]:
    """Those that rely on their cue, those that do weakly, and those that are clean."""
    return _relying(scored), _weak(scored), _clean(scored)


def _ranking(name: str, scored: Sequence[Scores], score: Score) -> str:
    relying, weak, clean, cleaner = (
        np.array([score(one) for one in group])
        for group in (_relying(scored), _weak(scored), _clean(scored), _clean(scored, CLEANER))
    )
    low, high = auroc_interval(relying, clean)
    rank = stats.spearmanr(
        [score(one) for one in scored], [one["truth"] for one in scored], nan_policy="omit"
    ).statistic
    return f"{name:<28}{auroc(relying, clean):8.3f} ({low:.3f} to {high:.3f}){auroc(weak, cleaner):14.3f}{rank:10.2f}"


def auroc(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Chance that a positive scores higher than a negative, ties half; NaN scores count as the lowest."""
    both = np.nan_to_num(np.concatenate([positives, negatives]), nan=-np.inf)
    if not (len(positives) and len(negatives)):
        return float("nan")
    ranks = stats.rankdata(both)[: len(positives)]
    return float((ranks.sum() - len(positives) * (len(positives) + 1) / 2) / (len(positives) * len(negatives)))


def auroc_interval(positives: np.ndarray, negatives: np.ndarray, resamples: int = 2000) -> tuple[float, float]:
    """95 % percentile interval over runs, which are drawn anew within either group."""
    rng = np.random.default_rng(0)
    drawn = [auroc(*(rng.choice(group, len(group)) for group in (positives, negatives))) for _ in range(resamples)]
    return float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))


def _alarms(name: str, scored: Sequence[Scores], outcomes: Sequence[str] = ALARMS) -> int:
    return sum(one[name]["outcome"] in outcomes for one in scored)


def _verdicts(name: str, scored: Sequence[Scores]) -> Iterator[str]:
    relying, weak, clean = by_truth(scored)
    for label, outcomes in (("FAIL", ("FAIL",)), ("FAIL or WARN", ALARMS)):
        found, false = _alarms(name, relying, outcomes), _alarms(name, clean, outcomes)
        yield (
            f"  {label:<13} found {found} of {len(relying)}, weak {_alarms(name, weak, outcomes)} of {len(weak)};"
            f" false alarms {false} of {len(clean)} (at most {clopper_pearson_upper(false, max(1, len(clean))):.1%})"
        )
    yield f"  {'PASS':<13} in {_alarms(name, clean, ('PASS',))} of {len(clean)} clean"
    alarmed = [one for one in relying if one[name]["outcome"] in ALARMS]
    yield f"  cue named right in {sum(one['named_right'][name] for one in alarmed)} of {len(alarmed)} found"
    lags = [one["lag"][name] for one in relying if name in one["lag"]]
    known = [lag for lag in lags if lag is not None]
    if known:
        yield (
            f"  checks from reliance to alarm: median {np.median(known):.0f}, nine in ten at most "
            f"{np.quantile(known, 0.9):.0f}, none in {len(lags) - len(known)} of {len(lags)}"
        )
    n_forward, n_probe = np.median([(one[name]["n_forward"], one["n_probe"]) for one in scored], axis=0)
    yield f"  images through the model: {n_forward:.0f} for {n_probe:.0f} in the probe"


def _families(scored: Sequence[Scores]) -> Iterator[str]:
    """By cue; its relying runs are ranked among all clean ones."""
    yield f"{'cue':<22}{'relying':>8}{'weak':>6}{'clean':>6}" + "".join(
        f"{f'AUROC, {name}':>18}{'found':>7}{'false':>7}{'named':>7}" for name in GIVEN
    )
    clean = _clean(scored)
    for family in dict.fromkeys(one["run"]["family"] for one in scored):
        own = [one for one in scored if one["run"]["family"] == family]
        relying = _relying(own)
        row = f"{family:<22}{len(relying):>8}{len(_weak(own)):>6}{len(_clean(own)):>6}"
        for name in GIVEN:
            positives, negatives = (np.array([one[name]["score"] for one in group]) for group in (relying, clean))
            named = sum(one["named_right"][name] for one in relying)
            found, false = _alarms(name, relying), _alarms(name, _clean(own))
            row += f"{auroc(positives, negatives):>18.3f}{found:>7}{false:>7}{named:>7}"
        yield row
