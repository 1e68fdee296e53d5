"""What looking may cost, on a clock that only training and looking move."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from test_callback import Net, loader, probe, trainer
from torch import Tensor, nn

from lightning_cam import CAMCallback
from lightning_cam.rhythm import ALWAYS_SPARED, is_affordable

EPOCHS, BATCHES = 12, 6


@pytest.fixture(autouse=True)
def _ten_seconds(_unhurried: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_cam.rhythm.ALWAYS_SPARED", ALWAYS_SPARED)


class Clock:
    """Stands in for the module `time`."""

    seconds = 1000.0

    def perf_counter(self) -> float:
        return self.seconds


class Batches(pl.Callback):
    """Every batch takes ten seconds, so an epoch takes a minute."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_train_batch_start(self, *_: Any) -> None:
        self.clock.seconds += 10


def looked(folder: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[CAMCallback, list[str]]:
    """A fit of twelve minutes in which every check takes four seconds, and what it warned of."""
    clock = Clock()
    monkeypatch.setattr("lightning_cam.callback.time", clock)

    def four_seconds(module: nn.Module, images: Tensor) -> Tensor:
        clock.seconds += 4
        return module(images)

    callback = CAMCallback(probe(), layer="body", trials=(), sinks=[], forward=four_seconds, **options)
    run = trainer(folder, Batches(clock), callback, max_epochs=EPOCHS)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.fit(Net(), loader(), loader())
    return callback, [str(w.message) for w in caught if "lightning_cam" in str(w.message)]


def epochs_of(callback: CAMCallback) -> list[int]:
    return [reading.epoch for reading in callback.history]


def test_checks_are_skipped_while_looking_takes_more_than_its_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two per cent of twelve minutes are 14 s: the first check, two of the ten seconds always spared, one, the last."""
    callback, warned = looked(tmp_path, monkeypatch)

    first, step_4, later, last = callback.history
    assert (first.step, step_4.step, last.epoch) == (0, 3, EPOCHS)
    assert later.epoch == 9  # the first after ten minutes, when two per cent are twelve seconds
    assert later.scalars["cam/overhead"] == pytest.approx(0.02, abs=0.001)
    (text,) = [text for text in warned if "max_overhead" in text]
    assert "looking has taken 8 s of the fit's 68 s" in text


@pytest.mark.parametrize("options", [{"every_n_epochs": 1}, {"max_overhead": 1}, {"max_overhead": 0.5}], ids=str)
def test_every_check_is_kept_where_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, float]
) -> None:
    callback, warned = looked(tmp_path, monkeypatch, **options)

    assert set(range(EPOCHS)) <= set(epochs_of(callback))
    assert not any("max_overhead" in text for text in warned)


def test_steps_that_were_asked_for_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    callback, _ = looked(tmp_path, monkeypatch, every_n_train_steps=2)

    assert [reading.step for reading in callback.history] == [0, *range(1, EPOCHS * BATCHES, 2)]


def test_a_monitored_scalar_outlives_skipped_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("lightning_cam.callback.time", clock)

    def a_minute(module: nn.Module, images: Tensor) -> Tensor:
        clock.seconds += 60
        return module(images)

    callback = CAMCallback(probe(), layer="body", trials=(), sinks=[], forward=a_minute)
    stop = pl.callbacks.EarlyStopping(monitor="cam/attention_entropy", patience=50)
    run = trainer(tmp_path, callback, stop, max_epochs=4)
    with pytest.warns(UserWarning, match="checks are skipped"):
        run.fit(Net(), loader(), loader())

    assert epochs_of(callback) == [0, 4]
    assert run.current_epoch == 4
    assert torch.isfinite(run.callback_metrics["cam/attention_entropy"])


@pytest.mark.parametrize(
    ("spent", "expected", "elapsed", "affordable"),
    [(0, 10, 0, True), (0, 10.1, 0, False), (98, 2, 5000, True), (98, 2.1, 5000, False), (98, 2.1, 5010, True)],
)
def test_looking_has_ten_seconds_or_its_share(spent: float, expected: float, elapsed: float, affordable: bool) -> None:
    assert is_affordable(spent, expected, elapsed, 0.02) == affordable


@pytest.mark.parametrize("share", [0, -0.1, float("nan")])
def test_no_overhead_at_all_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="max_overhead must be above 0"):
        CAMCallback(max_overhead=share)
