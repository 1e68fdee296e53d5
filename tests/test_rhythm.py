import pytest

from lightning_cam.training.rhythm import Budget, Depth, Rhythm


def test_default_looks_at_growing_steps_of_the_first_epoch_only() -> None:
    looks = [step for step in range(1, 1025) if Rhythm().after_step(step, epoch=0)]

    assert looks == [4, 16, 64, 256, 1024]
    assert not any(Rhythm().after_step(step, epoch=1) for step in range(1, 1025))


def test_default_looks_after_every_epoch() -> None:
    assert all(Rhythm().after_epoch(epoch) for epoch in range(5))


def test_every_n_epochs_replaces_the_default() -> None:
    rhythm = Rhythm(every_n_epochs=2)

    assert [epoch for epoch in range(6) if rhythm.after_epoch(epoch)] == [1, 3, 5]
    assert not any(rhythm.after_step(step, epoch=0) for step in range(1, 100))


def test_every_n_train_steps_replaces_the_default() -> None:
    rhythm = Rhythm(every_n_train_steps=3)

    assert [step for step in range(1, 10) if rhythm.after_step(step, epoch=7)] == [3, 6, 9]
    assert not any(rhythm.after_epoch(epoch) for epoch in range(5))


@pytest.mark.parametrize("value", [0, -1, 1.5, True])
@pytest.mark.parametrize("name", ["every_n_epochs", "every_n_train_steps"])
def test_a_cadence_that_cannot_be_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a whole number from 1 on"):
        Rhythm(**{name: value})


def test_two_cadences_are_refused() -> None:
    with pytest.raises(ValueError, match="exclude each other"):
        Rhythm(every_n_epochs=1, every_n_train_steps=5)


# ---- budget ----------------------------------------------------------------------------------------------------------


def test_a_budget_counts_checks_of_both_depths() -> None:
    budget = Budget(0.02, has_trials=True)
    budget.charge(Depth.MAPS, 1)
    budget.charge(Depth.FULL, 4)
    budget.charge(Depth.FULL, 5)

    assert budget.spent == 10


def test_a_budget_allows_maps_alone_where_a_full_check_would_exceed_its_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_cam.training.rhythm.ALWAYS_SPARED", 10.0)
    budget = Budget(0.02, has_trials=True)
    budget.charge(Depth.FULL, 4)

    assert budget.affordable(0, after_epoch=True) is Depth.MAPS
    assert budget.affordable(1000, after_epoch=True) is Depth.FULL  # 20 s, of which half are for full checks


def test_a_budget_without_trials_has_one_depth_and_no_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_cam.training.rhythm.ALWAYS_SPARED", 10.0)
    budget = Budget(0.02, has_trials=False)
    budget.charge(Depth.FULL, 5)

    assert budget.affordable(0, after_epoch=False) is Depth.FULL
    budget.charge(Depth.FULL, 5)
    assert budget.affordable(0, after_epoch=False) is None


@pytest.mark.parametrize(
    ("has_trials", "expected"), [(True, "made without trials, or skipped, while a full one"), (False, "skipped while")]
)
def test_a_budget_explains_itself_with_the_options_that_change_it(has_trials: bool, expected: str) -> None:
    budget = Budget(0.02, has_trials=has_trials)
    budget.charge(Depth.FULL, 8)
    text = budget.explanation(68)

    assert f"looking has taken 8 s of the fit's 68 s; checks are {expected}" in text
    assert "above 2% of the fit" in text
    assert "every_n_epochs=1" in text
    assert "max_overhead" in text
