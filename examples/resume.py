"""A training that stops and goes on: the second run has the same probe, history and folder as the first."""

import pytorch_lightning as pl
from classifier import Classifier, loaders
from pictures import folder
from pytorch_lightning.loggers import TensorBoardLogger

from lightning_cam import CAMCallback


def fit(pictures, *, epochs, checkpoint=None):
    """Trains up to ``epochs`` and returns the callback."""
    watch = CAMCallback()
    logger = TensorBoardLogger("runs", name="resumed", version=0)  # the same version, so one run in the dashboard
    trainer = pl.Trainer(max_epochs=epochs, logger=logger, log_every_n_steps=5, callbacks=[watch])
    trainer.fit(Classifier(), *loaders(pictures), ckpt_path=checkpoint)
    trainer.save_checkpoint("runs/last.ckpt")
    return watch


if __name__ == "__main__":
    pictures = folder()
    first = fit(pictures, epochs=2)
    second = fit(pictures, epochs=4, checkpoint="runs/last.ckpt")
    print("steps of the first run: ", [reading.step for reading in first.history])
    print("steps after the resume: ", [reading.step for reading in second.history])
