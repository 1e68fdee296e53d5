"""Trainings that something goes wrong beside: what is said, and whether the weights are those of the training alone."""

import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from lightning_cam import CAMCallback

from .trainings import Net, Started, loader, probe, trainer

N_STEPS = 12  # two epochs of six batches


class Beside(NamedTuple):
    """A training that went to its end with a callback, and the same one alone.

    Attributes:
        trainer: Of the training with the callback.
        alone: Of the one without.
        said: What the callback warned of, in order.
    """

    trainer: Any
    alone: Any
    said: list[str]

    @property
    def untouched(self) -> bool:
        """Whether both trainings went all the way to the same weights."""
        watched, alone = (run.lightning_module.state_dict() for run in (self.trainer, self.alone))
        return self.trainer.global_step == N_STEPS and same(watched, alone)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Bit for bit; NaN equals NaN."""
    return one.keys() == other.keys() and all(torch.equal(_bits(one[key]), _bits(other[key])) for key in one)


def _bits(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def watching(**options: Any) -> CAMCallback:
    """A callback that looks often, without trials."""
    return CAMCallback(**{"probe": probe(), "trials": (), "every_n_train_steps": 2, "n_images": 1} | options)


def beside(folder: Path, callback: CAMCallback, build: Callable[[], nn.Module] = Net, **options: Any) -> Beside:
    """Two epochs with the callback, and without: then no logger either."""
    watched, said = fitted(folder, build, callback, **options)
    return Beside(watched, alone(build, sanity_steps=options.get("num_sanity_val_steps", 2)), said)


@cache
def alone(build: Callable[[], nn.Module], *, sanity_steps: int = 2) -> Any:
    """The training that nobody watches."""
    return fitted(Path(), build, num_sanity_val_steps=sanity_steps)[0]


def fitted(
    folder: Path, build: Callable[[], nn.Module], *callbacks: pl.Callback, **options: Any
) -> tuple[Any, list[str]]:
    """A finished training, always from the same weights, and what was said beside it."""
    torch.manual_seed(0)
    run = trainer(folder, *callbacks, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.fit(build(), loader(), loader(8))
    return run, [str(warning.message) for warning in caught if str(warning.message).startswith("lightning_cam")]


def refused(
    folder: Path,
    callback: CAMCallback,
    message: str,
    build: Callable[[], nn.Module] = Net,
    *,
    sanity_steps: int = 0,
) -> None:
    """A fit that says what is wrong before its first step."""
    started = Started()
    run = trainer(folder, callback, started, num_sanity_val_steps=sanity_steps)

    with pytest.raises(ValueError, match=message):
        run.fit(build(), loader(), loader(8))
    assert started.steps == 0


def three_checks_lost(run: Beside, why: str) -> bool:
    """What failed is said, and that it was given up; the training notices nothing."""
    first, last = run.said
    assert f"a check failed, training goes on ({why}" in first.replace('"', "").replace("'", "")
    assert "switched off for this fit, training goes on; 3 checks in a row failed" in last
    return run.untouched
