"""A disk that only one of the machines cannot read: what each process says."""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader, TensorDataset

from house.trainings import Net, loader, pictures, trainer
from lightning_cam import CAMCallback


class Torn(TensorDataset):
    def __getitem__(self, index: int) -> Any:
        if run.global_rank == 1:
            raise OSError("torn")
        return super().__getitem__(index)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    run = trainer(folder, CAMCallback(), max_epochs=1, devices=2, strategy="ddp", num_sanity_val_steps=0)
    try:
        run.fit(Net(), loader(), DataLoader(Torn(*pictures(8).tensors), batch_size=4))
    except (ValueError, SystemExit) as error:
        message = str(error)
    Path(folder, f"rank{run.global_rank}").write_text(json.dumps(message))
