"""Twin trainings in processes that torch spawns: what is different with a callback."""

import faulthandler
import json
import sys
import warnings
from pathlib import Path
from typing import Any

from torch.multiprocessing import ProcessExitedException

from house.twins import Twin, differences, ours, trained

faulthandler.enable()  # a process that dies says where
warnings.simplefilter("ignore")  # in the spawned processes as well


def tried(folder: Path, callbacks: list[Any], twin: Twin) -> dict[str, str]:
    """Gloo aborts a process now and then whose peer has ended before it, with or without a callback."""
    try:
        return trained(folder, callbacks, twin)
    except ProcessExitedException as error:
        print(error, file=sys.stderr)
        return trained(folder, callbacks, twin)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    twin = Twin(options={"devices": 2, "strategy": "ddp_spawn", "max_epochs": 1, "limit_val_batches": 1})
    without = tried(folder, [], twin)
    with_callback = tried(folder, [ours(every_n_train_steps=1, sinks=None)], twin)
    Path(folder, "rank0").write_text(json.dumps(sorted(differences(without, with_callback))))
