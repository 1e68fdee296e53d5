"""A model in shards: how far each process trains, how often it looks, and what it warns of."""

import json
import sys
import warnings
from pathlib import Path

from pytorch_lightning.strategies import ModelParallelStrategy
from torch.distributed.fsdp import fully_shard

from house.trainings import Net, loader, probe, trainer
from lightning_cam import CAMCallback


class Shards(Net):
    def configure_model(self) -> None:
        for part in (self.body, self.head):
            fully_shard(part, mesh=self.device_mesh["data_parallel"])


if __name__ == "__main__":
    folder, callback = Path(sys.argv[1]), CAMCallback(probe())
    strategy = ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1)
    run = trainer(folder, callback, max_epochs=1, devices=2, strategy=strategy)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.fit(Shards(), loader(), loader(8))
    warned = [str(w.message) for w in caught if "lightning_cam" in str(w.message)]
    outcome = [run.global_step, len(callback.history), warned]
    Path(folder, f"rank{run.global_rank}").write_text(json.dumps(outcome))
    run.strategy.barrier()  # the first process ends the other when it is done
