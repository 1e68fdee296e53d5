from types import SimpleNamespace

import pytest
import torch

from lightning_cam import Probe
from lightning_cam.training import rhythm
from lightning_cam.training.clock import Clock
from lightning_cam.training.failures import Failures
from lightning_cam.training.rhythm import Budget, Depth, Effort, Rhythm


def test_default_looks_at_growing_steps_of_the_first_epoch_only() -> None:
    looks = [step for step in range(1, 1025) if Rhythm().after_step(step, epoch=0)]

    assert looks == [4, 16, 64, 256, 1024]
    assert not any(Rhythm().after_step(step, epoch=1) for step in range(1, 1025))


def test_default_looks_after_every_epoch() -> None:
    assert all(Rhythm().after_epoch(epoch) for epoch in range(5))


def test_every_n_epochs_replaces_the_default() -> None:
    every_second = Rhythm(every_n_epochs=2)

    assert [epoch for epoch in range(6) if every_second.after_epoch(epoch)] == [1, 3, 5]
    assert not any(every_second.after_step(step, epoch=0) for step in range(1, 100))


def test_every_n_train_steps_replaces_the_default() -> None:
    every_third = Rhythm(every_n_train_steps=3)

    assert [step for step in range(1, 10) if every_third.after_step(step, epoch=7)] == [3, 6, 9]
    assert not any(every_third.after_epoch(epoch) for epoch in range(5))


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
    budget.charge(Depth.MAPS, 1, Effort(64))
    budget.charge(Depth.FULL, 4, Effort(64))
    budget.charge(Depth.FULL, 5, Effort(64))

    assert budget.spent == 10


def test_a_budget_allows_maps_alone_where_a_full_check_would_exceed_its_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_cam.training.rhythm.ALWAYS_SPARED", 10.0)
    budget = Budget(0.02, has_trials=True)
    budget.charge(Depth.FULL, 4, Effort(64))

    assert budget.affordable(0, after_epoch=True) is Depth.MAPS
    assert budget.affordable(1000, after_epoch=True) is Depth.FULL  # 20 s, of which half are for full checks


def test_a_budget_without_trials_has_one_depth_and_no_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_cam.training.rhythm.ALWAYS_SPARED", 10.0)
    budget = Budget(0.02, has_trials=False)
    budget.charge(Depth.FULL, 5, Effort(64))

    assert budget.affordable(0, after_epoch=False) is Depth.FULL
    budget.charge(Depth.FULL, 5, Effort(64))
    assert budget.affordable(0, after_epoch=False) is None


@pytest.mark.parametrize(
    ("has_trials", "expected"),
    [
        (True, "made without trials, or skipped, from here on as long as a full one"),
        (False, "skipped from here on as long as"),
    ],
)
def test_a_budget_explains_itself_with_the_options_that_change_it(has_trials: bool, expected: str) -> None:
    budget = Budget(0.02, has_trials=has_trials)
    budget.charge(Depth.FULL, 8, Effort(64))
    text = budget.explanation(68)

    assert text.startswith("to keep the training fast, checks are")
    assert expected in text
    assert "they took 8 s of 68 s so far" in text
    assert "above 2% of the fit" in text
    assert "every_n_epochs=1" in text
    assert "max_overhead" in text


def a_budget_after(maps_seconds: float) -> Budget:
    budget = Budget(0.02, has_trials=True)
    budget.charge(Depth.MAPS, maps_seconds, Effort(64))
    return budget


def test_a_long_fit_swaps_cues_on_all_images() -> None:
    assert a_budget_after(0.3).effort(64, 3600, is_last=False) == Effort(64)
    assert a_budget_after(0.3).effort(64, 3600, is_last=True) == Effort(64)


def test_full_checks_of_a_short_fit_take_their_share_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rhythm, "MOST_OF_A_SHORT_FIT", 0.18)
    budget = a_budget_after(0.3)  # a full check of all images takes 7.5 s
    first = budget.effort(64, 60, is_last=False)
    budget.charge(Depth.FULL, 7.5 * first.weight / 64, first)
    last = budget.effort(64, 60, is_last=True)
    budget.charge(Depth.FULL, 7.5 * last.weight / 64, last)

    assert first == Effort(32, n_donors=1)
    assert last == Effort(64)
    assert budget.spent <= 0.18 * 60


def test_however_short_a_fit_is_some_images_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rhythm, "MOST_OF_A_SHORT_FIT", 0.18)

    assert a_budget_after(0.3).effort(64, 1, is_last=True) == Effort(16, n_donors=1)


def test_of_several_labels_each_has_images_in_a_short_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rhythm, "MOST_OF_A_SHORT_FIT", 0.18)
    budget = a_budget_after(0.3)

    assert budget.effort(256, 1, is_last=True, n_questions=3) == Effort(64, n_donors=1)
    assert budget.effort(256, 1, is_last=True, n_questions=80) == Effort(64, n_donors=1)
    assert budget.effort(40, 1, is_last=True, n_questions=3) == Effort(40, n_donors=1)


def test_without_a_limit_all_images_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rhythm, "MOST_OF_A_SHORT_FIT", 0.18)
    budget = Budget(1, has_trials=True)
    budget.charge(Depth.MAPS, 100, Effort(64))

    assert budget.effort(64, 1, is_last=True) == Effort(64)


def test_without_trials_no_check_is_called_smaller() -> None:
    clock = Clock(Rhythm(), 0.02, has_trials=False, failures=Failures(raises=True))
    clock.charge(Depth.FULL, 100, Effort(64))

    assert (
        clock.effort(SimpleNamespace(world_size=1), Probe(torch.rand(2, 3, 8, 8), torch.tensor([0, 1])), is_last=True)
        is None
    )  # and no warning
