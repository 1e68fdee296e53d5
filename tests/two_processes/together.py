"""Trainings in two processes, one after the other, since starting them takes longer than any of them.

Each process writes what every scenario gave, as JSON, into the folder that it is given.
"""

import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lightning_cam.training.clock
from house.clock import Batches, Clock
from house.shortcut import BORDER, Framed, framed, framed_probe
from house.trainings import Net, loader, moody, probe, trainer
from lightning_cam import CAMCallback, Probe, cams, examine
from lightning_cam.intervention import DonorSwap


def in_two(folder: Path, *callbacks: Any, **options: Any) -> Any:
    return trainer(folder, *callbacks, devices=2, strategy="ddp", **options)


def failing(folder: Path, *ranks: int) -> list[Any]:
    """Steps and scalars of each process, where the check fails in some of them."""
    callback = CAMCallback(probe(), every_n_train_steps=2, layer="body.0")
    stopping = pl.callbacks.EarlyStopping("cam/attention_entropy", patience=99)
    run = in_two(folder, callback, stopping)
    run.fit(moody(good_calls=3) if run.global_rank in ranks else Net(), loader(), loader(8))
    entropies = [round(reading.scalars["cam/attention_entropy"], 6) for reading in callback.history]
    return [run.global_step, [reading.step for reading in callback.history], entropies]


def shortcut(folder: Path, *, stopping: bool) -> list[Any]:
    """At which epoch a training ends that learns a shortcut, how often a function was told, and the verdict."""
    told: list[Any] = []
    then = "stop" if stopping else told.append
    callback = CAMCallback(framed_probe(), trials=BORDER, every_n_epochs=1, on_shortcut=then)
    run = in_two(folder, callback, max_epochs=40)
    pl.seed_everything(0)
    run.fit(Framed(), DataLoader(TensorDataset(*framed(128, seed=0)), 8))
    return [run.current_epoch, len(told), callback.verdict.outcome, round(callback.verdict.score, 6)]


class Normed(Net):
    """Each process has statistics of its own, of the images that it has seen."""

    def build(self) -> None:
        super().build()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(self.norm(images))


def units(folder: Path) -> list[Any]:
    """What each process has logged of the units, with a collective in the forward."""

    def counted(module: nn.Module, images: Tensor) -> Tensor:
        torch.distributed.all_reduce(torch.ones(1))
        return module(images)

    callback = CAMCallback(probe(), every_n_epochs=1, trials=(), features=True, forward=counted)
    in_two(folder, callback).fit(Net(), loader(), loader(8))
    return [[key, round(value, 6)] for key, value in callback.history[-1].scalars.items() if "invariance" in key]


def shares(folder: Path, *, same: bool) -> list[Any]:
    """How many images each process looks at, how far the result is from that of one process, and whether of trials."""
    n_looked_at = []

    def counted(module: nn.Module, images: Tensor) -> Tensor:
        n_looked_at.append(len(images))
        return module(images)

    callback = CAMCallback(probe() if same else None, every_n_epochs=1, forward=counted, sinks=[])
    run = in_two(folder, callback, limit_val_batches=0)  # validation would make the buffers the same
    torch.manual_seed(0)
    model = Normed()
    if not same:
        images, targets = probe().images, probe().targets
        brighter = images + int(run.global_rank) / 100
        callback.options = replace(callback.options, probe=Probe(brighter.clamp(0, 1), targets))
    run.fit(model, loader(), loader(8))
    n_together = sum(n_looked_at)
    alone = examine(model, callback.probe).scalars
    together = {key.removeprefix("cam/"): value for key, value in callback.history[-1].scalars.items()}
    compared = [key for key in alone if key in together]
    distance = max(abs(alone[key] - together[key]) for key in compared if alone[key] == alone[key])
    return [n_together, distance, any("reliance" in key for key in compared)]


def clocks(folder: Path) -> list[Any]:
    """Epochs of the checks and whether they had trials, where looking takes long on the first process's clock alone."""
    clock = Clock()

    def maps(activations: Tensor, gradients: Tensor) -> Tensor:
        clock.seconds += run.global_rank == 0  # a second for each of two classes
        return cams.grad_cam(activations, gradients)

    def edit(*given: Tensor) -> Tensor:
        clock.seconds += 5 * (run.global_rank == 0)
        return BORDER[0].swap.edit(*given)

    callback = CAMCallback(
        probe(), layer="body", method=maps, trials=[replace(BORDER[0], swap=DonorSwap(edit))], sinks=[]
    )
    run = in_two(folder, Batches(clock), callback, max_epochs=5)
    with patch.object(lightning_cam.training.clock, "time", clock):
        run.fit(Net(), loader(), loader(8))
    return [(reading.epoch, "cam/reliance/border" in reading.scalars) for reading in callback.history]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    outcomes = {
        "nobody fails": failing(folder),
        "first fails": failing(folder, 0),
        "second fails": failing(folder, 1),
        "both fail": failing(folder, 0, 1),
        "stopped": shortcut(folder, stopping=True),
        "told": shortcut(folder, stopping=False),
        "one probe": shares(folder, same=True),
        "two probes": shares(folder, same=False),
        "clocks": clocks(folder),
        "units": units(folder),
    }
    Path(folder, f"rank{torch.distributed.get_rank()}").write_text(json.dumps(outcomes))
    torch.distributed.barrier()  # the first process ends the other when it is done
