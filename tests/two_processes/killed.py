"""Two processes, of which the second is killed in the middle of the training."""

import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

from house.trainings import Net, loader, probe
from lightning_cam import CAMCallback
from two_processes.hostile import in_two


class Killed(Net):
    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        if self.global_rank == 1 and self.global_step == 5:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    in_two(Path(sys.argv[1]), CAMCallback(probe(), every_n_train_steps=2)).fit(Killed(), loader(), loader(8))
