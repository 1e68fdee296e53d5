import pytest

from lightning_cam.training.rhythm import Rhythm


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
