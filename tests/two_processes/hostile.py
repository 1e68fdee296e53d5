"""Trainings in two processes where one waits forever for the other as soon as they do not do the same.

The process group gives up after a minute, and then the script fails.
"""

import json
import sys
import time
import warnings
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, distributed, nn
from torch.utils.data import DataLoader, TensorDataset

from house.shortcut import BORDER, Framed, framed, framed_probe
from house.trainings import Net, loader, pictures, probe, steps, trainer
from lightning_cam import CAMCallback, Probe

PATIENCE = timedelta(seconds=60)


def in_two(folder: Path, *callbacks: Any, strategy: Any = None, **options: Any) -> Any:
    strategy = strategy or DDPStrategy(process_group_backend="gloo", timeout=PATIENCE)
    return trainer(folder, *callbacks, devices=2, strategy=strategy, **options)


class Talker(nn.Sequential):
    """Its forward asks the other process for its mean, and for its images."""

    n_rows: ClassVar[list[int]] = []  # of each pass

    def forward(self, images: Tensor) -> Tensor:
        features = super().forward(images)
        if distributed.is_initialized() and not self.training:
            self.n_rows.append(len(images))
            mean = features.detach().mean((0, 2, 3))
            distributed.all_reduce(mean)
            gathered = [torch.empty_like(images) for _ in range(2)]
            distributed.all_gather(gathered, images.contiguous())
            features = features + 0 * mean[:, None, None]
        return features


class Talking(Net):
    def build(self) -> None:
        super().build()
        self.body = Talker(*self.body)


def half_masked(n: int) -> Probe:
    """Objects are known in the first half alone, so that one process has more trials to make."""
    whole = probe(n)
    masks = [mask if i < n // 2 else None for i, mask in enumerate(whole.masks)]
    return Probe(whole.images, whole.targets, masks=masks)


def talking(folder: Path) -> Any:
    """A collective in the forward, an odd number of images, and masks for some."""
    callback = CAMCallback(half_masked(13), batch_size=4, layer="body.0")
    run = in_two(folder, callback)
    run.fit(Talking(), loader(), loader(8))
    return [run.global_step, steps(callback)]


class Noisy(TensorDataset):
    """In the second process no item is read twice alike, so that it finds no way from the probe to its batch."""

    def __getitem__(self, index: int) -> Any:
        image, target = super().__getitem__(index)
        return image * torch.rand(1) if distributed.get_rank() else image, target


def comparing(folder: Path) -> Any:
    """The first process finds at once that the probe is what the model sees; the second goes on looking."""
    Talker.n_rows.clear()
    callback = CAMCallback(trials=(), every_n_epochs=1)
    run = in_two(folder, callback)
    run.fit(Talking(), loader(), DataLoader(Noisy(*pictures(80).tensors), 4))
    return [run.global_step, steps(callback), list(Talker.n_rows)]


def talking_about_a_shortcut(folder: Path) -> Any:
    """The evidence, which the first process alone draws, takes forward passes too."""

    class Both(Framed):
        def forward(self, images: Tensor) -> Tensor:
            scores = super().forward(images)
            if distributed.is_initialized() and not self.training:
                distributed.all_reduce(torch.zeros(1))
            return scores

    callback = CAMCallback(framed_probe(), trials=BORDER, every_n_epochs=10)
    run = in_two(folder, callback, max_epochs=20)
    pl.seed_everything(0)
    run.fit(Both(), DataLoader(TensorDataset(*framed(128, seed=0)), 8))
    return [callback.verdict.outcome, len(list(Path(folder, "cam_report").rglob("*evidence*"))) > 0 or run.global_rank]


class OwnData(Net):
    """Each process validates on data of its own."""

    def val_dataloader(self) -> Any:
        images, targets = pictures(80).tensors
        return DataLoader(TensorDataset((images + self.global_rank / 100).clamp(0, 1), targets), 4)


def resumed(folder: Path) -> Any:
    """The series of a run whose checkpoint fits the probe of one process alone."""
    path = folder / "own.ckpt"
    first = in_two(folder, CAMCallback(trials=(), every_n_epochs=1), max_epochs=1)
    first.fit(OwnData(), loader())
    first.save_checkpoint(path)
    callback = CAMCallback(trials=(), every_n_epochs=1)
    run = in_two(folder, callback)
    run.fit(OwnData(), loader(), ckpt_path=path)
    return [run.global_step, steps(callback)]


def stopped_by_a_function(folder: Path) -> Any:
    """A function does the obvious thing about a shortcut."""

    def stop(_: Any) -> None:
        run.should_stop = True

    callback = CAMCallback(framed_probe(), trials=BORDER, every_n_epochs=1, on_shortcut=stop)
    run = in_two(folder, callback, max_epochs=40)
    pl.seed_everything(0)
    run.fit(Framed(), DataLoader(TensorDataset(*framed(128, seed=0)), 8))
    return run.current_epoch


def slow(folder: Path) -> Any:
    """The second process takes twenty seconds for its share of the first check."""

    def forward(module: nn.Module, images: Tensor) -> Tensor:
        if run.global_rank == 1 and not slept:
            slept.append(True)
            time.sleep(20)
        return module(images)

    slept: list[bool] = []
    callback = CAMCallback(probe(), every_n_epochs=1, trials=(), forward=forward)
    static = DDPStrategy(process_group_backend="gloo", timeout=PATIENCE, static_graph=True)
    run = in_two(folder, callback, strategy=static)
    run.fit(Net(), loader(), loader(8))
    return [run.global_step, steps(callback)]


def without_disk(folder: Path, rank: int) -> Any:
    """One process can write nothing."""

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    callback = CAMCallback(probe(), every_n_epochs=1, trials=())
    run = in_two(folder, callback)
    writes = ("write_bytes", "write_text", "mkdir", "touch") if run.global_rank == rank else ()
    patches = [patch.object(Path, name, full) for name in writes]
    for each in patches:
        each.start()
    run.fit(Net(), loader(), loader(8))
    for each in patches:
        each.stop()
    return [run.global_step, steps(callback)]


SCENARIOS = {
    "talking": talking,
    "comparing": comparing,
    "evidence": talking_about_a_shortcut,
    "resumed": resumed,
    "function": stopped_by_a_function,
    "slow": slow,
    "first without disk": partial(without_disk, rank=0),
    "second without disk": partial(without_disk, rank=1),
}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    folder, chosen = Path(sys.argv[1]), sys.argv[2:] or SCENARIOS
    outcomes = {}
    for name in chosen:
        print(name, time.strftime("%X"), flush=True)
        own = folder / name.replace(" ", "_")
        own.mkdir(exist_ok=True)
        outcomes[name] = SCENARIOS[name](own)
    Path(folder, f"rank{distributed.get_rank()}").write_text(json.dumps(outcomes))
    distributed.barrier()  # the first process ends the other when it is done
