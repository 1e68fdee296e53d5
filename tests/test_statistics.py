"""Means, tests, intervals and gates by value; how often they err is in `test_statistics_simulation`."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from house.cases import case
from lightning_cam import statistics

NAN = math.nan
NONE = torch.tensor([])


def effects_like(shape: str, n: int, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    draws = {"normal": rng.normal(0.1, 0.3, n), "two values": 0.5 * (rng.random(n) < 0.4)}
    return torch.from_numpy(draws[shape])


def enumerated_p(effects: Tensor, strata: Tensor, margin: float) -> float:
    """Sign-flip p value with a loop over all flips."""
    labels = strata.tolist()
    weights = [1 / len(set(labels)) / labels.count(label) for label in labels]
    moves = [weight * (effect - margin) for weight, effect in zip(weights, effects.tolist(), strict=True)]
    flips = [
        sum(s * abs(m) for s, m in zip(signs, moves, strict=True))
        for signs in itertools.product((-1, 1), repeat=len(moves))
    ]
    return sum(flip >= sum(moves) - 1e-12 for flip in flips) / len(flips)


# means


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_class_counts_the_same(dtype: torch.dtype) -> None:
    effects = torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=dtype)

    assert statistics.stratified_mean(effects, torch.tensor([7, 7, 7, 2])) == 0.625


def test_undefined_effects_are_dropped_and_counted() -> None:
    effects = torch.tensor([0.5, NAN, 0.25, NAN])

    assert statistics.stratified_mean(effects, torch.tensor([0, 1, 2, 1])) == 0.375
    assert statistics.n_undefined(effects) == 2


def test_a_class_counts_by_the_share_of_its_images_that_is_defined() -> None:
    """Else a few images of a class that mostly says nothing would outweigh the others."""
    effects = torch.tensor([NAN, NAN, NAN, 0.9, 0.1, 0.1, 0.1, 0.1])
    strata = torch.arange(8) // 4

    assert statistics.stratified_mean(effects, strata) == pytest.approx((0.9 / 4 + 0.1) / (1 / 4 + 1))
    spread = torch.tensor([NAN, NAN, 0.5, 0.9, 0.0, 0.1, 0.1, 0.2])
    by_hand = math.hypot(0.2 / 3, 2 / 3 * statistics.standard_error(spread[4:], torch.zeros(4)))
    assert statistics.standard_error(spread, strata) == pytest.approx(by_hand)


@pytest.mark.parametrize("few", [2, 6])
def test_the_interval_is_of_the_mean_with_undefined_effects_too(few: int) -> None:
    rng = np.random.default_rng(few)
    effects, strata = torch.from_numpy(rng.normal(0.1, 0.2, 60)), torch.arange(60) // 30
    effects[few:30] = NAN

    low, high = statistics.bca_interval(effects, strata)

    mean, error = statistics.stratified_mean(effects, strata), statistics.standard_error(effects, strata)
    assert (low, high) == pytest.approx((mean - 2 * error, mean + 2 * error), abs=0.35 * error)


def test_no_images_have_no_mean_no_error_and_no_p() -> None:
    assert math.isnan(statistics.stratified_mean(NONE, NONE))
    assert math.isnan(statistics.standard_error(NONE, NONE))
    assert math.isnan(statistics.sign_flip_p(NONE, NONE, margin=0.0))


def test_standard_error_of_one_class_is_the_textbook_one() -> None:
    effects = torch.tensor([0.0, 0.25, 0.5, 1.0])

    assert statistics.standard_error(effects, torch.zeros(4)) == pytest.approx(stats.sem(effects.numpy()))


def test_standard_error_of_two_classes_by_hand() -> None:
    effects = torch.tensor([0.0, 0.2, 0.5, 0.9])
    expected = math.sqrt((0.1**2 + 0.2**2) / 4)  # each class: half the distance of its two images

    assert statistics.standard_error(effects, torch.tensor([0, 0, 1, 1])) == pytest.approx(expected)


def test_standard_error_with_one_image_in_each_class_is_that_of_one_class() -> None:
    effects = torch.tensor([0.0, 0.25, 0.5, 1.0])

    assert statistics.standard_error(effects, torch.arange(4)) == pytest.approx(stats.sem(effects.numpy()))


def test_one_image_has_no_standard_error() -> None:
    assert math.isnan(statistics.standard_error(torch.tensor([0.5]), torch.tensor([0])))


# the sign-flip test


@pytest.mark.parametrize("n_classes", [1, 2, 3])
@pytest.mark.parametrize("shape", ["normal", "two values"])
def test_sign_flip_is_the_enumeration_rounded_upwards(shape: str, n_classes: int) -> None:
    for n, seed in itertools.product((1, 2, 5, 6, 9, 11), range(5)):
        effects = effects_like(shape, n, seed)
        strata = torch.from_numpy(np.random.default_rng(seed).integers(0, n_classes, n))
        expected = enumerated_p(effects, strata, 0.05)

        found = statistics.sign_flip_p(effects, strata, margin=0.05)

        with case(f"{n} effects, seed {seed}"):
            assert expected - 1e-12 <= found <= 1.02 * expected + 2.0**-n


def test_sign_flip_agrees_with_scipy() -> None:
    effects = effects_like("normal", 12)
    expected = stats.permutation_test(
        (effects.numpy() - 0.05,), np.mean, permutation_type="samples", n_resamples=5000, alternative="greater"
    ).pvalue

    assert statistics.sign_flip_p(effects, torch.zeros(12), margin=0.05) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("n", [64, 400, 1500])
def test_sign_flip_of_normal_effects_is_the_t_test_with_a_margin_higher_by_the_rounding(n: int) -> None:
    effects = effects_like("normal", n)
    margin = float(effects.mean()) - 3.4 * stats.sem(effects.numpy())  # where 20 checks of 8 cues are judged
    rounding = effects.std().item() * math.sqrt(n) / 4096
    lowest = stats.ttest_1samp(effects.numpy(), margin, alternative="greater").pvalue
    highest = stats.ttest_1samp(effects.numpy(), margin + rounding, alternative="greater").pvalue

    assert 0.85 * lowest < statistics.sign_flip_p(effects, torch.zeros(n), margin=margin) < 1.15 * highest


@pytest.mark.parametrize("n", [8, 20, 64])
def test_equal_effects_above_the_margin_have_one_flip_in_two_to_the_n(n: int) -> None:
    assert statistics.sign_flip_p(torch.full((n,), 0.5), torch.arange(n) % 2, margin=0.1) == 2.0**-n


def test_effects_at_the_margin_or_below_it_reject_nothing() -> None:
    assert statistics.sign_flip_p(torch.full((9,), 0.5), torch.zeros(9), margin=0.5) == 1
    assert statistics.sign_flip_p(torch.full((9,), 0.0), torch.zeros(9), margin=0.5) == 1


def test_no_p_is_above_one() -> None:
    p_values = [statistics.sign_flip_p(effects_like("normal", n), torch.zeros(n), margin=2.0) for n in range(90, 120)]

    assert max(p_values) == 1


def test_sign_flip_ignores_order_labels_and_undefined_effects() -> None:
    effects = effects_like("normal", 30)
    strata = torch.arange(30) % 3
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    expected = statistics.sign_flip_p(effects, strata, margin=0.0)
    padded = torch.cat([effects[order], torch.tensor([NAN, NAN])])

    found = statistics.sign_flip_p(padded, torch.cat([5 - strata[order], torch.tensor([8, 9])]), margin=0.0)

    assert found == pytest.approx(expected)


# the interval


def test_interval_of_normal_effects_is_about_students() -> None:
    effects = effects_like("normal", 96)
    expected = stats.ttest_1samp(effects.numpy(), 0).confidence_interval()

    found = statistics.bca_interval(effects, torch.zeros(96))

    assert found == pytest.approx(expected, abs=0.01)


def test_interval_does_not_widen_with_the_distance_of_the_classes() -> None:
    effects = effects_like("normal", 64)
    strata = torch.arange(64) % 2
    low, high = statistics.bca_interval(effects, strata)

    assert statistics.bca_interval(effects + 0.5 * strata, strata) == pytest.approx((low + 0.25, high + 0.25))


def test_interval_of_small_classes_is_as_wide_as_their_variance_says() -> None:
    effects = effects_like("normal", 20)
    strata = torch.arange(20) % 10
    pairs = effects.reshape(2, 10).numpy()
    expected = 2 * stats.t.ppf(0.975, 10) * math.sqrt(((pairs[0] - pairs[1]) ** 2 / 4).sum()) / 10

    low, high = statistics.bca_interval(effects, strata)

    assert high - low == pytest.approx(expected, rel=0.1)


def test_interval_leans_to_the_long_tail() -> None:
    effects = -(torch.arange(0.5, 64) / 64).log()
    mean = statistics.stratified_mean(effects, torch.zeros(64))
    expected = (1.96 + 0.36) / (1.96 - 0.36)  # skewness of the mean 2 / 8, times (2 z^2 + 1) / 6

    low, high = statistics.bca_interval(effects, torch.zeros(64))

    assert (high - mean) / (mean - low) == pytest.approx(expected, rel=0.1)


def test_a_higher_level_is_a_wider_interval() -> None:
    effects, strata = effects_like("normal", 64), torch.arange(64) % 4
    narrow = statistics.bca_interval(effects, strata, level=0.8)
    wide = statistics.bca_interval(effects, strata, level=0.99)

    assert wide[0] < narrow[0] < narrow[1] < wide[1]


@pytest.mark.parametrize("strata", [torch.arange(40), torch.arange(40) % 39, torch.arange(40) % 4], ids=str)
def test_interval_stays_around_the_mean_with_lonely_classes(strata: Tensor) -> None:
    effects = effects_like("normal", 40)
    mean = statistics.stratified_mean(effects, strata)

    low, high = statistics.bca_interval(effects, strata)

    assert low < mean < high
    assert high - low == pytest.approx(2 * 2.02 * 0.3 / math.sqrt(40), rel=0.3)


def test_interval_with_lonely_classes_still_counts_every_class_the_same() -> None:
    strata = torch.arange(-20, 20).clamp(min=0)  # 21 images of class 0, one of each other class
    effects = torch.where(strata == 0, 0.0, 0.5) + 0.1 * effects_like("normal", 40)
    mean = statistics.stratified_mean(effects, strata)

    low, high = statistics.bca_interval(effects, strata)

    assert mean > 0.45
    assert (low + high) / 2 == pytest.approx(mean, abs=0.03)


def test_interval_is_the_same_again_in_any_order_and_leaves_global_randomness_alone() -> None:
    effects, strata = effects_like("normal", 40), torch.arange(40) % 2
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    state = np.random.get_state()[1].copy()
    torch_state = torch.get_rng_state()
    first = statistics.bca_interval(effects, strata)

    assert statistics.bca_interval(effects[order], strata[order]) == first
    assert statistics.bca_interval(effects, strata, seed=1) != first
    assert (np.random.get_state()[1] == state).all()
    assert torch.equal(torch.get_rng_state(), torch_state)


@pytest.mark.parametrize(
    ("n", "at_most"), [(64, 0.056), (16, 0.206), (8, 0.370)], ids=["64 images", "16 images", "8 images"]
)
def test_equal_effects_leave_room_for_the_images_not_seen(n: int, at_most: float) -> None:
    strata = torch.arange(n) % 2

    assert statistics.bca_interval(torch.zeros(n), strata) == pytest.approx((-at_most, at_most), abs=1e-3)
    low, high = statistics.bca_interval(torch.where(strata == 0, 0.25, 0.75), strata)  # each class agrees with itself
    assert (low, high) == pytest.approx((0.5 - 1.5 * at_most, 0.5 + 0.5 * at_most), abs=2e-3)


def test_effects_equal_but_for_noise_count_as_equal() -> None:
    noise = 1e-5 * effects_like("normal", 16)

    assert statistics.bca_interval(noise, torch.zeros(16))[1] == pytest.approx(0.206, abs=1e-3)


def test_the_smallest_class_decides_how_much_may_be_unseen() -> None:
    strata = torch.tensor([0] * 62 + [1] * 2)

    assert statistics.bca_interval(torch.zeros(64), strata)[1] == pytest.approx(1 - 0.025 ** (1 / 4))


def test_fewer_than_eight_images_have_no_interval_and_pass_nothing() -> None:
    effects = torch.cat([torch.zeros(7), torch.tensor([NAN] * 9)])
    interval = statistics.bca_interval(effects, torch.zeros(16))

    assert all(map(math.isnan, interval))
    assert not statistics.equivalent(interval, 0.1)


# several tests


def test_holm_by_hand() -> None:
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.9, 0.6]) == [1, 1]
    assert statistics.holm([0.02]) == [0.02]
    assert statistics.holm([]) == []


def test_holm_counts_an_undefined_p_as_a_test_and_leaves_it_undefined() -> None:
    assert statistics.holm([0.01, NAN, 0.03]) == pytest.approx([0.03, NAN, 0.06], nan_ok=True)


def half_relying(n: int) -> tuple[Tensor, Tensor]:
    """Class 0 relies on the cue, class 1 does not."""
    strata = torch.arange(n) % 2
    return torch.where(strata == 0, 0.6, 0.0) + 0.1 * effects_like("normal", n), strata


def gatekept(effects: Tensor, strata: Tensor, *, margin: float) -> dict[int, float]:
    pooled = statistics.sign_flip_p(effects, strata, margin=margin)
    return statistics.gatekept(effects, strata, pooled, margin=margin)


def test_a_class_is_named_after_the_pooled_test_rejects() -> None:
    effects, strata = half_relying(64)

    adjusted = gatekept(effects, strata, margin=0.1)

    assert adjusted[0] < 1e-3
    assert adjusted[1] > 0.5


def test_no_class_is_tested_before_the_pooled_test_rejects() -> None:
    effects, strata = half_relying(64)

    assert statistics.sign_flip_p(effects[strata == 0], strata[strata == 0], margin=0.4) < 1e-3
    assert gatekept(effects, strata, margin=0.4) == {}


def test_classes_are_corrected_for_their_number_and_no_surer_than_the_whole() -> None:
    effects, strata = torch.full((40,), 0.5), torch.arange(40) % 5

    assert gatekept(effects, strata, margin=0.1) == pytest.approx(dict.fromkeys(range(5), 5 * 2.0**-8))
    effects[strata == 4] = torch.tensor([-1.0, 1.0] * 4)
    pooled = statistics.sign_flip_p(effects, strata, margin=0.25)
    assert gatekept(effects, strata, margin=0.25)[0] == pooled > 5 * 2.0**-8


def test_classes_with_fewer_than_eight_defined_images_are_only_pooled() -> None:
    effects, strata = torch.full((24,), 0.5), torch.tensor([0] * 8 + [1] * 9 + [2] * 7)
    effects[8:10] = NAN

    assert gatekept(effects, strata, margin=0.1).keys() == {0}


@pytest.mark.parametrize(
    ("interval", "passes"),
    [((-0.02, 0.09), True), ((-0.3, -0.2), True), ((0.05, 0.1), False), ((-0.2, 0.3), False), ((0.0, NAN), False)],
    ids=str,
)
def test_equivalence_wants_the_whole_interval_below_the_margin(interval: tuple[float, float], passes: bool) -> None:
    assert statistics.equivalent(interval, 0.1) is passes


def test_needed_n_is_the_textbooks() -> None:
    assert statistics.needed_n(1.0, 0.5, 0.0, alpha=0.05) == 27  # one-sided one-sample t test at d = 0.5
    assert statistics.needed_n(0.3, 0.05, 0.2, alpha=0.05) == statistics.needed_n(0.3, 0.35, 0.2, alpha=0.05) == 27
    assert statistics.needed_n(1.0, 0.5, 0.0, alpha=0.05, power=0.95) == 45
    assert statistics.needed_n(0.3, 0.1, 0.1, alpha=0.05) == math.inf


# a run of checks


def test_the_levels_of_twenty_checks_sum_to_alpha_and_those_of_an_endless_run_to_less_than_twice() -> None:
    levels = [statistics.check_level(0.05, check, cues=8) for check in range(1, 100_001)]

    assert 8 * sum(levels[:20]) == pytest.approx(0.05)
    assert levels[:20] == pytest.approx([levels[0]] * 20)
    assert 0.05 < 8 * sum(levels) < 0.1
    assert levels == sorted(levels, reverse=True)


# proportions


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (3, 10), (10, 10), (50, 96)])
def test_wilson_is_scipys(successes: int, n: int) -> None:
    expected = stats.binomtest(successes, n, alternative="greater").proportion_ci(0.95, "wilson").low

    assert statistics.wilson_lower(successes, n) == pytest.approx(expected, abs=1e-12)


def test_wilson_takes_fractions_of_images() -> None:
    assert statistics.wilson_lower(5, 10) < statistics.wilson_lower(5.5, 10) < statistics.wilson_lower(6, 10)


@pytest.mark.parametrize(("errors", "enough"), [(0, 59), (1, 93), (2, 124)])
def test_runs_needed_to_claim_five_percent(errors: int, enough: int) -> None:
    assert (
        statistics.clopper_pearson_upper(errors, enough) <= 0.05 < statistics.clopper_pearson_upper(errors, enough - 1)
    )


# either of two readings


def test_two_readings_that_agree_cost_nothing() -> None:
    effects = torch.linspace(-0.1, 0.5, 20)

    both = statistics.joint_p(torch.stack([effects, effects], 1), torch.arange(20) % 2, margin=0.1)

    assert both == pytest.approx(statistics.sign_flip_p(effects, torch.arange(20) % 2, margin=0.1), rel=1e-4)


def test_two_unrelated_readings_have_the_chance_of_either() -> None:
    one, other = torch.tensor([1.0, 1.0, -1.0, -1.0]).repeat(10) + 0.3, torch.tensor([1.0, -1.0]).repeat(20) * 1e-3
    lower = statistics.sign_flip_p(one, torch.zeros(40), margin=0.0)

    both = statistics.joint_p(torch.stack([one, other], 1), torch.zeros(40), margin=0.0)

    assert both == pytest.approx(1 - (1 - lower) ** 2, rel=1e-3)


@pytest.mark.parametrize("n", [0, 1, 8])
def test_readings_without_images_or_spread_have_a_p_value_or_none(n: int) -> None:
    p_value = statistics.joint_p(torch.zeros(n, 2), torch.zeros(n), margin=0.1)

    assert math.isnan(p_value) if not n else p_value == 1


def answers(counts: dict[int, tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """Correct answers and classes, from ``{class: (right, wrong)}``."""
    correct = [answer for right, wrong in counts.values() for answer in [True] * right + [False] * wrong]
    return torch.tensor(correct), torch.tensor([label for label, (a, b) in counts.items() for _ in range(a + b)])


@pytest.mark.parametrize(
    ("counts", "learned"),
    [
        ({0: (32, 0), 1: (0, 32)}, False),
        ({0: (90, 0), 1: (0, 10)}, False),
        ({0: (17, 15), 1: (17, 15)}, False),
        ({0: (24, 8), 1: (24, 8)}, True),
        ({0: (0, 30), 1: (30, 0), 2: (20, 10)}, True),
        ({0: (30, 0)}, False),
        (dict.fromkeys(range(10), (1, 0)), True),
    ],
    ids=["constant", "majority", "coin", "three quarters", "one class unlearned", "one class", "single images"],
)
def test_a_model_has_learned_when_it_surely_beats_every_constant_answer(
    counts: dict[int, tuple[int, int]], learned: bool
) -> None:
    assert statistics.has_learned(*answers(counts)) is learned


def test_a_rare_class_makes_balanced_accuracy_less_sure() -> None:
    assert statistics.has_learned(*answers({0: (40, 20), 1: (40, 20)}))
    assert not statistics.has_learned(*answers({0: (78, 39), 1: (2, 1)}))


def test_nothing_is_learned_from_no_images() -> None:
    assert not statistics.has_learned(NONE, NONE)


@pytest.mark.parametrize(
    ("counts", "is_below"),
    [
        pytest.param({0: (2, 30), 1: (3, 29)}, True, id="two labels in each other's place"),
        pytest.param({0: (32, 0), 1: (0, 32)}, False, id="a constant answer"),
        pytest.param({0: (12, 20), 1: (12, 20)}, False, id="a model that wobbles"),
        pytest.param({0: (0, 40)}, False, id="one class"),
        pytest.param({0: (0, 100), 1: (0, 100), 2: (10, 90)}, True, id="three classes"),
    ],
)
def test_clearly_below_chance_are_labels_in_another_order(counts: dict[int, tuple[int, int]], is_below: bool) -> None:
    assert statistics.is_below_chance(*answers(counts)) is is_below


# unlike means


@pytest.mark.slow
@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_classes_that_are_alike_are_told_apart_in_one_of_a_hundred_draws(columns: int, n_classes: int) -> None:
    generator = torch.Generator().manual_seed(columns + n_classes)
    strata = torch.arange(30) % n_classes
    draws = torch.randn(2000, 30, columns, generator=generator)

    share = sum(statistics.differ(values, strata) for values in draws) / len(draws)

    assert 0.005 < share < 0.016


def test_one_column_of_unlike_means_is_enough() -> None:
    generator = torch.Generator().manual_seed(0)
    strata = torch.arange(30) % 3
    values = torch.randn(30, 3, generator=generator)
    values[:, 1] += 3 * strata

    assert statistics.differ(values, strata)
    assert not statistics.differ(values[:, [0, 2]], strata)


@pytest.mark.parametrize(
    ("values", "strata", "differ"),
    [
        ([1, 1, 1, 1], [0, 0, 1, 1], False),
        ([1, 1, 2, 2], [0, 0, 1, 1], True),
        ([1, 2, 1, 2], [0, 0, 1, 1], False),
        ([1, 5], [0, 1], False),
        ([1, 5, 9], [0, 0, 0], False),
        ([math.nan, math.nan, 2, 2], [0, 0, 1, 1], False),
        ([math.nan, 1, 1, 2, 2], [0, 0, 0, 1, 1], True),
    ],
)
def test_means_without_spread_or_company(values: list[float], strata: list[int], differ: bool) -> None:
    assert statistics.differ(torch.tensor(values)[:, None], torch.tensor(strata)) == differ


@pytest.mark.parametrize(("values", "differ"), [([1, 1, 1, 1], False), ([1, 1, 2, 2], True)])
def test_scipy_is_not_asked_about_means_without_spread(
    values: list[float], differ: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some versions of it warn, which would be seen at every check."""
    monkeypatch.delattr(statistics.significance.stats, "f_oneway")

    assert statistics.differ(torch.tensor(values)[:, None], torch.tensor([0, 0, 1, 1])) == differ


def test_pairs_that_move_together_have_a_narrow_interval() -> None:
    before = torch.linspace(-0.5, 0.5, 512).repeat_interleave(2)
    after = before + 0.1 + 0.01 * torch.arange(1024).sin()
    low, high = statistics.paired_interval(before, after, torch.arange(1024) % 2, level=0.99)

    assert 0.09 < low < 0.1 < high < 0.11


@pytest.mark.parametrize("spread", [0.0, 1e-4, 2e-3, 1e-2], ids=str)
def test_runs_that_differ_a_little_are_not_surer_the_same_than_runs_that_do_not(spread: float) -> None:
    change, strata = spread * torch.arange(32).sin(), torch.arange(32) % 2
    low, high = statistics.paired_interval(torch.zeros(32), change, strata, level=0.99)

    assert low < -0.14
    assert high > 0.14


@pytest.mark.parametrize("spread", [0.0, 1e-4, 2e-3, 1e-2], ids=str)
def test_few_effects_that_almost_agree_do_not_show_that_all_are_small(spread: float) -> None:
    effects = spread * torch.arange(32).sin()

    assert statistics.bca_interval(effects, torch.arange(32) % 2)[1] > 0.089


def test_the_ends_of_two_samples_add_up_as_errors_do() -> None:
    low, high = statistics.unpaired_interval((0.5, 0.2, 0.9), (0.3, 0.0, 0.7), level=0.95)

    assert low == pytest.approx(-0.2 - 0.5)  # hypot of 0.3 and 0.4
    assert high == pytest.approx(-0.2 + 0.5)
    wider = statistics.unpaired_interval((0.5, 0.2, 0.9), (0.3, 0.0, 0.7), level=0.99)
    assert wider[1] - wider[0] == pytest.approx((high - low) * 2.5758 / 1.96, rel=1e-4)
