"""Trainings that cannot be looked at: what each process says, how far it trains, and the sum of its weights."""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from house.tasks import TASKS, Module, Task, classes, conv
from house.trainings import trainer
from lightning_cam import CAMCallback, LightningCAMWarning


class OneRefuses(nn.Module):
    """A network that takes no three images in the second process, as one that reads a broken file there."""

    def __init__(self) -> None:
        super().__init__()
        self.body = conv(2)

    def forward(self, images: Tensor) -> Tensor:
        if run.global_rank == 1 and len(images) == 3:
            raise ValueError("not here")
        return self.body(images)


def trained(folder: Path, task: Task, *callbacks: CAMCallback) -> tuple[Any, list[str]]:
    global run
    run = trainer(folder, *callbacks, max_epochs=2, devices=2, strategy="ddp", use_distributed_sampler=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.fit(task.module(), task.loader(), task.loader())
    return run, [str(warning.message) for warning in caught if issubclass(warning.category, LightningCAMWarning)]


def weights(module: Module) -> float:
    return float(sum(parameter.detach().double().sum() for parameter in module.parameters()))


if __name__ == "__main__":
    folder, name = Path(sys.argv[1]), sys.argv[2]
    refusing = Task(OneRefuses, classes, TASKS["flattened pictures"].items, ())
    task = TASKS.get(name, refusing)
    alone, _ = trained(folder, task)
    watched, said = trained(folder, task, CAMCallback())
    same = weights(alone.lightning_module) == weights(watched.lightning_module)
    Path(folder, f"rank{run.global_rank}").write_text(json.dumps([watched.global_step, same, said]))
