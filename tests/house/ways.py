"""Ways to train."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import pytorch_lightning as pl
from pytorch_lightning import callbacks

from .twins import ByHand, FrozenBatchNorm, Twin


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
