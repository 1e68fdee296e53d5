"""DDP: every process looks at its share of the probe, all have the verdict, and process 0 keeps the report."""

import pytorch_lightning as pl
from classifier import Classifier, loaders
from pictures import folder
from pytorch_lightning.strategies import DDPStrategy

from lightning_cam import CAMCallback

if __name__ == "__main__":
    pictures = folder()
    watch = CAMCallback()
    trainer = pl.Trainer(
        max_epochs=3,
        accelerator="cpu",  # "gpu" with "nccl" where there are some
        devices=2,
        strategy=DDPStrategy(process_group_backend="gloo"),
        log_every_n_steps=5,
        callbacks=[watch],
    )
    trainer.fit(Classifier(), *loaders(pictures))
    print(f"process {trainer.global_rank} has the verdict {watch.verdict.outcome}")
