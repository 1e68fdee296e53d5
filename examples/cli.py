"""LightningCLI: the callback and its options in YAML, `python cli.py fit --config cli.yaml`."""

from pathlib import Path

import pytorch_lightning as pl
from classifier import Classifier, loaders
from pytorch_lightning.cli import LightningCLI


class Pictures(pl.LightningDataModule):
    """A folder with `train/` and `val/`."""

    def __init__(self, root: str = "pictures"):
        super().__init__()
        self.root = Path(root)

    def train_dataloader(self):
        return loaders(self.root)[0]

    def val_dataloader(self):
        return loaders(self.root)[1]


class Model(Classifier):
    """What the command line can choose of it."""

    def __init__(self, lr: float = 3e-3):
        super().__init__(lr=lr)


if __name__ == "__main__":
    LightningCLI(Model, Pictures)
