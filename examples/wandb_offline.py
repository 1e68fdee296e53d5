"""Weights & Biases without a network: `wandb sync` uploads the run later."""

import sys

import pytorch_lightning as pl
from attach import Classifier
from pytorch_lightning.loggers import WandbLogger
from torch.utils.data import DataLoader
from torchvision.datasets import FakeData
from torchvision.transforms import ToTensor

from lightning_cam import CAMCallback

if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else "."
    images = FakeData(32, (3, 64, 64), num_classes=3, transform=ToTensor())
    trainer = pl.Trainer(
        max_epochs=2,
        log_every_n_steps=1,
        logger=WandbLogger(project="lightning-cam", save_dir=folder, offline=True),
        callbacks=[CAMCallback()],
    )
    trainer.fit(Classifier(), DataLoader(images, 16, shuffle=True), DataLoader(images, 16))
