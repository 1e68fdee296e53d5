"""The promise: a run with the callback ends in the same state, bit for bit, as the run without it.

Here for the ways to train, in `test_untouched_models` for what a model may do in its forward. `test_untouched_controls`
shows that these tests would notice.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning import callbacks
from twins import ByHand, FrozenBatchNorm, Twin, differences, ours, trained

from lightning_cam import CAMCallback
from lightning_cam.intervention import STANDARD

# Many checks a second; their pictures are not the subject here.
pytestmark = pytest.mark.filterwarnings("ignore:lightning_cam. (pictures of|every map)")

TRIGGERS: dict[str, dict[str, Any]] = {
    "default rhythm": {},
    "every step": {"every_n_train_steps": 1},
    "every second epoch": {"every_n_epochs": 2},
}


def averaging(kind: str, **options: Any) -> Callable[[], Sequence[pl.Callback]]:
    """Weight averaging, which older Lightnings have not; skips the test there."""
    if not hasattr(callbacks, kind):
        return partial(pytest.skip, f"no {kind} in this Lightning")
    return lambda: [getattr(callbacks, kind)(**options)]


CONFIGURATIONS: dict[str, Twin] = {
    "plain": Twin(),
    "accumulation": Twin(options={"accumulate_grad_batches": 3}),
    "frozen BatchNorm": Twin(FrozenBatchNorm),
    "workers": Twin(workers=2),
    "validation inside the epoch": Twin(options={"val_check_interval": 0.5}),
    "validation mid-accumulation": Twin(options={"val_check_interval": 0.25, "accumulate_grad_batches": 2}),
    "no validation": Twin(options={"limit_val_batches": 0}),
    "validation every second epoch": Twin(options={"check_val_every_n_epoch": 2}),
    "no sanity check": Twin(options={"num_sanity_val_steps": 0}),
    "clipping and anomaly detection": Twin(options={"gradient_clip_val": 0.1, "detect_anomaly": True}),
    "clipping by value": Twin(options={"gradient_clip_val": 0.1, "gradient_clip_algorithm": "value"}),
    "bf16-mixed": Twin(options={"precision": "bf16-mixed"}),
    "bf16-true": Twin(options={"precision": "bf16-true"}),
    "16-true": Twin(options={"precision": "16-true"}),
    "64-true": Twin(options={"precision": "64-true"}),
    "deterministic": Twin(options={"deterministic": True}),
    "overfit_batches": Twin(options={"overfit_batches": 3}),
    "early stopping": Twin(last=lambda: [callbacks.EarlyStopping("activity", patience=0)], options={"max_epochs": 6}),
    "EMA before": Twin(first=averaging("EMAWeightAveraging", decay=0.5)),
    "EMA after": Twin(last=averaging("EMAWeightAveraging", decay=0.5)),
    "averaging before": Twin(first=averaging("WeightAveraging")),
    "averaging after": Twin(last=averaging("WeightAveraging")),
    "stochastic weight averaging": Twin(last=averaging("StochasticWeightAveraging", swa_lrs=0.01)),
    "two optimizers by hand": Twin(ByHand),
}


@pytest.fixture
def _deterministic(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lightning leaves torch and the environment as ``deterministic=True`` has set them."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("_deterministic")
@pytest.mark.filterwarnings("ignore:You requested to overfit but enabled train")
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_a_training_ends_bit_for_bit_the_same(configuration: str, tmp_path: Path) -> None:
    twin = CONFIGURATIONS[configuration]
    without = trained(tmp_path, twin=twin)

    for trigger in TRIGGERS.values():
        callback = ours(**trigger)
        assert differences(without, trained(tmp_path, [callback], twin)) == set()
        assert len(callback.history) >= 2


def test_all_trials_of_a_drawn_probe_change_nothing(tmp_path: Path) -> None:
    callback = CAMCallback(on_error="raise")

    with_callback = trained(tmp_path, [callback])

    assert differences(trained(tmp_path), with_callback) == set()
    assert callback.trials == STANDARD
    assert callback.probe is not None
    assert len(callback.probe) == 30


def test_fault_48_two_callbacks_change_nothing(tmp_path: Path) -> None:
    both = [ours(name="first"), ours(name="second", every_n_train_steps=2)]

    with_both = trained(tmp_path, both)

    assert differences(trained(tmp_path), with_both) <= {"metrics"}  # their own keys
    assert all(len(callback.history) > 2 for callback in both)


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_a_resumed_training_ends_the_same(tmp_path: Path) -> None:
    saving = callbacks.ModelCheckpoint(tmp_path, filename="half")
    trained(tmp_path, [ours()], Twin(last=lambda: [saving], options={"max_epochs": 1, "enable_checkpointing": True}))
    resumed, callback = Twin(checkpoint=tmp_path / "half.ckpt"), ours(every_n_train_steps=1)

    assert differences(trained(tmp_path, [], resumed), trained(tmp_path, [callback], resumed)) == set()
    assert [reading.step for reading in callback.history][-3:] == [7, 8, 9]
