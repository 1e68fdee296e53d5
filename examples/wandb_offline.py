"""Weights & Biases without a network: `wandb sync` uploads the run later."""

import sys

import pytorch_lightning as pl
from attach import Classifier, loader
from pytorch_lightning.loggers import WandbLogger

from lightning_cam import CAMCallback

if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else "."
    trainer = pl.Trainer(
        max_epochs=2,
        log_every_n_steps=1,
        logger=WandbLogger(project="lightning-cam", save_dir=folder, offline=True),
        callbacks=[CAMCallback()],
    )
    trainer.fit(Classifier(), loader(shuffle=True), loader())
