"""How often the tests and intervals err, on effects whose truth is known.

The sd of an effect over images is 0.3. Every check moves all its images together by a wobble with sd 0.02: trainings
that differ by their seed differ as much. The probe is fixed, so an image's effect stays from check to check: ``kept``
is the share of its variance that does.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from lightning_cam import statistics
from lightning_cam.intervention import classes as single
from lightning_cam.intervention import first_part
from lightning_cam.intervention.settling import is_harmless
from lightning_cam.verdict import RunningVerdict

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
SD, WOBBLE, CHECKS, ALPHA, MARGIN = 0.3, 0.02, 20, 0.05, 0.05
SCREEN = 2.0  # a t below it cannot have a sign-flip p that matters in a run: tested, not computed 8 x 20 times a run

NOISE: dict[str, Draw] = {  # mean 0, sd 0.3
    "normal": lambda rng, shape: SD * rng.standard_normal(shape),
    "skewed": lambda rng, shape: SD * (rng.exponential(size=shape) - 1),
    "two values": lambda rng, shape: SD * ((rng.random(shape) < 0.3) - 0.3) / np.sqrt(0.3 * 0.7),
}


def strata(n: int, n_classes: int) -> torch.Tensor:
    return torch.arange(n) % n_classes


def p_values(rng: np.random.Generator, effect: float, *, kept: float, n: int, noise: str) -> Iterator[float]:
    """P values of one cue over a run's checks, each computed when it is asked for."""
    lasting, fresh = NOISE[noise](rng, (1, n)), NOISE[noise](rng, (CHECKS, n))
    wobble = WOBBLE * rng.standard_normal((CHECKS, 1))
    for effects in effect + np.sqrt(kept) * lasting + np.sqrt(1 - kept) * fresh + wobble:
        suspicious = effects.mean() - MARGIN > SCREEN * standard_error(effects)
        yield statistics.sign_flip_p(torch.from_numpy(effects), strata(n, 2), margin=MARGIN) if suspicious else 1.0


def standard_error(effects: np.ndarray) -> float:
    return float(effects.std(ddof=1) / np.sqrt(len(effects)))


def alarmed_share(
    effect: float, *, runs: int, cues: int, tested: int, kept: float = 1.0, n: int = 64, noise: str = "normal"
) -> float:
    """Share of runs with an alarm on any of ``tested`` cues with this effect, when ``cues`` are corrected for."""
    rng = np.random.default_rng(0)
    names = [f"cue {number}" for number in range(cues)]
    untested = dict.fromkeys(names[tested:], 1.0)
    alarms = 0
    for _ in range(runs):
        series = [p_values(rng, effect, kept=kept, n=n, noise=noise) for _ in range(tested)]
        running = RunningVerdict({}, alpha=ALPHA)
        checks = (dict(zip(names, ps, strict=False)) | untested for ps in zip(*series, strict=True))
        alarms += any(running.add_check(p_of_cue) for p_of_cue in checks)
    return alarms / runs


def assert_rare(share: float, runs: int) -> None:
    assert statistics.clopper_pearson_upper(round(share * runs), runs) <= 0.05


def coverage(noise: str, n: int, n_classes: int, *, repeats: int) -> float:
    rng = np.random.default_rng([n, n_classes])
    drawn = (torch.from_numpy(0.1 + NOISE[noise](rng, (n,))) for _ in range(repeats))
    intervals = (statistics.bca_interval(effects, strata(n, n_classes), resamples=1000) for effects in drawn)
    return sum(low <= 0.1 <= high for low, high in intervals) / repeats


def rejections(effect: float, level: float, *, n: int, repeats: int) -> float:
    rng = np.random.default_rng(0)
    drawn = (torch.from_numpy(effect + SD * rng.standard_normal(n)) for _ in range(repeats))
    return sum(statistics.sign_flip_p(effects, strata(n, 2), margin=MARGIN) < level for effects in drawn) / repeats


def test_effects_screened_out_would_not_have_been_significant() -> None:
    rng = np.random.default_rng(0)
    for noise in NOISE.values():
        for effects in noise(rng, (60, 64)):
            effects += MARGIN - effects.mean() + SCREEN * standard_error(effects)

            p = statistics.sign_flip_p(torch.from_numpy(effects), strata(64, 2), margin=MARGIN)

            assert p > 5 * statistics.check_level(ALPHA, CHECKS, cues=1)


def test_one_test_at_the_margin_keeps_its_level() -> None:
    assert rejections(MARGIN, 0.05, n=32, repeats=1500) == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize("kept", [1.0, 0.0])
def test_a_run_of_a_clean_model_raises_no_alarm(kept: float) -> None:
    assert_rare(alarmed_share(0.0, runs=100, cues=8, tested=8, kept=kept), 100)


def test_a_run_with_every_cue_at_the_margin_raises_an_alarm_in_five_percent_at_most() -> None:
    assert_rare(alarmed_share(MARGIN, runs=150, cues=8, tested=8), 150)


@pytest.mark.parametrize(("effect", "expected"), [(0.1, 0.16), (0.2, 0.91), (0.3, 1.0)])
def test_power_with_one_cue_is_as_tabulated(effect: float, expected: float) -> None:
    assert alarmed_share(effect, runs=60, cues=1, tested=1) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("effect", [0.2, 0.25])
def test_needed_images_give_the_power_asked_for(effect: float) -> None:
    level = statistics.check_level(ALPHA, CHECKS, cues=8)
    n = int(statistics.needed_n(SD, effect, MARGIN, level))

    assert rejections(effect, level, n=n, repeats=300) == pytest.approx(0.8, abs=0.07)


@pytest.mark.slow
@pytest.mark.parametrize("noise", NOISE)
def test_interval_of_ten_small_classes_holds_the_truth(noise: str) -> None:
    assert 0.93 <= coverage(noise, 64, 10, repeats=300) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("n_classes", [2, 4, 10])
@pytest.mark.parametrize("n", [64, 96])
@pytest.mark.parametrize("noise", NOISE)
def test_interval_holds_the_truth(noise: str, n: int, n_classes: int) -> None:
    assert 0.93 <= coverage(noise, n, n_classes, repeats=1500) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("kept", [1.0, 0.8, 0.0])
@pytest.mark.parametrize("effect", [0.0, MARGIN], ids=["clean", "at the margin"])
def test_family_wise_false_alarms_of_a_run(effect: float, kept: float, noise: str) -> None:
    assert_rare(alarmed_share(effect, runs=600, cues=8, tested=8, kept=kept, noise=noise), 600)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "effect", "at_least"), [(64, 0.2, 0.75), (64, 0.25, 0.93), (64, 0.3, 0.98), (96, 0.2, 0.93)], ids=str
)
def test_power_to_find_one_of_eight_cues(n: int, effect: float, at_least: float) -> None:
    assert alarmed_share(effect, runs=400, cues=8, tested=1, n=n) >= at_least


@pytest.mark.slow
@pytest.mark.parametrize(("effect", "expected"), [(0.1, 0.16), (0.2, 0.91), (0.3, 1.0)])
def test_power_with_one_cue_is_as_tabulated_in_many_runs(effect: float, expected: float) -> None:
    assert alarmed_share(effect, runs=600, cues=1, tested=1) == pytest.approx(expected, abs=0.05)


def two_runs(rng: np.random.Generator, noise: str, n: int, cues: int, shared: float) -> torch.Tensor:
    """Effects ``(2, cues, n)`` of two runs with the true means 0.1 and 0.15; ``shared`` of the variance is in both."""
    kept = NOISE[noise](rng, (1, cues, n))
    drawn = np.sqrt(shared) * kept + np.sqrt(1 - shared) * NOISE[noise](rng, (2, cues, n))
    return torch.from_numpy(drawn + np.array([0.1, 0.15])[:, None, None])


def joint_coverage(noise: str, n: int, n_classes: int, *, cues: int, repeats: int, shared: float = 0.5) -> float:
    """How often all intervals of a comparison hold the true change of 0.05."""
    rng, level = np.random.default_rng([n, cues]), 1 - 0.05 / cues
    held = 0
    for _ in range(repeats):
        before, after = two_runs(rng, noise, n, cues, shared)
        intervals = (
            statistics.paired_interval(*columns, strata(n, n_classes), level=level)
            for columns in zip(before, after, strict=True)
        )
        held += all(low <= 0.05 <= high for low, high in intervals)
    return held / repeats


def test_a_paired_interval_holds_the_true_change() -> None:
    assert joint_coverage("normal", 64, 2, cues=1, repeats=60) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("noise", NOISE)
def test_five_paired_intervals_hold_together(noise: str) -> None:
    assert joint_coverage(noise, 64, 2, cues=5, repeats=120) >= 0.91


@pytest.mark.slow
@pytest.mark.parametrize("noise", NOISE)
def test_intervals_of_two_samples_hold_the_true_change(noise: str) -> None:
    rng, n, held, repeats = np.random.default_rng(0), 64, 0, 400
    for _ in range(repeats):
        runs = [runs[0] for runs in two_runs(rng, noise, n, 1, shared=0.0)]
        ends = [(float(e.mean()), *statistics.bca_interval(e, strata(n, 2), resamples=1000)) for e in runs]
        low, high = statistics.unpaired_interval(ends[0], ends[1], level=0.99)
        held += low <= 0.05 <= high

    assert held / repeats >= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("together", [0.0, 0.7, 0.95])
def test_the_test_of_two_readings_keeps_its_level_at_the_margin(together: float) -> None:
    """Decisions are lost wholly or not at all, and go along with the probability that is lost."""
    rng, runs, n = np.random.default_rng(0), 1000, 64
    rejected = 0
    for _ in range(runs):
        common, own = rng.standard_normal((2, n))
        probability = MARGIN + SD * common
        decision = (together * common + np.sqrt(1 - together**2) * own > 1.6449).astype(float)  # in one of 20 images
        effects = torch.from_numpy(np.stack([probability, decision], 1))
        rejected += statistics.joint_p(effects, strata(n, 2), margin=MARGIN) < ALPHA

    assert rejected / runs < ALPHA + 2 * np.sqrt(ALPHA * (1 - ALPHA) / runs)


@pytest.mark.slow
def test_a_second_reading_that_says_the_same_costs_little_power() -> None:
    rng, runs, n = np.random.default_rng(1), 1000, 64
    alone = either = 0
    for _ in range(runs):
        common, own = rng.standard_normal((2, n))
        probability = 0.16 + SD * common
        effects = torch.from_numpy(np.stack([probability, (0.9 * common + 0.44 * own > 1.1).astype(float)], 1))
        alone += statistics.sign_flip_p(effects[:, 0], strata(n, 2), margin=MARGIN) < ALPHA
        either += statistics.joint_p(effects, strata(n, 2), margin=MARGIN) < ALPHA

    assert alone / runs > 0.85
    assert either / runs > alone / runs - 0.05


# the tests of probability, of decisions and of single classes together


def swapped(rng: np.random.Generator, labels: torch.Tensor, hanging: np.ndarray, probability: float) -> torch.Tensor:
    """Effects ``(N, 4)``: images hang on the cue as often as ``hanging (N,)`` says; one in ten others wobbles."""
    hangs, n = rng.random(len(labels)) < hanging, len(labels)
    wobble = (rng.random(n) < 0.1) * rng.choice([-0.5, 0.5], n) * ~hangs
    lost = hangs * probability + 0.6 * wobble + 0.03 * rng.standard_normal(n)
    columns = [lost.clip(-1, 1), hangs + wobble, np.full(n, 0.95), np.full(n, np.nan)]
    return torch.from_numpy(np.stack(columns, 1)).float()


def found_share(
    hanging: Sequence[float], *, runs: int, n: int, n_classes: int, first_class: float | None = None, sure: float = 0.9
) -> float:
    """Share of probes of ``n`` images with an alarm on any of ten cues, of which the first ones are used."""
    rng, labels = np.random.default_rng(0), strata(n, n_classes)
    shares = np.repeat([*hanging, *[0.0] * (10 - len(hanging))], n).reshape(10, n)
    if first_class is not None:
        shares[0, labels.numpy() == 0] = first_class
    alarms = 0
    for _ in range(runs):
        effects = (swapped(rng, labels, share, sure) for share in shares)
        p_values = [
            single.either_p(statistics.joint_p(each[:, :2], labels, margin=0.1), single.hanging(each, labels))
            for each in effects
        ]
        alarms += min(statistics.holm(p_values)) < ALPHA
    return alarms / runs


@pytest.mark.slow
@pytest.mark.parametrize(("n", "n_classes"), [(96, 2), (160, 10)])
@pytest.mark.parametrize("case", ["clean", "all at the margin", "a class at its margin"])
def test_three_tests_together_raise_few_false_alarms(case: str, n: int, n_classes: int) -> None:
    hanging, first = {
        "clean": ([], None),
        "all at the margin": ([0.1] * 10, None),
        "a class at its margin": ([], 0.25 if n_classes > 2 else 0.2),  # of two classes, the mean of all is 0.1 then
    }[case]

    assert_rare(found_share(hanging, runs=100, n=n, n_classes=n_classes, first_class=first), 100)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "at_least"),
    [
        pytest.param({"hanging": [0.3], "n": 96, "n_classes": 2}, 0.9, id="weak"),
        pytest.param({"hanging": [0.3], "n": 96, "n_classes": 2, "sure": 0.05}, 0.8, id="unsure"),
        pytest.param({"hanging": [], "n": 160, "n_classes": 10, "first_class": 1.0}, 0.95, id="one class of ten"),
    ],
)
def test_three_tests_together_find_what_each_would_miss(case: dict[str, Any], at_least: float) -> None:
    assert found_share(**case, runs=40) >= at_least


# the first of two looks at a cue, at a part of the images; the second one is at all of them


@pytest.mark.slow
@pytest.mark.parametrize(("n", "n_classes"), [(96, 2), (256, 4)])
def test_a_cue_at_the_margin_settles_early_in_few_probes(n: int, n_classes: int) -> None:
    """At most as often as the level of the first look says, and a little for skewed effects."""
    rng, labels, runs = np.random.default_rng(3), strata(n, n_classes), 400
    first = first_part(labels)[:, None]
    drawn = (swapped(rng, labels, np.full(n, 0.1), 0.99).where(first, torch.nan) for _ in range(runs))

    assert sum(is_harmless(each, labels) for each in drawn) / runs <= 0.04


@pytest.mark.slow
def test_a_class_at_its_margin_settles_early_in_few_probes() -> None:
    rng, labels, runs = np.random.default_rng(4), strata(256, 4), 400
    first, hanging = first_part(labels)[:, None], np.where(labels.numpy() == 0, 0.25, 0.0)
    drawn = (swapped(rng, labels, hanging, 0.99).where(first, torch.nan) for _ in range(runs))

    assert sum(is_harmless(each, labels) for each in drawn) / runs <= 0.04


@pytest.mark.slow
def test_a_cue_that_is_not_used_mostly_settles_in_the_first_look() -> None:
    rng, labels, runs = np.random.default_rng(5), strata(256, 2), 60
    first = first_part(labels)[:, None]
    drawn = (swapped(rng, labels, np.zeros(256), 0.9).where(first, torch.nan) for _ in range(runs))

    assert sum(is_harmless(each, labels) for each in drawn) / runs > 0.7
