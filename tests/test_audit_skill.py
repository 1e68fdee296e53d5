"""Skill of facts against a slow oracle, its doubt against simulations."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binomtest, kstest

from lightning_cam.audit import skill

Array = npt.NDArray[np.int64]


def slow_skill(codes: Array, labels: Array, folds: Array, chosen: int) -> float:
    """Hits minus false alarms of "this code stands for the class", picture by picture, by the definition."""
    classes, n_codes = sorted(set(labels.tolist())), int(codes.max()) + 1
    said: dict[int, list[bool]] = {label: [] for label in classes}
    for code, label, fold in zip(codes, labels, folds, strict=True):
        likelihood = {}
        for other in classes:
            train = [c for c, k, f in zip(codes, labels, folds, strict=True) if k == other and f != fold]
            likelihood[other] = (train.count(code) + 1) / (len(train) + n_codes)
        said[label].append(bool(likelihood[chosen] > sum(likelihood.values()) / len(classes) + 1e-12))
    alarms = [np.mean(said[label]) for label in classes if label != chosen]
    return float(np.mean(said[chosen]) - np.mean(alarms))


def drawn(n: int, n_classes: int, n_codes: int, seed: int, strength: float = 0.0) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % n_classes)
    codes = np.where(rng.random(n) < strength, labels % n_codes, rng.integers(0, n_codes, n))
    return codes, labels, skill.assign_folds(labels, rng)


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("n_classes", "n_codes"), [(2, 2), (2, 8), (3, 5), (5, 3)])
def test_skill_is_that_of_the_definition(n_classes: int, n_codes: int, strength: float) -> None:
    codes, labels, folds = drawn(83, n_classes, n_codes, seed=n_classes, strength=strength)

    skills = skill.class_skill(skill.count(codes, labels, folds))

    assert skills == pytest.approx([slow_skill(codes, labels, folds, k) for k in range(n_classes)])


def test_of_two_classes_both_have_the_chance_corrected_balanced_accuracy() -> None:
    labels = np.repeat([0, 1], [40, 10])
    codes = labels.copy()
    codes[:10] = 1
    folds = np.concatenate([np.arange(10) % 5, np.arange(30) % 5, np.arange(10) % 5])

    skills = skill.class_skill(skill.count(codes, labels, folds))

    balanced_accuracy = (30 / 40 + 10 / 10) / 2
    assert skills == pytest.approx([(balanced_accuracy - 1 / 2) / (1 - 1 / 2)] * 2)


def test_a_fact_that_marks_one_class_of_ten_has_skill_one_for_it() -> None:
    labels = np.arange(200) % 10
    codes = (labels == 3).astype(int)

    skills = skill.class_skill(skill.count(codes, labels, np.arange(200) // 10 % 5))

    assert skills.argmax() == 3
    assert skills[3] == 1


def test_a_fact_that_is_the_same_everywhere_has_no_skill() -> None:
    codes, labels, folds = drawn(30, 3, 1, seed=0)

    assert (skill.class_skill(skill.count(codes, labels, folds)) == 0).all()


def test_skill_of_nothing_is_around_zero() -> None:
    skills = [skill.class_skill(skill.count(*drawn(200, 2, 8, seed)))[0] for seed in range(200)]

    assert abs(np.mean(skills)) < 0.02


def test_every_fold_has_its_share_of_every_class() -> None:
    labels = np.repeat([0, 1, 2], [50, 23, 3])
    folds = skill.assign_folds(labels, np.random.default_rng(0))

    shares = skill.count(np.zeros(76, int), labels, folds)[:, :, 0]
    assert (np.ptp(shares, axis=1) <= 1).all()


def test_folds_do_not_follow_the_order_of_the_pictures() -> None:
    labels = np.zeros(100, int)

    one, other = (skill.assign_folds(labels, np.random.default_rng(seed)) for seed in (0, 1))
    assert (one != other).any()


def test_lower_bound_of_two_classes_is_newcombes() -> None:
    codes, labels, folds = drawn(90, 2, 3, seed=1, strength=0.6)
    counts = skill.count(codes, labels, folds)
    said = np.array([slow_said(codes, labels, folds, i) for i in range(90)])
    (low, _), (_, high) = (
        binomtest(int(said[labels == k].sum()), int((labels == k).sum())).proportion_ci(0.9, "wilson") for k in (0, 1)
    )
    hits, alarms = (said[labels == k].mean() for k in (0, 1))

    expected = hits - alarms - np.hypot(hits - low, high - alarms)
    assert skill.lower_bound(counts, 0) == pytest.approx(expected)


def slow_said(codes: Array, labels: Array, folds: Array, i: int) -> bool:
    """Whether picture ``i`` is taken for class 0."""
    train = folds != folds[i]
    first, second = (((codes == codes[i]) & (labels == k) & train).sum() + 1.0 for k in (0, 1))
    totals = [((labels == k) & train).sum() + codes.max() + 1 for k in (0, 1)]
    return bool(first / totals[0] > second / totals[1])


@pytest.mark.parametrize(("n", "n_classes", "strength"), [(40, 2, 0.5), (200, 2, 0.3), (150, 5, 0.6)])
def test_lower_bound_is_below_the_truth_in_95_of_100_data_sets(n: int, n_classes: int, strength: float) -> None:
    truth = skill.class_skill(skill.count(*drawn(40_000, n_classes, n_classes, seed=99, strength=strength)))[0]

    bounds = [skill.lower_bound(skill.count(*drawn(n, n_classes, n_classes, s, strength)), 0) for s in range(300)]

    assert np.mean(np.array(bounds) <= truth) >= 0.93


def test_few_pictures_leave_doubt_about_a_perfect_fact() -> None:
    labels = np.arange(10) % 2

    bound = skill.lower_bound(skill.count(labels, labels, np.arange(10) // 2), 0)

    assert 0.2 < bound < 0.7


def test_p_values_of_nothing_are_uniform() -> None:
    rng = np.random.default_rng(0)
    p_values = [skill.p_value(skill.count(*drawn(60, 2, 8, seed)), 400, rng) for seed in range(300)]

    assert kstest(p_values, "uniform").pvalue > 0.01


def test_p_of_a_perfect_fact_is_one_over_the_shuffles_plus_one() -> None:
    counts = skill.count(*drawn(60, 2, 2, seed=0, strength=1.0))

    assert skill.p_value(counts, 999, np.random.default_rng(0)) == 1 / 1000


def test_p_is_that_of_shuffling_labels_within_folds() -> None:
    codes, labels, folds = drawn(60, 3, 4, seed=5, strength=0.25)
    rng = np.random.default_rng(0)
    observed = skill.class_skill(skill.count(codes, labels, folds)).max()
    reached = 0
    for _ in range(1000):
        shuffled = labels.copy()
        for fold in range(skill.FOLDS):
            shuffled[folds == fold] = rng.permutation(labels[folds == fold])
        reached += skill.class_skill(skill.count(codes, shuffled, folds)).max() >= observed - 1e-9

    p = skill.p_value(skill.count(codes, labels, folds), 20_000, rng)
    assert p == pytest.approx(reached / 1000, abs=4 * np.sqrt(p * (1 - p) / 1000) + 0.25 * p)


def test_shuffled_tables_are_held_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = skill.count(*drawn(60, 2, 2, seed=0, strength=0.8))
    sizes: list[int] = []
    shuffled = skill._shuffled
    monkeypatch.setattr(skill, "_MOST_CELLS", 100)
    monkeypatch.setattr(skill, "_shuffled", lambda *given: sizes.append(given[1]) or shuffled(*given))

    assert skill.p_value(counts, 99, np.random.default_rng(0)) == 1 / 100
    assert (max(sizes), sum(sizes)) == (100 // counts.size, 99)


@pytest.mark.parametrize("sizes", [(1, 1), (2, 3), (1, 40)])
def test_tiny_classes_have_a_skill_a_bound_and_a_p(sizes: tuple[int, int]) -> None:
    labels = np.repeat([0, 1], sizes)
    counts = skill.count(labels, labels, skill.assign_folds(labels, np.random.default_rng(0)))

    assert np.isfinite(skill.class_skill(counts)).all()
    assert -1 <= skill.lower_bound(counts, 0) <= 1
    assert 0 < skill.p_value(counts, 99, np.random.default_rng(0)) <= 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param(["b", "a", "b"], [0, 1, 0], id="words by frequency"),
        pytest.param([*"aabbccddeeffgghhij"], [*np.repeat(range(8), 2), 8, 8], id="rare words together"),
        pytest.param([0.0] * 95 + [7.0] * 5, [0] * 95 + [1] * 5, id="a pile of equal numbers apart"),
        pytest.param([3.0, 1.0, 2.0], [2, 0, 1], id="numbers in order"),
        pytest.param([1.0, np.nan, 1.0], [0, 1, 0], id="NaN by itself"),
        pytest.param([1.0] * 15 + [9.0, np.nan], [0] * 15 + [1, 2], id="NaN apart from the largest"),
        pytest.param([np.nan, np.nan], [0, 0], id="nothing but NaN"),
        pytest.param([[1.0, 1.0], [1.0, 1.0]], [0, 0], id="equal vectors"),
    ],
)
def test_codes(values: list[object], expected: list[int]) -> None:
    assert skill.encode(np.array(values)).tolist() == expected


def test_numbers_fill_eight_bins_evenly() -> None:
    codes = skill.encode(np.random.default_rng(0).normal(size=801))

    assert np.bincount(codes)[np.bincount(codes) > 1].tolist() == pytest.approx([100] * 8, abs=1)


def test_two_sided_facts_are_told() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    values = np.where(labels == 1, rng.choice([-3, 3], 400), 0) + rng.normal(0, 0.5, 400)

    skills = skill.class_skill(skill.count(skill.encode(values), labels, skill.assign_folds(labels, rng)))

    assert skills.max() > 0.85


@pytest.mark.parametrize(
    ("plant", "least"),
    [
        pytest.param(lambda x, y: np.where(y == 1, 0.0, 255.0) + 0 * x, 1.0, id="black and white"),
        pytest.param(lambda x, y: x * np.where(y == 1, [1.08, 1, 0.92], [0.92, 1, 1.08]), 0.5, id="8 % cast"),
        pytest.param(lambda x, y: np.where(y == 1, x.mean(1, keepdims=True), x), 0.9, id="grey and coloured"),
        pytest.param(lambda x, y: x + 0 * y, -0.1, id="nothing"),
    ],
)
def test_vectors_show_colours(plant: object, least: float) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(1000) % 2
    natural = rng.uniform(20, 235, (1000, 1)) + rng.normal(0, 15, (1000, 3))
    assert callable(plant)

    codes = skill.encode(plant(natural, labels[:, None]))
    skills = skill.class_skill(skill.count(codes, labels, skill.assign_folds(labels, rng)))

    assert least <= skills.max() <= max(1.0, least + 0.2)


@pytest.mark.parametrize("n_components", [3, 5, 24])
def test_equal_vectors_have_equal_codes(n_components: int) -> None:
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(7, n_components)) * 100
    which = rng.integers(0, 7, 1003)

    codes = skill.encode(kinds[which])
    assert all(len(set(codes[which == kind])) == 1 for kind in range(7))


def test_codes_are_blind_to_labels_and_follow_their_pictures() -> None:
    values = np.random.default_rng(0).normal(size=(50, 4))
    order = np.random.default_rng(1).permutation(50)

    codes, permuted = skill.encode(values), skill.encode(values[order])
    same = codes[order][:, None] == codes[order]
    assert (same == (permuted[:, None] == permuted)).all()
