"""A disk that one of the machines cannot read before the training: what each process says, and how far it trains."""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader, TensorDataset

from house.trainings import Net, loader, pictures, trainer
from lightning_cam import CAMCallback, LightningCAMWarning


class Torn(TensorDataset):
    def __getitem__(self, index: int) -> Any:
        if run.global_rank == 1 and not run.validating:
            raise OSError("torn")
        return super().__getitem__(index)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    run = trainer(folder, CAMCallback(), max_epochs=1, devices=2, strategy="ddp", num_sanity_val_steps=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.fit(Net(), loader(), DataLoader(Torn(*pictures(8).tensors), batch_size=4))
    messages = [str(warning.message) for warning in caught if issubclass(warning.category, LightningCAMWarning)]
    Path(folder, f"rank{run.global_rank}").write_text(json.dumps([run.global_step, messages]))
