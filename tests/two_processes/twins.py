"""Twin trainings in two processes: what is different with a callback, and how often it looked."""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from house.twins import Net, Twin, differences, ours, trained


class Unused(Net):
    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(2, 2)


class Writing(Net):
    """Writes to its weights in evaluation mode, past autograd's books."""

    ranks: tuple[int, ...] = (0, 1)

    def forward(self, images: Tensor) -> Tensor:
        if not self.training and self.trainer.global_rank in self.ranks:
            self.body.head.weight.data.mul_(0.9)
        return super().forward(images)


class WritingInOne(Writing):
    ranks = (1,)


def twin(build: Any = Net, strategy: str = "ddp", **options: Any) -> Twin:
    return Twin(build, options={"devices": 2, "strategy": strategy, **options})


TWINS = {
    "plain": twin(),
    "accumulation": twin(accumulate_grad_batches=2),
    "unused": twin(Unused, "ddp_find_unused_parameters_true"),
    "writing": twin(Writing, num_sanity_val_steps=0),
    "writing in one": twin(WritingInOne, num_sanity_val_steps=0),
}


def outcome(folder: Path, twin: Twin) -> tuple[list[str], int]:
    without = trained(folder, twin=twin)
    callback = ours(every_n_train_steps=1, on_error="warn")
    return sorted(differences(without, trained(folder, [callback], twin))), len(callback.history)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    outcomes = {name: outcome(folder, twin) for name, twin in TWINS.items()}
    Path(folder, f"rank{torch.distributed.get_rank()}").write_text(json.dumps(outcomes))
    torch.distributed.barrier()  # the first process ends the other when it is done
