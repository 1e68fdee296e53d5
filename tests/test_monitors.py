"""`EarlyStopping`, `ModelCheckpoint` and schedulers that monitor a key of ours end no training for want of a value."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint

from house.trainings import Net, loader, moody, probe, trainer
from lightning_cam import CAMCallback, Probe
from lightning_cam.training.clock import Clock

KEY = "cam/attention_entropy"
N_EPOCHS = 6


class Plateau(Net):
    """Its learning rate is lowered after the first epoch without progress."""

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": KEY}}


def unreadable(item: Any) -> Any:
    raise ValueError("no such column")


def fitted(
    folder: Path, ours: CAMCallback, *others: Any, net: Any = None, validates: bool = True
) -> tuple[pl.Trainer, list[str]]:
    """A training that nothing should end early, and what was said in it."""
    run = trainer(folder, *others, ours, max_epochs=N_EPOCHS)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.fit(net or Net(), loader(), loader(8) if validates else None)
    return run, [str(warning.message) for warning in caught if "lightning_cam" in str(warning.message)]


@pytest.mark.parametrize("validates", [True, False], ids=["validation", "no validation"])
@pytest.mark.parametrize("patience", [0, 1, 3])
def test_a_callback_that_is_off_from_the_start_ends_no_training(
    tmp_path: Path, patience: int, *, validates: bool
) -> None:
    stopping = EarlyStopping(KEY, patience=patience)
    others = [stopping, ModelCheckpoint(tmp_path, monitor=KEY)]
    run, said = fitted(tmp_path, CAMCallback(read=unreadable), *others, net=Plateau(), validates=validates)

    assert run.current_epoch == N_EPOCHS
    assert run.optimizers[0].param_groups[0]["lr"] == 0.1
    assert (stopping.check_finite, stopping.strict, stopping.wait_count) == (True, True, 0)
    assert run.callback_metrics[KEY].isnan()
    assert list(tmp_path.glob("*.ckpt"))
    (text,) = (text for text in said if KEY in text)
    assert text.startswith(
        f"lightning_cam: '{KEY}' has no value any more in this training: EarlyStopping will not stop"
    )
    assert "; ModelCheckpoint cannot tell which of its next checkpoints is better; pass save_last=True" in text
    assert text.endswith("; ReduceLROnPlateau will not lower its learning rate")


def test_a_callback_that_switches_itself_off_ends_no_training(tmp_path: Path) -> None:
    """Its last value is none any more, and staying the same is no lack of progress."""
    stopping = EarlyStopping(KEY, patience=1, mode="max")
    ours = CAMCallback(probe(), layer="body.0", trials=(), every_n_epochs=1)
    run, said = fitted(tmp_path, ours, stopping, net=moody(good_calls=6))

    assert len(ours.history) > 1
    assert any("switched off" in text for text in said)
    assert run.current_epoch == N_EPOCHS
    assert run.callback_metrics[KEY].isnan()


def test_a_check_that_is_left_out_counts_for_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Clock, "depth", lambda *_, **__: None)
    stopping = EarlyStopping(KEY, patience=2)
    run, said = fitted(tmp_path, CAMCallback(probe(), trials=()), stopping, net=Plateau())

    assert run.current_epoch == N_EPOCHS
    assert run.optimizers[0].param_groups[0]["lr"] == 0.1
    assert run.callback_metrics[KEY].isfinite()
    text = f"'{KEY}' has no new value after some epochs; EarlyStopping and ReduceLROnPlateau will not count those"
    assert said == [f"lightning_cam: {text}"]


def test_a_value_that_cannot_be_measured_ends_no_training(tmp_path: Path) -> None:
    """Here for want of masks. Lightning raises where the key is missing."""
    bare = CAMCallback(Probe(probe().images, probe().targets), trials=(), every_n_epochs=1)
    run, said = fitted(tmp_path, bare, EarlyStopping("cam/pointing_accuracy"))

    assert "cam/pointing_accuracy" not in bare.history[-1].scalars
    assert run.current_epoch == N_EPOCHS
    assert any("'cam/pointing_accuracy' has no new value" in text for text in said)


def test_values_that_come_are_counted_as_ever(tmp_path: Path) -> None:
    stopping = EarlyStopping(KEY, patience=2, min_delta=9)
    run, said = fitted(tmp_path, CAMCallback(probe(), trials=(), every_n_epochs=1), stopping)

    assert run.current_epoch == 3
    assert stopping.wait_count == 2
    assert not said


def test_what_other_callbacks_monitor_is_left_alone(tmp_path: Path) -> None:
    stopping = EarlyStopping("val_loss", patience=2, min_delta=9)
    run, _ = fitted(tmp_path, CAMCallback(read=unreadable), stopping)

    assert run.current_epoch == 3
